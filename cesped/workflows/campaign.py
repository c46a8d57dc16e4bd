"""The whole job on one entry: learn each half, predict the other, score, report."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..evaluation.outputs import METRICS_NAME
from ..evaluation.stamps import package_version, sha256_of_file
from ..progress import SILENT, Progress
from .scoring import REPORT_NAME, ScoringOptions, score_predictions
from .steps import run_once

if TYPE_CHECKING:
    from ..evaluation.results import EvaluationResult
    from ..training.recipe import TrainingRecipe

HALVES = (0, 1)


@dataclass(frozen=True)
class CampaignOutcome:
    """What a campaign leaves.

    Attributes
    ----------
    result : the score.
    report : the page to open.
    metrics : `metrics.json`, the score for programs.
    predictions : star files with the predicted poses of half 0 and of half 1.
    """

    result: "EvaluationResult"
    report: Path
    metrics: Path
    predictions: tuple[Path, Path]


def run_campaign(
    target: str,
    outdir: str | os.PathLike[str],
    recipe: "TrainingRecipe",
    *,
    benchmark_dir: str | os.PathLike[str] | None = None,
    options: ScoringOptions | None = None,
    progress: Progress = SILENT,
) -> CampaignOutcome:
    """Train on each half, predict the other with it, score both, and write the report.

    A campaign that was stopped goes on where it stood when it is run again in the same folder:
    training resumes from its last checkpoint, and predictions and score are kept if nothing that
    determines them has changed.

    Parameters
    ----------
    target : name of the entry.
    outdir : folder for all that is written.
    recipe : how to train.
    benchmark_dir : folder of the entries; see `cesped.data.store.default_benchmark_dir`.
    options : how to score; the defaults when None.

    Raises
    ------
    EntryNotFoundError
        If the entry is not there.
    CheckpointError
        If `outdir` holds a training of something else.
    """
    folder = Path(outdir)
    predictions = predict_both_halves(target, folder, recipe, benchmark_dir, progress)
    result = score_predictions(
        target,
        predictions,
        folder,
        options,
        benchmark_dir=benchmark_dir,
        reuse=True,
        progress=progress,
    )
    return CampaignOutcome(
        result=result,
        report=folder / REPORT_NAME,
        metrics=folder / METRICS_NAME,
        predictions=predictions,
    )


def predict_both_halves(
    target: str,
    folder: Path,
    recipe: "TrainingRecipe",
    benchmark_dir: str | os.PathLike[str] | None,
    progress: Progress = SILENT,
) -> tuple[Path, Path]:
    """Return the star files of predicted poses of half 0 and half 1; see `run_campaign`."""
    from ..data.store import EntryStore
    from ..inference.predict import predict_half
    from ..training.fit import train_half

    store = EntryStore(benchmark_dir)
    entry_digests = [sha256_of_file(store.locate(target, half).star_path) for half in HALVES]
    paths = (folder / "predictions_0.star", folder / "predictions_1.star")
    for trained in HALVES:
        predicted = 1 - trained
        run_dir = folder / "training" / f"half{trained}"
        outcome = train_half(target, trained, run_dir, recipe, benchmark_dir, progress=progress)
        checkpoint = outcome.checkpoint
        run_once(
            paths[predicted],
            {
                "target": target,
                "half": predicted,
                "entry": entry_digests[predicted],
                "checkpoint": sha256_of_file(checkpoint),
                "version": package_version(),
            },
            lambda checkpoint=checkpoint, predicted=predicted: predict_half(
                checkpoint, target, predicted, paths[predicted], benchmark_dir, progress=progress
            ),
        )
    return paths
