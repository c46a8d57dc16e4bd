"""Spreading of central slices into a padded Fourier grid, on the CPU.

Threads own slabs of the grid along z and insert only the samples that fall in their slab: no
atomic operations, the same sum whatever the number of threads, and a slab stays in the cache.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from numpy.typing import NDArray

from .edge_samples import last_columns
from .half_ball import FourierSums

#: Slabs per grid when there are few threads: fewer of them no longer fit the cache.
MIN_SLABS = 8
_SLABS_PER_THREAD = 4


def slab_bounds(radius: int, n_slabs: int) -> NDArray[np.int64]:
    """Return the first z of each slab and the end of the last one, for z in -radius .. radius.

    Slabs hold the same number of samples when directions are uniform: a plane at height z of the
    ball meets random central slices in proportion to `radius - |z|`.
    """
    share = np.linspace(0, 1, n_slabs + 1)
    height = np.where(
        share < 0.5, np.sqrt(2 * share) - 1, 1 - np.sqrt(np.maximum(0, 2 - 2 * share))
    )
    bounds = np.rint(height * radius).astype(np.int64)
    bounds[0], bounds[-1] = -radius, radius + 1
    return np.unique(bounds)


def insert_slices(
    sums: FourierSums,
    half_planes: NDArray[np.complex64],
    ctf: NDArray[np.float32],
    rotations: NDArray[np.float64],
    weights: NDArray[np.float32],
    origins_px: NDArray[np.float64],
    padding: int,
    threads: int,
    premultiplied: bool = False,
) -> None:
    """Add CTF * X and CTF^2 of a batch of images to a padded grid, trilinearly.

    Samples with |k| <= n / 2 are used (those at n / 2 exactly as `last_columns` says); of the line
    kx = 0 only ky >= 0, because the other half is its conjugate. A sample that lands at x < 0 is
    replaced by its Friedel mate.

    Parameters
    ----------
    sums : added to in place
    half_planes : `(B, n, n // 2 + 1)` transforms with the phase origin at pixel n // 2, FFT layout
    ctf : `(B, n, n // 2 + 1)` contrast transfer, FFT layout
    rotations : `(B, 3, 3)`, x_volume = R @ x_image (`cesped.geometry.euler`)
    weights : `(B,)` multiply numerator and denominator
    origins_px : `(B, 2)` x, y: what must be added to bring the content to the centre [pixels]
    padding : size of the grid over the size of the image
    threads : threads to use
    premultiplied : the images are CTF * X already
    """
    n = half_planes.shape[1]
    phase_x, phase_y = origin_phases(origins_px, n)
    scaled = rotations * padding
    last = last_columns(rotations, n, padding)
    bounds = slab_bounds(sums.ball.radius, max(MIN_SLABS, _SLABS_PER_THREAD * threads))
    grid, starts = sums.values.reshape(-1), sums.ball.starts
    batch = (half_planes, ctf, scaled, weights, phase_x, phase_y, last, premultiplied)
    for_each_slab(
        lambda first, stop: _insert_slab(grid, starts, first, stop, *batch), bounds, threads
    )


def origin_phases(
    origins_px: NDArray[np.float64], n: int
) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """Return what moves images to their origins: a factor for each column and one for each row.

    Parameters
    ----------
    origins_px : `(B, 2)` x, y: what must be added to bring the content to the centre [pixels]
    n : image size [px]

    Returns
    -------
    `(B, n // 2 + 1)` and `(B, n)`, FFT layout
    """
    row_frequency = np.fft.fftfreq(n)
    if n % 2 == 0:
        row_frequency[n // 2] = 0.5  # slices call this row ky = +n / 2
    column_frequency = np.arange(n // 2 + 1) / n
    turns = -2j * np.pi
    phase_x = np.exp(turns * origins_px[:, :1] * column_frequency)
    phase_y = np.exp(turns * origins_px[:, 1:] * row_frequency)
    return phase_x.astype(np.complex64), phase_y.astype(np.complex64)


def for_each_slab(
    work: Callable[[int, int], object], bounds: NDArray[np.int64], threads: int
) -> None:
    """Call `work(first, last)` for consecutive bounds, on `threads` threads.

    The kernels release the interpreter lock. A plain pool is used instead of numba's own threads
    because it shares the load as slabs finish, and survives a later `fork`.
    """
    slabs = list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
    if threads == 1:
        for first, last in slabs:
            work(first, last)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda slab: work(*slab), slabs))


@numba.njit(inline="always")
def _add_pair(grid, at, left, right, real, imag, weight):  # type: ignore[no-untyped-def]
    """Add a sample to a voxel and to its neighbour along x."""
    one, two, three = np.uintp(1), np.uintp(2), np.uintp(3)
    grid[at] += left * real
    grid[at + one] += left * imag
    grid[at + two] += left * weight
    at += three
    grid[at] += right * real
    grid[at + one] += right * imag
    grid[at + two] += right * weight


@numba.njit(inline="always")
def _add_sample(grid, starts, z0, y0, x0, lower, upper, fx, fy, fz, real, imag, weight):  # type: ignore[no-untyped-def]
    """Spread a sample over the 8 voxels about it; `lower` and `upper`: which planes are ours."""
    one = np.float32(1)
    gx, gy = one - fx, one - fy
    z, y, y1 = np.uintp(z0), np.uintp(y0), np.uintp(y0 + 1)
    if lower:
        f = (one - fz) * gy
        _add_pair(grid, np.uintp(3 * (starts[z, y] + x0)), f * gx, f * fx, real, imag, weight)
        f = (one - fz) * fy
        _add_pair(grid, np.uintp(3 * (starts[z, y1] + x0)), f * gx, f * fx, real, imag, weight)
    if upper:
        z = np.uintp(z0 + 1)
        f = fz * gy
        _add_pair(grid, np.uintp(3 * (starts[z, y] + x0)), f * gx, f * fx, real, imag, weight)
        f = fz * fy
        _add_pair(grid, np.uintp(3 * (starts[z, y1] + x0)), f * gx, f * fx, real, imag, weight)


@numba.njit(inline="always")
def _narrow(low, high, slope, offset, bound, sign):  # type: ignore[no-untyped-def]
    """Shrink `[low, high]` to where sign * (slope * k + offset - bound) >= 0, about."""
    slope, offset = sign * slope, sign * (offset - bound)
    if slope > 1e-6:
        low = max(low, -offset / slope)
    elif slope < -1e-6:
        high = min(high, -offset / slope)
    return low, high


@numba.njit(nogil=True, cache=True, fastmath=True)
def _insert_slab(  # type: ignore[no-untyped-def]
    grid, starts, first, stop, planes, ctf, scaled, weights, phase_x, phase_y, last, premultiplied
):
    """Insert what falls on the planes `first <= z < stop` of the grid.

    `scaled` is padding * R. Positions are float64: what falls to a voxel that no other sample
    touches is a small difference of large numbers, and the gridding weights undo its smallness.
    Along a row of an image the grid position is linear in kx, so the samples of the slab are an
    interval of kx, found first and then tested sample by sample: a sample between two slabs is met
    by both, and each writes its own plane.
    """
    centre = (starts.shape[0] - 1) // 2
    middle = float(centre)
    bottom, top = first + centre, stop + centre  # slab in rows of the array
    one = np.float32(1)
    n = planes.shape[1]
    half = n // 2
    for p in range(planes.shape[0]):
        weight = weights[p]
        step_x, step_y, step_z = scaled[p, 0, 0], scaled[p, 1, 0], scaled[p, 2, 0]
        for row in range(n):
            ky = row if row <= half else row - n
            k_min = 0 if ky >= 0 else 1
            k_max = last[p, row]
            start_x = scaled[p, 0, 1] * ky
            start_y = scaled[p, 1, 1] * ky
            start_z = scaled[p, 2, 1] * ky
            row_real, row_imag = weight * phase_y[p, row].real, weight * phase_y[p, row].imag
            plane_row, ctf_row, phase_row = planes[p, row], ctf[p, row], phase_x[p]
            for mate in range(2):  # samples as they are (x >= 0), then Friedel mates
                sign = 1.0 - 2.0 * mate
                dz, oz = sign * step_z, sign * start_z + middle
                dy, oy = sign * step_y, sign * start_y + middle
                low, high = float(k_min), float(k_max)
                low, high = _narrow(low, high, dz, oz, bottom - 1, 1.0)
                low, high = _narrow(low, high, dz, oz, top, -1.0)
                low, high = _narrow(low, high, step_x, start_x, 0.0, sign)
                if low > high + 2:
                    continue
                for k in range(max(k_min, int(low) - 1), min(k_max, int(high) + 2) + 1):
                    kx = float(k)
                    x = step_x * kx + start_x
                    if (x < 0) != (mate == 1):
                        continue
                    z = dz * kx + oz
                    z0 = int(z)
                    if z0 < bottom - 1 or z0 >= top:
                        continue
                    x *= sign
                    y = dy * kx + oy
                    x0, y0 = int(x), int(y)
                    fx, fy, fz = np.float32(x - x0), np.float32(y - y0), np.float32(z - z0)
                    at_k = np.uintp(k)
                    c, value, phase = ctf_row[at_k], plane_row[at_k], phase_row[at_k]
                    turn_real = row_real * phase.real - row_imag * phase.imag
                    turn_imag = row_real * phase.imag + row_imag * phase.real
                    square = weight * c * c
                    factor = one if premultiplied else c
                    real = factor * (value.real * turn_real - value.imag * turn_imag)
                    imag = (
                        np.float32(sign)
                        * factor
                        * (value.real * turn_imag + value.imag * turn_real)
                    )
                    lower, upper = z0 >= bottom, z0 + 1 < top
                    _add_sample(
                        grid, starts, z0, y0, x0, lower, upper, fx, fy, fz, real, imag, square
                    )
