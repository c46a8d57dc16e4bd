"""The Lightning module: a pose model, its optimizer, and the running mean of its weights."""

from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn

from ..geometry.symmetry import point_group, symmetric_distance_deg
from ..models.registry import PoseModel
from .batch_augmentation import BatchAugmentation
from .batches import Batch
from .recipe import TrainingRecipe
from .schedule import rate_factor

#: Steps after which the running mean of the weights reaches its full length.
_AVERAGE_WARMUP = 10


class PoseModule(pl.LightningModule):
    """Trains a `PoseModel`.

    Parameters
    ----------
    model : the network, changed in place
    recipe : of the run
    total_steps : optimizer steps of the whole run
    noise_deviation : of the background of the training images
    """

    def __init__(
        self,
        model: PoseModel,
        recipe: TrainingRecipe,
        total_steps: int,
        noise_deviation: float = 1.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.total_steps = total_steps
        self.augmentation = BatchAugmentation(recipe.augmentation, noise_deviation)
        self.group = point_group(model.symmetry)
        self.average = WeightAverage(model) if recipe.trainer.average_decay else None
        # part of the state: what a plateau has made of the rate survives a restart
        self.register_buffer("rate_scale", torch.ones((), dtype=torch.float64))
        self._losses: list[torch.Tensor] = []
        self._errors_deg: list[np.ndarray] = []

    def predicting_weights(self) -> dict[str, torch.Tensor]:
        """Return the parameters and buffers with which the model predicts."""
        own = self.model.state_dict()
        return {**own, **self.average.named(own)} if self.average is not None else own

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Augment the batch and return its loss; random numbers follow from seed and step."""
        del batch_idx
        seed = _step_seed(self.recipe.trainer.seed, batch.step, self.global_rank)
        generator = torch.Generator().manual_seed(seed)
        images_seen = batch.step * self.recipe.data.batch_size
        images, rotations = self.augmentation(batch.images, batch.rotations, generator, images_seen)
        with torch.random.fork_rng(devices=_cuda_devices(images)):
            torch.manual_seed(seed)  # what a model draws for itself: dropout, sampled points
            loss = self.model.loss(images, rotations, batch.confidence)
        self.log("train_loss", loss.detach(), on_step=True, logger=False)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Move the running mean towards the weights of this step."""
        del outputs, batch, batch_idx
        if self.average is not None:
            step = self.global_step
            warm = (1 + step) / (_AVERAGE_WARMUP + step)
            self.average.update(self.model, min(self.recipe.trainer.average_decay, warm))

    def on_validation_epoch_start(self) -> None:
        """Put the weights that predict in place."""
        self._losses, self._errors_deg = [], []
        if self.average is not None:
            self.average.swap(self.model)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect loss and angular errors of the validation particles."""
        del batch_idx
        self._losses.append(self.model.loss(*batch[:3]).detach() * len(batch.images))
        predicted = self.model.predict(batch.images).rotations
        self._errors_deg.append(
            symmetric_distance_deg(
                batch.rotations.cpu().double().numpy(), predicted.cpu().double().numpy(), self.group
            )
        )

    def on_validation_epoch_end(self) -> None:
        """Log the means and put the training weights back."""
        if self.average is not None:
            self.average.swap(self.model)
        if not self._errors_deg:
            return
        errors_deg = np.concatenate(self._errors_deg)
        loss = torch.stack(self._losses).sum() / len(errors_deg)
        values = {
            "val_loss": loss,
            "val_mean_error_deg": torch.tensor(errors_deg.mean()),
            "val_median_error_deg": torch.tensor(np.median(errors_deg)),
        }
        self.log_dict(values, logger=False, sync_dist=self.trainer.world_size > 1)

    def halve_rate(self) -> None:
        """Use half of the learning rate from the next step on."""
        self.get_buffer("rate_scale").mul_(0.5)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return RAdam and the schedule of the recipe."""
        recipe = self.recipe.optimizer
        optimizer = torch.optim.RAdam(
            self.model.parameters(),
            lr=recipe.lr,
            weight_decay=recipe.weight_decay,
            decoupled_weight_decay=True,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer,
            lambda step: (
                float(self.get_buffer("rate_scale")) * rate_factor(step, self.total_steps, recipe)
            ),
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


class WeightAverage(nn.Module):
    """An exponential running mean of a model's floating-point parameters and buffers.

    It is part of the module's state, so a resumed run continues it.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        for name, value in _averaged(model).items():
            self.register_buffer(_flat(name), value.detach().clone())

    @torch.no_grad()
    def update(self, model: nn.Module, decay: float) -> None:
        """Keep `decay` of the mean and take the rest from `model`."""
        for name, value in _averaged(model).items():
            self.get_buffer(_flat(name)).lerp_(value, 1.0 - decay)

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Exchange the mean and the weights of `model`, in place."""
        for name, value in _averaged(model).items():
            mean = self.get_buffer(_flat(name))
            held = mean.clone()
            mean.copy_(value)
            value.copy_(held)

    def named(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the mean under the names that it has in `state`."""
        known = dict(self.named_buffers())
        return {name: known[_flat(name)] for name in state if _flat(name) in known}


def _averaged(model: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v for k, v in model.state_dict().items() if v.is_floating_point()}


def _flat(name: str) -> str:
    return name.replace(".", "__")


def _step_seed(seed: int, step: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> 1)


def _cuda_devices(images: torch.Tensor) -> list[torch.device]:
    return [images.device] if images.is_cuda else []
