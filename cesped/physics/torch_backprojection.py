"""Back-projection by torch operations, on a GPU or any device torch knows.

The same sums as `cesped.physics.backprojection`, in the same order in memory; only the order in
which samples are added differs, so maps agree to rounding.
"""

from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..errors import GeometryError, OptionError
from ..geometry.symmetry import PointGroup
from .backprojection import refuse_unlike_sums
from .edge_samples import last_columns
from .half_ball import FourierSums, HalfBall, ball_radius
from .insertion import origin_phases
from .torch_weighting import ball_chunks, weighted_map_on_device, weighting_bytes
from .weighted_map import weighted_map

#: What one sample of a slice needs while it is spread: positions, indices, values, products.
BYTES_PER_SAMPLE = 220

FloatArray = NDArray[np.float64]


class TorchBackProjector:
    """Sums of CTF * X and CTF^2 on a device, and the map made of them.

    Parameters
    ----------
    box : image and volume size [px]
    padding : size of the Fourier grid over the size of the box
    device : where the sums live
    weighting_budget_bytes : weight on the device if it takes no more than that, else on the CPU;
        on the device in any case when None
    threads : threads of what is done on the CPU

    Notes
    -----
    As `BackProjector`: insert batches, `symmetrise` once, then `reconstruct`.
    """

    def __init__(
        self,
        box: int,
        padding: int,
        device: torch.device,
        weighting_budget_bytes: int | None = None,
        threads: int = 1,
    ) -> None:
        self.box, self.padding, self.device, self.threads = box, padding, device, threads
        self._budget_bytes = weighting_budget_bytes
        self._ball = HalfBall.of_radius(ball_radius(box, padding))
        self._starts = torch.from_numpy(self._ball.starts).to(device)
        self._values = torch.zeros((self._ball.n_voxels, 3), device=device)
        self._is_whole = False
        self.relions_grid = False  # as for `BackProjector`
        self._ky, self._kx = _slice_samples(box, device)

    @property
    def sums(self) -> Tensor:
        """Return the `(n_voxels, 3)` sums, not a copy."""
        return self._values

    def insert(
        self,
        half_planes: Tensor,
        ctf: Tensor | None,
        rotations: ArrayLike,
        weights: ArrayLike | None = None,
        origins_px: ArrayLike | None = None,
        premultiplied: bool = False,
    ) -> None:
        """Add a batch of images; arguments as for `BackProjector.insert`, tensors on the device.

        Raises
        ------
        GeometryError
            If the shapes do not belong together.
        OptionError
            If `symmetrise` or `reconstruct` was called already.
        """
        if self._is_whole:
            raise OptionError("the grid is symmetrised already; insert all images before that")
        turns = np.asarray(rotations, dtype=np.float64)
        batch, n = len(half_planes), self.box
        if half_planes.shape != (batch, n, n // 2 + 1) or turns.shape != (batch, 3, 3):
            raise GeometryError(
                f"half planes have shape {tuple(half_planes.shape)} and rotations {turns.shape}; "
                f"give (B, {n}, {n // 2 + 1}) and (B, 3, 3)"
            )
        values = self._slice_values(half_planes, ctf, weights, origins_px, premultiplied)
        taken = torch.from_numpy(last_columns(turns, n, self.padding)).to(self.device)
        values *= (taken[:, self._ky % n] >= self._kx)[..., None]
        # float64, as in the kernel of the CPU, which says why
        scaled = torch.from_numpy(turns * self.padding).to(self.device)
        kx, ky = self._kx.double(), self._ky.double()
        at = [scaled[:, i, :1] * kx + scaled[:, i, 1:2] * ky for i in range(3)]
        self._spread(at, values)

    def _slice_values(
        self,
        half_planes: Tensor,
        ctf: Tensor | None,
        weights: ArrayLike | None,
        origins_px: ArrayLike | None,
        premultiplied: bool,
    ) -> Tensor:
        """Return `(B, S, 3)`: numerator and denominator of each sample of the slices."""
        batch, n = half_planes.shape[:2]
        rows, columns = self._ky % n, self._kx
        origins = np.zeros((batch, 2)) if origins_px is None else np.asarray(origins_px, float)
        phase_x, phase_y = (
            torch.from_numpy(phase).to(self.device) for phase in origin_phases(origins, n)
        )
        factor = torch.ones(batch) if weights is None else torch.as_tensor(np.asarray(weights))
        weight = factor.to(self.device, torch.float32)[:, None]
        numerator = half_planes[:, rows, columns] * (phase_x[:, columns] * phase_y[:, rows])
        values = torch.empty((*numerator.shape, 3), device=self.device)
        if ctf is None:
            values[..., 2] = weight
        else:
            transfer = ctf[:, rows, columns]
            values[..., 2] = weight * transfer * transfer
            if not premultiplied:
                numerator = numerator * transfer
        values[..., :2] = torch.view_as_real(numerator) * weight[..., None]
        return values

    def _spread(self, at: list[Tensor], values: Tensor) -> None:
        """Add samples at x, y, z `(B, S)` to their eight voxels; those at x < 0 as their mates."""
        mate = at[0] < 0
        sign = torch.where(mate, -1.0, 1.0)
        values[..., 1] *= sign
        sign = sign.double()
        x, y, z = (position * sign for position in at)
        (x0, fx), (y0, fy), (z0, fz) = (_split(position) for position in (x, y, z))
        centre = self._ball.radius + 1
        flat = values.view(-1, 3)
        for dz in (0, 1):
            for dy in (0, 1):
                start = self._starts[z0 + (dz + centre), y0 + (dy + centre)] + x0
                share = (fz if dz else 1 - fz) * (fy if dy else 1 - fy)
                for dx in (0, 1):
                    part = (share * (fx if dx else 1 - fx)).view(-1, 1)
                    self._values.index_add_(0, (start + dx).view(-1), flat * part)

    def symmetrise(self, group: PointGroup | None = None) -> None:
        """Complete the half grid by Friedel's law, and sum it over a point group (C1 when None).

        Raises
        ------
        OptionError
            If the grid is symmetrised already.
        """
        if self._is_whole:
            raise OptionError("the grid is symmetrised already; call symmetrise once")
        self._complete_plane()
        if group is not None and len(group.operators) > 1:
            self._add_rotated(group.operators[1:].round(12))
        self._is_whole = True

    def _complete_plane(self) -> None:
        """Add Friedel mates on the plane x = 0, and take the mean out of the numerator."""
        held = torch.from_numpy(self._ball.lengths > 0).to(self.device)
        voxels, mates = self._starts[held], self._starts.flip(0, 1)[held]
        origin = self._starts[self._ball.radius + 1, self._ball.radius + 1]
        added = self._values[mates]
        added[:, 1] *= -1
        added[voxels == origin] = 0
        self._values[voxels] += added
        self._values[origin, :2] = 0

    def _add_rotated(self, operators: FloatArray) -> None:
        """Add the rotated sums to the sums: see `cesped.physics.grid_symmetry.symmetrise`."""
        source = self._values.clone()
        turns = torch.from_numpy(operators.astype(np.float32)).to(self.device)
        for voxels, position in ball_chunks(self._ball, self.device):
            at = position.float()
            total = torch.zeros((len(voxels), 3), device=self.device)
            for turn in turns:
                total += self._read(source, at @ turn.T)
            self._values[voxels] += total

    def _read(self, source: Tensor, at: Tensor) -> Tensor:
        """Return the sums `(V, 3)` interpolated at `(V, 3)` x, y, z."""
        sign = torch.where(at[:, 0] < 0, -1.0, 1.0)
        (x0, fx), (y0, fy), (z0, fz) = (_split(column * sign) for column in at.unbind(1))
        centre = self._ball.radius + 1
        found = torch.zeros((len(at), 3), device=self.device)
        for dz in (0, 1):
            for dy in (0, 1):
                share = (fz if dz else 1 - fz) * (fy if dy else 1 - fy)
                start = self._starts[z0 + (dz + centre), y0 + (dy + centre)] + x0
                start = torch.where(share > 0, start, 0)  # on the rim a row may not be there
                for dx in (0, 1):
                    part = share * (fx if dx else 1 - fx)
                    found += part[:, None] * source[start + dx]
        found[:, 1] *= sign
        return found

    def merge(self, other: Self) -> None:
        """Add the sums of another one of the same box, padding and state.

        Raises
        ------
        OptionError
            If they differ.
        """
        refuse_unlike_sums(
            (self.box, self.padding, self._is_whole), (other.box, other.padding, other._is_whole)
        )
        self._values += other._values

    def reconstruct(self, gridding: bool = True) -> NDArray[np.float32]:
        """Return the `(N, N, N)` [z, y, x] map; may be called again, or after a `merge`."""
        if not self._is_whole:
            self.symmetrise()
        needed = weighting_bytes(self.box, self.padding)
        if self._budget_bytes is not None and needed > self._budget_bytes:
            on_cpu = FourierSums(self._ball, self._values.cpu().numpy())
            return weighted_map(
                on_cpu, self.box, self.padding, gridding, self.threads, self.relions_grid
            )
        return weighted_map_on_device(
            self._ball,
            self._values,
            self.box,
            self.padding,
            gridding,
            self.threads,
            self.relions_grid,
        )


def _slice_samples(box: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return ky and kx `(S,)` of the samples of a slice; of the line kx = 0 only ky >= 0."""
    rows = torch.arange(box)
    ky = torch.where(rows <= box // 2, rows, rows - box)[:, None]
    kx = torch.arange(box // 2 + 1)[None, :]
    used = (ky**2 + kx**2 <= (box // 2) ** 2) & ((kx > 0) | (ky >= 0))
    grid = torch.broadcast_tensors(ky, kx)
    return grid[0][used].to(device), grid[1][used].to(device)


def _split(position: Tensor) -> tuple[Tensor, Tensor]:
    """Return the voxel below a position and the distance from it."""
    below = position.floor()
    return below.long(), (position - below).float()
