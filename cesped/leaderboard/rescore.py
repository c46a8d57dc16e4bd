"""A submitted score beside the score that its predictions get here.

All that a leaderboard shows of a score, or draws its letters from, is compared: figures, their
intervals, curves. The errors of single particles are compared by
`cesped.leaderboard.particle_errors`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..data.registry import embedded_names
from ..evaluation.results import EvaluationResult, MetricRow
from ..physics.fsc import FscCurve
from ..vocabulary import PoseOrigin, Track

#: Largest differences that another backend, processor or library explains, by unit: what the
#: native and the RELION backend are held to.
TOLERANCES = {"deg": 1e-3, "angst": 0.05, "px": 1e-3, "": 0.002}
#: By how much of the interval's width an end may differ besides. The 2.5 % quantile of 1,000
#: resamples has a deviation of sqrt(0.025 * 0.975 / 1000) / phi(1.96), which is 2.2 % of the width:
#: this is more than four of those, so that a generator that draws otherwise refutes nobody.
INTERVAL_SHARE = 0.1
#: By how much the FSC of a shell may differ: maps that agree to 0.9999, as backends do, can differ
#: by as much where there is nothing but noise.
CURVE_TOLERANCE = 0.02


@dataclass(frozen=True)
class Difference:
    """A figure that was submitted and is not found again.

    Parameters
    ----------
    half, metric, masked : which figure
    submitted, found : its values; NaN where it is not defined, or not in the score found here
    poses : whose figure it is, as in `MetricRow`
    part : what of it differs: empty for the value itself, else an end of its interval, or the
        shell of a curve
    """

    half: str
    metric: str
    masked: bool
    submitted: float
    found: float
    poses: str = PoseOrigin.PREDICTION.value
    part: str = ""


@dataclass(frozen=True)
class Comparison:
    """A submitted score against the one found here.

    Parameters
    ----------
    n_compared : figures that were submitted
    differences : what differs by more than rounding explains, or was submitted alone
    reason : why the two cannot be compared; None if they can
    n_intervals : intervals that were submitted
    n_curves : curves that were submitted
    n_particles : errors of single particles that were submitted
    """

    n_compared: int
    differences: tuple[Difference, ...]
    reason: str | None = None
    n_intervals: int = 0
    n_curves: int = 0
    n_particles: int = 0

    @property
    def agrees(self) -> bool:
        """Whether the submitted score is confirmed."""
        return self.reason is None and self.n_compared > 0 and not self.differences

    @property
    def n_figures_agreeing(self) -> int:
        """Number of figures whose values are found again."""
        return self.n_compared - sum(not found.part for found in self.differences)

    def with_particles(self, n_particles: int, difference: Difference | None) -> "Comparison":
        """Return this comparison with that of the errors of single particles added."""
        more = () if difference is None else (difference,)
        differences = (*self.differences, *more)
        return replace(self, n_particles=n_particles, differences=differences)


def compare_scores(submitted: EvaluationResult, found: EvaluationResult) -> Comparison:
    """Compare two scores of the same predictions: the figures of these and of the known poses.

    A figure, an interval or a curve that was submitted and does not exist here is a difference: it
    was added by hand, and a leaderboard might show it in place of another. What was not submitted
    is not missed.
    """
    reason = _why_not_comparable(submitted, found)
    if reason is not None:
        return Comparison(0, (), reason)
    here = {_name(row): row for row in _rows_of(found)}
    theirs = [(row, here.get(_name(row))) for row in _rows_of(submitted)]
    if not any(_name(row) in here for row in submitted.rows):
        return Comparison(0, (), "the two scores have no figure in common")
    differences = [
        _difference(row, row.value, ours.value if ours else math.nan)
        for row, ours in theirs
        if not _same(row, ours)
    ]
    for row, ours in theirs:
        if ours is not None or _same(row, ours):  # else the whole row was told of
            differences += _differing_ends(row, ours)
    curves = _shown_curves(submitted)
    differences += _differing_curves(curves, found.fsc_curves)
    n_intervals = sum(row.interval is not None for row, _ in theirs)
    return Comparison(
        len(theirs), tuple(differences), n_intervals=n_intervals, n_curves=len(curves)
    )


def _difference(row: MetricRow, submitted: float, found: float, part: str = "") -> Difference:
    return Difference(row.half, row.metric, row.masked, submitted, found, row.poses, part)


def _differing_ends(theirs: MetricRow, ours: MetricRow | None) -> Iterator[Difference]:
    """Yield the ends of a submitted interval that are not found again."""
    if theirs.interval is None:
        return
    found = ours.interval if ours is not None else None
    ends = found or (math.nan, math.nan)
    width = ends[1] - ends[0] if all(map(math.isfinite, ends)) else 0.0
    tolerance = TOLERANCES.get(theirs.unit, 0.0) + INTERVAL_SHARE * width
    for name, submitted, end in zip(("low", "high"), theirs.interval, ends, strict=True):
        known = math.isfinite(submitted), math.isfinite(end)
        # an end that is nowhere was no number in the file, and is none here
        is_same = abs(submitted - end) <= tolerance if all(known) else not any(known)
        if found is None or not is_same:
            yield _difference(theirs, submitted, end, f"{name} end of its interval")


def _shown_curves(result: EvaluationResult) -> dict[str, FscCurve]:
    """Return the curves that are shown or looked at for signs of leaks."""
    kept = (f"{PoseOrigin.PREDICTION.value}_", f"{PoseOrigin.TRUTH.value}_halves")
    return {name: c for name, c in result.fsc_curves.items() if name.startswith(kept)}


def _differing_curves(
    submitted: dict[str, FscCurve], found: dict[str, FscCurve]
) -> Iterator[Difference]:
    """Yield the worst shell of each submitted curve that is not found again."""
    for name, theirs in submitted.items():
        if name.startswith(f"{PoseOrigin.PREDICTION.value}_kept"):
            continue  # of maps that are not made again
        ours = found.get(name)
        if ours is None or ours.frequency_per_angst.shape != theirs.frequency_per_angst.shape:
            yield Difference("all", f"FSC {name}", False, math.nan, math.nan, part="its shells")
            continue
        far_angst = np.abs(theirs.frequency_per_angst - ours.frequency_per_angst)
        if (far_angst > 1e-4 * ours.frequency_per_angst.max()).any():
            yield Difference("all", f"FSC {name}", False, math.nan, math.nan, part="its shells")
            continue
        apart = np.abs(theirs.correlation - ours.correlation)
        is_lost = np.isnan(theirs.correlation) != np.isnan(ours.correlation)
        apart = np.where(is_lost, np.inf, np.nan_to_num(apart))
        shell = int(np.argmax(apart))
        if apart[shell] > CURVE_TOLERANCE:
            values = float(theirs.correlation[shell]), float(ours.correlation[shell])
            yield Difference("all", f"FSC {name}", False, *values, part=f"shell {shell}")


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
        "numbers of particles": "particles",
    }.items():
        if key == "particles" and key not in submitted.stamps:
            continue  # the first files did not count them
        missing = Track.SUPERVISED.value if key == "track" else None  # there were no others once
        theirs, ours = (
            _checksums(result.stamps.get(key, missing)) for result in (submitted, found)
        )
        if theirs != ours:
            return f"the two scores are of different {what}"
    if not _have_the_same_images(submitted, found):
        return "the two scores are of different images"
    return None


def _have_the_same_images(submitted: EvaluationResult, found: EvaluationResult) -> bool:
    """Return whether the stacks may be the same; where a checksum is not known, sizes decide.

    Those of embedded entries are computed on every machine, and their last digits are its own.
    """
    theirs, ours = (result.stamps.get("image_files") for result in (submitted, found))
    if submitted.target in embedded_names() or theirs is None or ours is None:
        return True
    return len(theirs) == len(ours) and all(
        a.get("bytes", b.get("bytes")) == b.get("bytes", a.get("bytes"))
        and (None in (a["checksum"], b["checksum"]) or a["checksum"] == b["checksum"])
        for a, b in zip(theirs, ours, strict=True)
    )


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
