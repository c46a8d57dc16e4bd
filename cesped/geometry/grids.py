"""`So3Grid`: HEALPix directions times uniform in-plane angles, with the exact nearest node.

A node is Rz(rot) Ry(tilt) Rz(psi) with (rot, tilt) a pixel centre and psi a multiple of
360 / (6 * 2**order) degrees: RELION's sampling, about 60 / 2**order degrees from node to node in
each of the three angles.

Why no search over the grid is needed. Let v be the viewing direction of R, d that of a node, and
delta the angle between them. The relative rotation splits into a turn about z by eta and a tilt by
delta, cos(omega / 2) = cos(eta / 2) cos(delta / 2), so omega >= delta, and for a given d the best
psi is the multiple nearest to the psi that makes eta = 0 (a closed formula). The pixel c that
holds v therefore gives a first omega_0, and a node that beats it has delta < omega_0, thus lies
within delta_c + omega_0 of c, delta_c being the angle between v and c. A table holds, for each
pixel, all pixels within the largest such radius, known from the largest pixel radius and the
largest eta (half a step). The inequality is checked for each rotation as well; one that broke it
would be compared with every direction, so the answer is the nearest node whatever the table.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from ..errors import GeometryError
from . import healpix
from .euler import euler_to_rotation
from .rotations import FloatArray, IntArray, check_rotations

_CHUNK = 8192  # rotations at a time: about 20 candidate directions of 9 numbers each, 12 MB


@dataclass(frozen=True)
class So3Grid:
    """A grid on SO(3) that is a product of directions and in-plane angles.

    Node `direction * n_inplane + inplane`; directions in HEALPix's nested order.

    Parameters
    ----------
    order : HEALPix order, from 0

    Raises
    ------
    OptionError
        If the order is not an integer from 0 to `healpix.MAX_ORDER`.

    Examples
    --------
    >>> grid = So3Grid(1)
    >>> grid.n_directions, grid.n_inplane, grid.size
    (48, 12, 576)
    >>> int(grid.nearest(grid.rotations([100]))[0])
    100
    """

    order: int

    def __post_init__(self) -> None:
        healpix.pixel_count(self.order)

    @property
    def n_directions(self) -> int:
        """The number of viewing directions, 12 * 4**order."""
        return healpix.pixel_count(self.order)

    @property
    def n_inplane(self) -> int:
        """The number of in-plane angles, 6 * 2**order."""
        return 6 << int(self.order)

    @property
    def size(self) -> int:
        """The number of nodes."""
        return self.n_directions * self.n_inplane

    @property
    def inplane_step_deg(self) -> float:
        """The step of the in-plane angle [degrees]."""
        return 360.0 / self.n_inplane

    def direction_angles_deg(self) -> FloatArray:
        """Return the viewing directions `(n_directions, 2)` as rot, tilt [degrees]."""
        return healpix.pixel_angles_deg(self.order)

    def directions(self) -> FloatArray:
        """Return the viewing directions `(n_directions, 3)` as unit vectors."""
        return healpix.pixel_directions(self.order)

    def inplane_deg(self) -> FloatArray:
        """Return the in-plane angles `(n_inplane,)`: psi = 360 j / n_inplane [degrees]."""
        return np.arange(self.n_inplane, dtype=np.float64) * self.inplane_step_deg

    def rotations(self, indices: ArrayLike | None = None) -> FloatArray:
        """Return the rotations `(..., 3, 3)` of the nodes `indices` `(...)`, or of all `(size,)`.

        Raises
        ------
        GeometryError
            If an index is outside the grid.
        """
        nodes = self._nodes(np.arange(self.size) if indices is None else indices)
        direction, inplane = np.divmod(nodes, self.n_inplane)
        psi = inplane * self.inplane_step_deg
        angles = np.concatenate([self._angles[direction], psi[..., None]], axis=-1)
        return euler_to_rotation(angles)

    def nearest(self, rotations: ArrayLike) -> IntArray:
        """Return the index `(B,)` of the node nearest to each of the rotations `(B, 3, 3)`.

        Raises
        ------
        GeometryError
            If the input is not an array of rotations.

        Notes
        -----
        Exact (see the module's text); nodes at equal distance are told apart by rounding.
        """
        checked = check_rotations(rotations, "rotations to be placed on the grid")
        r = checked.reshape(-1, 3, 3)
        nodes = np.empty(r.shape[0], dtype=np.int64)
        for start in range(0, r.shape[0], _CHUNK):
            block = r[start : start + _CHUNK]
            pixels = healpix.pixels_of_directions(self.order, block[:, :, 2])
            _, trace = self._best_inplane(block, pixels[:, None])
            candidates = self._candidates[pixels]
            inplane, traces = self._best_inplane(block, candidates)
            best = np.argmax(traces, axis=1)
            rows = np.arange(block.shape[0])
            found = candidates[rows, best] * self.n_inplane + inplane[rows, best]
            stray = self._outside_table(block, pixels, trace[:, 0])
            if stray.any():
                found[stray] = self._nearest_of_all(block[stray])
            nodes[start : start + _CHUNK] = found
        return nodes.reshape(checked.shape[:-2])

    def neighbours(self, indices: ArrayLike) -> IntArray:
        """Return the nodes `(B, 27)` within one step of the nodes `indices` `(B,)`.

        One step is: the same direction or one whose pixel touches it, and of each of these the
        in-plane angle nearest to the node's own, one less and one more. The node itself is
        the second of the first three. Where a pixel has seven neighbours, the place of the eighth
        holds -1.

        Raises
        ------
        GeometryError
            If an index is outside the grid.
        """
        nodes = self._nodes(indices).reshape(-1)
        own = nodes // self.n_inplane
        around = np.concatenate([own[:, None], self._touching[own]], axis=1)
        inplane, _ = self._best_inplane(self.rotations(nodes), np.maximum(around, 0))
        steps = (inplane[..., None] + np.array([-1, 0, 1])) % self.n_inplane
        found = around[..., None] * self.n_inplane + steps
        found = np.where(around[..., None] < 0, -1, found)
        return found.reshape(nodes.shape[0], -1)

    @cached_property
    def _angles(self) -> FloatArray:
        return self.direction_angles_deg()

    @cached_property
    def _frames(self) -> FloatArray:
        """The nodes with psi = 0, `(n_directions, 3, 3)`."""
        psi = np.zeros((self.n_directions, 1))
        return euler_to_rotation(np.concatenate([self._angles, psi], axis=1))

    @cached_property
    def _touching(self) -> IntArray:
        return healpix.pixel_neighbours(self.order)

    @cached_property
    def _table_radius_deg(self) -> float:
        """The angle from a pixel's centre within which its candidates lie."""
        pixel = healpix.pixel_radius_deg(self.order)
        half = np.cos(np.radians(pixel) / 2.0) * np.cos(np.radians(self.inplane_step_deg) / 4.0)
        return min(180.0, pixel + float(np.degrees(2.0 * np.arccos(half))) + 1e-6)

    @cached_property
    def _candidates(self) -> IntArray:
        """For each pixel the pixels `(n_directions, K)` that may be nearest; rows padded by it."""
        from scipy.spatial import cKDTree

        directions = self.directions()
        chord = 2.0 * np.sin(np.radians(self._table_radius_deg) / 2.0)
        lists = cKDTree(directions).query_ball_point(directions, chord)
        table = np.tile(np.arange(len(lists))[:, None], (1, max(map(len, lists))))
        for row, found in zip(table, lists, strict=True):
            row[: len(found)] = found
        return table.astype(np.int64)

    def _best_inplane(self, rotations: FloatArray, pixels: IntArray) -> tuple[IntArray, FloatArray]:
        """Return the best in-plane index `(B, K)` at each of the directions and its trace.

        Parameters
        ----------
        rotations : `(B, 3, 3)`
        pixels : `(B, K)` directions to try for each

        Notes
        -----
        With Q = frame' R, the trace of Rz(psi)' Q is
        cos(psi) (Q00 + Q11) + sin(psi) (Q10 - Q01) + Q22: a cosine of psi.
        """
        frames = self._frames[pixels]
        q = np.matmul(frames.swapaxes(-1, -2), rotations[:, None])
        cosine = q[..., 0, 0] + q[..., 1, 1]
        sine = q[..., 1, 0] - q[..., 0, 1]
        step = 2.0 * np.pi / self.n_inplane
        index = np.rint(np.arctan2(sine, cosine) / step).astype(np.int64)
        trace = cosine * np.cos(index * step) + sine * np.sin(index * step) + q[..., 2, 2]
        return index % self.n_inplane, trace

    def _outside_table(
        self, rotations: FloatArray, pixels: IntArray, trace: FloatArray
    ) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return for which rotations `(B,)` the table's radius would not prove the answer."""
        omega = np.arccos(np.clip((trace - 1.0) / 2.0, -1.0, 1.0))
        cosine = np.einsum("bi,bi->b", rotations[:, :, 2], self._frames[pixels][:, :, 2])
        delta = np.arccos(np.clip(cosine, -1.0, 1.0))
        outside = np.degrees(omega + delta) > self._table_radius_deg
        return np.asarray(outside, dtype=np.bool_) & (self._table_radius_deg < 180.0)

    def _nearest_of_all(self, rotations: FloatArray) -> IntArray:
        nodes = np.empty(rotations.shape[0], dtype=np.int64)
        everything = np.arange(self.n_directions)[None]
        for row, rotation in enumerate(rotations):
            inplane, traces = self._best_inplane(rotation[None], everything)
            best = int(np.argmax(traces[0]))
            nodes[row] = best * self.n_inplane + inplane[0, best]
        return nodes

    def _nodes(self, indices: ArrayLike) -> IntArray:
        nodes = np.asarray(indices, dtype=np.int64)
        if nodes.size and (nodes.min() < 0 or nodes.max() >= self.size):
            raise GeometryError(
                f"SO(3) grid of order {self.order}: index "
                f"{int(nodes.min() if nodes.min() < 0 else nodes.max())} is outside "
                f"0 to {self.size - 1}"
            )
        return nodes
