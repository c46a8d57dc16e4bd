"""Packed Fourier sums as plain cubes and back, voxel by voxel."""

import numpy as np

from cesped.physics.half_ball import FourierSums


def to_dense(sums):
    """Return `(2r + 3, 2r + 3, r + 2, 3)` float32: z, y with the origin in the middle, x >= 0."""
    ball = sums.ball
    dense = np.zeros((*ball.lengths.shape, ball.radius + 2, sums.values.shape[1]), np.float32)
    for z, y in np.ndindex(ball.lengths.shape):
        start, length = ball.starts[z, y], min(ball.lengths[z, y], ball.radius + 2)
        dense[z, y, :length] = sums.values[start : start + length]
    return dense


def density_sums(density, box, padding):
    """Return sums whose denominator is a half grid `(M, M, M // 2 + 1)` in FFT layout."""
    sums = FourierSums.empty(box, padding)
    radius, size = sums.ball.radius, len(density)
    for z, y in np.ndindex(size, size):
        kz, ky = (k if k <= size // 2 else k - size for k in (z, y))
        if kz**2 + ky**2 <= radius**2:
            start = sums.ball.starts[kz + radius + 1, ky + radius + 1]
            inside = int(np.sqrt(radius**2 - kz**2 - ky**2)) + 1
            sums.values[start : start + inside, 2] = density[z, y, :inside]
    return sums


def to_fft_layout(ball, values, size):
    """Return `(n_voxels,)` values as a half grid `(size, size, size // 2 + 1)`, 0 outside."""
    grid = np.zeros((size, size, size // 2 + 1))
    radius = ball.radius
    for z, y in np.ndindex(size, size):
        kz, ky = (k if k <= size // 2 else k - size for k in (z, y))
        if kz**2 + ky**2 <= radius**2:
            start = ball.starts[kz + radius + 1, ky + radius + 1]
            inside = int(np.sqrt(radius**2 - kz**2 - ky**2)) + 1
            grid[z, y, :inside] = values[start : start + inside]
    return grid
