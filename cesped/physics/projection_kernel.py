"""Compiled central slices of many images at once, in an order that stays in the cache; one core.

A slice of random orientation meets every plane of the padded transform, which is far larger than
the cache: sampled image by image, nearly every sample waits for the memory. Here the transform is
cut in slabs along x, and each slab is sampled for all images before the next one.
"""

import numpy as np
from numba import njit

#: No reassociation: bounds that two slabs share must come out alike.
_FAST = {"contract", "nsz", "nnan", "ninf"}
#: Thickness of a slab [grid points].
_SLAB = 4
#: Reciprocal of a slope that is none: samples along a column then lie in one plane.
_STEEPEST = 1e12


@njit(nogil=True, cache=True, fastmath=_FAST)
def fill_columns(
    grid: np.ndarray,
    side: int,
    rotations: np.ndarray,
    padding: int,
    out: np.ndarray,
) -> None:  # pragma: no cover - compiled
    """Write the central slices of all rotations, column by column.

    Parameters
    ----------
    grid : `(2 side^2 planes,)` float32, real and imaginary parts of the padded transform in turn,
        kx slowest and from 0, then kz, then ky, both from -(side // 2)
    side : grid points along kz and ky
    rotations : `(B, 3, 3)` float64
    out : `(B, n // 2 + 1, n)` complex64, all of it is written; samples outside |k| <= n // 2
        become zero
    """
    count, n_columns, n = out.shape
    limit = n // 2
    out[:] = 0.0
    n_slabs = (padding * limit) // _SLAB + 2
    for slab in range(n_slabs):
        for image in range(count):
            turn = rotations[image] * padding
            slope = turn[0, 1]
            inverse = 1.0 / slope if abs(slope) * _STEEPEST > 1.0 else _STEEPEST
            for column in range(n_columns):
                reach = int(np.sqrt(limit * limit - column * column + 0.5))
                x = turn[0, 0] * column
                extent = abs(slope) * reach
                nearest = max(0.0, abs(x) - extent)
                if nearest > (slab + 1) * _SLAB + 1e-3 or abs(x) + extent < slab * _SLAB - 1e-3:
                    continue
                highest = min(reach, (n - 1) // 2)
                for part in range(2):  # where x is positive, and where it is negative
                    low = np.float64(slab * _SLAB) if part == 0 else np.float64(-(slab + 1) * _SLAB)
                    # neighbouring slabs share this bound to the bit, so no sample is left out
                    first = np.ceil((low - x) * inverse)
                    last = np.ceil((low + _SLAB - x) * inverse)
                    if inverse < 0.0:
                        first, last = last, first
                    start = int(max(first, np.float64(-reach)))
                    stop = int(min(last, np.float64(highest + 1)))
                    if start < stop:
                        _sample(grid, side, turn, column, start, stop, out[image, column])


@njit(nogil=True, cache=True, fastmath=_FAST, inline="always")
def _sample(  # type: ignore[no-untyped-def]
    grid, side, turn, column, start, stop, line
):  # pragma: no cover - compiled
    """Fill part of one column by trilinear interpolation."""
    n = line.shape[0]
    centre = side // 2
    row_step = 2 * side
    plane_step = row_step * side
    one = np.float32(1.0)
    for ky in range(start, stop):
        x = turn[0, 0] * column + turn[0, 1] * ky
        y = turn[1, 0] * column + turn[1, 1] * ky
        z = turn[2, 0] * column + turn[2, 1] * ky
        sign = one
        if x < 0.0:  # the other half is the conjugate of the opposite sample
            x, y, z = -x, -y, -z
            sign = -one
        y += centre
        z += centre
        # all three are positive here, so truncation is the floor
        x0, y0, z0 = int(x), int(y), int(z)
        fx, fy, fz = np.float32(x - x0), np.float32(y - y0), np.float32(z - z0)
        gx, gy, gz = one - fx, one - fy, one - fz
        a = np.uint64(x0 * plane_step + z0 * row_step + 2 * y0)
        b = a + np.uint64(row_step)
        c = a + np.uint64(plane_step)
        d = c + np.uint64(row_step)
        i, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
        wa, wb, wc, wd = gx * gz, gx * fz, fx * gz, fx * fz
        real = gy * (wa * grid[a] + wb * grid[b] + wc * grid[c] + wd * grid[d])
        real += fy * (
            wa * grid[a + two] + wb * grid[b + two] + wc * grid[c + two] + wd * grid[d + two]
        )
        imag = gy * (wa * grid[a + i] + wb * grid[b + i] + wc * grid[c + i] + wd * grid[d + i])
        imag += fy * (
            wa * grid[a + three]
            + wb * grid[b + three]
            + wc * grid[c + three]
            + wd * grid[d + three]
        )
        line[ky if ky >= 0 else ky + n] = complex(real, sign * imag)


@njit(nogil=True, cache=True, fastmath=True)
def modulate_columns(
    columns: np.ndarray, transfer: np.ndarray, phase_x: np.ndarray, phase_y: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Multiply half planes by their transfer and by the phases of a shift.

    Parameters
    ----------
    columns : `(B, m, n)` complex64, changed in place
    transfer : `(B, n, m)` float32
    phase_x, phase_y : `(B, m)` and `(B, n)` complex64
    """
    count, m, n = columns.shape
    tile = 16
    for image in range(count):
        for first in range(0, m, tile):
            for first_row in range(0, n, tile):
                for column in range(first, min(first + tile, m)):
                    along_x = phase_x[image, column]
                    line = columns[image, column]
                    for row in range(first_row, min(first_row + tile, n)):
                        line[row] *= (along_x * phase_y[image, row]) * transfer[image, row, column]
