"""Hold two predictions of an entry against each other: scored ones, or star files alone."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import IdMismatchError, MetadataError
from ..progress import SILENT, Progress
from ..vocabulary import PredictionType, Track

if TYPE_CHECKING:
    import pandas as pd

    from ..data.table import ParticleTable
    from ..evaluation.comparison import Comparison
    from ..evaluation.results import EvaluationResult
    from ..geometry.symmetry import PointGroup

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class ComparedEntry:
    """Two predictions of one entry, compared.

    Attributes
    ----------
    target : name of the entry.
    prediction_type : by which the errors were measured.
    comparison : the outcome.
    """

    target: str
    prediction_type: PredictionType
    comparison: "Comparison"


def compare_evaluations(first: PathLike, second: PathLike, seed: int = 0) -> ComparedEntry:
    """Compare two evaluations by the errors of their particles; nothing is computed again.

    Parameters
    ----------
    first, second : folders that `cesped evaluate` wrote, or their metrics.json.
    seed : of the random exchanges and resamples.

    Raises
    ------
    MetadataError
        If a folder holds no evaluation, or the two are not of one entry, scored alike.
    IdMismatchError
        If they are not of the same particles.
    """
    from ..evaluation.comparison import compare_errors
    from ..evaluation.outputs import PARTICLES_NAME, read_result
    from ..evaluation.uncertainty import IntervalOptions

    folders = [_folder_of(path) for path in (first, second)]
    one, other = (read_result(folder) for folder in folders)
    _check_alike(one, other, folders)
    predicted = PredictionType.parse(one.prediction_type)
    comparison = compare_errors(
        _of_what_was_predicted(one.particles, predicted),
        _of_what_was_predicted(other.particles, predicted),
        IntervalOptions(seed=seed),
        first_source=str(folders[0] / PARTICLES_NAME),
        second_source=str(folders[1] / PARTICLES_NAME),
    )
    return ComparedEntry(one.target, predicted, comparison)


def compare_predictions(
    target: str,
    first: Sequence[PathLike],
    second: Sequence[PathLike],
    prediction_type: PredictionType | str = PredictionType.SO3,
    *,
    ignore_symmetry: bool = False,
    benchmark_dir: PathLike | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> ComparedEntry:
    """Compare predictions in star files; no map is made, so it takes seconds.

    Parameters
    ----------
    target : name of the entry.
    first, second : the star files of each prediction: of one half, or of both in any order.
    prediction_type : what was predicted.
    ignore_symmetry : measure errors without the entry's symmetry.
    benchmark_dir : folder of the entries.
    seed : of the random exchanges and resamples.
    progress : told of downloads.

    Raises
    ------
    EntryNotFoundError, StarFileError, MetadataError, IdMismatchError
        If entry or predictions are missing, unreadable or not of the same particles.
    """
    import pandas as pd

    from ..evaluation.comparison import compare_errors
    from ..evaluation.inputs import locate_halves, read_halves
    from ..evaluation.uncertainty import IntervalOptions
    from ..geometry.symmetry import point_group

    chosen = PredictionType.parse(prediction_type)
    entry = locate_halves(target, benchmark_dir, progress)
    tables = read_halves(entry)
    group = point_group("C1" if ignore_symmetry else entry[0].symmetry)
    one, other = (
        pd.concat([_errors_in(path, tables, chosen, group) for path in paths], ignore_index=True)
        for paths in (first, second)
    )
    comparison = compare_errors(
        _of_what_was_predicted(one, chosen),
        _of_what_was_predicted(other, chosen),
        IntervalOptions(seed=seed),
        first_source=" and ".join(map(str, first)),
        second_source=" and ".join(map(str, second)),
    )
    return ComparedEntry(entry[0].target, chosen, comparison)


def _errors_in(
    path: PathLike,
    tables: "tuple[ParticleTable, ParticleTable]",
    prediction_type: PredictionType,
    group: "PointGroup",
) -> "pd.DataFrame":
    """Return the errors of the particles of one star file, of whichever half it is."""
    from ..data.conventions import read_predictions
    from ..evaluation.angular import pose_errors
    from ..evaluation.half_sets import read_half
    from ..evaluation.scores import half_table

    ids = set(read_predictions(str(path))[0])
    shared = [len(ids & set(table.ids)) for table in tables]
    half = int(shared[1] > shared[0])
    predicted = read_half(tables[half], str(path), prediction_type, use_pred_confidence=False)
    errors = pose_errors(predicted.truth, predicted.predicted, prediction_type, group)
    return half_table(predicted, half, errors)


def _of_what_was_predicted(
    particles: "pd.DataFrame", prediction_type: PredictionType
) -> "pd.DataFrame":
    """Return the errors without those of shifts, unless shifts were predicted."""
    if prediction_type is PredictionType.SO3XR2:
        return particles
    return particles.assign(shift_error_angst=float("nan"))


def _folder_of(path: PathLike) -> Path:
    from ..evaluation.outputs import METRICS_NAME

    given = Path(path)
    return given.parent if given.name == METRICS_NAME else given


def _check_alike(
    one: "EvaluationResult", other: "EvaluationResult", folders: Sequence[Path]
) -> None:
    """Refuse evaluations whose errors do not mean the same."""
    mine, theirs = _identity(one), _identity(other)
    for what in (name for name in mine if mine[name] != theirs[name]):
        is_list = isinstance(mine[what], list)
        found = (
            "is not the same" if is_list else f"is {mine[what]} in one, {theirs[what]} in the other"
        )
        raise (IdMismatchError if is_list else MetadataError)(
            f"{folders[0]} and {folders[1]} cannot be compared: the {what} {found}; evaluate both "
            "predictions on the same entry, with the same options"
        )


def _identity(result: "EvaluationResult") -> dict[str, object]:
    """Return what two results must share for their errors to mean the same."""
    stamps = result.stamps
    return {
        "entry": result.target,
        "prediction type": result.prediction_type,
        "symmetry": result.symmetry,
        "track": stamps.get("track", Track.SUPERVISED.value),
        "metric version": stamps.get("metric_version"),
        "star file of the entry": [file["checksum"] for file in stamps.get("entry_files", ())],
    }
