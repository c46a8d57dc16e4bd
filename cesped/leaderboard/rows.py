"""The rows of a leaderboard: the published figures, and those of submissions."""

import hashlib
import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from ..data.registry import embedded_names
from ..errors import CespedError, MissingFileError, SubmissionError
from ..evaluation.outputs import read_metrics
from ..evaluation.results import EvaluationResult
from ..physics.fsc import FscCurve
from ..vocabulary import PoseOrigin, PredictionType, ScoreStatus, Track
from .contradictions import complaints_about_result, errors_beside, unknown_version
from .leaks import signs_in_provenance
from .manifest import MANIFEST_NAME, EntrySubmission, Manifest, read_manifest
from .particle_errors import ParticleErrors
from .plain_text import LONGEST_NAME, plain
from .submission import RESCORED_DIR, inside

TRUTH_PREFIX = "truth_"
_FACTS_NAME = "published.toml"


@dataclass(frozen=True)
class Figure:
    """A figure of a row.

    Parameters
    ----------
    value : NaN where it is not known
    interval : its 95 % interval, where one was computed
    """

    value: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class BoardRow:
    """One method on one entry.

    Parameters
    ----------
    method : its name, any text
    submission : folder of the submission; empty for published figures
    track, entry, prediction_type : what was predicted of what
    status : who computed the figures
    conditions : all that must be alike for two rows to be ranked together, in words
    figures : by metric, over both halves, masked where a mask was used; those of the known poses
        under the same name behind `truth_`
    paper, code : links of the method
    description : of the method
    parameters : how many were trained
    inference_seconds : for all particles of both halves
    inference_hardware : what that was measured on
    n_particles : of both halves together
    score_path : the score, relative to the folder of results
    curves : FSC curves by name
    errors : of its particles, where they were submitted or found here
    """

    method: str
    submission: str
    track: Track
    entry: str
    prediction_type: PredictionType
    status: ScoreStatus
    conditions: Mapping[str, str]
    figures: Mapping[str, Figure]
    paper: str | None = None
    code: str | None = None
    description: str = ""
    parameters: int | None = None
    inference_seconds: float | None = None
    inference_hardware: str | None = None
    n_particles: int | None = None
    score_path: str | None = None
    curves: Mapping[str, FscCurve] = field(default_factory=dict)
    errors: ParticleErrors | None = field(default=None, repr=False)

    def value(self, metric: str) -> float:
        """Return a figure; NaN if the row does not have it."""
        return self.figures.get(metric, Figure(math.nan)).value

    @property
    def seconds_per_1000(self) -> float:
        """Return the inference time of 1,000 particles [s]; NaN if it is not stated."""
        if self.inference_seconds is None or not self.n_particles:
            return math.nan
        return 1000 * self.inference_seconds / self.n_particles


@dataclass(frozen=True)
class LeftOut:
    """Something among the results that is not on the board, and why."""

    name: str
    reason: str


def published_facts() -> dict[str, Any]:
    """Return the tables of the paper, as `published.toml` holds them."""
    text = resources.files(__package__).joinpath(_FACTS_NAME).read_text(encoding="utf-8")
    return tomllib.loads(text)


def published_rows() -> list[BoardRow]:
    """Return the rows of Table III of the paper: as printed, not re-scored."""
    from ..data.registry import published_entries

    facts = published_facts()
    method = facts["method"]
    rows = []
    for entry in facts["entry"]:
        known = {name: value for name, value in entry.items() if name.endswith(_FIGURE_ENDS)}
        known |= {name: value for name, value in entry.items() if "pcc" in name}
        minutes = entry.get("inference_minutes")
        rows.append(
            BoardRow(
                method=method["name"],
                submission="",
                track=Track.SUPERVISED,
                entry=entry["name"],
                prediction_type=PredictionType.parse(method["prediction_type"]),
                status=ScoreStatus.PUBLISHED,
                conditions={"program": "the paper's own, whose files are not public"},
                figures={name: Figure(value) for name, value in (known | _lost(known)).items()},
                paper=method["paper"],
                code=method["code"],
                description=method["description"],
                inference_seconds=None if minutes is None else 60.0 * minutes,
                inference_hardware=method["inference_hardware"],
                n_particles=published_entries()[entry["name"]].n_particles,
            )
        )
    return rows


_FIGURE_ENDS = ("_deg", "_angst")


def _lost(known: Mapping[str, float]) -> dict[str, float]:
    """Return the differences of equations 9 and 10 that follow from printed figures."""
    lost = {"delta_pcc": known[f"{TRUTH_PREFIX}pcc_halves"] - known["pcc_to_truth"]}
    for threshold in ("05", "0143"):
        best = known[f"{TRUTH_PREFIX}resolution_halves_{threshold}_angst"]
        lost[f"delta_resolution_{threshold}_angst"] = (
            known[f"resolution_to_truth_{threshold}_angst"] - best
        )
    return lost


