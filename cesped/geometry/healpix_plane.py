"""HEALPix pixels in closed form: the plane in which they are squares that stand on a corner.

Calabretta & Roukema, MNRAS 381, 865 (2007), section 3, for H = 4 and K = 3. Lengths in the plane
are in quarter turns, so that the twelve base pixels have diagonals of 1. Counting pixels needs no
more than this; what needs neighbours or outlines asks healpy (`cesped.geometry.healpix`).
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Height of the centre of each base pixel in the plane, and its longitude [quarter turns].
_FACE_HEIGHT = np.repeat([0.5, 0.0, -0.5], 4)
_FACE_LONGITUDE = np.array([0.5, 1.5, 2.5, 3.5, 0, 1, 2, 3, 0.5, 1.5, 2.5, 3.5])
_BELT_Z = 2 / 3


def nested_pixels(nside: int, directions: FloatArray) -> IntArray:
    """Return the nested number `(...)` of the pixel that holds each direction `(..., 3)`.

    Parameters
    ----------
    nside : pixels along the edge of a base pixel, a power of 2
    directions : of any length above 0
    """
    x, y, z = np.moveaxis(directions / np.linalg.norm(directions, axis=-1, keepdims=True), -1, 0)
    longitude = np.remainder(np.arctan2(y, x) / (np.pi / 2), 4.0)
    longitude = np.where(longitude >= 4.0, 0.0, longitude)  # a tiny negative angle, rounded up
    face, east, north = _belt_places(longitude, z)
    is_cap = np.abs(z) > _BELT_Z
    # 1 - |z| without the digits that the subtraction would lose beside a pole
    width = np.sqrt(3 * (x**2 + y**2) / (1 + np.abs(z)))
    quarter = np.minimum(longitude.astype(np.int64), 3)
    cap_east = (longitude - quarter - 0.5) * width
    cap_north = np.sign(z) * (0.5 - 0.5 * width)
    face = np.where(is_cap, np.where(z > 0, quarter, quarter + 8), face)
    east, north = np.where(is_cap, cap_east, east), np.where(is_cap, cap_north, north)
    columns = _step(nside, 0.5 + north + east)
    rows = _step(nside, 0.5 + north - east)
    pixels: IntArray = face * nside**2 + _spread(columns) + 2 * _spread(rows)
    return pixels


def pixel_places(nside: int) -> tuple[FloatArray, FloatArray]:
    """Return polar angle and azimuth `(12 nside^2,)` of the centres of all nested pixels [radians].

    Azimuths are in [0, 2 pi).
    """
    pixels = np.arange(12 * nside**2)
    face, inside = np.divmod(pixels, nside**2)
    along_east = (_gathered(inside) + 0.5) / nside
    along_west = (_gathered(inside >> 1) + 0.5) / nside
    east, north = (along_east - along_west) / 2, (along_east + along_west - 1) / 2
    height = _FACE_HEIGHT[face] + north
    is_cap = np.abs(height) > 0.5
    width = np.where(is_cap, 2 - 2 * np.abs(height), 1.0)
    azimuth = np.remainder(_FACE_LONGITUDE[face] + east / width, 4.0) * (np.pi / 2)
    from_pole = 2 * np.arcsin(width / np.sqrt(6))
    cap = np.where(height > 0, from_pole, np.pi - from_pole)
    polar = np.where(is_cap, cap, np.arccos(np.clip(4 * height / 3, -1, 1)))
    return polar, azimuth


def _belt_places(longitude: FloatArray, z: FloatArray) -> tuple[IntArray, FloatArray, FloatArray]:
    """Return base pixel, and place from its centre, of directions of the equatorial belt."""
    height = 0.75 * z
    rising = np.floor(longitude + height + 0.5).astype(np.int64)
    falling = np.floor(height - longitude + 0.5).astype(np.int64)
    ring = np.clip(rising + falling, -1, 1)  # 1: a northern base pixel, 0: one about the equator
    number = np.where(ring == 1, -falling, rising)
    middle = np.where(ring == 0, number, number + 0.5)
    face = (1 - ring) * 4 + np.remainder(number, 4)
    return face, longitude - middle, height - 0.5 * ring


def _step(nside: int, share: FloatArray) -> IntArray:
    return np.clip(np.floor(nside * share).astype(np.int64), 0, nside - 1)


def _spread(values: IntArray) -> IntArray:
    """Return numbers of up to 16 bits with a 0 between their bits."""
    spread = values
    for shift, mask in ((8, 0x00FF00FF), (4, 0x0F0F0F0F), (2, 0x33333333), (1, 0x55555555)):
        spread = (spread | (spread << shift)) & mask
    return spread


def _gathered(values: IntArray) -> IntArray:
    """Return every other bit of numbers, from the lowest on: what `_spread` undoes."""
    gathered = values & 0x55555555
    for shift, mask in ((1, 0x33333333), (2, 0x0F0F0F0F), (4, 0x00FF00FF), (8, 0x0000FFFF)):
        gathered = (gathered | (gathered >> shift)) & mask
    return gathered
