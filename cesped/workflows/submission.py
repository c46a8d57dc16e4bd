"""Submissions: made of predictions and their score, and scored again."""

import json
import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CespedError, EntryNotFoundError, SubmissionError
from ..progress import SILENT, Progress
from ..vocabulary import PredictionType, Severity, Track
from .scoring import ScoringOptions, score_predictions

if TYPE_CHECKING:
    from ..evaluation.results import EvaluationResult
    from ..leaderboard.manifest import EntrySubmission, Manifest
    from ..leaderboard.rescore import Comparison


@dataclass(frozen=True)
class EntryScore:
    """The score of one entry of a submission, found here.

    Attributes
    ----------
    entry : its name.
    result : the score.
    comparison : with the score that was submitted; None if none was.
    folder : where score, maps and report are.
    """

    entry: str
    result: "EvaluationResult"
    comparison: "Comparison | None"
    folder: Path


def score_submission(
    folder: str | os.PathLike[str],
    outdir: str | os.PathLike[str],
    options: ScoringOptions | None = None,
    *,
    entries: Collection[str] = (),
    predictions_dir: str | os.PathLike[str] | None = None,
    benchmark_dir: str | os.PathLike[str] | None = None,
    record: bool = False,
    progress: Progress = SILENT,
) -> list[EntryScore]:
    """Evaluate the predictions of a submission again, and compare with the score it came with.

    Parameters
    ----------
    folder : of the submission.
    outdir : folder for scores, maps and reports, one folder an entry.
    options : backend and threads; what is scored, and how, is as the submission says.
    entries : names of the entries to score; all when empty.
    predictions_dir : folder of star files that are not in the submission, found by their checksum.
    benchmark_dir : folder of entries; see `cesped.data.store.default_benchmark_dir`.
    record : put each score into the submission, as `rescored/NAME.json`, and the errors of its
        particles beside it.

    Raises
    ------
    SubmissionError
        If something is wrong with the submission, or its predictions are not here.
    EntryNotFoundError
        If the submission has no such entry, or the entry cannot be had.
    """
    from ..leaderboard.checks import check_submission
    from ..leaderboard.plain_text import plain

    report = check_submission(folder, benchmark_dir)
    faults = [found for found in report.findings if found.severity is Severity.FAULT]
    if faults or report.manifest is None:
        raise SubmissionError(
            f"{folder} cannot be scored: {faults[0].where}: {faults[0].what} ({len(faults)} faults "
            "in all; `cesped submit check` lists them)"
        )
    manifest = report.manifest
    names = [entry.name for entry in manifest.entries]
    for name in entries:
        if name not in names:
            raise EntryNotFoundError(f"{folder} has no entry {name!r}, but {', '.join(names)}")
    scores = []
    for entry in manifest.entries:
        if entries and entry.name not in entries:
            continue
        try:
            scores.append(
                _score_entry(
                    Path(folder), manifest, entry, Path(outdir), options or ScoringOptions(),
                    predictions_dir, benchmark_dir, record, progress,
                )
            )  # fmt: skip
        except CespedError as error:  # its text may quote the submission's files
            raise SubmissionError(f"{entry.name}: {plain(str(error))}") from error
    return scores


def _score_entry(
    folder: Path,
    manifest: "Manifest",
    entry: "EntrySubmission",
    outdir: Path,
    options: ScoringOptions,
    predictions_dir: str | os.PathLike[str] | None,
    benchmark_dir: str | os.PathLike[str] | None,
    record: bool,
    progress: Progress,
) -> EntryScore:
    from ..evaluation.outputs import METRICS_NAME, read_metrics
    from ..io.files import write_bytes_atomic
    from ..leaderboard.contradictions import errors_beside
    from ..leaderboard.particle_errors import difference_from, errors_name, write_errors
    from ..leaderboard.plain_text import plain
    from ..leaderboard.rescore import compare_scores
    from ..leaderboard.submission import RESCORED_DIR, inside
    from .alignment import score_abinitio

    submitted = None if entry.result is None else read_metrics(inside(folder, entry.result))
    chosen = replace(options, prediction_type=manifest.prediction_type)
    if submitted is not None:  # scored as it was
        stamps = submitted.stamps
        chosen = replace(
            chosen,
            use_pred_confidence=bool(stamps.get("uses_predicted_confidence", True)),
            use_mask=submitted.has_mask,
            ignore_symmetry=submitted.symmetry != stamps.get("entry_symmetry", submitted.symmetry),
            map_groups=int(stamps.get("map_intervals", {}).get("groups", 0)),
            seed=int(stamps.get("seed") or 0),
        )
    score = score_abinitio if manifest.track is Track.AB_INITIO else score_predictions
    result = score(
        entry.name,
        _files_of(folder, entry, predictions_dir),
        outdir / entry.name,
        chosen,
        benchmark_dir=benchmark_dir,
        facts={"method": plain(manifest.method.name)},
        progress=progress,
    )
    if record:
        score_file, name = outdir / entry.name / METRICS_NAME, f"{RESCORED_DIR}/{entry.name}.json"
        # a score beside the errors of another one would be refused, one without errors is not
        (folder / errors_name(name)).unlink(missing_ok=True)
        write_bytes_atomic(folder / name, score_file.read_bytes())
        write_errors(score_file, folder / errors_name(name))
    comparison = None
    if submitted is not None:
        comparison = compare_scores(submitted, result)
        errors = errors_beside(folder, str(entry.result), submitted)
        if errors is not None and comparison.reason is None:
            difference = difference_from(errors, result.particles)
            comparison = comparison.with_particles(len(errors), difference)
    return EntryScore(entry.name, result, comparison, outdir / entry.name)


