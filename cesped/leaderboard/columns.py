"""Which figures the tables of a leaderboard show, and how they are written."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..vocabulary import ScoreStatus, Track
from .rows import BoardRow, Figure

_PRINTED_DECIMALS = 1  # of angles and resolutions in the paper


@dataclass(frozen=True)
class Column:
    """A column of figures.

    Parameters
    ----------
    metric : name in docs/metrics.md; empty if `value` computes it
    label : head of the column
    meaning : one sentence
    decimals : digits after the point
    scale : factor from the stored value to the shown one
    less_is_better : for sorting and for the arrow in the head
    value : computes the figure where it is no metric
    """

    metric: str
    label: str
    meaning: str
    decimals: int
    scale: float = 1.0
    less_is_better: bool = True
    value: Callable[[BoardRow], float] | None = None

    def number(self, row: BoardRow) -> float:
        """Return the figure of a row as it is shown; NaN if there is none."""
        return self.scale * (self.value(row) if self.value else row.value(self.metric))

    def shown(self, row: BoardRow) -> str:
        """Return the figure as text; a dash if there is none."""
        number = self.number(row)
        decimals = self.decimals
        if row.status is ScoreStatus.PUBLISHED and self.metric.endswith(("_deg", "_angst")):
            decimals = _PRINTED_DECIMALS
        return "–" if math.isnan(number) else f"{number:.{decimals}f}"

    def interval(self, row: BoardRow) -> str:
        """Return the 95 % interval as text; empty if there is none."""
        ends = row.figures.get(self.metric, Figure(math.nan)).interval
        if ends is None or any(math.isnan(end) for end in ends):
            return ""
        low, high = (f"{self.scale * end:.{self.decimals}f}" for end in ends)
        return f"{low} to {high}"


def _seconds(row: BoardRow) -> float:
    return row.seconds_per_1000


_ERRORS = (
    Column(
        "weighted_mean_angular_error_deg",
        "wMAnE (°)",
        "Mean angular error, weighted by the confidence of the known poses. Ranks are by it.",
        2,
    ),
    Column("mean_angular_error_deg", "MAnE (°)", "Mean angular error.", 2),
    Column("median_angular_error_deg", "median (°)", "Median angular error.", 2),
    Column(
        "share_under_10_deg",
        "within 10° (%)",
        "Share of particles with an error under 10 degrees.",
        1,
        100,
        less_is_better=False,
    ),
)
_MAPS = (
    Column(
        "pcc_to_truth",
        "PCC(GT, V)",
        "Correlation of the maps of known and of predicted poses.",
        3,
        less_is_better=False,
    ),
    Column(
        "resolution_to_truth_05_angst",
        "FSCR 0.5 (GT, V) (Å)",
        "Resolution to which the two maps agree, at FSC 0.5.",
        2,
    ),
    Column(
        "resolution_to_truth_0143_angst",
        "FSCR 0.143 (GT, V) (Å)",
        "Resolution to which the two maps agree, at FSC 0.143.",
        2,
    ),
    Column(
        "delta_resolution_05_angst",
        "ΔFSCR 0.5 (Å)",
        "The same, less what the half maps of the known poses reach.",
        2,
    ),
    Column(
        "delta_resolution_crossed_05_angst",
        "ΔFSCR 0.5, no shared noise (Å)",
        "The loss between maps that share no particle.",
        2,
    ),
)
_HALVES = (
    Column(
        "pcc_halves",
        "PCC(V0, V1)",
        "Correlation of the two half maps of predicted poses.",
        3,
        less_is_better=False,
    ),
    Column(
        "resolution_halves_05_angst",
        "FSCR 0.5 (V0, V1) (Å)",
        "Resolution to which the half maps of predicted poses agree, at FSC 0.5.",
        2,
    ),
    Column(
        "resolution_halves_0143_angst",
        "FSCR 0.143 (V0, V1) (Å)",
        "Resolution to which the half maps of predicted poses agree, at FSC 0.143.",
        2,
    ),
    Column(
        "truth_pcc_halves",
        "PCC(GT0, GT1)",
        "Correlation of the two half maps of known poses.",
        3,
        less_is_better=False,
    ),
    Column(
        "truth_resolution_halves_05_angst",
        "FSCR 0.5 (GT0, GT1) (Å)",
        "Resolution of the known poses, at FSC 0.5: what can be reached.",
        2,
    ),
    Column(
        "truth_resolution_halves_0143_angst",
        "FSCR 0.143 (GT0, GT1) (Å)",
        "Resolution of the known poses, at FSC 0.143: what can be reached.",
        2,
    ),
)
_TIME = Column(
    "", "s per 1,000", "Seconds to predict 1,000 particles, as stated.", 2, value=_seconds
)
_OWN_FRAME = (
    Column(
        "frobenius_error",
        "Frobenius",
        "Rotation error of CryoFastAR, the least over reference views.",
        3,
    ),
    Column("translation_error_px", "shift (px)", "Translation error of CryoFastAR.", 2),
    Column(
        "resolution_volume_aligned_05_angst",
        "aligned maps, 0.5 (Å)",
        "Resolution after the maps themselves were aligned, at FSC 0.5.",
        2,
    ),
)

#: Columns of the tables of each track, in order.
COLUMNS: dict[Track, tuple[Column, ...]] = {
    Track.SUPERVISED: (*_ERRORS, *_MAPS, *_HALVES, _TIME),
    Track.AB_INITIO: (*_ERRORS, *_OWN_FRAME, *_MAPS[:3], *_HALVES, _TIME),
}

TRACK_TITLES: dict[Track, str] = {
    Track.SUPERVISED: "Supervised: each half predicted by a model of the other half",
    Track.AB_INITIO: "Ab initio: no pose was known, results are aligned before scoring",
}


def used_columns(track: Track, rows: list[BoardRow]) -> list[Column]:
    """Return the columns of a track in which one of `rows` has a figure."""
    return [
        column
        for column in COLUMNS[track]
        if any(not math.isnan(column.number(row)) for row in rows)
    ]
