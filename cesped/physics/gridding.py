"""What Fourier sums are multiplied by to become a map, as RELION 3.1 does it.

The weights of the gridding iterations (Matej & Lewitt, IEEE Trans. Nucl. Sci. 48, 1361, 2001;
Scheres, J. Struct. Biol. 180, 519, 2012) undo the uneven density of the samples.
"""

from functools import lru_cache, partial
from threading import Lock

import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from .half_ball import FourierSums
from .insertion import for_each_slab

#: RELION's Kaiser-Bessel blob: radius in voxels of the unpadded grid, and shape; its order is 0.
BLOB_RADIUS_PX = 1.9
BLOB_ALPHA = 15.0
#: RELION looks the blob's transform up in a table of so many distances from 0 to half the box.
BLOB_SAMPLES = 10_000
GRIDDING_ITERATIONS = 10

SMALLEST_CONVOLVED = 1e-6
SMALLEST_SHARE_OF_MEAN = 1e-3

#: Values of one block of planes: what two transforms of it need stays in the cache.
_BLOCK_VALUES = 1 << 17

_MAKING_BLOB = Lock()

Grid = NDArray[np.float32]


def blob_profile(radius: NDArray[np.float64], size: int, padding: int) -> NDArray[np.float64]:
    """Return the transform of the blob at a distance from the origin of real space, 1 at 0.

    Parameters
    ----------
    radius : any shape [voxels]
    size : of the padded box [voxels]; the blob is cut to 0 from half of it on, as in RELION
    padding : size of the grid over the size of the box; the blob widens with it

    Notes
    -----
    I_{3/2}(s) / s^{3/2} with s^2 = alpha^2 - (2 pi a r / size)^2, up to a constant (Lewitt,
    J. Opt. Soc. Am. A 7, 1834, 1990, equation A3, order 0).
    """
    distance = np.asarray(radius, dtype=np.float64)
    turned = 2 * np.pi * BLOB_RADIUS_PX * padding * np.minimum(distance / size, 0.5)
    s = np.sqrt(np.maximum(BLOB_ALPHA**2 - turned**2, 1e-8))
    bessel = (np.cosh(s) - np.sinh(s) / s) / s**2
    at_origin = (np.cosh(BLOB_ALPHA) - np.sinh(BLOB_ALPHA) / BLOB_ALPHA) / BLOB_ALPHA**2
    profile: NDArray[np.float64] = np.where(distance < size / 2, bessel / at_origin, 0)
    return profile


def tabulated_blob_profile(
    radius: NDArray[np.float64], size: int, padding: int
) -> NDArray[np.float64]:
    """Return `blob_profile` as RELION has it: of the nearest distance of its table from below.

    That is 1e-3 of the value at most, but ten iterations multiply it: of 100 particles whose
    weights span four decades, the exact profile leaves 0.002 to the correlation with RELION's map.
    Arguments as for `blob_profile`; in the order of RELION's operations, because distances that are
    whole steps of the table fall on either side by rounding.
    """
    step = 0.5 / BLOB_SAMPLES
    entry = np.floor(np.asarray(radius, dtype=np.float64) / size / step)
    return blob_profile(entry * step * size, size, padding)