def _files_of(
    folder: Path, entry: "EntrySubmission", predictions_dir: str | os.PathLike[str] | None
) -> tuple[Path, Path]:
    """Return the star files of an entry: those of the folder, or the ones with their checksums."""
    from ..evaluation.stamps import sha256_of_file
    from ..leaderboard.submission import inside

    if entry.predictions is not None:
        return inside(folder, entry.predictions[0]), inside(folder, entry.predictions[1])
    where = f"doi:{entry.doi}" if entry.doi else f"made by `{entry.command}`"
    if predictions_dir is None:
        raise SubmissionError(
            f"the predictions of {entry.name} are not in the submission ({where}); name the "
            "folder that has them with --predictions"
        )
    here = {sha256_of_file(path): path for path in sorted(Path(predictions_dir).rglob("*.star"))}
    missing = [checksum for checksum in entry.checksums if checksum not in here]
    if missing:
        raise SubmissionError(
            f"no star file in {predictions_dir} has the checksum {missing[0]} of the predictions "
            f"of {entry.name} ({where})"
        )
    return here[entry.checksums[0]], here[entry.checksums[1]]


def submit_campaign(
    folder: str | os.PathLike[str],
    target: str,
    predictions: tuple[Path, Path],
    training_dirs: tuple[Path, Path],
    metrics: Path,
    recipe: dict[str, Any],
) -> Path:
    """Make a submission of a campaign, its training described by what the runs wrote.

    Parameters
    ----------
    folder : of the submission.
    target : name of the entry.
    predictions : star files of half 0 and of half 1.
    training_dirs : folders of the trainings on half 0 and on half 1.
    metrics : the score.
    recipe : of the training.

    Returns
    -------
    The manifest; what only the author knows is still to be filled in.
    """
    from ..evaluation.outputs import read_metrics
    from ..leaderboard.manifest import MANIFEST_NAME, EntrySubmission
    from ..leaderboard.submission import add_predictions, open_or_new

    runs = [json.loads((run / "provenance.json").read_text("utf-8")) for run in training_dirs]
    sums = [f"sha256:{run['star_sha256']}" for run in runs]
    manifest = open_or_new(folder)
    if _is_up_to_date(Path(folder), manifest, target, predictions, metrics):
        return Path(folder) / MANIFEST_NAME  # with what its author wrote into it
    if not manifest.entries:
        manifest = _described(manifest, runs[0], recipe)
        scored = PredictionType.parse(read_metrics(metrics).prediction_type)
        manifest = replace(manifest, prediction_type=scored)
    entry = EntrySubmission(
        name=target, checksums=("", ""), learned_on=(1, 0), learned_from=(sums[1], sums[0])
    )
    return add_predictions(folder, manifest, entry, predictions, metrics, replace_entry=True)


def _described(manifest: "Manifest", run: dict[str, Any], recipe: dict[str, Any]) -> "Manifest":
    """Return a manifest with what a run of this package tells of itself."""
    from ..leaderboard.manifest import TO_FILL_IN

    machine, model = run["machine"], recipe["model"]
    learned = "the other half of each entry"
    if "pretraining" in recipe:
        learned = f"{learned}, after projections of that half's own map"
    elif run["start_from_sha256"] is not None or "weights_sha256" in run:
        learned = f"{TO_FILL_IN}: the models began with given weights, then learned on {learned}"
    return replace(
        manifest,
        track=Track.SUPERVISED,
        method=replace(
            manifest.method,
            name=f"{model['name']} ({model.get('preset') or 'own settings'})",
            description=f"`cesped train` for {run['steps']} steps on each half.",
            seeds=(int(recipe["trainer"]["seed"]),),
        ),
        training=replace(
            manifest.training,
            data=learned,
            hardware=", ".join(machine["gpus"]) or f"processor, threads: {machine['threads']}",
        ),
    )


def _is_up_to_date(
    folder: Path, manifest: "Manifest", target: str, predictions: tuple[Path, Path], metrics: Path
) -> bool:
    from ..evaluation.stamps import sha256_of_file

    for entry in manifest.entries:
        if entry.name == target and entry.result is not None:
            score = folder / entry.result
            sums = tuple(sha256_of_file(path) for path in predictions)
            return (
                entry.checksums == sums
                and score.is_file()
                and score.read_bytes() == metrics.read_bytes()
            )
    return False
