"""Training of CryoFastAR on sets of views, stage after stage (CryoFastAR paper, section 4.2).

What is drawn at a step follows from the seed, the stage and the number of the set alone. So a
training that was killed goes on to the weights that it would have had: on a processor to the same
bytes, if it has as many threads.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import CheckpointError, DivergedError, OptionError
from ...models.cryofastar.losses import planar_map_loss
from ...models.cryofastar.model import CryoFastAR
from ...models.cryofastar.planar_maps import PlanarMaps
from ...models.cryofastar.views import normalized_views
from ...models.cryofastar.weights import facts_of_weights
from ...progress import SILENT, Progress
from ...vocabulary import Schedule, ViewNormalization
from ..provenance import describe_program, file_sha256, write_provenance
from ..schedule import rate_factor
from ..sections import OptimizerRecipe
from .recipe import ViewsRecipe, ViewStage
from .run_folder import PROVENANCE_NAME, ViewRow, ViewRunFolder, ViewState
from .sets import TRAINING, ViewBatch, ViewSource, true_points
from .validation import validate

_ORDER = 2  # the stream of random numbers that sets are shuffled by, beside those of `sets`


@dataclass(frozen=True)
class ViewTraining:
    """What a training leaves.

    Parameters
    ----------
    weights : safetensors file; its header says where they come from
    rows : the log
    """

    weights: Path
    rows: tuple[ViewRow, ...]


def train_views(
    folder: str | os.PathLike[str],
    recipe: ViewsRecipe,
    source_of: Callable[[ViewStage], ViewSource],
    *,
    inputs: Mapping[str, Any] | None = None,
    device: torch.device | str = "cpu",
    start_from: str | os.PathLike[str] | None = None,
    resume: bool = True,
    progress: Progress = SILENT,
) -> ViewTraining:
    """Train through all stages of a recipe, or go on with it, and write `weights.safetensors`.

    Parameters
    ----------
    folder : for weights, state, log and provenance
    recipe : how to train
    source_of : makes what a stage draws from, on the device
    inputs : what is drawn from, as JSON values that tell it apart from other inputs
    device : where to compute
    start_from : weights to begin with, whose sizes then count instead of the preset's
    resume : go on with what is in `folder`; else begin anew
    progress : told of every step

    Raises
    ------
    CheckpointError
        If `folder` holds another training, or weights or state cannot be read.
    DivergedError
        If the loss is no number any more.
    OptionError, GeometryError
        If images do not suit the network, or the weights want images that cannot be made here.
    ImageValueError, MetadataError
        If a source has images without contrast, or too few particles.
    """
    if start_from is not None and not Path(start_from).is_file():
        raise CheckpointError(f"there are no weights {start_from} to begin with")
    facts = {
        "recipe": recipe.to_dict(),
        "inputs": dict(inputs or {}),
        "start_from_sha256": None if start_from is None else file_sha256(Path(start_from)),
    }
    run = ViewRunFolder(folder, facts)
    run.claim(resume)
    if run.is_done:
        return ViewTraining(run.weights, tuple(run.read_log()))
    state = run.read_state()
    work = _Work(recipe, _first_model(recipe, start_from), torch.device(device), run, progress)
    if state is not None:
        work.take(state)
    rows = work.run_stages(source_of)
    run.write_log(rows)  # a kill may have come between the last state and its log
    began_with = None if start_from is None else facts_of_weights(start_from)
    origin = {**facts, "program": describe_program(), "began_with": began_with}
    work.model.save(run.weights, origin)
    write_provenance(
        run.path / PROVENANCE_NAME,
        {**origin, "weights_sha256": file_sha256(run.weights), "device": str(work.device)},
    )
    run.forget_state()
    return ViewTraining(run.weights, rows)


def _first_model(recipe: ViewsRecipe, start_from: str | os.PathLike[str] | None) -> CryoFastAR:
    if start_from is not None:
        model = CryoFastAR.load(start_from)
        if model.normalization is ViewNormalization.STACK_RANGE:
            raise OptionError(
                f"{start_from} wants views normalised before CTF and noise, which real particles "
                "cannot be; begin with other weights"
            )
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.trainer.seed)
            model = CryoFastAR(recipe.model.preset)
    size = recipe.data.image_size
    model.grid_of(torch.empty(1, size, size))  # refuses images that do not suit the patches
    return model


class _Work:
    """A training in progress."""

    def __init__(
        self,
        recipe: ViewsRecipe,
        model: CryoFastAR,
        device: torch.device,
        run: ViewRunFolder,
        progress: Progress,
    ) -> None:
        self.recipe, self.device = recipe, device
        self.model = model.float().to(device).train()
        self._run, self._progress = run, progress
        self._step = 0  # over all stages
        self._rows: tuple[ViewRow, ...] = ()
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), weight_decay=recipe.trainer.weight_decay
        )

    def take(self, state: ViewState) -> None:
        """Go on from a state."""
        if not 0 <= state.step <= self.recipe.total_steps:
            raise CheckpointError(f"a state of step {state.step} does not belong to this recipe")
        self.model.load_state_dict(state.weights)
        self._optimizer.load_state_dict(state.optimizer)
        self._step, self._rows = state.step, state.rows

    def run_stages(self, source_of: Callable[[ViewStage], ViewSource]) -> tuple[ViewRow, ...]:
        """Do the steps that are left, and return the log."""
        begins = 0
        for number, stage in enumerate(self.recipe.stages, start=1):
            done = self._step - begins
            begins += stage.steps
            if done < stage.steps:
                self._run_stage(number, stage, source_of(stage), done)
        return self._rows

    def _run_stage(self, number: int, stage: ViewStage, source: ViewSource, done: int) -> None:
        what = f"Stage {number} of {len(self.recipe.stages)}, {stage.views} views"
        trainer = self.recipe.trainer
        with self._progress.task(what, stage.steps, done=done) as advance:
            while done < stage.steps:
                started = time.monotonic()
                stop = min(stage.steps, (done // trainer.steps_per_round + 1)
                           * trainer.steps_per_round)  # fmt: skip
                losses = []
                for step in range(done, stop):
                    losses.append(self._learn(number, stage, source, step))
                    advance(1)
                self._step += stop - done
                done = stop
                loss = float(torch.stack(losses).mean())
                if not np.isfinite(loss):
                    raise DivergedError(
                        f"the loss is {loss} by step {done} of stage {number}; lower "
                        f"stages.{number}.lr, which is {stage.lr:g}, and run again: the state "
                        "before is kept"
                    )
                self._end_round(number, stage, source, loss, started)

    def _learn(self, number: int, stage: ViewStage, source: ViewSource, step: int) -> torch.Tensor:
        """Do one step and return its loss."""
        trainer = self.recipe.trainer
        rate = self._rate(stage, step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        numbers = self._numbers(number, stage, step)
        each = len(numbers) // trainer.parts
        total = torch.zeros((), device=self.device)
        for start in range(0, len(numbers), each):
            part = numbers[start : start + each]
            batch = source.draw(part, stage.views, (trainer.seed, number, TRAINING))
            loss = self._loss(batch) / trainer.parts
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        if trainer.gradient_clip:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), trainer.gradient_clip)
        self._optimizer.step()
        return total

    def _rate(self, stage: ViewStage, step: int) -> float:
        recipe = OptimizerRecipe(
            schedule=Schedule.COSINE.value, warmup_share=self.recipe.trainer.warmup_share
        )
        return stage.lr * rate_factor(step, stage.steps, recipe)

    def _numbers(self, number: int, stage: ViewStage, step: int) -> list[int]:
        """Return which sets a step learns from."""
        shown = range(step * stage.batch, (step + 1) * stage.batch)
        if stage.sets is None:
            return list(shown)
        orders = {
            epoch: np.random.default_rng(
                [self.recipe.trainer.seed, number, _ORDER, epoch]
            ).permutation(stage.sets)
            for epoch in {index // stage.sets for index in shown}
        }
        return [int(orders[index // stage.sets][index % stage.sets]) for index in shown]

    def maps_of(self, batch: ViewBatch) -> PlanarMaps:
        """Return what the network says of a batch."""
        views = normalized_views(batch.images, self.model.normalization)
        wants_images = self.recipe.loss.image_weight > 0
        half = self.recipe.trainer.bfloat16
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            maps: PlanarMaps = self.model(views, with_images=wants_images)
        return maps

    def _loss(self, batch: ViewBatch) -> torch.Tensor:
        maps = self.maps_of(batch)
        weights = self.recipe.loss
        clean = None
        if weights.image_weight:
            known = batch.images if batch.clean_images is None else batch.clean_images
            clean = normalized_views(known, self.model.normalization)
        return planar_map_loss(
            maps,
            true_points(batch, maps, self.model.convention),
            self.model.convention,
            alpha=weights.alpha,
            grid_weight=weights.grid_weight,
            image_weight=weights.image_weight,
            true_images=clean,
        ).total

    def _end_round(
        self, number: int, stage: ViewStage, source: ViewSource, loss: float, started: float
    ) -> None:
        trainer = self.recipe.trainer
        self.model.eval()
        seen = validate(
            self.maps_of,
            source,
            stage.views,
            (trainer.seed, number),
            trainer.validation_sets,
            max(1, stage.batch // trainer.parts),
            self.model.convention,
        )
        self.model.train()
        row = ViewRow(
            step=self._step,
            stage=number,
            learning_rate=float(self._optimizer.param_groups[0]["lr"]),
            train_loss=loss,
            **seen,
            seconds=time.monotonic() - started,
        )
        self._rows = (*self._rows, row)
        weights = {name: value.detach().cpu() for name, value in self.model.state_dict().items()}
        self._run.write_state(
            ViewState(self._step, weights, self._optimizer.state_dict(), self._rows)
        )
