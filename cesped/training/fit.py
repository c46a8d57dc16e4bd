"""Training a model on one half of an entry: `train_half`."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..data.conventions import read_particle_table
from ..data.entry_checks import EntryHalf
from ..data.opening import open_entry
from ..data.table import ParticleTable
from ..errors import DivergedError, MetadataError, OptionError
from ..io.files import check_writable
from ..models.registry import PoseModel
from ..progress import SILENT, Advance, Progress
from ..vocabulary import Keep, Schedule
from .anchors import give_anchors
from .batches import BatchDataset, StepRows, split_rows
from .checkpoint import CheckpointCard, load_checkpoint, save_checkpoint
from .drawn import DrawnParticles
from .history import HistoryRow, RunLog
from .prepared import preprocessing_from_recipe
from .provenance import describe_model, write_provenance
from .ranks import is_main_process
from .raw_channel import channels_to_dict, particles_of
from .recipe import TrainingRecipe
from .run_folder import (
    BEST_NAME,
    MODEL_NAME,
    PROVENANCE_NAME,
    STATE_NAME,
    begin_run,
    claim_folder,
    identity_of_run,
    inputs_of_run,
    read_identity,
)
from .starting_model import check_start, check_unseen_weights, compile_parts, initial_model

if TYPE_CHECKING:
    import lightning.pytorch as pl
#: At most so many validation images calibrate the confidence of a model, a batch at a time.
_CALIBRATION_IMAGES, _CALIBRATION_BATCH = 4096, 128


@dataclass(frozen=True)
class TrainingOutcome:
    """What a training run left.

    Parameters
    ----------
    checkpoint : the trained model
    run_dir : folder with the log (`log.csv`), the learning curve and `provenance.json`; of a run
        by several processes, it is whole when the main one returns
    steps : optimizer steps of the run
    seconds : wall time of this call [s]
    resumed_at_step : where this call took over; 0 for a run from the start
    """

    checkpoint: Path
    run_dir: Path
    steps: int
    seconds: float
    resumed_at_step: int = 0


def train_half(
    target: str,
    halfset: int,
    run_dir: str | os.PathLike[str],
    recipe: TrainingRecipe,
    benchmark_dir: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
    resume: bool = True,
    start_from: str | os.PathLike[str] | None = None,
) -> TrainingOutcome:
    """Train a model on one half of an entry.

    Parameters
    ----------
    target : name of the entry
    halfset : 0 or 1
    run_dir : folder of the run; a run that was killed there goes on where it was
    recipe : see `load_recipe`
    benchmark_dir : folder of entries
    progress : told of images and steps
    resume : False starts anew and removes what is in `run_dir`
    start_from : checkpoint whose weights are the initial ones

    Raises
    ------
    EntryNotFoundError, StarFileError, MetadataError, MissingImageError, ImageValueError
        If the particles cannot be used.
    CheckpointError
        If `run_dir` holds another run, or a state that cannot be read; or `start_from` has
        learned from the other half, which this model is to predict.
    OptionError, ModelNotFoundError
        If the recipe does not fit the model or the machine.
    DivergedError
        If the weights grew beyond all numbers.
    """
    started_s = time.monotonic()
    folder = Path(run_dir)
    check_writable(folder / MODEL_NAME)
    progress = progress if is_main_process() else SILENT
    if start_from is not None:  # now, not after the images have been prepared
        check_start(load_checkpoint(start_from)[1], start_from, target, halfset)
    entry = open_entry(target, halfset, benchmark_dir, progress)
    table = read_particle_table(entry.star_path, entry.root_dir)
    _check_trainable(table)
    identity = identity_of_run(entry, table, recipe, start_from)
    claim_folder(folder, identity, resume)
    if (folder / MODEL_NAME).is_file():
        _, card = load_checkpoint(folder / MODEL_NAME)
        for left in (STATE_NAME, BEST_NAME):  # of a run that was killed as it ended
            (folder / left).unlink(missing_ok=True)
        return TrainingOutcome(folder / MODEL_NAME, folder, card.steps, 0.0, card.steps)
    run = _Run(entry, table, recipe, folder, start_from)
    resumed_at = run.fit(progress, identity)
    seconds = time.monotonic() - started_s
    if is_main_process():
        run.finish({"seconds": round(seconds, 1), "resumed_at_step": resumed_at})
    return TrainingOutcome(folder / MODEL_NAME, folder, run.total_steps, seconds, resumed_at)


class _Run:
    """One run: model, batches, trainer, and what is written about them."""

    def __init__(
        self,
        entry: EntryHalf,
        table: ParticleTable,
        recipe: TrainingRecipe,
        folder: Path,
        start_from: str | os.PathLike[str] | None,
    ) -> None:
        self.entry = entry
        self.recipe = recipe
        self.folder = folder
        self.what = f"half {entry.halfset} of {entry.target}"
        data = recipe.data
        self.preprocessing = preprocessing_from_recipe(
            data.image_size,
            data.image_size_factor_for_crop,
            data.ctf_correction,
            data.apply_perImg_normalization,
        )
        self.particles = particles_of(
            table, self.preprocessing, data.raw_channel, data.max_memory_gib, data.cache_dir
        )
        self.train_rows, self.validation_rows = split_rows(
            len(table), data.train_share, data.split_seed
        )
        self.drawn: DrawnParticles | None = None
        if recipe.simulation.map is not None:
            self.drawn = DrawnParticles(recipe, entry, table, self.preprocessing)
            count = recipe.simulation.epoch_images or len(self.train_rows)
            self.train_rows = np.arange(count)  # of no file: only how many there are counts
        self.model, self.learned_before = initial_model(
            recipe, entry.symmetry, self.particles.pixel_size_angst, start_from
        )
        check_unseen_weights(self.learned_before, recipe, entry.target, entry.halfset)
        self.log = RunLog(folder, f"{entry.target}, half {entry.halfset}")
        self.rows: list[HistoryRow] = []
        self.weights: dict[str, torch.Tensor] = {}
        self.total_steps = 0
        self.device = torch.device("cpu")
        self.processes = 1

    def fit(self, progress: Progress, identity: dict[str, Any]) -> int:
        """Train, and return the step at which this call took over."""
        from .data_module import stream_of_recipe
        from .quiet_lightning import make_trainer, quiet_lightning

        recipe, state = self.recipe, self.folder / STATE_NAME
        stream = stream_of_recipe(self.train_rows, recipe)
        steps = recipe.trainer.max_steps or recipe.trainer.max_epochs * stream.steps_per_epoch
        rounds = -(-steps // stream.steps_per_round)
        self.total_steps = rounds * stream.steps_per_round
        with quiet_lightning():
            trainer = make_trainer(recipe, rounds, self.folder)
            self._check_shares(trainer.world_size)
            shown = None if self.drawn is None else self.validation_rows
            self.particles.load(progress, f"Preparing images of {self.what}", shown)
            if not state.is_file():
                self._begin(identity, progress)
            with progress.task(f"Training on {self.what}", self.total_steps) as advance:
                return self._fit(trainer, stream.steps_per_epoch, advance)

    def _check_shares(self, processes: int) -> None:
        """Raise unless every process has something to do."""
        from .data_module import stream_of_recipe

        stream_of_recipe(self.train_rows, self.recipe, 0, processes)  # can a batch be divided?
        if len(self.validation_rows) < processes:
            raise OptionError(
                f"{self.what} has {len(self.validation_rows)} particles for validation, fewer than "
                f"the {processes} processes; use fewer trainer.devices, or a smaller "
                "data.train_share"
            )

    def _begin(self, identity: dict[str, Any], progress: Progress) -> None:
        """Claim the folder, now that images and settings are good."""
        if not is_main_process():
            return
        table = self.particles.table
        with progress.task(f"Checksums of {self.what}", None):
            inputs = inputs_of_run(self.entry, table)
        rows = self.train_rows if self.drawn is None else np.empty(0, np.int64)
        begin_run(self.folder, identity, inputs, table.ids, (rows, self.validation_rows))

    def _fit(self, trainer: "pl.Trainer", steps_per_epoch: int, advance: Advance) -> int:
        from .callbacks import KeepHistory, ReportProgress, SaveState
        from .data_module import PoseDataModule
        from .module import PoseModule

        recipe, particles = self.recipe, self.particles
        give_anchors(self.model, particles, recipe)
        module = PoseModule(
            self.model,
            recipe,
            self.total_steps,
            particles.noise_deviation,
            particles.pixel_size_angst,
        )
        if recipe.trainer.compile:
            compile_parts(self.model)
        halves = Schedule.parse(recipe.optimizer.schedule) is Schedule.PLATEAU

        def keep_best(row: HistoryRow) -> None:
            if Keep.parse(recipe.trainer.keep) is Keep.BEST and trainer.is_global_zero:
                card = self._card(row)
                save_checkpoint(self.folder / BEST_NAME, card, module.predicting_weights())

        history = KeepHistory(
            self.log,
            steps_per_epoch,
            keep_best,
            stop_patience=recipe.trainer.early_stop_patience,
            halve_patience=recipe.optimizer.plateau_patience if halves else 0,
        )
        reporter = ReportProgress(advance)
        state = self.folder / STATE_NAME
        trainer.callbacks += [reporter, history, SaveState(state)]  # type: ignore[attr-defined]
        batches = PoseDataModule(
            particles, self.train_rows, self.validation_rows, recipe, self.drawn
        )
        try:
            trainer.fit(module, datamodule=batches, ckpt_path=state if state.is_file() else None)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            # no rotation is nearest to what overflowed
            raise DivergedError(
                f"the training diverged before step {trainer.global_step} ({error}); train with a "
                "lower optimizer.lr"
            ) from error
        self.rows = history.rows
        self.total_steps = trainer.global_step
        self.weights = module.predicting_weights()
        self.device = trainer.strategy.root_device
        self.processes = trainer.world_size
        return reporter.first_step

    def finish(self, facts: dict[str, Any]) -> None:
        """Write the model, its learning curve and its provenance; the model comes last."""
        self.log.draw(self.rows)
        best = self.folder / BEST_NAME
        if best.is_file():
            model, card = load_checkpoint(best)
        else:
            self.model.load_state_dict(self.weights)
            model, card = self.model.eval(), self._card(self.rows[-1])
        facts = {**read_identity(self.folder), **facts, "steps": self.rows[-1].step}
        facts |= {"n_train": len(self.train_rows), "processes": self.processes}
        if self.drawn is not None:
            images = self.rows[-1].step * self.recipe.data.batch_size
            facts |= {"n_train": 0, "drawn": {**self.drawn.map.facts, "images": images}}
        facts |= {"model": {**describe_model(model), "config": model.config}}
        facts |= {"validation": card.validation, "temperature": self._calibrate(model)}
        write_provenance(self.folder / PROVENANCE_NAME, facts)
        save_checkpoint(self.folder / MODEL_NAME, card, model.state_dict())
        for made_use_of in (best, self.folder / STATE_NAME):
            made_use_of.unlink(missing_ok=True)

    def _calibrate(self, model: PoseModel) -> float | None:
        """Let a model that can do so make its confidence that of the validation particles."""
        calibrate = getattr(model, "calibrate", None)
        if calibrate is None:
            return None
        every = -(-len(self.validation_rows) // _CALIBRATION_IMAGES)
        rows = self.validation_rows[::every]
        data = BatchDataset(self.particles)
        parts = [rows[i : i + _CALIBRATION_BATCH] for i in range(0, len(rows), _CALIBRATION_BATCH)]
        batches = (data[StepRows(0, part)] for part in parts)
        model.to(self.device)
        temperature = calibrate(
            (batch.images.to(self.device), batch.rotations.to(self.device)) for batch in batches
        )
        model.cpu()
        return float(temperature)

    def _card(self, row: HistoryRow) -> CheckpointCard:
        return CheckpointCard(
            model=self.model.config,
            target=self.entry.target,
            halfset=self.entry.halfset,
            preprocessing=channels_to_dict(self.preprocessing, self.recipe.data.raw_channel),
            recipe=self.recipe.to_dict(),
            steps=row.step,
            validation=_validation_figures(row),
            pixel_size_angst=self.particles.pixel_size_angst,
            box=self.particles.table.image_size,
            learned_before=self.learned_before,
        )


def _validation_figures(row: HistoryRow) -> dict[str, float]:
    return {
        "loss": row.val_loss,
        "mean_error_deg": row.val_mean_error_deg,
        "median_error_deg": row.val_median_error_deg,
    }


def _check_trainable(table: ParticleTable) -> None:
    table.require_poses()
    if len(table) < 2:
        raise MetadataError(
            f"{table.source} has {len(table)} particle; training and validation need at least one "
            "each"
        )
