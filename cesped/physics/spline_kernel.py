"""Compiled cubic B-spline interpolation of images on one core.

A spline through the pixels is a sum of B-splines whose coefficients follow from the pixels by a
recursion (M. Unser, IEEE Signal Processing Magazine 16 (1999) 22, boxes 2 and 3). Images go on
beyond their edges by reflection about the centres of the edge pixels, as scipy.ndimage's "mirror".
"""

import numpy as np
from numba import njit

#: The pole of the cubic spline's inverse filter.
POLE = float(np.sqrt(3.0) - 2.0)

#: Pixels on either side that a coefficient depends on; what is left out is 6e-7 of it.
REACH = 10

# Columns are filtered by recursion, which is vectorised over x; rows by the recursion's impulse
# response, cut at REACH, because a recursion along x cannot be.
_TAPS = (-6 * POLE / (1 - POLE**2) * POLE ** np.arange(REACH + 1)).astype(np.float32)
_POLE = np.float32(POLE)
_GAIN = np.float32(-6 * POLE)
_EDGE = np.float32(6 * POLE / (POLE**2 - 1))

_ONE, _HALF = np.float32(1.0), np.float32(0.5)
_TWO_THIRDS, _SIXTH = np.float32(2 / 3), np.float32(1 / 6)


@njit(nogil=True, cache=True)
def _mirrored(index: int, n: int) -> int:  # pragma: no cover - compiled
    """Return the pixel, within 0 to n - 1, that position `index` shows."""
    period = 2 * n - 2
    index = abs(index) % period
    return period - index if index >= n else index


@njit(nogil=True, cache=True, fastmath={"contract"})
def _filter_columns(image: np.ndarray, out: np.ndarray) -> None:  # pragma: no cover - compiled
    """Write the coefficients of each column of `image` `(n, n)` into `out` `(n, n)`."""
    n, width = image.shape
    first = out[0]
    first[:] = image[0]
    power = _POLE
    for y in range(1, 2 * REACH):
        line = image[_mirrored(y, n)]
        for x in range(width):
            first[x] += power * line[x]
        power *= _POLE
    for y in range(1, n):
        line, before, now = image[y], out[y - 1], out[y]
        for x in range(width):
            now[x] = line[x] + _POLE * before[x]
    before, now = out[n - 2], out[n - 1]
    for x in range(width):
        now[x] = _EDGE * (now[x] + _POLE * before[x])
    for y in range(n - 2, -1, -1):
        now, after = out[y], out[y + 1]
        for x in range(width):
            now[x] = _POLE * after[x] + _GAIN * now[x]


