"""HEALPix pixels of the sphere, in the nested order that RELION uses.

Order `o` has 12 * 4**o pixels of equal area (Gorski et al. 2005, ApJ 622, 759). Angles are given as
RELION's rot (azimuth) and tilt (polar angle), degrees, so the pixel centres are viewing directions.
Centres and the pixels of directions are found in closed form (`cesped.geometry.healpix_plane`);
neighbours and outlines are healpy's (GPL). This is the only module that uses it, and it is imported
when a function needs it: that takes half a second.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import MissingExtraError, OptionError
from .healpix_plane import nested_pixels, pixel_places
from .rotations import FloatArray, IntArray

#: healpy goes to order 29; the tables here are held in memory, where 8 (0.23 degrees) is plenty.
MAX_ORDER = 8


def pixel_count(order: int) -> int:
    """Return the number of pixels, 12 * 4**order.

    Raises
    ------
    OptionError
        If `order` is not an integer from 0 to `MAX_ORDER`.
    """
    return 12 * _nside(order) ** 2


def pixel_angles_deg(order: int) -> FloatArray:
    """Return the centres `(n, 2)` of all pixels as rot, tilt [degrees; rot in [0, 360)]."""
    tilt, rot = pixel_places(_nside(order))
    angles: FloatArray = np.degrees(np.stack([rot, tilt], axis=-1))
    return angles


def pixel_directions(order: int) -> FloatArray:
    """Return the centres `(n, 3)` of all pixels as unit vectors."""
    tilt, rot = pixel_places(_nside(order))
    return _unit_vectors(rot, tilt)


def pixels_of_directions(order: int, directions: ArrayLike) -> IntArray:
    """Return the pixel `(...)` that holds each of the vectors `(..., 3)`.

    It is the pixel whose border surrounds the direction; the centre of a neighbour may be nearer.
    """
    return nested_pixels(_nside(order), np.asarray(directions, dtype=np.float64))


def pixels_of_angles(order: int, rot_deg: ArrayLike, tilt_deg: ArrayLike) -> IntArray:
    """Return the pixel `(...)` that holds each direction given as rot and tilt [degrees].

    This is what a map of the sphere needs: the pixel of every point of a picture, or of every
    particle that is to be counted.
    """
    rot = np.radians(np.asarray(rot_deg, dtype=np.float64))
    tilt = np.radians(np.asarray(tilt_deg, dtype=np.float64))
    return pixels_of_directions(order, _unit_vectors(*np.broadcast_arrays(rot, tilt)))


def _unit_vectors(rot: FloatArray, tilt: FloatArray) -> FloatArray:
    sine = np.sin(tilt)
    return np.stack([np.cos(rot) * sine, np.sin(rot) * sine, np.cos(tilt)], axis=-1)


def pixel_neighbours(order: int) -> IntArray:
    """Return the pixels `(n, 8)` that touch each pixel; -1 where a corner has only seven."""
    pixels = np.arange(pixel_count(order))
    neighbours = _healpy().get_all_neighbours(_nside(order), pixels, nest=True)
    return np.ascontiguousarray(np.asarray(neighbours, dtype=np.int64).T)


def pixel_boundaries_deg(order: int, points_per_side: int = 1) -> FloatArray:
    """Return the outline `(n, 4 * points_per_side, 2)` of every pixel as rot, tilt [degrees].

    The rot of one outline is continuous and lies within 180 degrees of its pixel's centre, so it
    may pass below 0 or above 360: a picture of the whole sphere cuts the outline there.

    Parameters
    ----------
    order : of the pixels
    points_per_side : 1 gives the four corners alone
    """
    pixels = np.arange(pixel_count(order))
    outline = _healpy().boundaries(_nside(order), pixels, step=points_per_side, nest=True)
    x, y, z = np.moveaxis(np.asarray(outline, dtype=np.float64), 1, 0)
    centre = pixel_angles_deg(order)[:, None, 0]
    rot = np.degrees(np.arctan2(y, x))
    rot = centre + np.remainder(rot - centre + 180.0, 360.0) - 180.0
    # a corner on a pole has no azimuth of its own; the pixel's keeps the outline narrow
    rot = np.where(np.hypot(x, y) < 1e-12, centre, rot)
    tilt = np.degrees(np.arctan2(np.hypot(x, y), z))
    return np.stack([rot, tilt], axis=-1)


@lru_cache(maxsize=16)
def pixel_radius_deg(order: int) -> float:
    """Return the largest angle [degrees] between a pixel's centre and a corner of it."""
    return float(np.degrees(_healpy().max_pixrad(_nside(order))))


def _nside(order: int) -> int:
    if isinstance(order, bool) or int(order) != order or not 0 <= order <= MAX_ORDER:
        raise OptionError(f"HEALPix order {order!r}: use an integer from 0 to {MAX_ORDER}")
    return 1 << int(order)


def _healpy() -> Any:
    try:
        import healpy
    except ImportError as error:
        raise MissingExtraError(
            "HEALPix grids need healpy, which is not installed; run: pip install healpy"
        ) from error
    return healpy
