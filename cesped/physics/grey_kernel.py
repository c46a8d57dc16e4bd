"""Compiled statistics of the background of images, and their normalisation by them."""

import numpy as np
from numba import njit

#: Sums may be taken in any order, which lets the compiler use vector instructions.
_ANY_ORDER = {"reassoc", "contract", "nsz"}


@njit(nogil=True, cache=True, fastmath=_ANY_ORDER)
def background_statistics(
    images: np.ndarray, left: np.ndarray, right: np.ndarray, out: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Write mean and deviation of the pixels beside `left` and `right` of each row.

    Parameters
    ----------
    images : `(B, n, n)` float32
    left, right : `(n,)` integers: columns `0 to left - 1` and `right to n - 1` are background
    out : `(2, B)` float32

    Notes
    -----
    Lines are summed in float32 and images in float64. The squares are those of the differences
    from the mean: an offset of the grey values costs no digits.
    """
    n = images.shape[1]
    count = 0
    for row in range(n):
        count += left[row] + n - right[row]
    for image in range(images.shape[0]):
        total = 0.0
        for row in range(n):
            line = images[image, row]
            part = np.float32(0)
            for column in range(left[row]):
                part += line[column]
            for column in range(right[row], n):
                part += line[column]
            total += float(part)
        mean = np.float32(total / count)
        squares = 0.0
        for row in range(n):
            line = images[image, row]
            part = np.float32(0)
            for column in range(left[row]):
                part += (line[column] - mean) * (line[column] - mean)
            for column in range(right[row], n):
                part += (line[column] - mean) * (line[column] - mean)
            squares += float(part)
        out[0, image] = mean
        out[1, image] = np.sqrt(squares / (count - 1))


@njit(nogil=True, cache=True)
def grey_range(bits: np.ndarray, out: np.ndarray) -> None:  # pragma: no cover - compiled
    """Write the lowest and highest grey value of each image; NaN where an image has NaN.

    Parameters
    ----------
    bits : `(B, N)` float32 seen as int32
    out : `(2, B)` int32: the bits of the results

    Notes
    -----
    The bits of floats, read as integers, are in the order of the floats once those of negative
    ones are turned around, and NaN comes beyond infinity: one pass of integer comparisons, of
    which the compiler makes vector instructions, where floats would need care for NaN.
    """
    magnitude = np.int32(0x7FFFFFFF)
    for image in range(len(bits)):
        line = bits[image]
        lowest, highest = magnitude, np.int32(-0x80000000)
        for place in range(line.size):
            key = line[place] ^ ((line[place] >> np.int32(31)) & magnitude)
            lowest, highest = min(lowest, key), max(highest, key)
        out[0, image] = lowest ^ ((lowest >> np.int32(31)) & magnitude)
        out[1, image] = highest ^ ((highest >> np.int32(31)) & magnitude)


@njit(nogil=True, cache=True, error_model="numpy")
def normalise_window(
    images: np.ndarray, mean: np.ndarray, deviation: np.ndarray, start: int, out: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Write a window of images, less `mean` and divided by `deviation`.

    Parameters
    ----------
    images : `(B, n, n)` float32
    mean, deviation : `(B,)` float32
    start : first row and column of the window
    out : `(B, size, size)` float32
    """
    size = out.shape[1]
    for image in range(len(images)):
        offset, factor = mean[image], np.float32(1) / deviation[image]
        for row in range(size):
            source, target = images[image, start + row], out[image, row]
            for column in range(size):
                target[column] = (source[start + column] - offset) * factor
