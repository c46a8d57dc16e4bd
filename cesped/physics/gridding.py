"""From an accumulated Fourier grid to a map, as RELION 3.1 does it.

The weights of the gridding iterations (Matej & Lewitt, IEEE Trans. Nucl. Sci. 48, 1361, 2001;
Scheres, J. Struct. Biol. 180, 519, 2012) undo the uneven density of the samples.
"""

from functools import partial

import numba
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from .insertion import MIN_SLABS, Accumulator, accumulator_radius, for_each_slab

#: RELION's Kaiser-Bessel blob: radius in voxels of the unpadded grid, and shape; its order is 0.
BLOB_RADIUS_PX = 1.9
BLOB_ALPHA = 15.0
GRIDDING_ITERATIONS = 10

_SMALLEST_CONVOLVED = 1e-6
_SMALLEST_SHARE_OF_MEAN = 1e-3
_MASK_EDGE_PX = 3.0

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


def gridding_weights(density: Grid, radius: int, padding: int, threads: int) -> Grid:
    """Return the weights that make the sampling density even: ten fixed-point iterations.

    Parameters
    ----------
    density : `(M, M, M // 2 + 1)` denominator [z, y, x], FFT layout, equal at k and -k
    radius : of the sphere to be evened [voxels]; weights are 0 from there on
    padding : size of the grid over the size of the box
    threads : threads to use

    Notes
    -----
    w <- w / max(1e-6, |blob * (w density)|). Both factors are real and equal at k and -k, so their
    transform is real and even as well. It is therefore taken on half of real space: along y real to
    half-complex, along z complex, and along x, where the half-planes x >= 0 already are the
    half-complex form of the whole, back to real. That is half of the work of a real FFT.
    RELION convolves on a grid of 2 radius + 3 voxels, a slow size: here the same blob is sampled at
    as many points as the map has, which changes it by less than 1e-4.
    """
    size = density.shape[0]
    bounds = np.linspace(0, size, max(MIN_SLABS, 4 * threads) + 1).astype(np.int64)
    blob = _blob_octant(size, 2 * radius + 3, padding)
    product = np.empty_like(density)
    weights = np.empty_like(density)
    for_each_slab(partial(_start, density, weights, product, radius), bounds, threads)
    for _ in range(GRIDDING_ITERATIONS):
        convolved = _convolve(product, blob, bounds, threads)
        improve = partial(_improve, density, convolved, weights, product)
        for_each_slab(improve, bounds, threads)
    return weights


def _convolve(product: Grid, blob: Grid, bounds: NDArray[np.int64], threads: int) -> Grid:
    """Return the centrosymmetric half grid convolved with the blob."""
    size = product.shape[0]
    rows = scipy.fft.rfft(product, axis=1, workers=threads)
    rows = scipy.fft.fft(rows, axis=0, workers=threads, overwrite_x=True)
    real_space = scipy.fft.irfft(rows, n=size, axis=2, workers=threads, overwrite_x=True)
    for_each_slab(partial(_taper, real_space, blob), bounds, threads)
    rows = scipy.fft.rfft(real_space, axis=2, workers=threads)
    rows = scipy.fft.ifft(rows, axis=0, workers=threads, overwrite_x=True)
    convolved: Grid = scipy.fft.irfft(rows, n=size, axis=1, workers=threads, overwrite_x=True)
    return convolved


