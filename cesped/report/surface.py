"""Surfaces of equal density as triangles, small enough to be carried by a page."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)

#: Index of the four cells around an edge, in turning order, as offsets in the two other axes.
_AROUND_EDGE = ((0, 0), (1, 0), (1, 1), (0, 1))


def surface_of_density(
    volume: NDArray[np.floating], level: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the triangles that enclose the density above `level`.

    One vertex is set in each cell of eight voxels that the surface crosses, at the mean of the
    crossings of the cell's edges; neighbours are joined across each crossed edge ("surface
    nets", S. Gibson, MICCAI 1998). The volume is closed by air at its border.

    Parameters
    ----------
    volume : `(N, N, N)` array [z, y, x].
    level : density of the surface, strictly inside the range of the volume.

    Returns
    -------
    vertices : `(V, 3)` positions (x, y, z) [voxels, from the volume's first voxel].
    triangles : `(T, 3)` vertex numbers, turning so that their normals point outwards. Both are
        empty if nothing is above `level`.
    """
    air = min(float(np.min(volume)), level) - 1.0
    field = np.pad(np.asarray(volume, dtype=np.float64), 1, constant_values=air)
    sums, counts = _edge_crossings(field, level)
    numbers = np.full(counts.shape, -1, dtype=np.int64)
    crossed = counts > 0
    numbers[crossed] = np.arange(np.count_nonzero(crossed))
    vertices_zyx = sums[crossed] / counts[crossed][:, None]
    triangles = np.concatenate(
        [_triangles_along(field > level, numbers, axis) for axis in range(3)]
    )
    return vertices_zyx[:, ::-1] - 1.0, triangles


def _edge_crossings(
    field: NDArray[np.float64], level: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return per cell the sum of its edge crossings `(..., 3)` [z, y, x] and their number."""
    cells = tuple(size - 1 for size in field.shape)
    sums = np.zeros((*cells, 3))
    counts = np.zeros(cells, dtype=np.int64)
    for axis in range(3):
        low, high = _neighbours(field, axis)
        index = np.nonzero((low > level) != (high > level))
        share = (level - low[index]) / (high[index] - low[index])
        position = np.stack(index, axis=-1).astype(np.float64)
        position[:, axis] += share
        for cell in _cells_around(index, axis):
            inside = np.all([(c >= 0) & (c < n) for c, n in zip(cell, cells, strict=True)], axis=0)
            kept = tuple(c[inside] for c in cell)
            np.add.at(sums, kept, position[inside])
            np.add.at(counts, kept, 1)
    return sums, counts


def _triangles_along(
    inside: NDArray[np.bool_], numbers: NDArray[np.int64], axis: int
) -> NDArray[np.int64]:
    """Return the two triangles of each crossed edge that runs along `axis`."""
    low, high = _neighbours(inside, axis)
    index = np.nonzero(low != high)
    quads = np.stack([numbers[cell] for cell in _cells_around(index, axis)], axis=-1)
    outwards = low[index]  # the density is on the low side: the normal points up the axis
    quads = np.where(outwards[:, None], quads, quads[:, ::-1])
    # [z, y, x] is a left-handed order of (x, y, z): the turning sense is the other one
    return np.concatenate([quads[:, [0, 2, 1]], quads[:, [0, 3, 2]]])


def _neighbours(field: NDArray[Scalar], axis: int) -> tuple[NDArray[Scalar], NDArray[Scalar]]:
    """Return the two ends of all edges along `axis`, as views."""
    size = field.shape[axis]
    return field.take(range(size - 1), axis), field.take(range(1, size), axis)


def _cells_around(
    edge: tuple[NDArray[np.int64], ...], axis: int
) -> list[tuple[NDArray[np.int64], ...]]:
    """Return the indices of the four cells that share each edge, in turning order."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    cells = []
    for back_first, back_second in _AROUND_EDGE:
        cell = list(edge)
        cell[first] = edge[first] - back_first
        cell[second] = edge[second] - back_second
        cells.append(tuple(cell))
    return cells
