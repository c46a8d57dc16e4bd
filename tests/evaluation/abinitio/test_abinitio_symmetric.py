"""Ab initio poses of symmetric particles, few particles and mixed hands, against plain float64.

What is expected is stated without the package: operators come from their generating axes, errors
are the least angle of scipy over them, and the frame is the one that was applied.
"""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cesped.evaluation.abinitio.figures import abinitio_notes
from cesped.evaluation.abinitio.pose_alignment import align_poses, aligned
from cesped.geometry.poses import Poses
from cesped.geometry.symmetry import point_group

GOLDEN = (1 + np.sqrt(5)) / 2
#: Two rotations that make the group: axis and order of each, in RELION's setting.
GENERATORS = {
    "C1": [],
    "C5": [((0, 0, 1), 5)],
    "D7": [((0, 0, 1), 7), ((1, 0, 0), 2)],
    "T": [((0, 0, 1), 3), ((0, np.sqrt(2 / 3), np.sqrt(1 / 3)), 2)],
    "O": [((0, 0, 1), 4), ((1, 1, 1), 3)],
    "I": [((0, 0, 1), 2), ((1, 0, GOLDEN), 5)],
}
ORDERS = {"C1": 1, "C5": 5, "D7": 14, "T": 12, "O": 24, "I": 60}
OFFSET_ANGST = np.array([4.0, -2.0, 9.0])
MIRROR = np.diag([-1.0, -1.0, 1.0])


def closed(generators, limit=60):
    """Return the group `(G, 3, 3)` that rotations about axes make: all products, once each."""
    steps = [
        Rotation.from_rotvec(np.asarray(axis) / np.linalg.norm(axis) * 2 * np.pi / order)
        for axis, order in generators
    ]
    found = [np.eye(3)]
    for known in found:
        for step in steps:
            product = step.as_matrix() @ known
            if all(np.abs(product - other).max() > 1e-6 for other in found):
                found.append(product)
        assert len(found) <= limit
    return np.array(found)


def plain_errors_deg(operators, truth, predicted):
    """Return the least angle over the group, by scipy."""
    back = Rotation.from_matrix(predicted).inv()
    angles = [(Rotation.from_matrix(g @ truth) * back).magnitude() for g in operators]
    return np.degrees(np.min(angles, axis=0))


def submitted(operators, truth, frame, is_mirrored, noise_deg, generator):
    """Return the poses of a program that chose this frame, hand and place; row by row, by hand."""
    rotations, origins = [], []
    for rotation, origin in zip(truth.rotations, truth.origins_angst, strict=True):
        mate = operators[generator.integers(len(operators))]
        jitter = Rotation.from_rotvec(np.radians(noise_deg) * generator.normal(size=3)).as_matrix()
        pose = frame.T @ jitter @ mate @ rotation @ (MIRROR if is_mirrored else np.eye(3))
        rotations.append(pose)
        origins.append(origin + (pose.T @ OFFSET_ANGST)[:2])
    return Poses(np.array(rotations), np.array(origins), truth.confidence)


def truth_of(count, generator):
    rotations = Rotation.random(count, random_state=generator).as_matrix()
    return Poses(rotations, generator.normal(size=(count, 2)) * 4, np.ones(count))


@pytest.mark.parametrize("symmetry", GENERATORS)
def test_the_groups_are_those_of_their_axes(symmetry):
    operators = closed(GENERATORS[symmetry])
    ours = point_group(symmetry).operators
    assert len(operators) == len(ours) == ORDERS[symmetry]
    apart = np.abs(operators[:, None] - ours[None]).max(axis=(2, 3)).min(axis=1)
    assert apart.max() < 1e-6


@pytest.mark.parametrize("count", [12, 40])
@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("symmetry", GENERATORS)
def test_exact_poses_have_no_error_and_their_hand_is_told(symmetry, is_mirrored, count):
    generator = np.random.default_rng(count + len(symmetry))
    operators, truth = closed(GENERATORS[symmetry]), truth_of(count, generator)
    frame = Rotation.random(random_state=generator).as_matrix()
    predicted = submitted(operators, truth, frame, is_mirrored, 0.0, generator)
    found = align_poses(truth, predicted, point_group(symmetry), generator)
    assert found.is_found
    assert found.is_hand_known
    assert found.frame.is_mirrored == is_mirrored
    assert not found.is_of_both_hands
    back = aligned(predicted, found.frame)
    assert plain_errors_deg(operators, truth.rotations, back.rotations).max() < 1e-4
    np.testing.assert_allclose(back.origins_angst, truth.origins_angst, atol=1e-5)
    # the frame itself, up to a turn that the particle does not show
    assert plain_errors_deg(operators, frame[None], found.frame.rotation[None])[0] < 1e-4


@pytest.mark.parametrize("symmetry", ["C5", "D7", "T", "O", "I"])
def test_errors_are_those_in_the_true_frame(symmetry):
    generator = np.random.default_rng(7)
    operators, truth = closed(GENERATORS[symmetry]), truth_of(60, generator)
    frame = Rotation.random(random_state=generator).as_matrix()
    predicted = submitted(operators, truth, frame, True, 5.0, generator)
    found = align_poses(truth, predicted, point_group(symmetry), generator)
    ours = plain_errors_deg(operators, truth.rotations, aligned(predicted, found.frame).rotations)
    known = plain_errors_deg(operators, truth.rotations, frame @ predicted.rotations @ MIRROR)
    # the best frame of sixty poses is a little better for them than the true one, and no more
    assert known.mean() - 1.0 < ours.mean() <= known.mean() + 0.1
    miss = plain_errors_deg(operators, frame[None], found.frame.rotation[None])[0]
    assert miss < 4 * found.rotation_error_deg


def test_poses_of_both_hands_are_told():
    generator = np.random.default_rng(11)
    operators, truth = closed(GENERATORS["D7"]), truth_of(120, generator)
    frames = Rotation.random(2, random_state=generator).as_matrix()
    one = submitted(operators, truth, frames[0], False, 3.0, generator)
    other = submitted(operators, truth, frames[1], True, 3.0, generator)
    is_other = np.arange(120) % 4 == 0
    mixed = Poses(
        np.where(is_other[:, None, None], other.rotations, one.rotations),
        np.where(is_other[:, None], other.origins_angst, one.origins_angst),
        truth.confidence,
    )
    found = align_poses(truth, mixed, point_group("D7"), generator)
    assert not found.frame.is_mirrored  # the hand of most
    assert found.inlier_share == pytest.approx(0.75, abs=0.06)
    assert found.other_hand_share == pytest.approx(0.25, abs=0.06)
    notes = abinitio_notes([found, found])
    assert any("mix both hands: 2" in note and "put together" in note for note in notes)
    # what is of the other hand counts as wrong
    errors = plain_errors_deg(operators, truth.rotations, aligned(mixed, found.frame).rotations)
    assert errors[~is_other].mean() < 6.0
    assert errors[is_other].mean() > 20.0
    alone = align_poses(truth, one, point_group("D7"), generator)
    assert alone.other_hand_share == 0.0
    assert not any("both hands" in note for note in abinitio_notes([alone, alone]))
