"""A submitted score beside the score that its predictions get here."""

import math
from dataclasses import dataclass

from ..evaluation.results import EvaluationResult, MetricRow

#: Largest differences that another backend, processor or library explains, by unit: what the
#: native and the RELION backend are held to.
TOLERANCES = {"deg": 1e-3, "angst": 0.05, "": 0.002}


@dataclass(frozen=True)
class Difference:
    """A figure that was submitted and is not found again.

    Parameters
    ----------
    half, metric, masked : which figure
    submitted, found : its values; NaN where it is not defined
    """

    half: str
    metric: str
    masked: bool
    submitted: float
    found: float


@dataclass(frozen=True)
class Comparison:
    """A submitted score against the one found here.

    Parameters
    ----------
    n_compared : figures that both have
    differences : those that differ by more than rounding explains
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
    """Compare the figures of the predictions of two scores of the same predictions."""
    reason = _why_not_comparable(submitted, found)
    if reason is not None:
        return Comparison(0, (), reason)
    here = {_name(row): row for row in found.rows}
    both = [(row, here[_name(row)]) for row in submitted.rows if _name(row) in here]
    if not both:
        return Comparison(0, (), "the two scores have no figure in common")
    differences = tuple(
        Difference(theirs.half, theirs.metric, theirs.masked, theirs.value, ours.value)
        for theirs, ours in both
        if not _same(theirs, ours)
    )
    return Comparison(len(both), differences)


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
        theirs, ours = (_checksums(result.stamps.get(key)) for result in (submitted, found))
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


def _same(theirs: MetricRow, ours: MetricRow) -> bool:
    if math.isnan(theirs.value) or math.isnan(ours.value):
        return math.isnan(theirs.value) == math.isnan(ours.value)
    return abs(theirs.value - ours.value) <= TOLERANCES.get(ours.unit, 0.0)
