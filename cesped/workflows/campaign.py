"""The whole job on one entry: learn each half, predict the other, score, report."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..evaluation.outputs import METRICS_NAME
from ..progress import SILENT, Progress
from .learning import train_and_predict
from .scoring import REPORT_NAME, ScoringOptions, score_predictions
from .submission import submit_campaign

if TYPE_CHECKING:
    from ..evaluation.results import EvaluationResult
    from ..training.recipe import TrainingRecipe


SUBMISSION_NAME = "submission"


@dataclass(frozen=True)
class CampaignOutcome:
    """What a campaign leaves.

    Attributes
    ----------
    result : the score.
    report : the page to open.
    metrics : `metrics.json`, the score for programs.
    predictions : star files with the predicted poses of half 0 and of half 1.
    submission : folder to send to the leaderboard, once its manifest is completed.
    """

    result: "EvaluationResult"
    report: Path
    metrics: Path
    predictions: tuple[Path, Path]
    submission: Path


def run_campaign(
    target: str,
    outdir: str | os.PathLike[str],
    recipe: "TrainingRecipe",
    *,
    benchmark_dir: str | os.PathLike[str] | None = None,
    options: ScoringOptions | None = None,
    progress: Progress = SILENT,
) -> CampaignOutcome | None:
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

    Returns
    -------
    What was made; None in processes that only help another one to train.

    Raises
    ------
    EntryNotFoundError
        If the entry is not there.
    CheckpointError
        If `outdir` holds a training of something else.
    """
    from ..training.ranks import is_main_process, work_alone

    folder, metrics = Path(outdir), Path(outdir) / METRICS_NAME
    runs = (folder / "training" / "half0", folder / "training" / "half1")
    predictions = (folder / "predictions_0.star", folder / "predictions_1.star")
    for half in (0, 1):
        train_and_predict(
            target,
            half,
            runs[half],
            recipe,
            out_star=predictions[1 - half],
            benchmark_dir=benchmark_dir,
            progress=progress,
        )
    if not is_main_process():
        return None
    work_alone()  # an evaluation would wait for the others to do their share
    result = score_predictions(
        target,
        predictions,
        folder,
        options,
        benchmark_dir=benchmark_dir,
        reuse=True,
        facts={"recipe": recipe.to_dict()},
        progress=progress,
    )
    submit_campaign(folder / SUBMISSION_NAME, target, predictions, runs, metrics, recipe.to_dict())
    return CampaignOutcome(
        result=result,
        report=folder / REPORT_NAME,
        metrics=metrics,
        predictions=predictions,
        submission=folder / SUBMISSION_NAME,
    )
