"""Compiled evaluation of many contrast transfer functions on one core."""

import numpy as np
from numba import njit

#: Adding and subtracting this rounds a float64 below 2**51 to the nearest integer. Unlike a call
#: to `rint` the compiler turns it into vector instructions.
_ROUNDER = 1.5 * 2.0**52

# Taylor coefficients of sin(2 pi a) in a; for |a| <= 1/4 what is left out is below 6e-8.
_S1 = 2 * np.pi
_S3 = -((2 * np.pi) ** 3) / 6
_S5 = (2 * np.pi) ** 5 / 120
_S7 = -((2 * np.pi) ** 7) / 5040
_S9 = (2 * np.pi) ** 9 / 362880
_S11 = -((2 * np.pi) ** 11) / 39916800


@njit(nogil=True, cache=True)
def fill_ctf(
    coefficients: np.ndarray, start: int, stop: int, n: int, out: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Write `scale * envelope * sin(phase)` of images `start` to `stop` into `out`.

    Parameters
    ----------
    coefficients : `(B, 7)` float64
        xx, xy, yy, quartic, constant [turns, over frequency indices], scale, B-factor/4 over
        squared frequency index; the columns of `cesped.physics.ctf.phase_coefficients`.
    out : `(B, n, n // 2 + 1)` float32
    """
    width = n // 2 + 1
    envelope = np.ones(width, np.float32)
    for image in range(start, stop):
        xx, xy, yy, quartic, constant, scale, decay = coefficients[image]
        constant -= 0.25  # a sine as a cosine: then folding needs no parity
        for column in range(width):
            envelope[column] = scale * np.exp(-decay * column * column)
        for row in range(n):
            ky = np.float64(row if row < n - n // 2 else row - n)
            ky2 = ky * ky
            row_constant = constant + yy * ky2
            row_linear = xy * ky
            row_envelope = np.float32(np.exp(-decay * ky2))
            line = out[image, row]
            for column in range(width):
                kx = np.float64(column)
                k2 = kx * kx + ky2
                turns = row_constant + kx * (row_linear + xx * kx) + quartic * k2 * k2
                turns -= (turns + _ROUNDER) - _ROUNDER
                a = np.float32(0.25 - abs(turns))
                a2 = a * a
                series = np.float32(_S9) + a2 * np.float32(_S11)
                series = np.float32(_S7) + a2 * series
                series = np.float32(_S5) + a2 * series
                series = np.float32(_S3) + a2 * series
                series = np.float32(_S1) + a2 * series
                line[column] = a * series * envelope[column] * row_envelope


@njit(nogil=True, cache=True)
def flip_phases(
    coefficients: np.ndarray, start: int, stop: int, n: int, columns: np.ndarray
) -> None:  # pragma: no cover - compiled
    """Turn the sign of the samples of images `start` to `stop` whose CTF is negative.

    Only the half turn that the phase lies in is computed, no sine. The order of the operations is
    that of `cesped.physics.ctf_correction.negative_transfer`: both give the same signs, to the bit.

    Parameters
    ----------
    coefficients : `(B, 7)` float64, as in `fill_ctf`
    columns : `(B, n // 2 + 1, n)`: columns of half planes, complex64 seen as uint64, which is two
        numbers and two sign bits
    """
    both_signs = np.uint64(0x8000000080000000)
    none = np.uint64(0)
    rows = np.empty(n)
    for row in range(n):
        rows[row] = row if row < n - n // 2 else row - n
    for image in range(start, stop):
        xx, xy, yy, quartic, constant, scale, _ = coefficients[image]
        turned = both_signs if scale < 0 else none
        for column in range(n // 2 + 1):
            kx = np.float64(column)
            kx2 = kx * kx
            line = columns[image, column]
            for row in range(n):
                ky = rows[row]
                ky2 = ky * ky
                k2 = kx2 + ky2
                turns = (constant + yy * ky2) + kx * (xy * ky + xx * kx) + quartic * k2 * k2
                turns -= (turns + _ROUNDER) - _ROUNDER
                line[row] ^= (both_signs if turns < 0 else none) ^ turned
