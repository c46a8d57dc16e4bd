"""The Lightning module: a pose model, its optimizer, and the running mean of its weights."""

from typing import Any, cast

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn

from ..geometry.symmetry import point_group, symmetric_distance_deg
from ..models.registry import PoseModel
from .batch_augmentation import BatchAugmentation
from .batches import Batch
from .ranks import gathered, take_from_first
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
    pixel_size_angst : of the training images, for models that learn shifts
    """

    def __init__(
        self,
        model: PoseModel,
        recipe: TrainingRecipe,
        total_steps: int,
        noise_deviation: float = 1.0,
        pixel_size_angst: float = 1.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        self.total_steps = total_steps
        self.pixel_size_angst = pixel_size_angst
        self.augmentation = BatchAugmentation(recipe.augmentation, noise_deviation)
        self.group = point_group(model.symmetry)
        self.average = WeightAverage(model) if recipe.trainer.average_decay else None
        # part of the state: what a plateau has made of the rate survives a restart
        self.register_buffer("rate_scale", torch.ones((), dtype=torch.float64))
        self._rate_scale: float | None = None  # its value: a device is not waited for at each step
        self._losses: list[float] = []
        self._errors_deg: list[np.ndarray] = []

    def predicting_weights(self) -> dict[str, torch.Tensor]:
        """Return the parameters and buffers with which the model predicts."""
        own = self.model.state_dict()
        return {**own, **self.average.named(own)} if self.average is not None else own

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, torch.Tensor]:
        """Augment the batch and return its loss; random numbers follow from seed and share.

        The loss of a part is returned twice: Lightning divides the one by the number of parts.
        """
        del batch_idx
        seed = _share_seed(self.recipe.trainer.seed, batch.step, batch.share)
        generator = torch.Generator().manual_seed(seed)
        images_seen = batch.step * self.recipe.data.batch_size
        images, rotations, origins_px = self.augmentation(
            batch.images,
            batch.rotations,
            batch.origins_angst / self.pixel_size_angst,
            generator,
            images_seen,
        )
        with torch.random.fork_rng(devices=_cuda_devices(images)):
            torch.manual_seed(seed)  # what a model draws for itself: dropout, sampled points
            self.model.progress = batch.step / self.total_steps
            loss = self._loss(images, rotations, batch.confidence, origins_px)
        return {"loss": loss, "loss_of_part": loss.detach()}

    def _loss(
        self,
        images: torch.Tensor,
        rotations: torch.Tensor,
        confidence: torch.Tensor,
        origins_px: torch.Tensor,
    ) -> torch.Tensor:
        if not self.model.learns_shifts:
            return self.model.loss(images, rotations, confidence)
        shifts_angst = origins_px * self.pixel_size_angst
        learner = cast(Any, self.model)  # the base class knows no shifts
        loss: torch.Tensor = learner.loss(images, rotations, confidence, shifts_angst=shifts_angst)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Move the running mean towards the weights, if this part ended a step."""
        del outputs, batch
        if self.average is None or (batch_idx + 1) % self.recipe.trainer.accumulate_grad_batches:
            return
        step = self.global_step
        warm = (1 + step) / (_AVERAGE_WARMUP + step)
        self.average.update(self.model, min(self.recipe.trainer.average_decay, warm))

    def on_validation_epoch_start(self) -> None:
        """Put the weights that predict in place, the same in every process."""
        self._losses, self._errors_deg = [], []
        take_from_first(self._moving_statistics())
        if self.average is not None:
            self.average.swap(self.model)

    def _moving_statistics(self) -> list[torch.Tensor]:
        """Return what each process has its own of: the buffers, as batch normalisation moves."""
        buffers = [value for value in self.model.buffers() if value.is_floating_point()]
        return buffers if self.average is None else [*buffers, *self.average.buffers()]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Collect loss and angular errors of the validation particles."""
        del batch_idx
        origins_px = batch.origins_angst / self.pixel_size_angst
        loss = self._loss(batch.images, batch.rotations, batch.confidence, origins_px)
        self._losses += [float(loss)] * len(batch.images)
        predicted = self.model.predict(batch.images).rotations
        self._errors_deg.append(
            symmetric_distance_deg(
                batch.rotations.cpu().double().numpy(), predicted.cpu().double().numpy(), self.group
            )
        )

    def on_validation_epoch_end(self) -> None:
        """Log the figures of all processes and put the training weights back."""
        if self.average is not None:
            self.average.swap(self.model)
        losses = gathered(np.array(self._losses, dtype=np.float64))
        errors_deg = gathered(np.concatenate([np.empty(0), *self._errors_deg]))
        values = {
            "val_loss": losses.mean(),
            "val_mean_error_deg": errors_deg.mean(),
            "val_median_error_deg": np.median(errors_deg),
        }
        tensors = {name: torch.tensor(float(value)) for name, value in values.items()}
        self.log_dict(tensors, logger=False)  # the same in every process already

    def halve_rate(self) -> None:
        """Use half of the learning rate from the next step on."""
        self.get_buffer("rate_scale").mul_(0.5)
        self._rate_scale = None

    def load_state_dict(self, *args: Any, **options: Any) -> Any:
        """Take a state over, and the scale of the rate with it."""
        self._rate_scale = None
        return super().load_state_dict(*args, **options)

    def _scaled_rate(self, step: int) -> float:
        """Return the share of the learning rate that counts in a step."""
        if self._rate_scale is None:
            self._rate_scale = float(self.get_buffer("rate_scale"))
        return self._rate_scale * rate_factor(step, self.total_steps, self.recipe.optimizer)

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
            lambda step: self._scaled_rate(step),  # a state holds what any other callable holds
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


def _share_seed(seed: int, step: int, share: int) -> int:
    return int(np.random.SeedSequence([seed, step, share]).generate_state(1, np.uint64)[0] >> 1)


def _cuda_devices(images: torch.Tensor) -> list[torch.device]:
    return [images.device] if images.is_cuda else []
