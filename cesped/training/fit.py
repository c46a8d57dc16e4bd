"""Training a model on one half of an entry: `train_half`."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..data.conventions import read_particle_table
from ..data.entry_checks import EntryHalf
from ..data.opening import open_entry
from ..data.table import ParticleTable
from ..errors import CheckpointError, DivergedError, MetadataError
from ..io.files import check_writable, write_text_atomic
from ..models.registry import PoseModel, build_model
from ..progress import SILENT, Progress
from ..vocabulary import Keep, Schedule
from .batches import BatchStream, split_rows
from .checkpoint import CheckpointCard, load_checkpoint, save_checkpoint
from .history import HistoryRow, draw_learning_curve
from .prepared import PreparedParticles, preprocessing_from_recipe, preprocessing_to_dict
from .provenance import file_sha256, write_provenance
from .recipe import TrainingRecipe

#: Files of a run folder.
MODEL_NAME = "model.ckpt"
BEST_NAME = "best.ckpt"
STATE_NAME = "last.ckpt"
IDENTITY_NAME = "run.json"
LOG_NAME = "log.csv"
CURVE_NAME = "learning_curve.png"
PROVENANCE_NAME = "provenance.json"
_WORK = (MODEL_NAME, BEST_NAME, STATE_NAME)  # what a run has worked for


@dataclass(frozen=True)
class TrainingOutcome:
    """What a training run left.

    Parameters
    ----------
    checkpoint : the trained model
    run_dir : folder with the log (`log.csv`), the learning curve and `provenance.json`
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
        If `run_dir` holds another run, or a state that cannot be read.
    OptionError, ModelNotFoundError
        If the recipe does not fit the model or the machine.
    DivergedError
        If the weights grew beyond all numbers.
    """
    started_s = time.monotonic()
    folder = Path(run_dir)
    check_writable(folder / MODEL_NAME)
    if start_from is not None:
        load_checkpoint(start_from)  # to know now, not after the images, that it can be read
    entry = open_entry(target, halfset, benchmark_dir, progress)
    table = read_particle_table(entry.star_path, entry.root_dir)
    _check_trainable(table)
    identity = _identity(entry, table, recipe, start_from)
    _check_folder(folder, identity, resume)
    if (folder / MODEL_NAME).is_file():
        _, card = load_checkpoint(folder / MODEL_NAME)
        return TrainingOutcome(folder / MODEL_NAME, folder, card.steps, 0.0, card.steps)
    run = _Run(entry, table, recipe, folder, start_from)
    resumed_at = run.fit(progress, identity)
    seconds = time.monotonic() - started_s
    run.finish({**identity, "seconds": round(seconds, 1), "resumed_at_step": resumed_at})
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
        self.particles = PreparedParticles(
            table, self.preprocessing, data.max_memory_gib, data.cache_dir
        )
        self.train_rows, self.validation_rows = split_rows(
            len(table), data.train_share, data.split_seed
        )
        stream = BatchStream(self.train_rows, data.batch_size, 0, recipe.trainer.steps_per_round)
        self.steps_per_epoch = stream.steps_per_epoch
        wanted = recipe.trainer.max_steps or recipe.trainer.max_epochs * stream.steps_per_epoch
        self.rounds = -(-wanted // stream.steps_per_round)
        self.total_steps = self.rounds * stream.steps_per_round
        self.model = _initial_model(recipe, entry.symmetry, start_from)
        self.rows: list[HistoryRow] = []
        self.weights: dict[str, torch.Tensor] = {}

    def fit(self, progress: Progress, identity: dict[str, Any]) -> int:
        """Train, and return the step at which this call took over."""
        from .quiet_lightning import quiet_lightning

        self.particles.load(progress, f"Preparing images of {self.what}")
        state = self.folder / STATE_NAME
        with (
            quiet_lightning(),
            progress.task(f"Training on {self.what}", self.total_steps) as advance,
        ):
            return self._fit(state if state.is_file() else None, advance, identity)

    def _fit(self, state: Path | None, advance: Any, identity: dict[str, Any]) -> int:
        from .callbacks import KeepHistory, ReportProgress, SaveState
        from .data_module import PoseDataModule
        from .module import PoseModule
        from .quiet_lightning import make_trainer

        recipe, data = self.recipe, self.recipe.data
        deviation = self.particles.noise_deviation
        module = PoseModule(self.model, recipe, self.total_steps, deviation)
        halves = Schedule.parse(recipe.optimizer.schedule) is Schedule.PLATEAU

        def keep_best(row: HistoryRow) -> None:
            if Keep.parse(recipe.trainer.keep) is Keep.BEST and trainer.is_global_zero:
                card = self._card(row)
                save_checkpoint(self.folder / BEST_NAME, card, module.predicting_weights())

        history = KeepHistory(
            self.folder / LOG_NAME,
            self.steps_per_epoch,
            keep_best,
            stop_patience=recipe.trainer.early_stop_patience,
            halve_patience=recipe.optimizer.plateau_patience if halves else 0,
        )
        reporter = ReportProgress(advance)
        callbacks = [reporter, history, SaveState(self.folder / STATE_NAME)]
        trainer = make_trainer(recipe, self.rounds, callbacks, self.folder)
        batches = PoseDataModule(
            self.particles,
            self.train_rows,
            self.validation_rows,
            data,
            recipe.trainer.seed,
            recipe.trainer.steps_per_round,
        )
        # only now that images and settings are good: a folder without work in it is nobody's
        if state is None:
            write_text_atomic(self.folder / IDENTITY_NAME, json.dumps(identity, indent=2) + "\n")
        try:
            trainer.fit(module, datamodule=batches, ckpt_path=state)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            # no rotation is nearest to what overflowed
            raise DivergedError(
                f"the training diverged before step {trainer.global_step} ({error}); train with a "
                "lower optimizer.lr"
            ) from error
        self.rows = history.rows
        self.total_steps = trainer.global_step
        self.weights = module.predicting_weights()
        return reporter.first_step

    def finish(self, facts: dict[str, Any]) -> None:
        """Write the model, its learning curve and its provenance; the model comes last."""
        title = f"{self.entry.target}, half {self.entry.halfset}"
        draw_learning_curve(self.folder / CURVE_NAME, self.rows, title)
        last = self.rows[-1]
        facts = {**facts, "steps": last.step, "n_train": len(self.train_rows)}
        facts["validation"] = _validation_figures(last)
        write_provenance(self.folder / PROVENANCE_NAME, facts)
        best = self.folder / BEST_NAME
        if best.is_file():
            best.replace(self.folder / MODEL_NAME)
        else:
            save_checkpoint(self.folder / MODEL_NAME, self._card(last), self.weights)
        (self.folder / STATE_NAME).unlink(missing_ok=True)

    def _card(self, row: HistoryRow) -> CheckpointCard:
        return CheckpointCard(
            model=self.model.config,
            target=self.entry.target,
            halfset=self.entry.halfset,
            preprocessing=preprocessing_to_dict(self.preprocessing),
            recipe=self.recipe.to_dict(),
            steps=row.step,
            validation=_validation_figures(row),
            pixel_size_angst=self.particles.pixel_size_angst,
            box=self.particles.table.image_size,
        )


def _validation_figures(row: HistoryRow) -> dict[str, float]:
    return {
        "loss": row.val_loss,
        "mean_error_deg": row.val_mean_error_deg,
        "median_error_deg": row.val_median_error_deg,
    }


def _initial_model(
    recipe: TrainingRecipe, symmetry: str, start_from: str | os.PathLike[str] | None
) -> PoseModel:
    """Build the model with weights that follow from the seed, or from a checkpoint."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.trainer.seed)
        chosen = recipe.model
        model = build_model(chosen.name, symmetry, chosen.preset, **chosen.options)
    if start_from is not None:
        trained, card = load_checkpoint(start_from)
        if trained.config != model.config:
            raise CheckpointError(
                f"{start_from} holds the model {card.model}, the recipe asks for {model.config}; "
                "use the recipe it was trained with"
            )
        model.load_state_dict(trained.state_dict())
    model.train()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def _check_trainable(table: ParticleTable) -> None:
    table.require_poses()
    if len(table) < 2:
        raise MetadataError(
            f"{table.source} has {len(table)} particle; training and validation need at least one "
            "each"
        )


