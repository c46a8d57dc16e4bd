"""A submitted score beside the score that its predictions get here."""

import math
from dataclasses import dataclass

from ..evaluation.results import EvaluationResult, MetricRow
from ..vocabulary import PoseOrigin, Track

#: Largest differences that another backend, processor or library explains, by unit: what the
#: native and the RELION backend are held to.
TOLERANCES = {"deg": 1e-3, "angst": 0.05, "": 0.002}


@dataclass(frozen=True)
class Difference:
    """A figure that was submitted and is not found again.

    Parameters
    ----------
    half, metric, masked : which figure
    submitted, found : its values; NaN where it is not defined, or not in the score found here
    poses : whose figure it is, as in `MetricRow`
    """

    half: str
    metric: str
    masked: bool
    submitted: float
    found: float
    poses: str = PoseOrigin.PREDICTION.value


@dataclass(frozen=True)
class Comparison:
    """A submitted score against the one found here.

    Parameters
    ----------
    n_compared : figures that were submitted
    differences : those that differ by more than rounding explains, or were submitted alone
    reason : why the two cannot be compared; None if they can
    """

    n_compared: int
    differences: tuple[Difference, ...]
    reason: str | None = None

    @property
    def agrees(self) -> bool:
        """Whether the submitted score is confirmed."""
        return self.reason is None and self.n_compared > 0 and not self.differences


def compare_scores(submitted: EvaluationResult, found: EvaluationResult) -> Comparison:
    """Compare two scores of the same predictions: the figures of these and of the known poses.

    A figure that was submitted and does not exist here is a difference: it was added by hand, and
    a leaderboard might show it in place of another.
    """
    reason = _why_not_comparable(submitted, found)
    if reason is not None:
        return Comparison(0, (), reason)
    here = {_name(row): row for row in _rows_of(found)}
    theirs = [(row, here.get(_name(row))) for row in _rows_of(submitted)]
    if not any(_name(row) in here for row in submitted.rows):
        return Comparison(0, (), "the two scores have no figure in common")
    differences = tuple(
        Difference(
            row.half,
            row.metric,
            row.masked,
            submitted=row.value,
            found=ours.value if ours else math.nan,
            poses=row.poses,
        )
        for row, ours in theirs
        if not _same(row, ours)
    )
    return Comparison(len(theirs), differences)


def _rows_of(result: EvaluationResult) -> list[MetricRow]:
    """Return the rows that a leaderboard shows: of the predictions and of the known poses."""
    truth = [row for row in result.reference_rows if row.poses == PoseOrigin.TRUTH]
    return [*result.rows, *truth]


def _why_not_comparable(submitted: EvaluationResult, found: EvaluationResult) -> str | None:
    for what, key in {
        "metric versions": "metric_version",
        "tracks": "track",
        "particles": "entry_files",
        "masks": "mask_file",
        "predictions": "prediction_files",
        "symmetries": "symmetry",
        "uses of the predicted confidence": "uses_predicted_confidence",
    }.items():
        missing = Track.SUPERVISED.value if key == "track" else None  # there were no others once
        theirs, ours = (
            _checksums(result.stamps.get(key, missing)) for result in (submitted, found)
        )
        if theirs != ours:
            return f"the two scores are of different {what}"
    return None


def _checksums(stamp: object) -> object:
    """Return a stamp without the names of files, which may differ."""
    if isinstance(stamp, list):
        return [_checksums(item) for item in stamp]
    return stamp.get("checksum") if isinstance(stamp, dict) else stamp


def _name(row: MetricRow) -> tuple[str, str, str, bool]:
    return row.poses, row.half, row.metric, row.masked


def _same(theirs: MetricRow, ours: MetricRow | None) -> bool:
    if ours is None or math.isnan(theirs.value) or math.isnan(ours.value):
        return math.isnan(theirs.value) == (ours is None or math.isnan(ours.value))
    return abs(theirs.value - ours.value) <= TOLERANCES.get(ours.unit, 0.0)
