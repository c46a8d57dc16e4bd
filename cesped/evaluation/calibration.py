"""Whether predicted confidence knows which poses are right.

Only the order of confidences within a half is used: the two halves are the work of two models,
whose confidences may have different scales.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cesped.errors import OptionError
from cesped.evaluation.breakdown import ERROR, error_spread
from cesped.evaluation.results import MetricRow

FloatArray = NDArray[np.float64]

CONFIDENCE = "predicted_confidence"
#: The rows of kept particles are labelled with this and the share in percent.
KEPT = "prediction_kept_"
#: Shares of particles that the curve of kept particles is computed at.
KEPT_SHARES = np.arange(1, 101) / 100


def rank_correlation(confidence: FloatArray, errors_deg: FloatArray) -> float:
    """Return Spearman's correlation of confidence with *small* errors; NaN if either is constant.

    1: every particle that is more confident is better; 0: confidence says nothing.
    """
    if len(errors_deg) < 2 or np.ptp(confidence) == 0 or np.ptp(errors_deg) == 0:
        return float("nan")
    return float(pd.Series(confidence).rank().corr(pd.Series(-errors_deg).rank()))


def kept_errors(confidence: FloatArray, errors_deg: FloatArray) -> FloatArray:
    """Return the mean error of the `k` most confident particles, for `k` from 1 to `P`: `(P,)`.

    Particles of equal confidence are kept in random order: the value is the mean over all orders.
    """
    order = np.argsort(-confidence, kind="stable")
    _, tied, sizes = np.unique(-confidence[order], return_inverse=True, return_counts=True)
    level = np.bincount(tied, weights=errors_deg[order]) / sizes
    kept: FloatArray = np.cumsum(level[tied]) / np.arange(1, len(order) + 1)
    return kept


def confidence_gain(confidence: Iterable[FloatArray], errors_deg: Iterable[FloatArray]) -> float:
    """Return how much of what keeping the best particles could gain, keeping the confident gains.

    Parameters
    ----------
    confidence, errors_deg : `(P_i,)` of each half

    Returns
    -------
    1 if confidence orders the particles by their error, 0 if it says nothing, below 0 if it
    misleads; NaN if all errors are equal. It is (M - A) / (M - O), where M is the mean error, A the
    area under the curve of `kept_errors` and O the area when the errors themselves are the order.
    """
    mean = area = best = 0.0
    for ours, errors in zip(confidence, errors_deg, strict=True):
        mean += float(errors.sum())
        area += float(kept_errors(ours, errors).sum())
        best += float(kept_errors(-errors, errors).sum())
    reachable = mean - best
    return (mean - area) / reachable if reachable > 1e-12 * mean else float("nan")


def kept_curve(particles: pd.DataFrame, *, oracle: bool = False) -> pd.DataFrame:
    """Return the mean error of the most confident particles of each half, by their share.

    Parameters
    ----------
    particles : with columns half, angular_error_deg, predicted_confidence
    oracle : keep those of the smallest error instead: what no confidence can beat

    Returns
    -------
    Columns share (0.01 to 1, of each half) and mean_deg.
    """
    total, number = np.zeros(len(KEPT_SHARES)), 0
    for _, half in particles.groupby("half"):
        errors = half[ERROR].to_numpy(np.float64)
        key = -errors if oracle else half[CONFIDENCE].to_numpy(np.float64)
        position = np.maximum(KEPT_SHARES * len(errors), 1)
        curve = np.interp(position, np.arange(1, len(errors) + 1), kept_errors(key, errors))
        total += curve * len(errors)
        number += len(errors)
    return pd.DataFrame({"share": KEPT_SHARES, "mean_deg": total / max(number, 1)})


def errors_by_confidence(particles: pd.DataFrame, n_bins: int = 10) -> pd.DataFrame:
    """Return the spread of errors in bins of confidence, each a share of either half.

    Parameters
    ----------
    particles : with columns half, angular_error_deg, predicted_confidence
    n_bins : bins of equally many particles; those of equal confidence stay together

    Returns
    -------
    One row per bin, least confident first: mean_confidence, and the columns of `error_spread`.
    """
    confidence = particles[CONFIDENCE]
    rank = confidence.groupby(particles["half"]).rank(method="average", pct=True).to_numpy()
    number = np.clip(np.ceil(rank * n_bins).astype(int) - 1, 0, n_bins - 1)
    table = error_spread(particles[ERROR].to_numpy(np.float64), number, n_bins)
    means = pd.Series(confidence.to_numpy()).groupby(number).mean()
    table.insert(0, "mean_confidence", means.reindex(table.index))
    return table[table["particles"] > 0].reset_index(drop=True)


def confidence_rows(
    entry: str,
    poses: str,
    confidence: tuple[FloatArray | None, FloatArray | None],
    errors_deg: tuple[FloatArray, FloatArray],
) -> tuple[MetricRow, ...]:
    """Return the rows that say what the confidence is worth; none if no half has any.

    Parameters
    ----------
    entry, poses : what the rows are labelled with
    confidence : `(P,)` of each half; None where none was predicted
    errors_deg : `(P,)` of each half

    Notes
    -----
    For both halves, the rank correlation is the mean of the halves' by their particles.
    """
    rows: list[MetricRow] = []
    known = {
        str(half): (ours, errors)
        for half, (ours, errors) in enumerate(zip(confidence, errors_deg, strict=True))
        if ours is not None
    }
    for half, (ours, errors) in known.items():
        found = (rank_correlation(ours, errors), confidence_gain([ours], [errors]))
        rows += _rows(entry, poses, half, *found)
    if len(known) == 2:
        sizes = [len(errors) for _, errors in known.values()]
        rank = float(np.average([row.value for row in rows[::2]], weights=sizes))
        gain = confidence_gain(*zip(*known.values(), strict=True))
        rows += _rows(entry, poses, "all", rank, gain)
    return tuple(rows)


def _rows(entry: str, poses: str, half: str, rank: float, gain: float) -> list[MetricRow]:
    return [
        MetricRow(poses, entry, half, "confidence_rank_correlation", False, rank, "", "max"),
        MetricRow(poses, entry, half, "confidence_gain", False, gain, "", "max"),
    ]


def kept_weights(confidence: FloatArray, share: float) -> FloatArray:
    """Return the weights `(P,)` that keep the `share` of particles that is most confident.

    1 for those that are kept, 0 for the others. Particles of equal confidence are treated alike:
    where only some of them are to be kept, each weighs that fraction.

    Raises
    ------
    OptionError
        If the share does not lie above 0 and up to 1.
    """
    if not 0 < share <= 1:
        raise OptionError(f"share of kept particles {share:g}: use a number above 0, up to 1")
    wanted = max(1.0, share * len(confidence))
    _, level, sizes = np.unique(-confidence, return_inverse=True, return_counts=True)
    before = np.cumsum(sizes) - sizes
    fraction: FloatArray = np.clip((wanted - before) / sizes, 0, 1)
    return fraction[level]
