"""Figures that are bad for a reason: predictions in another convention, frame or order, or copied.

A score of misread poses looks like that of a bad model. So poses that are far off are held against
the known ones under every common misreading, as `cesped doctor --predictions` does, and what is
found is said beside the figures, none of which changes.
"""

import numpy as np
from numpy.typing import NDArray

from cesped.evaluation.diagnosis.against_truth import compare_with_truth, shift_finding
from cesped.evaluation.half_sets import PredictedHalf
from cesped.geometry.symmetry import PointGroup, point_group
from cesped.vocabulary import Health, PredictionType

#: Models that work are mostly nearer; every misreading of uniform poses is farther [degrees].
_FAR_DEG = 15.0
#: Nearer than any prediction: the known poses, through the digits of a star file [degrees].
_SAME_DEG = 1e-3
#: So many particles tell; they are rows in one piece, since rows may be off by one.
_MOST_PARTICLES = 2000
#: With fewer than these, chance agrees with one reading or another.
_FEWEST_PARTICLES = 20


def notes_on_misreadings(
    halves: tuple[PredictedHalf, PredictedHalf],
    errors_deg: tuple[NDArray[np.float64], NDArray[np.float64]],
    prediction_type: PredictionType,
    symmetry: str,
    seed: int,
) -> tuple[str, ...]:
    """Return what seems to be wrong with predictions that are far off, or too good.

    Parameters
    ----------
    halves : particles and predictions
    errors_deg : angular error `(P,)` of each particle of both halves [degrees]
    prediction_type : viewing directions alone are not examined, since any psi may stand there
    symmetry : point group that they are scored with
    seed : of what is drawn to tell chance
    """
    group = point_group(symmetry)
    said: dict[str, tuple[list[int], str]] = {}
    for number, (half, errors) in enumerate(zip(halves, errors_deg, strict=True)):
        for statement, remedy in _suspicions(half, errors, prediction_type, group, seed):
            said.setdefault(remedy, ([], statement))[0].append(number)
    return tuple(
        f"Predictions of half {', and likewise of half '.join(map(str, numbers))}: "
        f"{_sentence(statement)} {_sentence(remedy)} `cesped doctor --predictions` tells more."
        for remedy, (numbers, statement) in said.items()
    )


def _suspicions(
    half: PredictedHalf,
    errors_deg: NDArray[np.float64],
    prediction_type: PredictionType,
    group: PointGroup,
    seed: int,
) -> list[tuple[str, str]]:
    """Return what seems to be wrong with one half, and what to do about it."""
    if len(errors_deg) < _FEWEST_PARTICLES:
        return []
    if errors_deg.max() < _SAME_DEG:
        return [
            (
                "they are the known poses themselves, to the last digits",
                "Unless that is meant, give the model's predictions, not the entry's star file",
            )
        ]
    found = []
    if prediction_type is not PredictionType.S2 and np.median(errors_deg) > _FAR_DEG:
        found += _orientation_faults(half, group, seed)
    if prediction_type is PredictionType.SO3XR2 and half.predicted.origins_angst.any():
        finding = shift_finding(half.truth, half.predicted, half.table.pixel_size_angst)
        if finding.health is Health.FAULT:
            found.append((finding.statement, finding.remedy))
    return found


def _orientation_faults(half: PredictedHalf, group: PointGroup, seed: int) -> list[tuple[str, str]]:
    first = max(0, (len(half.truth) - _MOST_PARTICLES) // 2)
    block = np.arange(first, min(first + _MOST_PARTICLES, len(half.truth)))
    findings, _ = compare_with_truth(
        half.truth.select(block),
        half.predicted.select(block),
        half.table.pixel_size_angst[block],
        group,
        np.random.default_rng(seed),
        with_shifts=False,
    )
    return [
        (finding.statement, finding.remedy)
        for finding in findings
        if finding.health is Health.FAULT
    ]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
