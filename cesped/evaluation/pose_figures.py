"""Which figures sum up the errors of poses: one list, shared by the rows and their intervals."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from cesped.evaluation.angular import FloatArray, PoseErrors
from cesped.evaluation.results import Direction, MetricRow

Kind = Literal["mean", "weighted_mean", "share_under", "root_mean_square", "quantile"]


@dataclass(frozen=True)
class PoseFigure:
    """One figure of a set of poses.

    Parameters
    ----------
    metric : its name in results
    errors : the field of `PoseErrors` that it sums up
    kind : how; the weighted mean weighs by the confidence in the ground truth
    level : the limit of a share [unit of the errors], or which quantile (0 to 1)
    """

    metric: str
    errors: str
    kind: Kind
    level: float = 0.0

    @property
    def unit(self) -> str:
        """Return "deg", "angst", or "" for a share."""
        if self.kind == "share_under":
            return ""
        return "angst" if self.errors.endswith("_angst") else "deg"

    @property
    def direction(self) -> Direction:
        """Return "max" for shares of good particles, "min" for errors."""
        return "max" if self.kind == "share_under" else "min"

    def value(self, errors: PoseErrors, truth_confidence: FloatArray) -> float:
        """Return the figure of `P` particles; NaN where it is not defined.

        Parameters
        ----------
        errors : of `P` poses
        truth_confidence : `(P,)` how sure the ground truth is of itself
        """
        values: FloatArray = getattr(errors, self.errors)
        if not len(values) or np.isnan(values).any():
            return float("nan")
        if self.kind == "mean":
            return float(values.mean())
        if self.kind == "weighted_mean":
            total = float(truth_confidence.sum())
            return float(truth_confidence @ values) / total if total > 0 else float("nan")
        if self.kind == "share_under":
            return float(np.mean(values < self.level))
        if self.kind == "root_mean_square":
            return float(np.sqrt(np.mean(values**2)))
        if self.level == 0.5:
            return float(np.median(values))
        return float(np.quantile(values, self.level))


#: Every figure of poses, in the order of the rows; docs/metrics.md defines each. The shift error
#: is as published: the squared x and y differences of a particle are added, not averaged.
POSE_FIGURES = (
    PoseFigure("mean_angular_error_deg", "angular_deg", "mean"),
    PoseFigure("weighted_mean_angular_error_deg", "angular_deg", "weighted_mean"),
    PoseFigure("median_angular_error_deg", "angular_deg", "quantile", 0.5),
    PoseFigure("share_under_5_deg", "angular_deg", "share_under", 5),
    PoseFigure("share_under_10_deg", "angular_deg", "share_under", 10),
    PoseFigure("mean_direction_error_deg", "direction_deg", "mean"),
    PoseFigure("shift_rmse_angst", "shift_angst", "root_mean_square"),
    PoseFigure("angular_error_quantile_25_deg", "angular_deg", "quantile", 0.25),
    PoseFigure("angular_error_quantile_75_deg", "angular_deg", "quantile", 0.75),
    PoseFigure("angular_error_quantile_90_deg", "angular_deg", "quantile", 0.90),
    PoseFigure("angular_error_quantile_95_deg", "angular_deg", "quantile", 0.95),
    PoseFigure("median_direction_error_deg", "direction_deg", "quantile", 0.5),
    PoseFigure("direction_share_under_5_deg", "direction_deg", "share_under", 5),
    PoseFigure("direction_share_under_10_deg", "direction_deg", "share_under", 10),
    PoseFigure("mean_inplane_error_deg", "inplane_deg", "mean"),
    PoseFigure("median_inplane_error_deg", "inplane_deg", "quantile", 0.5),
    PoseFigure("median_shift_error_angst", "shift_angst", "quantile", 0.5),
)


def pose_rows(
    entry: str,
    poses: str,
    half: str,
    errors: PoseErrors,
    truth_confidence: FloatArray,
) -> tuple[MetricRow, ...]:
    """Return one row per figure.

    Parameters
    ----------
    entry, poses, half : what the rows are labelled with
    errors : of `P` poses
    truth_confidence : `(P,)` how sure the ground truth is of itself
    """
    return tuple(
        MetricRow(
            poses,
            entry,
            half,
            figure.metric,
            False,
            figure.value(errors, truth_confidence),
            figure.unit,
            figure.direction,
        )
        for figure in POSE_FIGURES
    )
