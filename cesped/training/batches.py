"""Which particles make which batch: a pure function of the seed and the step.

A run that was killed goes on with exactly the batches that it would have had.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from .prepared import PreparedParticles


class Batch(NamedTuple):
    """Images with what is known about them.

    images `(B, 1, n, n)`, rotations `(B, 3, 3)`, confidence `(B,)`, and `step`, the number of the
    batch, which seeds its augmentation.
    """

    images: torch.Tensor
    rotations: torch.Tensor
    confidence: torch.Tensor
    step: int


class StepRows(NamedTuple):
    """The rows of one batch and its number."""

    step: int
    rows: NDArray[np.int64]


class BatchStream(Sampler[StepRows]):
    """The batches of one round after the other, from an endless shuffled stream of particles.

    Epochs follow each other without a gap: every particle comes once in each.

    Parameters
    ----------
    rows : `(P,)` rows of the table that are drawn from
    batch_size : particles of a batch, over all processes
    seed : of the order
    steps_per_round : batches of one round; None for one epoch
    rank, world_size : this process takes each `world_size`-th particle of a batch
    """

    def __init__(
        self,
        rows: NDArray[np.int64],
        batch_size: int,
        seed: int,
        steps_per_round: int | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.rows = rows
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.steps_per_round = steps_per_round or self.steps_per_epoch
        self._round = 0
        self._order = lru_cache(maxsize=2)(
            lambda epoch: np.random.default_rng([seed, epoch]).permutation(rows)
        )

    @property
    def steps_per_epoch(self) -> int:
        """Batches that show about as many particles as there are; at least 1."""
        return max(1, round(len(self.rows) / self.batch_size))

    def batch(self, step: int) -> NDArray[np.int64]:
        """Return the rows `(B,)` of batch `step`, counted from 0."""
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        places = places[self.rank :: self.world_size]
        epochs, within = np.divmod(places, len(self.rows))
        picked = np.empty_like(places)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            picked[chosen] = self._order(int(epoch))[within[chosen]]
        return picked

    def set_epoch(self, epoch: int) -> None:
        """Go to round `epoch`, counted from 0; Lightning calls it so."""
        self._round = epoch

    def __iter__(self) -> Iterator[StepRows]:
        first = self._round * self.steps_per_round
        for step in range(first, first + self.steps_per_round):
            yield StepRows(step, self.batch(step))

    def __len__(self) -> int:
        return self.steps_per_round


class BatchesInOrder(Sampler[StepRows]):
    """All rows once, in their order; for validation."""

    def __init__(
        self, rows: NDArray[np.int64], batch_size: int, rank: int = 0, world_size: int = 1
    ) -> None:
        own = rows[rank::world_size]
        self._parts = [own[start : start + batch_size] for start in range(0, len(own), batch_size)]

    def __iter__(self) -> Iterator[StepRows]:
        for step, rows in enumerate(self._parts):
            yield StepRows(step, rows)

    def __len__(self) -> int:
        return len(self._parts)


class BatchDataset(Dataset[Batch]):
    """Turns the rows of a batch into the batch."""

    def __init__(self, particles: PreparedParticles) -> None:
        self.particles = particles
        poses = particles.table.require_poses()
        self.rotations = torch.from_numpy(poses.rotations).to(torch.float32)
        self.confidence = torch.from_numpy(poses.confidence).to(torch.float32)

    def __len__(self) -> int:
        return len(self.particles)

    def __getitem__(self, which: StepRows) -> Batch:
        rows = torch.from_numpy(which.rows)
        images = self.particles.read(which.rows)
        return Batch(images, self.rotations[rows], self.confidence[rows], which.step)


def split_rows(
    count: int, train_share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows that train and those that validate, each sorted; at least one of each.

    Parameters
    ----------
    count : particles of the half, at least 2
    train_share : share that trains
    seed : of the division
    """
    order = np.random.default_rng(seed).permutation(count)
    n_train = min(max(1, round(train_share * count)), count - 1)
    return np.sort(order[:n_train]), np.sort(order[n_train:])