def read_rows(results_dir: str | os.PathLike[str]) -> tuple[list[BoardRow], list[LeftOut]]:
    """Return the rows of all submissions in a folder, and what had to be left out.

    Parameters
    ----------
    results_dir : folder of submissions; each is a folder with a manifest

    Raises
    ------
    MissingFileError
        If there is no such folder.
    """
    folder = Path(results_dir)
    if not folder.is_dir():
        raise MissingFileError(f"{folder} is not a folder: name the folder of results")
    rows: list[BoardRow] = []
    left_out: list[LeftOut] = []
    for path in sorted(folder.iterdir()):
        if path.suffix == ".json":
            reason = "a score without a manifest; `cesped submit new` makes one"
            left_out.append(LeftOut(plain(path.name), reason))
        if path.is_symlink() or not (path / MANIFEST_NAME).is_file():
            continue
        try:
            manifest = read_manifest(path)
        except CespedError as error:
            left_out.append(LeftOut(plain(path.name), _without_folder(error, folder)))
            continue
        for entry in manifest.entries:
            try:
                rows.append(_row_of(path, manifest, entry))
            except CespedError as error:
                name = plain(f"{path.name}, {entry.name}")
                left_out.append(LeftOut(name, _without_folder(error, folder)))
    return rows, left_out


def _without_folder(error: Exception, folder: Path) -> str:
    """Return the message of an error; where the results lie is nobody's business."""
    return plain(str(error).replace(f"{folder}{os.sep}", ""))


def _row_of(folder: Path, manifest: Manifest, entry: EntrySubmission) -> BoardRow:
    """Return the row of one entry of a submission, from the score made here if there is one."""
    rescored = f"{RESCORED_DIR}/{entry.name}.json"
    name = rescored if (folder / rescored).is_file() else entry.result
    if name is None:
        raise MissingFileError("it has no score; `cesped submit score --record` makes one")
    result = read_metrics(inside(folder, name))
    unknown = unknown_version(result)
    complaints = [unknown] if unknown else complaints_about_result(result, manifest, entry)
    complaints = [*complaints, *signs_in_provenance(entry, None)]
    if complaints:
        raise SubmissionError(f"{name} {'; it '.join(complaints)}")
    stamps = result.stamps
    return BoardRow(
        method=plain(manifest.method.name, LONGEST_NAME),
        submission=folder.name,
        track=manifest.track,
        entry=entry.name,
        prediction_type=manifest.prediction_type,
        status=ScoreStatus.RESCORED if name == rescored else ScoreStatus.SUBMITTED,
        conditions=_conditions(result),
        figures=_figures(result),
        paper=manifest.method.paper,
        code=manifest.method.code,
        description=manifest.method.description,
        parameters=manifest.method.parameters,
        inference_seconds=entry.inference_seconds,
        inference_hardware=entry.inference_hardware or manifest.training.hardware,
        n_particles=sum(stamps["particles"]) if "particles" in stamps else None,
        score_path=f"{folder.name}/{name}",
        curves=result.fsc_curves,
        errors=errors_beside(folder, name, result),
    )


def _conditions(result: EvaluationResult) -> dict[str, str]:
    """Return what must be alike for two results to be ranked together."""
    stamps = result.stamps
    mask = stamps.get("mask_file")
    sums = [str(file["checksum"])[:19] for file in stamps["entry_files"]]
    return {
        "metric version": str(stamps["metric_version"]),
        "prediction type": result.prediction_type,
        "particles": " and ".join(sums),
        "images": images_condition(stamps),
        "mask": "none" if mask is None else str(mask["checksum"])[:19],
        "symmetry": result.symmetry,
        "weights": "predicted confidence" if stamps.get("uses_predicted_confidence") else "none",
    }


def images_condition(stamps: Mapping[str, Any]) -> str:
    """Return what is known of the images, in words that are alike for the same ones only.

    Stacks that are too large to be summed at each evaluation are known by the published record
    that they were verified to be of, else by their sizes alone. Embedded entries are computed where
    they are used, and the number of threads alone changes their last digits: sizes must do.
    """
    files = stamps.get("image_files")
    if not files:
        return "not stated"
    if stamps.get("entry") in embedded_names():
        return f"embedded, {sum(file.get('bytes', 0) for file in files):,} bytes"
    if all(file["checksum"] for file in files):
        joined = "\n".join(file["checksum"] for file in files)
        return f"sha256:{hashlib.sha256(joined.encode()).hexdigest()[:12]}"
    records = {record["half"]: record["record"] for record in stamps.get("published_records", ())}
    if {0, 1} <= records.keys():
        return f"records {records[0]} and {records[1]}"
    return f"not summed, {sum(file.get('bytes', 0) for file in files):,} bytes"


def _figures(result: EvaluationResult) -> dict[str, Figure]:
    figures: dict[str, Figure] = {}
    for origin, prefix in ((PoseOrigin.PREDICTION, ""), (PoseOrigin.TRUTH, TRUTH_PREFIX)):
        for row in (*result.rows, *result.reference_rows):
            name = prefix + row.metric
            is_wanted = row.poses == origin and row.half == "all"
            if is_wanted and (row.masked or name not in figures):
                figures[name] = Figure(row.value, row.interval)
    return figures