@njit(nogil=True, cache=True, fastmath={"contract"})
def _filter_rows(
    columns: np.ndarray, line: np.ndarray, margin: int, padded: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Filter the rows of `columns` `(n, n)` into `padded`, rows `margin` to `margin + n`."""
    n = columns.shape[0]
    left = margin + REACH
    before = np.empty(left, np.int64)
    behind = np.empty(left, np.int64)
    for x in range(left):
        before[x] = _mirrored(x - left, n)
        behind[x] = _mirrored(n + x, n)
    for y in range(n):
        source = columns[y]
        line[left : left + n] = source
        for x in range(left):
            line[x] = source[before[x]]
            line[left + n + x] = source[behind[x]]
        out = padded[margin + y]
        for x in range(n + 2 * margin):
            at = REACH + x
            total = _TAPS[0] * line[at]
            for k in range(1, REACH + 1):
                total += _TAPS[k] * (line[at - k] + line[at + k])
            out[x] = total


@njit(nogil=True, cache=True)
def _copy_rows(
    coefficients: np.ndarray, margin: int, padded: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Copy the rows of `coefficients` `(n, n)` as `_filter_rows` writes them."""
    n = coefficients.shape[0]
    for y in range(n):
        source, out = coefficients[y], padded[margin + y]
        out[margin : margin + n] = source
        for x in range(margin):
            out[x] = source[_mirrored(x - margin, n)]
            out[margin + n + x] = source[_mirrored(n + x, n)]


@njit(nogil=True, cache=True)
def _reflect_rows(n: int, margin: int, padded: np.ndarray) -> None:  # pragma: no cover - compiled
    """Fill the rows of `padded` above and below the `n` in its middle."""
    for y in range(margin):
        padded[y] = padded[margin + _mirrored(y - margin, n)]
        padded[margin + n + y] = padded[margin + _mirrored(n + y, n)]


@njit(nogil=True, cache=True, fastmath={"contract"})
def _weigh(
    place: np.ndarray, y: int, stride: int, weights: np.ndarray, corners: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Find, for each pixel of line `y`, its first coefficient and the weights along x and y."""
    x0 = place[1] * y + place[2]
    y0 = place[4] * y + place[5]
    for x in range(corners.shape[0]):
        at_x = x0 + place[0] * x
        at_y = y0 + place[3] * x
        column = np.int32(at_x)  # positions are positive: truncation is the floor
        row = np.int32(at_y)
        corners[x] = (row - np.int32(1)) * np.int32(stride) + (column - np.int32(1))
        t = np.float32(at_x - column)
        s = _ONE - t
        weights[0, x] = s * s * s * _SIXTH
        weights[1, x] = _TWO_THIRDS + t * t * (_HALF * t - _ONE)
        weights[2, x] = _TWO_THIRDS + s * s * (_HALF * s - _ONE)
        weights[3, x] = t * t * t * _SIXTH
        t = np.float32(at_y - row)
        s = _ONE - t
        weights[4, x] = s * s * s * _SIXTH
        weights[5, x] = _TWO_THIRDS + t * t * (_HALF * t - _ONE)
        weights[6, x] = _TWO_THIRDS + s * s * (_HALF * s - _ONE)
        weights[7, x] = t * t * t * _SIXTH


@njit(nogil=True, cache=True, fastmath={"contract"})
def _sample_line(
    flat: np.ndarray, stride: int, weights: np.ndarray, corners: np.ndarray, line: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Write the weighted sums of 4 x 4 coefficients of `flat` into `line` `(m,)`."""
    # Unsigned indices: numba looks for negative ones otherwise, which costs half of the time.
    u1, u2, u3, step = np.uintp(1), np.uintp(2), np.uintp(3), np.uintp(stride)
    for x in range(line.shape[0]):
        i = np.uintp(corners[x])
        j = i + step
        k = j + step
        m = k + step
        a, b, c, d = weights[4, x], weights[5, x], weights[6, x], weights[7, x]
        p0 = a * flat[i] + b * flat[j] + c * flat[k] + d * flat[m]
        p1 = a * flat[i + u1] + b * flat[j + u1] + c * flat[k + u1] + d * flat[m + u1]
        p2 = a * flat[i + u2] + b * flat[j + u2] + c * flat[k + u2] + d * flat[m + u2]
        p3 = a * flat[i + u3] + b * flat[j + u3] + c * flat[k + u3] + d * flat[m + u3]
        line[x] = (weights[0, x] * p0 + weights[1, x] * p1) + (
            weights[2, x] * p2 + weights[3, x] * p3
        )


@njit(nogil=True, cache=True)
def fill_warped(
    images: np.ndarray,
    filtered: bool,
    places: np.ndarray,
    margin: int,
    start: int,
    stop: int,
    out: np.ndarray,
) -> None:  # pragma: no cover - compiled
    """Write the splines through images `start` to `stop`, at affine lattices, into `out`.

    Parameters
    ----------
    images : `(B, n, n)` float32 pixels, or coefficients if `filtered`
    filtered : whether the images are coefficients already
    places : `(B, 6)` float64 xx, xy, x0, yx, yy, y0: the pixel (x, y) of the result shows the
        position (xx x + xy y + x0, yx x + yy y + y0) of the image with its margin
    margin : pixels added on every side, so that no position lies before the second or behind the
        third last of them
    out : `(B, m, m)` float32
    """
    n = images.shape[1]
    m = out.shape[1]
    stride = n + 2 * margin
    padded = np.empty((stride, stride), np.float32)
    flat = padded.reshape(-1)
    columns = np.empty((n, n), np.float32)
    line = np.empty(stride + 2 * REACH, np.float32)
    weights = np.empty((8, m), np.float32)
    corners = np.empty(m, np.int32)
    for image in range(start, stop):
        if filtered:
            _copy_rows(images[image], margin, padded)
        else:
            _filter_columns(images[image], columns)
            _filter_rows(columns, line, margin, padded)
        _reflect_rows(n, margin, padded)
        for y in range(m):
            _weigh(places[image], y, stride, weights, corners)
            _sample_line(flat, stride, weights, corners, out[image, y])
