"""The Lightning data module: batches of one half of an entry, for training and validation."""

from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from .batches import Batch, BatchDataset, BatchesInOrder, BatchStream, StepRows
from .drawn import DrawnParticles
from .prepared import PreparedParticles
from .recipe import TrainingRecipe

_VALIDATION_BATCH = 256


class PoseDataModule(pl.LightningDataModule):
    """Batches of prepared particles.

    Parameters
    ----------
    particles : the half, with poses
    train_rows, validation_rows : which of them train and validate
    recipe : batch size, workers, order of the particles, how a batch is divided
    drawn : what makes the training images instead, on the device that trains; None trains on
        those of `particles`
    """

    def __init__(
        self,
        particles: PreparedParticles,
        train_rows: NDArray[np.int64],
        validation_rows: NDArray[np.int64],
        recipe: TrainingRecipe,
        drawn: DrawnParticles | None = None,
    ) -> None:
        super().__init__()
        self._dataset = BatchDataset(particles)
        self._train_rows = train_rows
        self._validation_rows = validation_rows
        self._recipe = recipe
        self._drawn = drawn

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the stream of training batches, this process's share of each."""
        stream = stream_of_recipe(self._train_rows, self._recipe, *self._place())
        if self._drawn is not None:
            return DataLoader(_Announced(), batch_size=None, sampler=stream)
        return self._loader(stream)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the validation particles, this process's share of them."""
        size = max(self._recipe.data.batch_size, _VALIDATION_BATCH)
        return self._loader(BatchesInOrder(self._validation_rows, size, *self._place()))

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Draw the images of a training batch that was only announced, on the device."""
        del dataloader_idx
        if self._drawn is None or not isinstance(batch, StepRows) or self.trainer is None:
            return batch
        return self._drawn.draw(batch, self.trainer.strategy.root_device)

    def _place(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _loader(self, sampler: Sampler[StepRows]) -> DataLoader[Batch]:
        workers = self._recipe.data.num_data_workers
        return DataLoader(
            self._dataset,
            batch_size=None,
            sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            # so that a GPU takes them while it computes
            pin_memory=workers > 0 and self._goes_to_gpu(),
        )

    def _goes_to_gpu(self) -> bool:
        return self._recipe.trainer.accelerator != "cpu" and torch.cuda.is_available()


class _Announced(Dataset[Any]):
    """Hands on which batch it is: its images are made where it arrives."""

    def __getitem__(self, which: StepRows) -> StepRows:
        return which


def stream_of_recipe(
    rows: NDArray[np.int64], recipe: TrainingRecipe, rank: int = 0, world_size: int = 1
) -> BatchStream:
    """Return the training batches of one process.

    Raises
    ------
    OptionError
        If the batch cannot be divided among the processes.
    """
    return BatchStream(
        rows,
        recipe.data.batch_size,
        recipe.trainer.seed,
        recipe.trainer.steps_per_round,
        rank,
        world_size,
        recipe.trainer.accumulate_grad_batches,
        recipe.augmentation.copies,
    )
