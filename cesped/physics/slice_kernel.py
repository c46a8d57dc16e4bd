"""Compiled trilinear sampling of central slices on one core."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def fill_slices(
    grid: np.ndarray,
    rotations: np.ndarray,
    start: int,
    stop: int,
    padding: int,
    out: np.ndarray,
) -> None:  # pragma: no cover - compiled
    """Write the central slices of rotations `start` to `stop` into `out`.

    Parameters
    ----------
    grid : `(2 r + 3, 2 r + 3, r + 2, 2)` float32
        Real and imaginary parts of the padded transform, `r = padding * (n // 2)`; kz and ky run
        from -(r + 1) to r + 1, kx from 0 to r + 1.
    rotations : `(B, 3, 3)` float64
    out : `(B, n, n // 2 + 1, 2)` float32; samples outside |k| <= n // 2 become zero
    """
    n = out.shape[1]
    width = out.shape[2]
    limit = n // 2
    centre = grid.shape[0] // 2
    for image in range(start, stop):
        turn = rotations[image] * padding
        for row in range(n):
            ky = row if row < n - n // 2 else row - n
            for column in range(width):
                if ky * ky + column * column > limit * limit:
                    out[image, row, column:] = 0.0
                    break
                x = turn[0, 0] * column + turn[0, 1] * ky
                y = turn[1, 0] * column + turn[1, 1] * ky
                z = turn[2, 0] * column + turn[2, 1] * ky
                sign = np.float32(1.0)
                if x < 0.0:  # the other half is the conjugate of the opposite sample
                    x, y, z = -x, -y, -z
                    sign = np.float32(-1.0)
                y += centre
                z += centre
                # All three are positive here, so truncation is the floor.
                x0, y0, z0 = int(x), int(y), int(z)
                fx, fy, fz = np.float32(x - x0), np.float32(y - y0), np.float32(z - z0)
                gx, gy, gz = np.float32(1) - fx, np.float32(1) - fy, np.float32(1) - fz
                for part in range(2):
                    low = gy * (
                        gx * grid[z0, y0, x0, part] + fx * grid[z0, y0, x0 + 1, part]
                    ) + fy * (gx * grid[z0, y0 + 1, x0, part] + fx * grid[z0, y0 + 1, x0 + 1, part])
                    high = gy * (
                        gx * grid[z0 + 1, y0, x0, part] + fx * grid[z0 + 1, y0, x0 + 1, part]
                    ) + fy * (
                        gx * grid[z0 + 1, y0 + 1, x0, part]
                        + fx * grid[z0 + 1, y0 + 1, x0 + 1, part]
                    )
                    value = gz * low + fz * high
                    out[image, row, column, part] = value if part == 0 else sign * value
