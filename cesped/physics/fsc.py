"""Fourier shell correlation, the resolution read from it, and Pearson's correlation of maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import GeometryError, OptionError

if TYPE_CHECKING:
    from .shell_products import ShellProducts


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
    from .shell_products import MapSpectra, cube  # compiled code; curves alone need none

    check_pixel_size(pixel_size_angst)
    a = cube("first map", first)
    spectra = MapSpectra(2, len(a), mask)
    spectra.put(0, a)
    spectra.put(1, cube("second map", second))
    return curve_of(spectra.products(), (1, 0), (0, 1), len(a), pixel_size_angst)


def check_pixel_size(pixel_size_angst: float) -> None:
    """Raise OptionError unless a pixel has a size."""
    if not pixel_size_angst > 0:
        raise OptionError(f"pixel size {pixel_size_angst} was given; it must be positive")


def curve_of(
    products: ShellProducts, first: ArrayLike, second: ArrayLike, n: int, pixel_size_angst: float
) -> FscCurve:
    """Return the curve of two of the maps, or sums of them, whose products are known.

    Parameters
    ----------
    products : of `K` maps of `n` voxels along an edge
    first, second : `(K,)` each: what the two are the sum of
    pixel_size_angst : [angstrom per voxel]
    """
    frequency = np.arange(n // 2 + 1) / (n * float(pixel_size_angst))
    return FscCurve(frequency, products.correlation(first, second), float(pixel_size_angst))


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
