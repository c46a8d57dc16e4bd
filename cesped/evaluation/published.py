"""The keys of the published program's metrics.json, with the definitions of the paper.

The names are that program's, misspelling included. Where it leaves the paper, the paper is
followed; docs/metrics.md lists the three keys that differ for it.
"""

from cesped.evaluation.scores import MapScores, PoseScores
from cesped.evaluation.volumes import delta_pcc

PUBLISHED_KEYS = (
    "meanAngularError",
    "wMeanAngularError",
    "shiftsRMSE",
    "GT_correlation",
    "GT_resolution0143",
    "GT_resolution05",
    "half2half_resolution",
    "half2half_resolution05",
    "half2half_correlation",
    "mapVsGT_correlaton_masked",
    "mapVsGT_correlaton_unmasked",
    "mapVsGT_resolution",
    "mapVsGT_resolution05",
    "mapVsGT_correlaton_diff_masked",
    "mapVsGT_correlaton_diff",
)

_TO_GT = "mapVsGT_correlaton"
_DIFFERENCE = "mapVsGT_correlaton_diff"


def published_metrics(
    pose_scores: PoseScores,
    truth: dict[bool, MapScores],
    prediction: dict[bool, MapScores],
) -> dict[str, float]:
    """Return the published keys.

    Parameters
    ----------
    pose_scores : errors of the predicted poses
    truth, prediction : agreements of the maps, by whether they are masked; without a mask there is
        no True, the keys named masked are NaN and all others are unmasked

    Notes
    -----
    MAnE and the shift error are the mean of the two halves' figures, as published: each half is
    the work of another model. Equation 6 is taken over both halves at once, as published too.
    """
    masked = _map_keys(truth[True], prediction[True]) if True in prediction else None
    unmasked = _map_keys(truth[False], prediction[False])
    nan = float("nan")
    values = {
        "meanAngularError": _mean_of_halves(pose_scores, "mean_angular_error_deg"),
        "wMeanAngularError": _value(pose_scores, "weighted_mean_angular_error_deg", "all"),
        "shiftsRMSE": _mean_of_halves(pose_scores, "shift_rmse_angst"),
        **(unmasked if masked is None else masked),
        "mapVsGT_correlaton_masked": nan if masked is None else masked[_TO_GT],
        "mapVsGT_correlaton_unmasked": unmasked[_TO_GT],
        "mapVsGT_correlaton_diff_masked": nan if masked is None else masked[_DIFFERENCE],
        "mapVsGT_correlaton_diff": unmasked[_DIFFERENCE],
    }
    return {key: values[key] for key in PUBLISHED_KEYS}


def _map_keys(truth: MapScores, prediction: MapScores) -> dict[str, float]:
    """Return the figures of maps that are all masked, or all unmasked."""
    keys: dict[str, float] = {
        "GT_correlation": truth.halves.pcc,
        "half2half_correlation": prediction.halves.pcc,
        _TO_GT: prediction.to_truth.pcc,
        _DIFFERENCE: delta_pcc(truth.halves, prediction.to_truth),
    }
    for threshold, gt_name, name in ((0.143, "0143", ""), (0.5, "05", "05")):
        keys[f"GT_resolution{gt_name}"] = truth.halves.resolution_angst(threshold)
        keys[f"half2half_resolution{name}"] = prediction.halves.resolution_angst(threshold)
        keys[f"mapVsGT_resolution{name}"] = prediction.to_truth.resolution_angst(threshold)
    return keys


def _value(scores: PoseScores, metric: str, half: str) -> float:
    return next(row.value for row in scores.rows if (row.metric, row.half) == (metric, half))


def _mean_of_halves(scores: PoseScores, metric: str) -> float:
    return 0.5 * (_value(scores, metric, "0") + _value(scores, metric, "1"))
