"""From Fourier sums and their weights to a map, as RELION 3.1 makes it."""

from functools import partial

import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from .gridding import block_bounds, columns_within, floored_weights, gridding_weights
from .half_ball import FourierSums
from .insertion import for_each_slab

_MASK_EDGE_PX = 3.0

Volume = NDArray[np.float32]


def weighted_map(
    sums: FourierSums,
    box: int,
    padding: int,
    gridding: bool,
    threads: int,
    relions_grid: bool = False,
) -> Volume:
    """Return the `(box, box, box)` map of whole (`cesped.physics.grid_symmetry`) sums.

    The map is masked softly outside the sphere of radius box / 2, towards the mean of what is
    outside, and divided by sinc^2, the transform of the trilinear spreading.

    Parameters
    ----------
    sums : left as they are
    box : size of the map [voxels]
    padding : size of the Fourier grid over the size of the box
    gridding : weight by the gridding iterations, else by the inverse of the denominator
    threads : threads to use
    relions_grid : as for `gridding_weights`
    """
    if gridding:
        weights = gridding_weights(sums, padding * box, padding, threads, relions_grid)
    else:
        weights = floored_weights(sums, padding, threads)
    volume = central_box(sums, weights, box, padding * box, threads)
    finish_map(volume, padding, threads)
    return volume


def central_box(
    sums: FourierSums, weights: NDArray[np.float32], box: int, size: int, threads: int
) -> Volume:
    """Return the inverse transform of the numerator times the weights, where it is kept.

    Parameters
    ----------
    sums : whole; of the plane x = 0 both mates are there
    weights : `(n_voxels,)`
    box, size : of the map, and of the padded grid [voxels]
    threads : threads to use

    Returns
    -------
    `(box, box, box)`, origin at voxel box // 2
    """
    half = size // 2 + 1
    kept = np.arange(-(box // 2), box - box // 2)
    rows = np.empty((size, box, half), dtype=np.complex64)  # z, y kept, x
    volume = np.empty((box, box, box), dtype=np.float32)

    def along_y(first: int, last: int) -> None:
        planes = np.empty((last - first, size, half), dtype=np.complex64)
        _gather_weighted(sums.values, sums.ball.starts, sums.ball.radius, weights, planes, first)
        rows[first:last] = scipy.fft.ifft(planes, axis=1, overwrite_x=True)[:, kept]

    def along_z_and_x(first: int, last: int) -> None:
        lines = scipy.fft.ifft(rows[:, first:last], axis=0)[kept]
        volume[:, first:last] = scipy.fft.irfft(lines, n=size, axis=2, overwrite_x=True)[..., kept]

    for_each_slab(along_y, block_bounds(size, size * half), threads)
    for_each_slab(along_z_and_x, block_bounds(box, size * half), threads)
    return volume


@numba.njit(nogil=True, cache=True)
def _gather_weighted(values, starts, radius, weights, planes, first):  # type: ignore[no-untyped-def]
    """Write the numerator times the weights into planes from `first` on, FFT layout."""
    size = planes.shape[1]
    for z in range(planes.shape[0]):
        kz = z + first if z + first <= size // 2 else z + first - size
        for y in range(size):
            ky = y if y <= size // 2 else y - size
            line = planes[z, y]
            inside = columns_within(kz, ky, radius)
            if inside:
                start = starts[kz + radius + 1, ky + radius + 1]
            for x in range(inside):
                weight = weights[start + x]
                line[x] = complex(weight * values[start + x, 0], weight * values[start + x, 1])
            line[inside:] = 0


def finish_map(volume: Volume, padding: int, threads: int) -> None:
    """Mask a map softly and undo the fall-off of the interpolation, in place.

    What lies outside the sphere of half the box is replaced by its mean; the edge is a cosine of
    3 voxels outside that radius, and weighs the voxels of the mean too. The squared distance of a
    voxel is a whole number, so both factors are tables.

    Parameters
    ----------
    volume : `(box, box, box)`, origin at voxel box // 2
    padding : size of the Fourier grid over the size of the box
    threads : threads to use
    """
    box = len(volume)
    distance = np.sqrt(np.arange(3 * (box // 2) ** 2 + 1))
    inner = box // 2
    outer = inner + _MASK_EDGE_PX
    edge = 0.5 + 0.5 * np.cos(np.pi * (outer - distance) / _MASK_EDGE_PX)
    outside = np.where(distance < inner, 0, np.where(distance > outer, 1, edge))
    gain = 1 / np.sinc(distance / (padding * box)) ** 2
    sums = np.zeros((box, 2))
    planes = np.linspace(0, box, min(box, 4 * threads) + 1).astype(np.int64)
    for_each_slab(partial(_sum_outside, volume, outside, sums), planes, threads)
    total, count = sums.sum(axis=0)
    mean = total / count if count > 0 else 0.0
    for_each_slab(partial(_mask_and_divide, volume, outside, gain, mean), planes, threads)


@numba.njit(nogil=True, cache=True)
def _sum_outside(volume, outside, sums, first, last):  # type: ignore[no-untyped-def]
    """Add up value and share of what is outside, for each plane on its own."""
    box = volume.shape[0]
    middle = box // 2
    for z in range(first, last):
        for y in range(box):
            square = (z - middle) ** 2 + (y - middle) ** 2
            for x in range(box):
                share = outside[square + (x - middle) ** 2]
                sums[z, 0] += share * volume[z, y, x]
                sums[z, 1] += share


@numba.njit(nogil=True, cache=True)
def _mask_and_divide(volume, outside, gain, mean, first, last):  # type: ignore[no-untyped-def]
    """Move planes towards the mean outside, and multiply by the gain of their radius."""
    box = volume.shape[0]
    middle = box // 2
    for z in range(first, last):
        for y in range(box):
            square = (z - middle) ** 2 + (y - middle) ** 2
            for x in range(box):
                at = square + (x - middle) ** 2
                value = volume[z, y, x]
                volume[z, y, x] = gain[at] * (value + outside[at] * (mean - value))
