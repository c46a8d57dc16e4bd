"""Signs that a half was predicted by a model that had seen it.

Each half is to be predicted by a model of the other half. Nobody can prove that from the
predictions, but a leak leaves signs: in what is told of the training, in poses that repeat the
labels, and in half maps that agree better than the labels' own half maps. A sign is a reason to
ask, not a verdict.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ..evaluation.angular import pose_errors
from ..evaluation.half_sets import PredictedHalf
from ..geometry.symmetry import PointGroup
from ..physics.fsc import FscCurve, resolution_angst
from ..vocabulary import PredictionType
from .manifest import EntrySubmission

#: Errors below this are copies of a label: two programs never agree so well.
COPIED_DEG = 1e-6
#: Share of copied poses that chance does not explain; on a grid a label may be met by chance.
MANY_COPIES = 0.01
#: No refinement of experimental or of simulated particles knows poses so well [degrees].
TOO_GOOD_DEG = 0.02
_BETTER_SHARE = 0.03  # of frequency, by which half maps may outdo the labels' own
_EXCESS = 0.05  # of FSC, on average over the shells where the labels' half maps disagree
_FEWEST_SHELLS = 3


def signs_in_provenance(entry: EntrySubmission, entry_checksums: Sequence[str] | None) -> list[str]:
    """Return the signs in what the manifest says of the training.

    Parameters
    ----------
    entry : of the manifest
    entry_checksums : of the entry's star files of half 0 and of half 1; None if it is not here
    """
    signs = []
    for half in (0, 1):
        if entry.learned_on is not None and entry.learned_on[half] == half:
            signs.append(
                f"half {half} was predicted by a model that learned on half {half} "
                "(`learned_on`); predict it with the model of the other half"
            )
        learned = None if entry.learned_from is None else entry.learned_from[half]
        if learned is not None and entry_checksums and learned == entry_checksums[half]:
            signs.append(
                f"the model of half {half} learned from the particles of half {half} themselves "
                "(`learned_from` is the checksum of that star file)"
            )
    if entry.learned_from is not None and entry.learned_from[0] == entry.learned_from[1]:
        signs.append("both models learned from the same star file (`learned_from`)")
    return signs


def sign_in_ids(half: int, learned: Collection[str], predicted: Collection[str]) -> list[str]:
    """Return the sign that a model predicted particles which it had learned from."""
    shared = set(learned) & set(predicted)
    if not shared:
        return []
    return [
        f"{len(shared)} of {len(predicted)} particles of half {half} are among those that its "
        f"model learned from (`learned_ids`), for example {min(shared)!r}"
    ]


def signs_in_poses(
    half: int, predicted: PredictedHalf, prediction_type: PredictionType, group: PointGroup
) -> list[str]:
    """Return the signs in the poses of one half: copies of the labels, or errors too small."""
    truth, poses = predicted.truth, predicted.predicted
    errors_deg = pose_errors(truth, poses, prediction_type, group).angular_deg
    copied = errors_deg < COPIED_DEG
    signs = []
    if copied.mean() > MANY_COPIES:
        signs.append(
            f"{copied.mean():.1%} of the orientations of half {half} are the labels themselves"
        )
    elif np.median(errors_deg) < TOO_GOOD_DEG:
        signs.append(
            f"half of the orientations of half {half} are within {TOO_GOOD_DEG:g} degrees of the "
            "labels, better than any label is known"
        )
    if prediction_type is PredictionType.SO3XR2:
        same = (truth.origins_angst == poses.origins_angst).all(axis=1)
        if truth.origins_angst.any() and same.mean() > MANY_COPIES:
            signs.append(f"{same.mean():.1%} of the shifts of half {half} are the labels'")
    same_confidence = predicted.has_confidence and np.array_equal(
        truth.confidence, poses.confidence
    )
    if same_confidence and np.ptp(truth.confidence) > 0:
        signs.append(
            f"the confidence of half {half} is that of the labels (rlnMaxValueProbDistribution)"
        )
    return signs


def signs_in_half_maps(curves: Mapping[str, FscCurve]) -> list[str]:
    """Return the signs in the agreement of the two predicted half maps.

    Parameters
    ----------
    curves : of an evaluation, by name

    Notes
    -----
    The half maps share no particle. Beyond the frequency where those of the labels fall below 0.5,
    their agreement is bounded by how well the labels are known; poses that come from nothing but
    the other half's labels cannot agree better, except by what both models have in common.
    At lower frequencies they may: even maps of random poses agree there.
    """
    signs = []
    for suffix, where in (("", "unmasked"), ("_masked", "masked")):
        predicted = curves.get(f"prediction_halves{suffix}")
        allowed = curves.get(f"truth_halves{suffix}")
        if predicted is not None and allowed is not None:
            sign = _sign_in_curves(predicted, allowed, where)
            signs += [sign] if sign else []
    return signs


def _last_frequency(curve: FscCurve, threshold: float) -> float:
    """Return the highest frequency at which a curve reaches `threshold`: in the labels' favour."""
    reached = np.flatnonzero(curve.correlation >= threshold)
    last = max(int(reached[-1]) if reached.size else 0, 1)
    return float(curve.frequency_per_angst[last])


def _sign_in_curves(predicted: FscCurve, allowed: FscCurve, where: str) -> str | None:
    found = 1 / resolution_angst(predicted, 0.143)
    best = _last_frequency(allowed, 0.143)
    shell = float(allowed.frequency_per_angst[1])
    if found > max((1 + _BETTER_SHARE) * best, best + shell):
        return (
            f"the {where} half maps of the prediction agree to {1 / found:.2f} angstrom (FSC "
            f"0.143), those of the labels to {1 / best:.2f} only"
        )
    numbers = np.arange(len(allowed.correlation))
    beyond = allowed.frequency_per_angst > _last_frequency(allowed, 0.5)
    if beyond.sum() < _FEWEST_SHELLS:
        return None
    excess = float((predicted.correlation - allowed.correlation)[beyond].mean())
    # of the difference of two empty shells, half of whose 4 pi s^2 samples are conjugates
    error = np.sqrt(2 / (2 * np.pi * numbers[beyond] ** 2))
    if excess > max(_EXCESS, 4 * float(np.sqrt((error**2).sum())) / beyond.sum()):
        return (
            f"the {where} half maps of the prediction agree better than those of the labels where "
            f"the labels are at their end: by an FSC of {excess:.2f} on average"
        )
    return None
