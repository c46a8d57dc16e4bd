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

from ..errors import OptionError
from .prepared import PreparedParticles


class Batch(NamedTuple):
    """Images with what is known about them.

    images `(B, 1, n, n)`, rotations `(B, 3, 3)`, confidence `(B,)`, origins_angst `(B, 2)`;
    `step`, the number of the optimizer step, and `share`, that of this part of its batch, seed
    the augmentation.
    """

    images: torch.Tensor
    rotations: torch.Tensor
    confidence: torch.Tensor
    origins_angst: torch.Tensor
    step: int
    share: int


class StepRows(NamedTuple):
    """The rows of one share of the batch of an optimizer step."""

    step: int
    rows: NDArray[np.int64]
    share: int = 0


class BatchStream(Sampler[StepRows]):
    """The batches of one round after the other, from an endless shuffled stream of particles.

    Epochs follow each other without a gap: every particle comes once in each, in `copies` images.
    A batch is what one optimizer step learns from, however it is divided: two processes, or one
    that takes it in two parts, get the same shares of the same particles.

    Parameters
    ----------
    rows : `(P,)` rows of the table that are drawn from
    batch_size : images of a batch, over all processes and their parts
    seed : of the order
    steps_per_round : batches of one round; None for one epoch
    rank, world_size : which of the processes this is
    parts : that each process takes its share of a batch in, one after the other
    copies : images of each particle in a batch

    Raises
    ------
    OptionError
        If `batch_size` cannot be divided so.
    """

    def __init__(
        self,
        rows: NDArray[np.int64],
        batch_size: int,
        seed: int,
        steps_per_round: int | None = None,
        rank: int = 0,
        world_size: int = 1,
        parts: int = 1,
        copies: int = 1,
    ) -> None:
        if batch_size % (world_size * parts * copies):
            raise OptionError(
                f"data.batch_size is {batch_size}; it must be a multiple of "
                f"{world_size * parts * copies}: {world_size} processes, each with "
                f"trainer.accumulate_grad_batches {parts}, and augmentation.copies {copies}"
            )
        self.rows = rows
        self.particles_per_step = batch_size // copies
        self.copies = copies
        self.shares = world_size * parts
        self.own_shares = range(rank * parts, (rank + 1) * parts)
        self.steps_per_round = steps_per_round or self.steps_per_epoch
        self._round = 0
        self._order = lru_cache(maxsize=2)(
            lambda epoch: np.random.default_rng([seed, epoch]).permutation(rows)
        )

    @property
    def steps_per_epoch(self) -> int:
        """Batches that show about as many particles as there are; at least 1."""
        return max(1, round(len(self.rows) / self.particles_per_step))

    def batch(self, step: int, share: int = 0) -> NDArray[np.int64]:
        """Return the rows `(B,)` of a share of batch `step`, both counted from 0."""
        places = np.arange(step * self.particles_per_step, (step + 1) * self.particles_per_step)
        places = places[share :: self.shares]
        epochs, within = np.divmod(places, len(self.rows))
        picked = np.empty_like(places)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            picked[chosen] = self._order(int(epoch))[within[chosen]]
        return np.tile(picked, self.copies)

    def set_epoch(self, epoch: int) -> None:
        """Go to round `epoch`, counted from 0; Lightning calls it so."""
        self._round = epoch

    def __iter__(self) -> Iterator[StepRows]:
        first = self._round * self.steps_per_round
        for step in range(first, first + self.steps_per_round):
            for share in self.own_shares:
                yield StepRows(step, self.batch(step, share), share)

    def __len__(self) -> int:
        return self.steps_per_round * len(self.own_shares)


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
        self.origins_angst = torch.from_numpy(poses.origins_angst).to(torch.float32)

    def __len__(self) -> int:
        return len(self.particles)

    def __getitem__(self, which: StepRows) -> Batch:
        rows = torch.from_numpy(which.rows)
        once, places = np.unique(which.rows, return_inverse=True)  # copies are read once
        images = self.particles.read(once)[torch.from_numpy(places)]
        return Batch(
            images,
            self.rotations[rows],
            self.confidence[rows],
            self.origins_angst[rows],
            which.step,
            which.share,
        )


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
