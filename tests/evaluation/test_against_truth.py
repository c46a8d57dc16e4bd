"""Predictions that differ from the truth by one thing are said to differ by that thing."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cesped.evaluation.diagnosis.against_truth import compare_with_truth
from cesped.geometry.poses import Poses
from cesped.geometry.symmetry import point_group
from cesped.vocabulary import Health, Suspicion

SIZES = np.full(400, 2.0)


def truth_of(n=400, seed=0):
    rng = np.random.default_rng(seed)
    rotations = Rotation.random(n, random_state=rng).as_matrix()
    return Poses(rotations, rng.normal(0, 6, (n, 2)), np.ones(n))


def predicted_of(truth, noise_deg=4.0, wrong=0.3, seed=1):
    """Rotational noise about each axis, and a share of poses that are anything."""
    rng = np.random.default_rng(seed)
    count = len(truth)
    noise = Rotation.from_rotvec(np.radians(rng.normal(0, noise_deg, (count, 3)))).as_matrix()
    rotations = noise @ truth.rotations
    bad = rng.random(count) < wrong
    rotations[bad] = Rotation.random(int(bad.sum()), random_state=rng).as_matrix()
    return rotations, truth.origins_angst + rng.normal(0, 1, (count, 2))


def compared(rotations, origins, truth, symmetry="C1"):
    predicted = Poses(rotations, origins, np.ones(len(rotations)))
    rng = np.random.default_rng(2)
    group = point_group(symmetry)
    findings, facts = compare_with_truth(truth, predicted, SIZES[: len(truth)], group, rng)
    return {found.suspicion: found for found in findings}, facts


def faults(findings):
    return {suspicion for suspicion, found in findings.items() if found.health is Health.FAULT}


FRAME = Rotation.from_euler("XYZ", [20, 30, 40], degrees=True).as_matrix()

CHANGES = {
    "none": (lambda r, o: (r, o), set(), "Right as given"),
    "transposed": (
        lambda r, o: (r.transpose(0, 2, 1), o),
        {Suspicion.ORIENTATIONS},
        "transposed",
    ),
    "mirrored": (
        lambda r, o: (r @ np.diag([-1.0, 1.0, -1.0]), o),
        {Suspicion.ORIENTATIONS},
        "mirrored",
    ),
    "other hand": (
        lambda r, o: (r @ np.diag([-1.0, -1.0, 1.0]), o),
        {Suspicion.ORIENTATIONS},
        "mirror image of the map",
    ),
    "frame": (lambda r, o: (FRAME @ r, o), {Suspicion.FRAME}, "turned by 5"),
    "transposed in a frame": (
        lambda r, o: ((FRAME @ r).transpose(0, 2, 1), o),
        {Suspicion.ORIENTATIONS, Suspicion.FRAME},
        "transposed",
    ),
    "rows": (
        lambda r, o: (np.roll(r, 1, axis=0), np.roll(o, 1, axis=0)),
        {Suspicion.ROWS},
        "the row after",
    ),
    "shifts negated": (lambda r, o: (r, -o), {Suspicion.SHIFTS}, "both signs"),
    "shifts in pixels": (lambda r, o: (r, o / 2.0), {Suspicion.SHIFTS}, ""),
}


@pytest.mark.parametrize("name", CHANGES)
def test_one_difference_is_named(name):
    change, where, said = CHANGES[name]
    truth = truth_of()
    findings, facts = compared(*change(*predicted_of(truth)), truth)
    assert faults(findings) == where
    assert said in " ".join(found.statement for found in findings.values())
    assert facts["share_of_right_poses"] == pytest.approx(0.7, abs=0.08)
    assert facts["error_of_right_poses_deg"] == pytest.approx(4, rel=0.15)


def test_random_predictions_are_random_and_a_few_right_ones_are_not():
    truth = truth_of()
    rng = np.random.default_rng(9)
    findings, _ = compared(
        Rotation.random(400, random_state=rng).as_matrix(), truth.origins_angst, truth
    )
    assert faults(findings) == {Suspicion.ORIENTATIONS}
    assert "no better than shuffled" in findings[Suspicion.ORIENTATIONS].statement
    findings, facts = compared(*predicted_of(truth, wrong=0.8), truth)
    assert not faults(findings)
    assert facts["share_of_right_poses"] == pytest.approx(0.2, abs=0.08)


def test_of_a_dozen_random_poses_nothing_is_said():
    truth = truth_of(12)
    rotations = Rotation.random(12, random_state=4).as_matrix()
    findings, _ = compared(rotations, truth.origins_angst, truth)
    assert findings[Suspicion.ORIENTATIONS].health is Health.UNCLEAR


def test_symmetry_mates_are_right_and_frames_are_seen_beside_them():
    truth = truth_of()
    rotations, origins = predicted_of(truth, wrong=0.1)
    operators = point_group("D2").operators
    mates = operators[np.random.default_rng(3).integers(4, size=400)] @ rotations
    findings, _ = compared(mates, origins, truth, "D2")
    assert not faults(findings)
    small = Rotation.from_euler("X", 12, degrees=True).as_matrix()
    findings, facts = compared(small @ mates, origins, truth, "D2")
    assert faults(findings) == {Suspicion.FRAME}
    assert facts["frame_angle_deg"] == pytest.approx(12, abs=1)


def test_shifts_that_were_not_predicted_are_no_fault():
    truth = truth_of()
    rotations, origins = predicted_of(truth)
    findings, _ = compared(rotations, 0 * origins, truth)
    assert findings[Suspicion.SHIFTS].health is Health.UNCLEAR
    assert "not predicted" in findings[Suspicion.SHIFTS].statement


def test_perfect_predictions_are_certain():
    truth = truth_of()
    findings, facts = compared(truth.rotations, truth.origins_angst, truth)
    assert {found.health for found in findings.values()} == {Health.HEALTHY}
    assert findings[Suspicion.ORIENTATIONS].certainty == "certain"
    assert facts["error_of_right_poses_deg"] < 0.01
    assert json.dumps(facts, allow_nan=False)
