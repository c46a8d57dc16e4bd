"""A training on views in progress: steps, rounds and stages of one process of its team."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ...errors import CheckpointError, DivergedError
from ...models.cryofastar.losses import planar_map_loss
from ...models.cryofastar.model import CryoFastAR
from ...models.cryofastar.pixel_sizes import PixelSizes
from ...models.cryofastar.planar_maps import PlanarMaps
from ...models.cryofastar.views import normalized_views
from ...progress import Advance, Progress, say
from ...vocabulary import Schedule
from ..ranks import gathered
from ..schedule import rate_factor
from ..sections import OptimizerRecipe
from .blocks import freeze_unused, prepare_blocks
from .curve import draw_curve
from .recipe import ViewsRecipe
from .run_folder import CURVE_NAME, ViewRow, ViewRunFolder, ViewState
from .sections import ViewStage
from .sets import TRAINING, StreamedSource, ViewBatch, ViewSource, true_points
from .team import Team, divide_as_weights, whole
from .validation import validate

_ORDER = 2  # the stream of random numbers that sets are shuffled by, beside those of `sets`
_BETWEEN_PICTURES_S = 60.0
_BETWEEN_WORDS_S = 1.0  # a loss that is looked at has been waited for


class Work:
    """The training of one process.

    Parameters
    ----------
    recipe : how to train
    model : what is trained, on the processor; changed in place
    team : the processes
    run : the folder, which the first process writes
    progress : told of every step
    state : where to go on
    """

    def __init__(
        self,
        recipe: ViewsRecipe,
        model: CryoFastAR,
        team: Team,
        run: ViewRunFolder,
        progress: Progress,
        state: ViewState | None = None,
    ) -> None:
        self.recipe, self.team = recipe, team
        self._run, self._progress = run, progress
        self._drawn_s = time.monotonic()
        self._step = 0  # over all stages
        self.rows: tuple[ViewRow, ...] = ()
        self._streams: dict[str, Any] = {}
        self.pixel_sizes = PixelSizes()  # of what was shown; of all processes after each round
        if state is not None:
            if not 0 <= state.step <= recipe.total_steps:
                raise CheckpointError(
                    f"a state of step {state.step} does not belong to this recipe"
                )
            model.load_state_dict(state.weights)
            self._step, self.rows, self._streams = state.step, state.rows, state.streams
            # a state of an earlier version does not know what was shown before
            self.pixel_sizes = PixelSizes(*state.pixel_sizes_angst or (math.nan, math.nan))
        self.model = model.float().train()
        trainer = recipe.trainer
        freeze_unused(model, learns_images=recipe.loss.image_weight > 0)
        prepare_blocks(model, checkpointing=trainer.checkpointing, compiled=trainer.compile)
        self._network = team.join(model)
        self._optimizer = torch.optim.AdamW(model.parameters(), weight_decay=trainer.weight_decay)
        if state is not None:
            self._optimizer.load_state_dict(state.optimizer)
            divide_as_weights(self._optimizer)

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the weights in one piece, in the first process; all must ask for them."""
        found: dict[str, torch.Tensor] = whole(dict(self.model.state_dict()), self.team.is_main)
        return found

    def run_stages(self, source_of: Callable[[ViewStage], ViewSource]) -> tuple[ViewRow, ...]:
        """Do the steps that are left, and return the log."""
        begins = 0
        for number, stage in enumerate(self.recipe.stages, start=1):
            done = self._step - begins
            begins += stage.steps
            if done < stage.steps:
                self._run_stage(number, stage, source_of(stage), done)
        return self.rows

    def _run_stage(self, number: int, stage: ViewStage, source: ViewSource, done: int) -> None:
        what = f"Stage {number} of {len(self.recipe.stages)}, {stage.views} views"
        trainer = self.recipe.trainer
        if isinstance(source, StreamedSource) and self._streams.get("stage") == number:
            source.restore(self._streams["lanes"])
        try:
            with self._progress.task(what, stage.steps, done=done) as advance:
                while done < stage.steps:
                    rounds = done // trainer.steps_per_round + 1
                    stop = min(stage.steps, rounds * trainer.steps_per_round)
                    self._run_round(number, stage, source, (done, stop), advance)
                    done = stop
        finally:
            if isinstance(source, StreamedSource):
                source.close()

    def _run_round(
        self,
        number: int,
        stage: ViewStage,
        source: ViewSource,
        steps: tuple[int, int],
        advance: Advance,
    ) -> None:
        started = spoke = time.monotonic()
        losses = []
        for step in range(*steps):
            losses.append(self._learn(number, stage, source, step))
            advance(1)
            now = time.monotonic()
            if now - spoke > _BETWEEN_WORDS_S or step + 1 == steps[1]:
                spoke = now
                images = (step + 1 - steps[0]) * stage.batch * stage.views
                say(advance, self._words(images / (now - started), float(losses[-1])))
        self._step += steps[1] - steps[0]
        own = torch.stack(losses).double().mean().cpu().numpy()
        loss = float(gathered(own[None]).mean())
        if not np.isfinite(loss):
            raise DivergedError(
                f"the loss is {loss} by step {steps[1]} of stage {number}; lower "
                f"stages.{number}.lr, which is {stage.lr:g}, and run again: the state before is "
                "kept"
            )
        self._end_round(number, stage, source, loss, started)

    def _words(self, images_per_s: float, loss: float) -> str:
        """Return what is said while it learns."""
        said = f"{images_per_s:.3g} images/s, loss {loss:.3g}"
        if self.rows:
            last = self.rows[-1]
            said += f", rotation error {last.rotation_error:.3g} of {last.constant_error:.3g}"
        return said

    def _learn(self, number: int, stage: ViewStage, source: ViewSource, step: int) -> torch.Tensor:
        """Do one step and return its loss, over the sets of this process."""
        trainer = self.recipe.trainer
        rate = self._rate(stage, step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        parts = self._parts(number, stage, step)
        stream = (trainer.seed, number, TRAINING)
        total = torch.zeros((), device=self.team.device)
        for place, part in enumerate(parts):
            is_last = place + 1 == len(parts)
            batch = source.draw(part, stage.views, stream)
            self.pixel_sizes = self.pixel_sizes.with_sizes(batch.pixel_sizes_angst)
            if isinstance(source, StreamedSource):
                following = self._parts(number, stage, step + 1)[0] if is_last else parts[place + 1]
                source.expect(following, stage.views, stream)
            with self.team.part(is_last):
                loss = self._loss(batch) / len(parts)
                self.team.backward(loss)
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

    def _parts(self, number: int, stage: ViewStage, step: int) -> list[list[int]]:
        """Return which sets this process learns from in a step, part after part."""
        parts = self.recipe.trainer.parts
        own = self.team.own(stage.batch, parts, f"stages.{number}.batch")
        numbers = self._numbers(number, stage, range(step * stage.batch, (step + 1) * stage.batch))
        own_numbers = numbers[own.start : own.stop]
        each = len(own_numbers) // parts
        return [own_numbers[start : start + each] for start in range(0, len(own_numbers), each)]

    def _numbers(self, number: int, stage: ViewStage, shown: range) -> list[int]:
        """Return the numbers of the sets that are shown."""
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
        with torch.autocast(self.team.device.type, torch.bfloat16, enabled=half):
            maps: PlanarMaps = self._network(views, with_images=wants_images)
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
        self._network.eval()
        seen = validate(
            self.maps_of,
            source,
            stage.views,
            (trainer.seed, number),
            trainer.validation_sets,
            max(1, stage.batch // trainer.parts // self.team.size),
            self.model.convention,
            (self.team.rank, self.team.size),
        )
        self._network.train()
        row = ViewRow(
            step=self._step,
            stage=number,
            learning_rate=float(self._optimizer.param_groups[0]["lr"]),
            train_loss=loss,
            **seen,
            seconds=time.monotonic() - started,
        )
        self.rows = (*self.rows, row)
        lanes: dict[int, Any] = {}
        if isinstance(source, StreamedSource):
            for part in gathered(np.array([source.state()], dtype=object)):
                lanes |= part
        own = np.array([[self.pixel_sizes.least, self.pixel_sizes.largest]])
        self.pixel_sizes = self.pixel_sizes.with_sizes(gathered(own).ravel().tolist())
        state = ViewState(
            self._step,
            self.weights(),
            whole(self._optimizer.state_dict(), self.team.is_main),
            self.rows,
            {"stage": number, "lanes": lanes},
            (self.pixel_sizes.least, self.pixel_sizes.largest),
        )
        if self.team.is_main:
            self._run.write_state(state)
            if time.monotonic() - self._drawn_s > _BETWEEN_PICTURES_S:
                draw_curve(self._run.path / CURVE_NAME, self.rows)
                self._drawn_s = time.monotonic()
        self.team.wait()
