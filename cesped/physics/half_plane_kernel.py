"""Compiled moves of Fourier samples on the CPU: what lies between two transforms of an image.

Between them half planes are kept by columns, `(B, m, n)`: each of m columns, kx from 0 on, is
contiguous. The samples are complex64, and most of the work is to carry them from one place of the
memory to another without leaving the cache.
"""

import numpy as np
from numba import njit

#: Samples along each side of the square tiles that are turned over one after the other: eight
#: are one line of the cache, two lines keep its ways free of conflicts for sides of 2^k.
_TILE = 16


@njit(nogil=True, cache=True)
def columns_to_rows(columns: np.ndarray, rows: np.ndarray) -> None:  # pragma: no cover - compiled
    """Write columns as rows, and zeros in the columns that are not given.

    Parameters
    ----------
    columns : `(B, m, n)` complex64 seen as uint64
    rows : `(B, n, n // 2 + 1)` likewise, with m at most n // 2 + 1

    Notes
    -----
    The Nyquist column of even n loses its imaginary part, as the transform to real numbers asks.
    """
    real_part = np.uint64(0x00000000FFFFFFFF)
    has_nyquist = rows.shape[1] % 2 == 0 and columns.shape[1] == rows.shape[2]
    count, m, n = columns.shape
    width = rows.shape[2]
    zero = np.uint64(0)
    for image in range(count):
        source, target = columns[image], rows[image]
        for first_row in range(0, n, _TILE):
            last_row = min(first_row + _TILE, n)
            for first in range(0, m, _TILE):
                last = min(first + _TILE, m)
                for row in range(first_row, last_row):
                    for column in range(first, last):
                        target[row, column] = source[column, row]
            for row in range(first_row, last_row):
                for column in range(m, width):
                    target[row, column] = zero
                if has_nyquist:
                    target[row, width - 1] &= real_part


@njit(nogil=True, cache=True)
def resize_columns(columns: np.ndarray, resized: np.ndarray) -> None:  # pragma: no cover - compiled
    """Cut the columns of half planes, or widen them with zeros.

    Parameters
    ----------
    columns : `(B, m, n)` complex64, from images of n pixels
    resized : `(B, k // 2 + 1, size)` complex64 for images of `size` pixels, k being the smaller
        of n and `size`

    Notes
    -----
    With even k, the samples at the edge of the band are those of +k/2 and -k/2 at once; see
    `cesped.physics.resampling.resize_band_limited`.
    """
    count, n = columns.shape[0], columns.shape[2]
    n_columns, size = resized.shape[1], resized.shape[2]
    kept = min(n, size)
    n_positive, n_negative, edge = (kept + 1) // 2, (kept - 1) // 2, kept // 2
    half = np.float32(0.5)
    zero = np.complex64(0)
    for image in range(count):
        for column in range(n_columns):
            source, target = columns[image, column], resized[image, column]
            for row in range(n_positive):
                target[row] = source[row]
            for row in range(n_positive, size - n_negative):
                target[row] = zero
            for row in range(1, n_negative + 1):
                target[size - row] = source[n - row]
            if kept % 2:
                continue
            if size < n:
                target[edge] = half * (source[edge] + source[n - edge])
            else:
                target[edge] = half * source[edge]
                target[size - edge] = target[edge]
                if column == edge:
                    for row in range(size):
                        target[row] *= half
