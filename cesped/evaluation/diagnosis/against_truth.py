"""Predicted poses held against known ones: far stronger than images, and sees more.

Two files of poses of the same particles differ by a misreading, by a rotation of the whole map (a
frame, which no image could show), by the hand of the map (nor that), or by nothing but errors. A
misreading is found by undoing each in turn and asking in which the predictions agree best with the
truth, up to one rotation for all: by the likelihood of
`cesped.evaluation.abinitio.frame_search`, which allows for any share of wrong poses.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cesped.evaluation.abinitio.frame_search import FrameFit, fit_frame, relative_rotations
from cesped.evaluation.diagnosis.findings import Finding, Score
from cesped.evaluation.diagnosis.suspects import (
    AS_GIVEN,
    ORIENTATIONS,
    RADIANS,
    ROW_AFTER,
    ROW_BEFORE,
    ROWS,
    SHIFTS,
    Misreading,
)
from cesped.evaluation.diagnosis.undoing import may_be_radians, other_hand, reoriented, reshifted
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import rotation_angle_deg
from cesped.geometry.symmetry import PointGroup
from cesped.vocabulary import Health, Suspicion

FloatArray = NDArray[np.float64]

OTHER_HAND = "other hand"
_HAND = Misreading(
    OTHER_HAND,
    "the poses are those of the mirror image of the map",
    "add 180 to rlnAnglePsi, and mirror the map that the poses come from",
)

#: A reading is preferred if it is so much more likely [nats, that is factors of e], and chance is
#: beaten by as much.
_PREFERRED_NATS = 25.0
#: Frames that differ by less than this are one [degrees].
_SAME_FRAME_DEG = 1.0
#: A reading of the shifts is preferred if it leaves so much less of their difference.
_PREFERRED_SHARE = 0.8
_SHUFFLES = 4


def compare_with_truth(
    truth: Poses,
    predicted: Poses,
    pixel_size_angst: FloatArray,
    group: PointGroup,
    generator: np.random.Generator,
    *,
    with_shifts: bool = True,
) -> tuple[tuple[Finding, ...], dict[str, float]]:
    """Return what is to be said of predictions whose truth is known.

    Parameters
    ----------
    truth, predicted : poses of the same `P` particles, in the order of the entry
    pixel_size_angst : `(P,)` [angstrom/px]
    group : symmetry of the particle
    generator : chooses among many particles, and shuffles
    with_shifts : False to look at orientations and frame alone

    Returns
    -------
    findings : orientations, and if these are not random also frame, rows and shifts
    facts : share of right poses, their error, the angle of the frame
    """
    fits = _fits(truth, predicted, group, generator)
    chance = max(
        fit_frame(
            relative_rotations(truth.rotations, predicted.rotations[generator.permutation(n)]),
            group,
            generator,
        ).evidence
        for n in [len(truth)] * _SHUFFLES
    )
    best = max(fits, key=lambda name: fits[name].evidence)
    if fits[best].evidence - fits[AS_GIVEN].evidence < _PREFERRED_NATS:
        best = AS_GIVEN
    fit = fits[best]
    scores = tuple(
        Score(name, other.share if other.evidence > chance else 0.0, _root(other, fits[AS_GIVEN]))
        for name, other in fits.items()
    )
    facts = {"share_of_right_poses": fit.share, "error_of_right_poses_deg": fit.spread_deg}
    above_chance = fit.evidence - max(chance, 0.0)
    if above_chance < _PREFERRED_NATS:
        return (_random_finding(len(truth), above_chance, scores),), facts
    found = [_orientation_finding(best, fits, above_chance, scores)]
    angle_deg = _frame_angle_deg(fit, group)
    facts["frame_angle_deg"] = angle_deg
    found.append(_frame_finding(angle_deg, fit, len(truth)))
    if with_shifts and best in (AS_GIVEN, OTHER_HAND, *ROWS):
        order = _row_order(best, len(truth))
        found.append(shift_finding(truth, predicted.select(order), pixel_size_angst))
    return tuple(found), facts


def _fits(
    truth: Poses, predicted: Poses, group: PointGroup, generator: np.random.Generator
) -> dict[str, FrameFit]:
    """Return how well each reading of the predictions fits the truth, in its best frame."""
    given = predicted.rotations
    readings = {
        name: reoriented(name, given)
        for name in ORIENTATIONS
        if name != RADIANS or may_be_radians(given)
    }
    readings[OTHER_HAND] = other_hand(given)
    for name in (ROW_AFTER, ROW_BEFORE):
        readings[name] = given[_row_order(name, len(given))]
    return {
        name: fit_frame(relative_rotations(truth.rotations, rotations), group, generator)
        for name, rotations in readings.items()
    }


def _row_order(name: str, count: int) -> NDArray[np.int64]:
    step = {ROW_AFTER: 1, ROW_BEFORE: -1}.get(name, 0)
    return (np.arange(count) + step) % count


def _root(fit: FrameFit, given: FrameFit) -> float:
    """Return a difference of log-likelihoods as standard errors: Wilks, 2 nats a squared one."""
    difference = fit.evidence - given.evidence
    if fit is given:
        return float("nan")
    return float(np.sign(difference) * np.sqrt(2 * abs(difference)))


def _random_finding(count: int, above_chance: float, scores: tuple[Score, ...]) -> Finding:
    statement = "The predicted orientations agree with the known ones no better than shuffled ones."
    if count < 20:
        return Finding(Suspicion.ORIENTATIONS, Health.UNCLEAR, 0.0, statement, "", scores)
    remedy = (
        "Check that the file is of these particles; if it is, the model has learnt nothing, or "
        "its output is read in a way that is not known here"
    )
    # the evidence that one pose in ten would give is a share of what all of them would
    sure = float(np.sqrt(2 * max(0.0, 0.1 * count - max(above_chance, 0.0))))
    return Finding(Suspicion.ORIENTATIONS, Health.FAULT, sure, statement, remedy, scores)


def _orientation_finding(
    best: str, fits: dict[str, FrameFit], above_chance: float, scores: tuple[Score, ...]
) -> Finding:
    fit = fits[best]
    right = f"{fit.share:.0%} of the poses are right, to {fit.spread_deg:.2g} degrees about an axis"
    if best == AS_GIVEN:
        rivals = [fit.evidence - other.evidence for name, other in fits.items() if name != AS_GIVEN]
        z = float(np.sqrt(2 * max(0.0, min(above_chance, *rivals))))
        return Finding(
            Suspicion.ORIENTATIONS, Health.HEALTHY, z, f"Right as given: {right}.", "", scores
        )
    wrong = {**ORIENTATIONS, **ROWS, OTHER_HAND: _HAND}[best]
    z = _root(fit, fits[AS_GIVEN])
    suspicion = Suspicion.ROWS if best in ROWS else Suspicion.ORIENTATIONS
    statement = f"{wrong.meaning[:1].upper()}{wrong.meaning[1:]}; put right, {right}."
    return Finding(suspicion, Health.FAULT, z, statement, wrong.remedy, scores)


def _frame_angle_deg(fit: FrameFit, group: PointGroup) -> float:
    """Return the angle of the frame, the least over symmetry mates."""
    return float(rotation_angle_deg(group.operators @ fit.rotation).min())


def _frame_finding(angle_deg: float, fit: FrameFit, count: int) -> Finding:
    error_deg = float(np.sqrt(np.trace(fit.covariance_deg2)))
    z = angle_deg / max(error_deg, 1e-6)
    if angle_deg > max(_SAME_FRAME_DEG, 5 * error_deg):
        statement = (
            f"The predictions are in another frame: their map is turned by {angle_deg:.1f} degrees."
        )
        remedy = (
            "Turn the poses into the frame of the entry; a model that was trained on its poses "
            "does not leave it, one that knew none does"
        )
        return Finding(Suspicion.FRAME, Health.FAULT, z, statement, remedy)
    statement = f"The frame is that of the known poses, to {max(angle_deg, error_deg):.2g} degrees."
    return Finding(
        Suspicion.FRAME, Health.HEALTHY, max(0.0, _SAME_FRAME_DEG / max(error_deg, 1e-6)), statement
    )


def shift_finding(truth: Poses, predicted: Poses, pixel_size_angst: FloatArray) -> Finding:
    """Return which reading of the predicted shifts is nearest to the true ones.

    Parameters
    ----------
    truth, predicted : poses of the same `P` particles
    pixel_size_angst : `(P,)` [angstrom/px]
    """
    scale = pixel_size_angst[:, None]
    true_px, given_px = truth.origins_angst / scale, predicted.origins_angst / scale
    left = {
        name: float(
            np.median(np.linalg.norm(reshifted(name, given_px, pixel_size_angst) - true_px, axis=1))
        )
        for name in SHIFTS
    }
    scores = tuple(Score(name, -value, float("nan")) for name, value in left.items())
    median_px = left["ignored"]
    given = left[AS_GIVEN]
    if not given_px.any():
        statement = "Shifts were not predicted."
        return Finding(Suspicion.SHIFTS, Health.UNCLEAR, 0.0, statement, "", scores)
    best = min(left, key=lambda name: left[name])
    figures = f"median error {given:.2f} px, {median_px:.2f} px with no shifts at all"
    if left[best] < _PREFERRED_SHARE * given and given > 0.05:
        wrong = SHIFTS[best]
        statement = (
            f"{wrong.meaning[:1].upper()}{wrong.meaning[1:]} ({figures}, so {left[best]:.2f})."
        )
        z = float(np.sqrt(len(truth)) * np.log(given / max(left[best], 1e-9)))
        return Finding(Suspicion.SHIFTS, Health.FAULT, z, statement, wrong.remedy, scores)
    z = float(np.sqrt(len(truth)) * np.log(max(median_px, 1e-9) / max(given, 1e-9)))
    health = Health.HEALTHY if given < _PREFERRED_SHARE * median_px else Health.UNCLEAR
    return Finding(Suspicion.SHIFTS, health, z, f"As given: {figures}.", "", scores)
