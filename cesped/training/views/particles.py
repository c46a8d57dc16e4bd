"""Sets of views out of the particles of an entry, with the poses that its star file states."""

import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import MetadataError
from ...geometry.poses import Poses
from ...geometry.symmetry import PointGroup
from ..prepared import PreparedParticles
from .sets import VALIDATION, ViewBatch, generator_of


class ParticleViews:
    """Draws sets of particles of one table; a part of them validates and is never learned from.

    Parameters
    ----------
    particles : the images, without correction of the CTF
    group : symmetry of the particle
    held_out_share : of the particles, which validate
    seed : of that division
    device : of the batches

    Raises
    ------
    MetadataError
        If the particles have no poses.
    """

    def __init__(
        self,
        particles: PreparedParticles,
        group: PointGroup | None = None,
        held_out_share: float = 0.1,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        if particles.table.poses is None:
            raise MetadataError(
                f"{particles.table.source} has no angles to learn; give particles that were refined"
            )
        self._poses: Poses = particles.table.poses
        self._particles, self._group = particles, group
        self._device = torch.device(device)
        order = np.random.default_rng(seed).permutation(len(particles))
        count = round(held_out_share * len(particles))
        self.held_out_rows: NDArray[np.int64] = np.sort(order[:count])
        self.training_rows: NDArray[np.int64] = np.sort(order[count:])

    def draw(self, numbers: list[int], views: int, stream: tuple[int, ...]) -> ViewBatch:
        """Return the sets of these numbers; see `ViewSource`. A set has no particle twice.

        Raises
        ------
        MetadataError
            If there are fewer particles than views.
        """
        pool = self.held_out_rows if stream[-1] == VALIDATION else self.training_rows
        if len(pool) < views:
            which = "held out" if stream[-1] == VALIDATION else "to learn from"
            raise MetadataError(
                f"{self._particles.table.source}: of its {len(self._particles)} particles "
                f"{len(pool)} are {which}, too few for sets of {views} views; use fewer views, or "
                "more particles"
            )
        rows = np.stack(
            [generator_of(stream, number).choice(pool, views, replace=False) for number in numbers]
        )
        flat = rows.reshape(-1)
        images = self._particles.read(flat)
        shifts_px = -self._poses.origins_angst[flat] / self._particles.pixel_size_angst
        shape = rows.shape
        return ViewBatch(
            images.reshape(*shape, *images.shape[1:]).to(self._device),
            self._tensor(self._poses.rotations[flat]).reshape(*shape, 3, 3),
            self._tensor(shifts_px).reshape(*shape, 2),
            None,
            None if self._group is None else self._tensor(self._group.operators),
            (float(self._particles.pixel_size_angst),) * len(numbers),
        )

    def _tensor(self, values: NDArray[np.float64]) -> torch.Tensor:
        return torch.from_numpy(np.array(values, np.float32)).to(self._device)
