"""Inner products of maps, shell by shell of Fourier space: what FSC and correlations are made of.

A map is transformed once, however many others it is compared with; and since a transform is
linear, so are means of maps, which need no transform of their own.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import scipy.fft
from numba import njit
from numpy.typing import ArrayLike, NDArray

from ..errors import GeometryError
from .insertion import for_each_slab

FloatArray = NDArray[np.float64]

#: Voxels that are transformed at a time: 2 MB in double precision.
_BLOCK_VOXELS = 1 << 18
#: Power of a map over that of its mean below which the map is constant, but for rounding.
_CONSTANT = 1e-28


@dataclass(frozen=True)
class ShellProducts:
    """Inner products of `K` maps in Fourier space.

    Parameters
    ----------
    by_shell : `(S + 1, K, K)` float64: sum of F_i conj(F_j) over s <= |k| < s + 1, s = 0 to N // 2;
        beyond it last, the corners
    """

    by_shell: FloatArray

    def correlation(self, first: ArrayLike, second: ArrayLike) -> FloatArray:
        """Return the correlation `(S,)` of two maps in each shell, -1 to 1.

        A shell in which a map has no power at all correlates 0: it is evidence of nothing.

        Parameters
        ----------
        first, second : `(K,)` each: what the two are the sum of
        """
        shells = self.by_shell[:-1]
        cross, scale = _cross_and_scale(shells, np.asarray(first), np.asarray(second))
        found = np.divide(cross, scale, out=np.zeros_like(cross), where=scale > 0)
        clipped: FloatArray = np.clip(found, -1.0, 1.0)
        return clipped

    def pearson(self, first: ArrayLike, second: ArrayLike) -> float:
        """Return Pearson's correlation of two maps over all voxels, by Parseval's theorem.

        It is 0 if one of them is constant. Parameters are those of `correlation`.
        """
        a, b = np.asarray(first), np.asarray(second)
        whole = self.by_shell[1:].sum(axis=0)
        cross, scale = _cross_and_scale(whole, a, b)
        for map_ in (a, b):
            if map_ @ whole @ map_ <= _CONSTANT * (map_ @ self.by_shell[0] @ map_):
                return 0.0
        return float(np.clip(cross / scale, -1.0, 1.0))


def _cross_and_scale(products: FloatArray, a: FloatArray, b: FloatArray) -> tuple[Any, Any]:
    power_a, power_b = (np.maximum((products @ one) @ one, 0) for one in (a, b))
    return (products @ b) @ a, np.sqrt(power_a * power_b)


class MapSpectra:
    """The transforms of several maps of one size, each multiplied by one mask.

    Parameters
    ----------
    count : how many maps
    n : voxels along an edge; a map takes 8 n^2 (n + 2) bytes
    mask : `(n, n, n)`, multiplies every map; None for the maps as they are
    threads : threads to use

    Raises
    ------
    GeometryError
        If the mask is of another size.
    """

    def __init__(self, count: int, n: int, mask: ArrayLike | None = None, threads: int = 1) -> None:
        self._mask = None if mask is None else cube("mask", mask)
        if self._mask is not None and len(self._mask) != n:
            raise GeometryError(f"mask of {self._mask.shape} voxels on maps of {(n,) * 3}")
        self._threads = threads
        self._transforms = np.empty((count, n, n, n // 2 + 1), np.complex128)

    def put(self, place: int, volume: ArrayLike) -> None:
        """Transform a map `(n, n, n)`; where its origin lies does not matter.

        Raises
        ------
        GeometryError
            If it is of another size.

        Notes
        -----
        In single precision the rounding of a transform is spread evenly over frequencies, and
        would outweigh the shells of a smooth map that hold a millionth of its power. A few planes
        at a time go through it, so that no other copy of the map in double precision is held.
        """
        values, mask = cube("map", volume), self._mask
        transform = self._transforms[place]
        n = len(transform)
        if len(values) != n:
            raise GeometryError(
                f"maps of {(n,) * 3} and {values.shape} voxels; give two of one size"
            )
        step = max(1, _BLOCK_VOXELS // n**2)
        bounds = np.append(np.arange(0, n, step), n)

        def planes(first: int, last: int) -> None:
            block = values[first:last].astype(np.float64)
            if mask is not None:
                block *= mask[first:last]
            transform[first:last] = scipy.fft.rfft2(block, overwrite_x=True)

        def lines(first: int, last: int) -> None:
            rows = transform[:, first:last]
            rows[:] = scipy.fft.fft(rows, axis=0)

        for_each_slab(planes, bounds, self._threads)
        for_each_slab(lines, bounds, self._threads)

    def products(self, count: int | None = None) -> ShellProducts:
        """Return the inner products of the maps that were put; of the first `count` of them."""
        transforms = self._transforms[:count]
        count, n = transforms.shape[:2]
        shell_of_square = np.sqrt(np.arange(3 * (n // 2) ** 2 + 1)).astype(np.int64)
        sums = np.zeros((n, n // 2 + 2, count, count))
        bounds = np.linspace(0, n, min(n, 4 * self._threads) + 1).astype(np.int64)
        work = partial(_add_products, transforms, shell_of_square, sums)
        for_each_slab(work, bounds, self._threads)
        upper = sums.sum(axis=0)
        return ShellProducts(upper + np.triu(upper, 1).swapaxes(1, 2))


def cube(what: str, volume: ArrayLike) -> NDArray[Any]:
    """Return a map as an array; raise GeometryError unless it is a cube of at least 2 voxels."""
    array = np.asarray(volume)
    if array.ndim != 3 or len(set(array.shape)) != 1 or array.shape[0] < 2:
        raise GeometryError(f"{what} has shape {array.shape}; a cube (N, N, N) is needed")
    return array


@njit(nogil=True, cache=True)
def _add_products(transforms, shell_of_square, sums, first, last):  # type: ignore[no-untyped-def]
    """Add F_i conj(F_j), i <= j, over the full space of planes `first <= z < last`, each apart."""
    count, n = transforms.shape[0], transforms.shape[1]
    corners = n // 2 + 1
    real, imag = np.empty(count), np.empty(count)
    for z in range(first, last):
        kz = z if z <= n // 2 else z - n
        for y in range(n):
            ky = y if y <= n // 2 else y - n
            square = kz * kz + ky * ky
            for x in range(n // 2 + 1):
                into = sums[z, min(shell_of_square[square + x * x], corners)]
                # All but the self-conjugate columns stand for two samples of the full space.
                copies = 1.0 if x == 0 or 2 * x == n else 2.0
                for i in range(count):
                    value = transforms[i, z, y, x]
                    real[i], imag[i] = value.real, value.imag
                for i in range(count):
                    for j in range(i, count):
                        into[i, j] += copies * (real[i] * real[j] + imag[i] * imag[j])