def _blob_octant(size: int, points: int, padding: int) -> Grid:
    """Return the blob's transform for x, y, z = 0 .. size // 2: the other octants mirror it.

    `size` voxels span what `points` voxels span in RELION.
    """
    axis = np.arange(size // 2 + 1) ** 2
    squares = np.arange(3 * (size // 2) ** 2 + 1)
    table = blob_profile(np.sqrt(squares) * points / size, size, padding).astype(np.float32)
    octant: Grid = table[axis[:, None, None] + axis[:, None] + axis]
    return octant


@numba.njit(nogil=True, cache=True)
def _start(density, weights, product, radius, first, last):  # type: ignore[no-untyped-def]
    """Set the weights to 1 where there are samples inside the sphere, and the product with them.

    Far from all samples RELION's weights grow to 1e60, to meet a density of 0; float32 ends before.
    """
    size = density.shape[0]
    for z in range(first, last):
        kz = z if z <= size // 2 else z - size
        for y in range(size):
            ky = y if y <= size // 2 else y - size
            for x in range(density.shape[2]):
                inside = kz * kz + ky * ky + x * x < radius * radius
                sampled = inside and density[z, y, x] > 0
                weights[z, y, x] = 1 if sampled else 0
                product[z, y, x] = density[z, y, x] if sampled else 0


@numba.njit(nogil=True, cache=True)
def _improve(density, convolved, weights, product, first, last):  # type: ignore[no-untyped-def]
    """Divide the weights by the convolved product, and renew the product."""
    floor = np.float32(_SMALLEST_CONVOLVED)
    for z in range(first, last):
        for y in range(density.shape[1]):
            for x in range(density.shape[2]):
                weight = weights[z, y, x] / max(floor, abs(convolved[z, y, x]))
                weights[z, y, x] = weight
                product[z, y, x] = weight * density[z, y, x]


@numba.njit(nogil=True, cache=True)
def _taper(real_space, blob, first, last):  # type: ignore[no-untyped-def]
    """Multiply real space [z, y >= 0, x] by the octant of the blob's transform."""
    size = real_space.shape[0]
    for z in range(first, last):
        for y in range(real_space.shape[1]):
            row, factor = real_space[z, y], blob[min(z, size - z), y]
            for x in range(size):
                row[x] *= factor[min(x, size - x)]


def floored_weights(density: Grid, radius: int, padding: int, threads: int) -> Grid:
    """Return 1 / density, the density not below 1/1000 of the mean of its shell.

    What RELION does when the gridding is skipped; shells are floor(|k| / padding). 0 outside the
    sphere of `radius` and where a shell is empty. Arguments as for `gridding_weights`.
    """
    size = density.shape[0]
    bounds = np.linspace(0, size, max(MIN_SLABS, 4 * threads) + 1).astype(np.int64)
    sums = np.zeros((size, radius // padding + 1, 2))
    for_each_slab(partial(_sum_shells, density, sums, radius, padding), bounds, threads)
    total, count = sums.sum(axis=0).T
    floor = (_SMALLEST_SHARE_OF_MEAN * total / np.maximum(count, 1)).astype(np.float32)
    weights = np.zeros_like(density)
    for_each_slab(partial(_invert, density, weights, floor, radius, padding), bounds, threads)
    return weights


@numba.njit(nogil=True, cache=True)
def _sum_shells(density, sums, radius, padding, first, last):  # type: ignore[no-untyped-def]
    """Add up sum and number of the voxels of each shell, for each plane on its own."""
    size = density.shape[0]
    for z in range(first, last):
        kz = z if z <= size // 2 else z - size
        for y in range(size):
            ky = y if y <= size // 2 else y - size
            for x in range(density.shape[2]):
                square = kz * kz + ky * ky + x * x
                if square >= radius * radius:
                    break
                shell = int(np.sqrt(square) / padding)
                sums[z, shell, 0] += density[z, y, x]
                sums[z, shell, 1] += 1


@numba.njit(nogil=True, cache=True)
def _invert(density, weights, floor, radius, padding, first, last):  # type: ignore[no-untyped-def]
    """Write 1 / density, floored, inside the sphere."""
    size = density.shape[0]
    for z in range(first, last):
        kz = z if z <= size // 2 else z - size
        for y in range(size):
            ky = y if y <= size // 2 else y - size
            for x in range(density.shape[2]):
                square = kz * kz + ky * ky + x * x
                if square >= radius * radius:
                    break
                value = max(density[z, y, x], floor[int(np.sqrt(square) / padding)])
                if value > 0:
                    weights[z, y, x] = 1 / value


def weighted_map(
    accumulator: Accumulator, box: int, padding: int, gridding: bool, threads: int
) -> NDArray[np.float32]:
    """Return the `(box, box, box)` map of a whole (`cesped.physics.grid_symmetry`) accumulator.

    The map is masked softly outside the sphere of radius box / 2, towards the mean of what is
    outside, and divided by sinc^2, the transform of the trilinear spreading.
    """
    size = padding * box
    radius = accumulator_radius(box, padding)
    bounds = np.linspace(0, size, max(MIN_SLABS, 4 * threads) + 1).astype(np.int64)
    density = np.empty((size, size, size // 2 + 1), dtype=np.float32)
    for_each_slab(partial(_gather_density, accumulator, density, radius), bounds, threads)
    if gridding:
        weights = gridding_weights(density, radius, padding, threads)
    else:
        weights = floored_weights(density, radius, padding, threads)
    grid = np.empty(density.shape, dtype=np.complex64)
    del density  # one grid less beside the transforms
    for_each_slab(partial(_gather_weighted, accumulator, weights, grid, radius), bounds, threads)
    grid[0, 0, 0] = 0  # RELION's maps have no mean of their own; the density of the origin counts
    volume = _central_box(grid, box, size, threads)
    radius_px = _distance_px(box)
    mask_outside(volume, radius_px)
    volume /= np.sinc(radius_px / size).astype(np.float32) ** 2
    return volume


@numba.njit(nogil=True, cache=True)
def _gather_density(accumulator, density, radius, first, last):  # type: ignore[no-untyped-def]
    """Copy the denominator from the centred grid into rows `first <= z < last`, FFT layout."""
    size, centre = density.shape[0], (accumulator.shape[0] - 1) // 2
    for z in range(first, last):
        kz = z if z <= size // 2 else z - size
        for y in range(size):
            ky = y if y <= size // 2 else y - size
            for x in range(density.shape[2]):
                if kz * kz + ky * ky + x * x < radius * radius:
                    density[z, y, x] = accumulator[kz + centre, ky + centre, x, 2]
                else:
                    density[z, y, x] = 0


@numba.njit(nogil=True, cache=True)
def _gather_weighted(accumulator, weights, grid, radius, first, last):  # type: ignore[no-untyped-def]
    """Copy the numerator times the weights from the centred grid, FFT layout."""
    size, centre = grid.shape[0], (accumulator.shape[0] - 1) // 2
    for z in range(first, last):
        kz = z if z <= size // 2 else z - size
        for y in range(size):
            ky = y if y <= size // 2 else y - size
            for x in range(grid.shape[2]):
                if kz * kz + ky * ky + x * x < radius * radius:
                    voxel = accumulator[kz + centre, ky + centre, x]
                    weight = weights[z, y, x]
                    grid[z, y, x] = complex(weight * voxel[0], weight * voxel[1])
                else:
                    grid[z, y, x] = 0


def _central_box(
    grid: NDArray[np.complex64], box: int, size: int, threads: int
) -> NDArray[np.float32]:
    """Return the inverse transform, origin at voxel box // 2, computed only where it is kept."""
    kept = np.arange(-(box // 2), box - box // 2)
    planes = scipy.fft.ifft(grid, axis=0, workers=threads, overwrite_x=True)[kept]
    rows = scipy.fft.ifft(planes, axis=1, workers=threads, overwrite_x=True)[:, kept]
    volume = scipy.fft.irfft(rows, n=size, axis=2, workers=threads, overwrite_x=True)
    return np.ascontiguousarray(volume[:, :, kept], dtype=np.float32)


def _distance_px(box: int) -> NDArray[np.float32]:
    """Return the distance of each voxel of a box from its origin."""
    axis = (np.arange(box, dtype=np.float32) - box // 2) ** 2
    distance: NDArray[np.float32] = np.sqrt(axis[:, None, None] + axis[:, None] + axis)
    return distance


def mask_outside(volume: NDArray[np.float32], distance_px: NDArray[np.float32]) -> None:
    """Replace what lies outside the sphere of half the box by its mean, in place.

    The edge is a cosine of 3 voxels outside that radius, and weighs the voxels of the mean too.
    """
    inner = volume.shape[0] // 2
    outer = inner + _MASK_EDGE_PX
    edge = 0.5 + 0.5 * np.cos(np.pi * (outer - distance_px) / _MASK_EDGE_PX)
    background = np.where(distance_px < inner, 0, np.where(distance_px > outer, 1, edge))
    mean = (volume * background).sum(dtype=np.float64) / background.sum(dtype=np.float64)
    volume += background.astype(np.float32) * (np.float32(mean) - volume)
