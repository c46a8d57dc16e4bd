"""The outcome of one evaluation: one long stamped table, and what figures and reports need."""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from cesped.errors import FigureNotFoundError
from cesped.physics.fsc import FscCurve

#: Version of the definitions in docs/metrics.md. Figures of different versions are never ranked
#: together: raise it with any change that moves a figure.
METRIC_VERSION = 1

Direction = Literal["min", "max"]


@dataclass(frozen=True)
class MetricRow:
    """One figure.

    Parameters
    ----------
    poses : whose poses were scored, a value of `cesped.vocabulary.PoseOrigin`, or
        `prediction_kept_50` for the half of the predicted poses that is most confident
    entry : name of the entry
    half : "0", "1", or "all" for both
    metric : name of the figure; docs/metrics.md defines each
    masked : whether the maps were multiplied by a mask; False for figures of poses
    value : the figure; NaN where it is not defined
    unit : "deg", "angst", or "" for pure numbers
    direction : "min" if less is better, "max" if more is
    interval : 95 % interval of the figure; None where none was computed
    """

    poses: str
    entry: str
    half: str
    metric: str
    masked: bool
    value: float
    unit: str
    direction: Direction
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class EvaluationResult:
    """All that one evaluation found.

    Parameters
    ----------
    target : name of the entry
    prediction_type : S2, SO3 or SO3xR2
    symmetry : point group used for scoring, C1 when symmetry was ignored
    has_mask : whether masked figures exist
    rows : figures of the prediction
    reference_rows : the same figures of the truth, of the truth under the prediction's weights,
        of poses that know nothing, and of the most confident part of the prediction
    published : the keys of the published program, with the paper's definitions; NaN where a key
        needs a mask and there is none
    stamps : versions, checksums, options, seed, time and hardware
    notes : what a reader must know to read the figures, one sentence each
    fsc_curves : by name, for example `prediction_to_truth`, `truth_halves_masked`
    particles : one row per particle, half 0 first: id, half, errors, directions, confidences
    map_paths : maps that were written, by name
    """

    target: str
    prediction_type: str
    symmetry: str
    has_mask: bool
    rows: tuple[MetricRow, ...]
    reference_rows: tuple[MetricRow, ...]
    published: dict[str, float]
    stamps: dict[str, Any]
    notes: tuple[str, ...] = ()
    fsc_curves: dict[str, FscCurve] = field(default_factory=dict)
    particles: pd.DataFrame = field(default_factory=pd.DataFrame)
    map_paths: dict[str, Path] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, float]:
        """Return the figures of the prediction over both halves, masked where there is a mask."""
        return self.metrics_of("prediction")

    def metrics_of(self, poses: str) -> dict[str, float]:
        """Return the figures of `poses` over both halves, masked where there is a mask."""
        chosen: dict[str, float] = {}
        for row in (*self.rows, *self.reference_rows):
            is_wanted = row.poses == poses and row.half == "all"
            if is_wanted and (row.masked or row.metric not in chosen):
                chosen[row.metric] = row.value
        return chosen

    def value(
        self, metric: str, *, poses: str = "prediction", half: str = "all", masked: bool = False
    ) -> float:
        """Return one figure.

        Raises
        ------
        FigureNotFoundError
            If there is no such figure.
        """
        for row in (*self.rows, *self.reference_rows):
            if (row.metric, row.poses, row.half, row.masked) == (metric, poses, half, masked):
                return row.value
        kind = "masked" if masked else "unmasked"
        raise FigureNotFoundError(
            f"this evaluation of {self.target} has no {kind} {metric} of {poses}, half {half}; "
            "`table()` lists what it has"
        )

    def table(self) -> pd.DataFrame:
        """Return all figures as one long table, a column per field of `MetricRow`."""
        names = [item.name for item in fields(MetricRow)]
        table = pd.DataFrame(
            [asdict(row) for row in (*self.rows, *self.reference_rows)], columns=names
        )
        return table.astype({"interval": object})