def _identity(
    entry: EntryHalf,
    table: ParticleTable,
    recipe: TrainingRecipe,
    start_from: str | os.PathLike[str] | None,
) -> dict[str, Any]:
    """Return what a run is: two runs with the same identity would be the same run."""
    return {
        "target": entry.target,
        "halfset": entry.halfset,
        "symmetry": entry.symmetry,
        "n_particles": len(table),
        "star_sha256": file_sha256(Path(table.source)),
        "start_from_sha256": file_sha256(Path(start_from)) if start_from is not None else None,
        "recipe": recipe.to_dict(),
    }


def _check_folder(folder: Path, identity: dict[str, Any], resume: bool) -> None:
    """Refuse a folder that holds the work of another run, or empty it if that is not to go on.

    Raises
    ------
    CheckpointError
        If another run is there and it is to be resumed.
    """
    path = folder / IDENTITY_NAME
    if not resume:
        for name in (*_WORK, LOG_NAME, CURVE_NAME, PROVENANCE_NAME):
            (folder / name).unlink(missing_ok=True)
    elif path.is_file() and any((folder / name).is_file() for name in _WORK):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CheckpointError(f"{path} is no JSON ({error}); use another folder") from error
        if not isinstance(found, dict):
            raise CheckpointError(f"{path} does not describe a run; use another folder")
        different = [key for key in identity if found.get(key) != identity[key]]
        if different:
            raise CheckpointError(
                f"{folder} holds another run: it differs in {', '.join(different)} (see {path}); "
                "use another folder, or start anew without resuming"
            )
