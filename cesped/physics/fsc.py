"""Fourier shell correlation, the resolution read from it, and Pearson's correlation of maps."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import ArrayLike, NDArray

from ..errors import GeometryError, OptionError

#: Voxels that are transformed at a time: 2 MB in double precision.
_BLOCK_VOXELS = 1 << 18


@dataclass(frozen=True)
class FscCurve:
    """Correlation of two maps by shells of spatial frequency.

    Parameters
    ----------
    frequency_per_angst : `(S,)` float64 [1/angstrom]
        Lower edge of each shell: shell s holds the frequencies s <= |k| < s + 1 in units of
        1 / (N * pixel size), s = 0 to N // 2.
    correlation : `(S,)` float64, between -1 and 1
    pixel_size_angst : float [angstrom per voxel]
    """

    frequency_per_angst: NDArray[np.float64]
    correlation: NDArray[np.float64]
    pixel_size_angst: float


def fsc_curve(
    first: ArrayLike,
    second: ArrayLike,
    pixel_size_angst: float,
    mask: ArrayLike | None = None,
) -> FscCurve:
    """Return the Fourier shell correlation of two maps.

    Parameters
    ----------
    first, second : `(N, N, N)` real arrays
    pixel_size_angst : float [angstrom per voxel]
    mask : `(N, N, N)` real array, optional
        Multiplies both maps before they are transformed.

    Returns
    -------
    FscCurve of N // 2 + 1 shells

    Raises
    ------
    GeometryError
        If the maps or the mask are not cubes of one size.
    OptionError
        If the pixel size is not positive.

    Notes
    -----
    Shells are counted by floor(|k|), as the program published with the CESPED paper does, so
    that figures can be compared to four digits. A shell in which a map has no power at all
    correlates 0: it is evidence of nothing.

    Examples
    --------
    >>> volume = np.random.default_rng(0).normal(size=(16, 16, 16))
    >>> fsc_curve(volume, -volume, 1.5).correlation.round(6).tolist()
    [-1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0]
    """
    if not pixel_size_angst > 0:
        raise OptionError(f"pixel size {pixel_size_angst} was given; it must be positive")
    a, b = _cube("first map", first), _cube("second map", second)
    if a.shape != b.shape:
        raise GeometryError(f"maps of {a.shape} and {b.shape} voxels; give two of one size")
    weights = None if mask is None else _cube("mask", mask)
    if weights is not None and weights.shape != a.shape:
        raise GeometryError(f"mask of {weights.shape} voxels on maps of {a.shape}")
    n = a.shape[0]
    transforms = _transform(a, weights), _transform(b, weights)
    cross, power_a, power_b = _sum_shells(*transforms, _shell_of_square(n))
    scale = np.sqrt(power_a * power_b)
    correlation = np.divide(cross, scale, out=np.zeros_like(cross), where=scale > 0)
    frequency = np.arange(n // 2 + 1) / (n * float(pixel_size_angst))
    return FscCurve(frequency, np.clip(correlation, -1.0, 1.0), float(pixel_size_angst))


def resolution_angst(curve: FscCurve, threshold: float) -> float:
    """Return the resolution at which a curve first falls below `threshold` [angstrom].

    Notes
    -----
    Definition of the program published with the CESPED paper: the first shell below the
    threshold, then linear interpolation in frequency between it and the shell before; the last
    shell (Nyquist) where the curve never falls below. Two cases in which that program gives
    negative or infinite values are settled here. Shell 0 is the mean density alone, whose
    correlation is a sign and says nothing of resolution: it counts as 1. So a curve that is low
    from shell 1 on gives a value larger than the box.

    Examples
    --------
    >>> curve = FscCurve(np.array([0.0, 0.1, 0.2, 0.3]), np.array([1.0, 0.9, 0.1, 0.0]), 1.6)
    >>> round(resolution_angst(curve, 0.5), 3)
    6.667
    """
    frequency = curve.frequency_per_angst
    correlation = np.concatenate([[1.0], curve.correlation[1:]])
    below = np.flatnonzero(correlation < threshold)
    if below.size == 0:
        return float(1 / frequency[-1])
    if below[0] == 0:
        raise OptionError(f"FSC threshold {threshold} was given; it must be at most 1")
    low, high = below[0] - 1, below[0]
    fraction = (correlation[low] - threshold) / (correlation[low] - correlation[high])
    crossing = frequency[low] + fraction * (frequency[high] - frequency[low])
    # A first shell at exactly 0 below a threshold of 1 would put the crossing at frequency 0.
    return float(1 / max(crossing, 1e-3 * frequency[1]))


def pearson(first: ArrayLike, second: ArrayLike, mask: ArrayLike | None = None) -> float:
    """Return Pearson's correlation coefficient of two maps.

    Parameters
    ----------
    first, second : real arrays of one shape
    mask : array of the same shape, optional
        Multiplies both maps; all voxels count afterwards, those outside the mask as zeros. That
        is the paper's masked correlation.

    Returns
    -------
    float between -1 and 1, computed in float64; 0 when a map is constant

    Raises
    ------
    GeometryError
        If the shapes differ.
    """
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape or (mask is not None and np.shape(mask) != a.shape):
        shapes = [a.shape, b.shape] + ([] if mask is None else [np.shape(mask)])
        raise GeometryError(f"arrays of different shapes cannot be correlated: {shapes}")
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    if mask is not None:
        weights = np.asarray(mask, dtype=np.float64).ravel()
        a *= weights
        b *= weights
    a -= a.mean()
    b -= b.mean()
    scale = float(np.sqrt(np.dot(a, a) * np.dot(b, b)))
    return float(np.clip(np.dot(a, b) / scale, -1, 1)) if scale > 0 else 0.0


def _cube(what: str, volume: ArrayLike) -> NDArray[Any]:
    array = np.asarray(volume)
    if array.ndim != 3 or len(set(array.shape)) != 1 or array.shape[0] < 2:
        raise GeometryError(f"{what} has shape {array.shape}; a cube (N, N, N) is needed")
    return array


def _transform(volume: NDArray[Any], mask: NDArray[Any] | None) -> NDArray[np.complex128]:
    """Return the half transform of a map; where the origin lies does not matter here.

    In single precision the rounding of a transform is spread evenly over frequencies, and would
    outweigh the shells of a smooth map that hold a millionth of its power. A few planes at a time
    go through it, so that no other copy of the map in double precision is held.
    """
    n = volume.shape[0]
    transform = np.empty((n, n, n // 2 + 1), np.complex128)
    step = max(1, _BLOCK_VOXELS // n**2)
    for start in range(0, n, step):
        block = slice(start, start + step)
        planes = volume[block].astype(np.float64)
        if mask is not None:
            planes *= mask[block]
        transform[block] = torch.fft.rfft2(torch.from_numpy(planes)).numpy()
    for start in range(0, n, step):
        rows = transform[:, start : start + step]
        rows[:] = torch.fft.fft(torch.from_numpy(rows), dim=0).numpy()
    return transform


def _shell_of_square(n: int) -> NDArray[np.int64]:
    """Return floor(|k|) for each integer |k|^2 that occurs in a cube of `n` voxels."""
    return np.sqrt(np.arange(3 * (n // 2) ** 2 + 1)).astype(np.int64)


@njit(nogil=True, cache=True)
def _sum_shells(
    a: np.ndarray, b: np.ndarray, shell_of_square: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # pragma: no cover - compiled
    """Sum a * conj(b), |a|^2 and |b|^2 by shells over the full space of two half spaces."""
    n = a.shape[0]
    shells = n // 2 + 1
    sums = np.zeros((3, shells))
    for z in range(n):
        kz = z if z <= n // 2 else z - n
        for y in range(n):
            ky = y if y <= n // 2 else y - n
            square = kz * kz + ky * ky
            for x in range(n // 2 + 1):
                shell = shell_of_square[square + x * x]
                if shell >= shells:
                    break
                # All but the self-conjugate columns stand for two samples of the full space.
                copies = 1.0 if x == 0 or 2 * x == n else 2.0
                p = a[z, y, x]
                q = b[z, y, x]
                sums[0, shell] += copies * (p.real * q.real + p.imag * q.imag)
                sums[1, shell] += copies * (p.real * p.real + p.imag * p.imag)
                sums[2, shell] += copies * (q.real * q.real + q.imag * q.imag)
    return sums[0], sums[1], sums[2]
