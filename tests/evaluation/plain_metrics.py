"""The paper's equations 7 and 8 in plain float64 numpy, to hold the package to."""

import numpy as np


def plain_pcc(x, y):
    """Return equation 7."""
    x, y = x.astype(np.float64) - x.mean(dtype=float), y.astype(np.float64) - y.mean(dtype=float)
    return (x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum())


def plain_fsc(x, y):
    """Return equation 8 by an explicit list of frequencies, shells of one Fourier pixel."""
    fx, fy = np.fft.fftn(x.astype(np.float64)), np.fft.fftn(y.astype(np.float64))
    k = np.fft.fftfreq(len(x), 1 / len(x))
    radius = np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, :] ** 2)
    curve = []
    for shell in range(len(x) // 2 + 1):
        a, b = fx[np.floor(radius) == shell], fy[np.floor(radius) == shell]
        curve.append((a * b.conj()).sum().real / np.sqrt((abs(a) ** 2).sum() * (abs(b) ** 2).sum()))
    return np.array(curve)


def plain_resolution(curve, threshold, box_angst):
    """Return where the curve first falls below the threshold, on straight lines between shells."""
    curve = np.concatenate([[1.0], curve[1:]])
    frequency = np.arange(len(curve)) / box_angst
    for shell in range(1, len(curve)):
        if curve[shell] < threshold:
            slope = (frequency[shell] - frequency[shell - 1]) / (curve[shell] - curve[shell - 1])
            return 1 / (frequency[shell - 1] + (threshold - curve[shell - 1]) * slope)
    return 1 / frequency[-1]
