"""Weights of Fourier sums and the map made with them, by torch operations on any device.

The same steps as `cesped.physics.gridding` and `weighted_map`, on whole grids instead of blocks.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .gridding import (
    GRIDDING_ITERATIONS,
    SMALLEST_CONVOLVED,
    SMALLEST_SHARE_OF_MEAN,
    blob_octant,
    convolution_size,
)
from .half_ball import HalfBall, ball_radius
from .weighted_map import finish_map

#: Grids of 4-byte values that the iterations hold at once: density, weights, blob, product, and
#: transforms with their workspace.
_GRIDS_HELD = 12
_VOXELS_AT_ONCE = 1 << 19


def weighting_bytes(box: int, padding: int) -> int:
    """Return what `weighted_map_on_device` needs on its device beside the sums, at most."""
    n = max(padding * box, convolution_size(ball_radius(box, padding)))
    return _GRIDS_HELD * 4 * n * n * (n // 2 + 1)


def ball_chunks(ball: HalfBall, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield voxels of a half ball, some planes at a time.

    Yields
    ------
    numbers `(V,)` and positions `(V, 3)` x, y, z, of those voxels whose centre lies in the ball
    """
    reach = ball.radius + 1
    per_plane = max(1, int(ball.lengths.sum(axis=1).max()))
    step = max(1, _VOXELS_AT_ONCE // per_plane)
    for first in range(0, 2 * reach + 1, step):
        planes = slice(first, first + step)
        lengths = torch.from_numpy(ball.lengths[planes].ravel()).to(device)
        starts = torch.from_numpy(ball.starts[planes].ravel()).to(device)
        row = torch.repeat_interleave(torch.arange(len(lengths), device=device), lengths)
        voxel = torch.arange(len(row), device=device) + starts[0]
        y = row % (2 * reach + 1) - reach
        z = torch.div(row, 2 * reach + 1, rounding_mode="floor") + first - reach
        position = torch.stack([voxel - starts[row], y, z], dim=1)
        inside = (position * position).sum(dim=1) <= ball.radius**2
        yield voxel[inside], position[inside]


def weighted_map_on_device(
    ball: HalfBall,
    values: Tensor,
    box: int,
    padding: int,
    gridding: bool,
    threads: int,
    relions_grid: bool = False,
) -> NDArray[np.float32]:
    """Return the `(box, box, box)` map of whole sums.

    Parameters
    ----------
    ball, values : layout and `(n_voxels, 3)` sums, left as they are
    box : size of the map [voxels]
    padding : size of the Fourier grid over the size of the box
    gridding : weight by the gridding iterations, else by the inverse of the denominator
    threads : threads for the last steps, which are done on the CPU
    relions_grid : as for `gridding.gridding_weights`
    """
    size = padding * box
    if gridding:
        n = convolution_size(ball.radius, relions_grid)
        density = _to_grid(ball, values[:, 2], n, with_sphere=False)
        octant = blob_octant(n, ball.radius, size, padding)
        weights = _from_grid(ball, _gridding_weights(density, octant))
    else:
        density = _to_grid(ball, values[:, 2], size, with_sphere=True)
        weights = _from_grid(ball, _floored_weights(density, ball.radius, padding))
    del density
    numerator = torch.view_as_complex(values[:, :2] * weights[:, None])
    del weights
    grid = _to_grid(ball, numerator, size, with_sphere=True)
    del numerator
    kept = torch.arange(-(box // 2), box - box // 2, device=values.device)
    grid = torch.fft.ifft(grid, dim=0)[kept]
    grid = torch.fft.ifft(grid, dim=1)[:, kept]
    lines = torch.fft.irfft(grid, n=size, dim=2)[:, :, kept]
    volume: NDArray[np.float32] = lines.contiguous().cpu().numpy()
    finish_map(volume, padding, threads)
    return volume


def _to_grid(ball: HalfBall, values: Tensor, size: int, with_sphere: bool) -> Tensor:
    """Return `(n_voxels,)` values on a half grid `(size, size, size // 2 + 1)`, FFT layout.

    Voxels outside the sphere are 0, and those on it unless `with_sphere`. Where both ends of an
    axis meet, the positive one counts.
    """
    half = size // 2 + 1
    grid = torch.zeros((size, size, half), dtype=values.dtype, device=values.device)
    for voxels, position in ball_chunks(ball, values.device):
        square = (position * position).sum(dim=1)
        inside = (square <= ball.radius**2) if with_sphere else (square < ball.radius**2)
        inside &= (2 * position > -size).all(dim=1)
        x, y, z = position[inside].unbind(1)
        grid[z % size, y % size, x] = values[voxels[inside]]
    return grid


def _from_grid(ball: HalfBall, grid: Tensor) -> Tensor:
    """Return `(n_voxels,)` values of a half grid in FFT layout; 0 outside the ball."""
    size = grid.shape[0]
    values = torch.zeros(ball.n_voxels, dtype=grid.dtype, device=grid.device)
    for voxels, position in ball_chunks(ball, grid.device):
        x, y, z = position.unbind(1)
        values[voxels] = grid[z % size, y % size, x]
    return values


def _gridding_weights(density: Tensor, octant: NDArray[np.float32]) -> Tensor:
    """Return the weights of ten iterations on the grid: see `gridding.gridding_weights`."""
    size = density.shape[0]
    mirrored = np.minimum(np.arange(size), size - np.arange(size))
    blob = torch.from_numpy(octant[mirrored][:, :, mirrored]).to(density.device)  # z, y >= 0, x
    weights = (density > 0).to(density.dtype)
    for _ in range(GRIDDING_ITERATIONS):
        rows = torch.fft.fft(torch.fft.rfft(weights * density, dim=1), dim=0)
        real_space = torch.fft.irfft(rows, n=size, dim=2)
        del rows
        real_space *= blob
        rows = torch.fft.ifft(torch.fft.rfft(real_space, dim=2), dim=0)
        del real_space
        convolved = torch.fft.irfft(rows, n=size, dim=1)
        del rows
        weights /= convolved.abs_().clamp_(min=SMALLEST_CONVOLVED)
    return weights


def _floored_weights(density: Tensor, radius: int, padding: int) -> Tensor:
    """Return 1 / density, floored shell by shell: see `gridding.floored_weights`."""
    size = density.shape[0]
    k = torch.arange(size, device=density.device, dtype=torch.float64)
    k = torch.where(k <= size // 2, k, k - size)
    n_shells = radius // padding + 1
    total = torch.zeros(n_shells, dtype=torch.float64, device=density.device)
    count = torch.zeros_like(total)
    columns = torch.arange(density.shape[2], device=density.device) ** 2
    shells = []
    for z in range(size):  # a plane at a time: distances of the whole grid would not fit
        square = k[z] ** 2 + k[:, None] ** 2 + columns
        shell = (square.sqrt() / padding).long()
        inside = square <= radius**2
        total.index_add_(0, shell[inside], density[z][inside].double())
        count.index_add_(0, shell[inside], torch.ones_like(square[inside]))
        shells.append(torch.where(inside, shell, -1).to(torch.int16))
    floor = (SMALLEST_SHARE_OF_MEAN * total / count.clamp(min=1)).float()
    weights = torch.zeros_like(density)
    for z, shell in enumerate(shells):
        inside = shell >= 0
        value = torch.maximum(density[z][inside], floor[shell[inside].long()])
        weights[z][inside] = torch.where(value > 0, 1 / value, 0)
    return weights
