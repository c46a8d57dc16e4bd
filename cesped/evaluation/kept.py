"""What maps become when only the most confident particles are kept."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cesped.errors import OptionError
from cesped.evaluation.angular import completed_poses
from cesped.evaluation.breakdown import ERROR
from cesped.evaluation.calibration import KEPT, kept_errors, kept_weights
from cesped.evaluation.half_sets import PredictedHalf
from cesped.evaluation.map_figures import scorer_of
from cesped.evaluation.results import MetricRow
from cesped.evaluation.scores import ALL, MapScores, agreement_rows
from cesped.evaluation.setting import Setting
from cesped.evaluation.volumes import MapPair
from cesped.physics.fsc import FscCurve
from cesped.progress import SILENT, Progress
from cesped.reconstruction.protocol import PoseSet
from cesped.vocabulary import PoseOrigin


def check_kept(
    halves: tuple[PredictedHalf, PredictedHalf], shares: Sequence[float]
) -> tuple[float, ...]:
    """Return the shares to keep, each once, the smallest first.

    Raises
    ------
    OptionError
        If one is not a whole percentage from 1 to 99, or a half has no confidence to choose by.
    """
    for share in shares:
        percent = 100 * share
        if not 0.99 < percent < 99.01 or abs(percent - round(percent)) > 1e-6:
            raise OptionError(
                f"share of kept particles {share:g}: use whole percentages, 0.01 to 0.99"
            )
    for half in halves if shares else ():
        if not half.has_confidence:
            raise OptionError(
                f"the predictions of {half.table.source} have no rlnParticleFigureOfMerit to "
                "choose the most confident particles by; leave the shares of kept particles out"
            )
    return tuple(sorted({round(share, 2) for share in shares}))


def score_kept(
    setting: Setting,
    particles: pd.DataFrame,
    maps: Mapping[PoseOrigin, MapPair],
    progress: Progress = SILENT,
) -> tuple[tuple[MetricRow, ...], dict[str, FscCurve]]:
    """Return rows and FSC curves of the maps of each share of the most confident particles.

    Parameters
    ----------
    setting : says which shares
    particles : errors and confidences, half 0 first
    maps : those of the truth, of all particles, are what the maps are compared with

    Raises
    ------
    The errors of `Reconstructor.reconstruct`.
    """
    if not setting.kept_shares:
        return (), {}
    kept_maps = _reconstruct(setting, progress)
    rows: list[MetricRow] = []
    curves: dict[str, FscCurve] = {}
    scores: dict[float, dict[bool, MapScores]] = {share: {} for share in kept_maps}
    for masked in setting.masks:
        scorer = scorer_of(setting, maps[PoseOrigin.TRUTH], masked)
        for share, pair in kept_maps.items():
            scores[share][masked] = scorer.score(pair)
    for share, by_mask in scores.items():
        label = f"{KEPT}{round(100 * share)}"
        rows.append(_mean_error(setting.target, label, particles, share))
        for masked, found in by_mask.items():
            rows += agreement_rows(setting.target, label, found, masked=masked)
            suffix = "_masked" if masked else ""
            for name, agreement in found.named().items():
                curves[f"{label}_{name}{suffix}"] = agreement.curve
    return tuple(rows), curves


def _reconstruct(setting: Setting, progress: Progress) -> dict[float, MapPair]:
    made = []
    for half in setting.halves:
        poses = completed_poses(half.truth, half.predicted, setting.prediction_type)
        weights = half.weights(setting.use_pred_confidence)
        sets = []
        for share in setting.kept_shares:
            kept = kept_weights(half.predicted.confidence, share)
            sets.append(PoseSet(poses, kept if weights is None else kept * weights))
        made.append(setting.engine.reconstruct(half.table, sets, setting.options, progress))
    pairs = zip(setting.kept_shares, *made, strict=True)
    return {share: MapPair(first, second) for share, first, second in pairs}


def _mean_error(entry: str, label: str, particles: pd.DataFrame, share: float) -> MetricRow:
    """Return the mean angular error of the kept particles of both halves."""
    total = count = 0.0
    for _, half in particles.groupby("half"):
        errors = half[ERROR].to_numpy(np.float64)
        wanted = max(1.0, share * len(errors))
        kept = kept_errors(half["predicted_confidence"].to_numpy(np.float64), errors)
        ranks = np.arange(1, len(errors) + 1)
        # between whole numbers of particles the sums, not the means, are on a straight line
        total += float(np.interp(wanted, ranks, kept * ranks))
        count += wanted
    return MetricRow(
        label, entry, ALL, "mean_angular_error_deg", False, total / count, "deg", "min"
    )