def block_bounds(count: int, values_each: int) -> NDArray[np.int64]:
    """Return where blocks of `count` planes of so many values start, and the end of the last."""
    step = max(1, _BLOCK_VALUES // values_each)
    return np.append(np.arange(0, count, step), count).astype(np.int64)


def gridding_weights(
    sums: FourierSums, size: int, padding: int, threads: int, relions_grid: bool = False
) -> Grid:
    """Return the weights that make the sampling density even: ten fixed-point iterations.

    Parameters
    ----------
    sums : whole (`cesped.physics.grid_symmetry`); the denominator is the density
    size : of the padded box [voxels]
    padding : `size` over the size of the box
    threads : threads to use
    relions_grid : convolve on as many voxels as RELION: see `convolution_size`

    Returns
    -------
    `(n_voxels,)`; 0 from the radius of the ball on, and where there are no samples

    Notes
    -----
    w <- w / max(1e-6, |blob * (w density)|). Both factors are real and equal at k and -k, so their
    transform is real and even as well. It is therefore taken on half of real space: along y real to
    half-complex, along z complex, and along x, where the half-planes x >= 0 already are the
    half-complex form of the whole, back to real. That is half of the work of a real FFT.
    All is done in blocks of planes of one array of 8 (n / 2)^2 n bytes, 290 MB at box 256.
    """
    n = convolution_size(sums.ball.radius, relions_grid)
    half = n // 2 + 1
    blob = blob_octant(n, sums.ball.radius, size, padding)
    weights = np.zeros(sums.ball.n_voxels, dtype=np.float32)
    rows = np.empty((n, half, half), dtype=np.complex64)  # z, y', x
    # read in each iteration: a third of the memory traffic of all three sums
    density = np.ascontiguousarray(sums.values[:, 2])
    geometry = (density, sums.ball.starts, sums.ball.radius)
    planes, lines = block_bounds(n, n * half), block_bounds(half, n * half)

    def begin(first: int, last: int) -> None:
        product = np.empty((last - first, n, half), dtype=np.float32)
        _start(*geometry, weights, product, first, n)
        rows[first:last] = scipy.fft.rfft(product, axis=1, overwrite_x=True)

    def taper(first: int, last: int) -> None:
        block = scipy.fft.fft(rows[:, first:last], axis=0)
        real_space = scipy.fft.irfft(block, n=n, axis=2, overwrite_x=True)
        _taper(real_space, blob, first)
        block = scipy.fft.rfft(real_space, axis=2, overwrite_x=True)
        rows[:, first:last] = scipy.fft.ifft(block, axis=0, overwrite_x=True)

    def improve(first: int, last: int) -> None:
        convolved = scipy.fft.irfft(rows[first:last], n=n, axis=1)
        _improve(*geometry, weights, convolved, first, n)
        rows[first:last] = scipy.fft.rfft(convolved, axis=1, overwrite_x=True)

    for_each_slab(begin, planes, threads)
    for _ in range(GRIDDING_ITERATIONS):
        for_each_slab(taper, lines, threads)
        for_each_slab(improve, planes, threads)
    return weights


def convolution_size(radius: int, relions_grid: bool = False) -> int:
    """Return the size of the grid to convolve on [voxels]: one that transforms fast.

    RELION's has 2 radius + 3 voxels. On a smaller one opposite ends of the ball would touch.

    Parameters
    ----------
    radius : of the ball that is convolved [voxels]
    relions_grid : as many voxels as RELION, whatever the time it takes. The blob's transform ends
        at a step, so the blob reaches over the whole grid, in ripples, and comes in again at the
        other side: those of farther than half the grid are RELION's on a grid of its size only.
        They count where a voxel holds a millionth of what others do.
    """
    points = 2 * radius + 3
    return points if relions_grid else int(scipy.fft.next_fast_len(points, real=True))


def blob_octant(n: int, radius: int, size: int, padding: int) -> Grid:
    """Return what to multiply real space by at x, y, z = 0 .. n // 2; other octants mirror it.

    RELION samples the blob's transform at 2 radius + 3 voxels, mostly a slow size to transform.
    Here it is resampled to `n`, axis by axis, such that the Fourier transforms of both agree at
    distances of up to `radius` voxels along each axis: then so do the convolutions, but for ripples
    (`convolution_size`). Sampling the profile itself at `n` voxels would move the mean of the map
    by a tenth.

    Maps of an evaluation have one or the other grid: both are kept, 4 (n / 2)^3 bytes, to be read.

    Parameters
    ----------
    n : size of the grid to convolve on [voxels]
    radius : of the ball that is convolved [voxels]
    size : of the padded box [voxels]
    padding : `size` over the size of the box
    """
    with _MAKING_BLOB:  # maps are weighted side by side: one of them makes it
        return _blob_octant(n, radius, size, padding)


@lru_cache(maxsize=2)
def _blob_octant(n: int, radius: int, size: int, padding: int) -> Grid:
    points = 2 * radius + 3
    squares = np.arange(points // 2 + 1) ** 2
    distances = np.sqrt(np.arange(3 * squares[-1] + 1))
    table = tabulated_blob_profile(distances, size, padding).astype(np.float32)
    resample = _even_resampling(points, n).astype(np.float32)
    half = n // 2 + 1
    planes = np.empty((len(squares), half, half), dtype=np.float32)
    for z in range(len(squares)):
        plane = table[squares[z] + squares[:, None] + squares]
        planes[z] = resample.T @ plane @ resample
    octant: Grid = (resample.T @ planes.reshape(len(squares), -1)).reshape(half, half, half)
    octant.flags.writeable = False
    return octant


def _even_resampling(points: int, size: int) -> NDArray[np.float64]:
    """Return the `(points // 2 + 1, size // 2 + 1)` matrix from even samples to even samples."""
    lags = np.arange((min(points, size) - 1) // 2 + 1)
    inner = np.cos(2 * np.pi / points * (np.outer(np.arange(points // 2 + 1), lags) % points))
    outer = np.cos(2 * np.pi / size * (np.outer(lags, np.arange(size // 2 + 1)) % size))
    inner[1:] *= 2  # a sample and its mirror image
    outer[1:] *= 2  # a distance and its opposite
    matrix: NDArray[np.float64] = inner @ outer / points
    return matrix


@numba.njit(inline="always")
def columns_inside(kz, ky, radius):  # type: ignore[no-untyped-def]
    """Return how many x = 0, 1, ... of a row lie inside the sphere; not those on it."""
    room = radius * radius - kz * kz - ky * ky
    if room <= 0:
        return 0
    count = int(np.sqrt(np.float64(room)))
    return count if count * count == room else count + 1


@numba.njit(inline="always")
def columns_within(kz, ky, radius):  # type: ignore[no-untyped-def]
    """Return how many x = 0, 1, ... of a row lie inside the sphere or on it."""
    room = radius * radius - kz * kz - ky * ky
    return int(np.sqrt(np.float64(room))) + 1 if room >= 0 else 0


@numba.njit(nogil=True, cache=True)
def _start(density, starts, radius, weights, product, first, size):  # type: ignore[no-untyped-def]
    """Set the weights of planes from `first` on to 1 where there are samples, and the product.

    Far from all samples RELION's weights grow to 1e60, to meet a density of 0; float32 ends before.
    """
    for z in range(product.shape[0]):
        kz = z + first if z + first <= size // 2 else z + first - size
        for y in range(size):
            ky = y if y <= size // 2 else y - size
            line = product[z, y]
            inside = columns_inside(kz, ky, radius)
            if inside:
                start = starts[kz + radius + 1, ky + radius + 1]
            for x in range(inside):
                value = density[start + x]
                weights[start + x] = 1 if value > 0 else 0
                line[x] = value if value > 0 else 0
            line[inside:] = 0


@numba.njit(nogil=True, cache=True)
def _improve(density, starts, radius, weights, planes, first, size):  # type: ignore[no-untyped-def]
    """Divide weights by the convolved product in `planes`, and put the new product there."""
    floor = np.float32(SMALLEST_CONVOLVED)
    for z in range(planes.shape[0]):
        kz = z + first if z + first <= size // 2 else z + first - size
        for y in range(size):
            ky = y if y <= size // 2 else y - size
            line = planes[z, y]
            inside = columns_inside(kz, ky, radius)
            if inside:
                start = starts[kz + radius + 1, ky + radius + 1]
            for x in range(inside):
                weight = weights[start + x] / max(floor, abs(line[x]))
                weights[start + x] = weight
                line[x] = weight * density[start + x]
            line[inside:] = 0


@numba.njit(nogil=True, cache=True)
def _taper(real_space, blob, first):  # type: ignore[no-untyped-def]
    """Multiply lines from `first` on of real space [z, y >= 0, x] by the blob's transform."""
    size = real_space.shape[0]
    for z in range(size):
        for y in range(real_space.shape[1]):
            row, factor = real_space[z, y], blob[min(z, size - z), y + first]
            for x in range(size // 2 + 1):
                row[x] *= factor[x]
            for x in range(size // 2 + 1, size):
                row[x] *= factor[size - x]


def floored_weights(sums: FourierSums, padding: int, threads: int) -> Grid:
    """Return 1 / density, the density not below 1/1000 of the mean of its shell.

    What RELION does when the gridding is skipped; shells are floor(|k| / padding). 0 outside the
    sphere and where a shell is empty; voxels on the sphere count, unlike in the iterations.
    Arguments and result as for `gridding_weights`.
    """
    radius = sums.ball.radius
    planes = np.linspace(-radius, radius + 1, 4 * threads + 5).astype(np.int64)
    shells = np.zeros((2 * radius + 1, radius // padding + 1, 2))
    geometry = (sums.values, sums.ball.starts, radius, padding)
    for_each_slab(partial(_sum_shells, *geometry, shells), planes, threads)
    total, count = shells.sum(axis=0).T
    floor = (SMALLEST_SHARE_OF_MEAN * total / np.maximum(count, 1)).astype(np.float32)
    weights = np.zeros(sums.ball.n_voxels, dtype=np.float32)
    for_each_slab(partial(_invert, *geometry, floor, weights), planes, threads)
    return weights


@numba.njit(nogil=True, cache=True)
def _sum_shells(values, starts, radius, padding, shells, first, last):  # type: ignore[no-untyped-def]
    """Add up sum and number of the voxels of each shell, for each plane on its own."""
    for z in range(first, last):
        for y in range(-radius, radius + 1):
            start = starts[z + radius + 1, y + radius + 1]
            for x in range(columns_within(z, y, radius)):
                shell = int(np.sqrt(np.float64(z * z + y * y + x * x)) / padding)
                shells[z + radius, shell, 0] += values[start + x, 2]
                shells[z + radius, shell, 1] += 1


@numba.njit(nogil=True, cache=True)
def _invert(values, starts, radius, padding, floor, weights, first, last):  # type: ignore[no-untyped-def]
    """Write 1 / density, floored, inside the sphere."""
    for z in range(first, last):
        for y in range(-radius, radius + 1):
            start = starts[z + radius + 1, y + radius + 1]
            for x in range(columns_within(z, y, radius)):
                shell = int(np.sqrt(np.float64(z * z + y * y + x * x)) / padding)
                value = max(values[start + x, 2], floor[shell])
                if value > 0:
                    weights[start + x] = 1 / value
