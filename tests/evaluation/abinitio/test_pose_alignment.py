"""Poses in known frames, hands and places, with noise and outliers, are brought back."""

import numpy as np
import pytest
from fake_entry import fake_balls, fake_poses, project_balls

from cesped.errors import GeometryError
from cesped.evaluation.abinitio.frame_search import fit_frame, relative_rotations
from cesped.evaluation.abinitio.pose_alignment import Frame, align_poses, aligned, displaced
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import (
    geodesic_distance_deg,
    random_rotations,
    rotations_about_random_axes,
)
from cesped.geometry.symmetry import point_group, symmetric_distance_deg

OFFSET_ANGST = np.array([3.0, -7.0, 12.0])


def random_truth(count, generator):
    origins = generator.normal(size=(count, 2)) * 5.0
    return Poses(random_rotations(count, generator), origins, np.ones(count))


def with_noise(poses, noise_deg, shift_noise_angst, outliers, generator):
    """Return poses with normal noise about each axis; a share of them at random."""
    count = len(poses)
    angles = np.linalg.norm(generator.normal(size=(count, 3)) * noise_deg, axis=1)
    rotations = rotations_about_random_axes(count, angles, generator) @ poses.rotations
    origins = poses.origins_angst + generator.normal(size=(count, 2)) * shift_noise_angst
    wrong = generator.permutation(count)[: round(outliers * count)]
    rotations[wrong] = random_rotations(len(wrong), generator)
    origins[wrong] = generator.normal(size=(len(wrong), 2)) * 30.0
    return Poses(rotations, origins, poses.confidence)


def in_frame(truth, group, is_mirrored, generator):
    """Return the truth in a random frame, each pose at a random mate of its group."""
    mates = group.operators[generator.integers(group.order, size=len(truth))] @ truth.rotations
    frame = Frame(random_rotations(1, generator)[0], is_mirrored, OFFSET_ANGST)
    return displaced(Poses(mates, truth.origins_angst, truth.confidence), frame), frame


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_poses_in_a_frame_of_their_own_show_the_same_particle(is_mirrored):
    """A map that is mirrored, turned and moved gives the same images at the displaced poses."""
    generator = np.random.default_rng(1)
    balls, weights = fake_balls()
    poses = fake_poses(6, generator)
    frame = Frame(random_rotations(1, generator)[0], is_mirrored, OFFSET_ANGST)
    hand = -1.0 if is_mirrored else 1.0  # V(-x): every ball at minus its place
    moved = hand * balls @ frame.rotation + OFFSET_ANGST  # rotation^T on the left of each
    images = project_balls(balls, weights, poses, 32)
    same = project_balls(moved, weights, displaced(poses, frame), 32)
    np.testing.assert_allclose(same, images, atol=1e-5)
    assert not np.allclose(project_balls(moved, weights, poses, 32), images, atol=0.1)
    back = aligned(displaced(poses, frame), frame)
    np.testing.assert_allclose(back.rotations, poses.rotations, atol=1e-12)
    np.testing.assert_allclose(back.origins_angst, poses.origins_angst, atol=1e-12)


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("symmetry", ["C1", "C4", "D2", "T", "O", "I"])
def test_an_exact_frame_is_found_exactly(symmetry, is_mirrored):
    generator = np.random.default_rng(2)
    group = point_group(symmetry)
    truth = random_truth(60, generator)
    predicted, _ = in_frame(truth, group, is_mirrored, generator)
    found = align_poses(truth, predicted, group, generator, shuffles=10)
    assert found.is_found
    assert found.is_hand_known
    assert found.frame.is_mirrored == is_mirrored
    assert found.inlier_share > 0.999
    np.testing.assert_allclose(found.frame.offset_angst, OFFSET_ANGST, atol=1e-6)
    back = aligned(predicted, found.frame)
    errors = symmetric_distance_deg(truth.rotations, back.rotations, group)
    assert errors.max() < 1e-4
    np.testing.assert_allclose(back.origins_angst, truth.origins_angst, atol=1e-6)


@pytest.mark.parametrize(
    "symmetry", ["C1", "D2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("O", "I"))]
)
def test_noise_and_seventy_percent_of_wrong_poses_are_borne(symmetry):
    generator = np.random.default_rng(3)
    group = point_group(symmetry)
    truth = random_truth(1500, generator)
    exact, frame = in_frame(truth, group, True, generator)
    found = align_poses(truth, with_noise(exact, 4.0, 2.0, 0.7, generator), group, generator)
    assert found.is_found
    assert found.is_hand_known
    assert found.frame.is_mirrored
    assert found.inlier_share == pytest.approx(0.3, abs=0.05)
    assert found.spread_deg == pytest.approx(4.0, abs=0.6)
    mates = group.operators @ found.frame.rotation
    error = geodesic_distance_deg(mates, frame.rotation).min()
    assert error < 4 * found.rotation_error_deg < 2.0
    miss = np.linalg.norm(found.frame.offset_angst - OFFSET_ANGST)
    assert miss < 4 * found.offset_error_angst < 1.5


def test_the_stated_error_of_the_frame_is_its_error():
    """Over many draws, the squared error has the mean that the covariance states."""
    generator = np.random.default_rng(4)
    group = point_group("C1")
    ratios = []
    for _ in range(25):
        truth = random_truth(300, generator)
        exact, frame = in_frame(truth, group, False, generator)
        noisy = with_noise(exact, 6.0, 1.0, 0.5, generator)
        votes = relative_rotations(truth.rotations, noisy.rotations)
        found = fit_frame(votes, group, generator)
        error = geodesic_distance_deg(found.rotation, frame.rotation)
        ratios.append(error**2 / np.trace(found.covariance_deg2))
    assert 0.5 < np.mean(ratios) < 1.8


@pytest.mark.parametrize("symmetry", ["C1", "D2", pytest.param("I", marks=pytest.mark.slow)])
def test_random_poses_have_no_frame(symmetry):
    generator = np.random.default_rng(5)
    truth, other = random_truth(400, generator), random_truth(400, generator)
    found = align_poses(truth, other, point_group(symmetry), generator)
    assert not found.is_found
    assert not found.is_hand_known
    assert found.p_value > 0.01
    np.testing.assert_array_equal(found.frame.offset_angst, 0.0)


def test_a_common_preferred_view_alone_is_no_frame():
    """Views that crowd about one axis agree by chance: shuffled pairs agree as well."""
    generator = np.random.default_rng(6)
    crowd = rotations_about_random_axes(400, np.abs(generator.normal(size=400)) * 10, generator)
    dealt = Poses(crowd[generator.permutation(400)], np.zeros((400, 2)), np.ones(400))
    truth = Poses(crowd, np.zeros((400, 2)), np.ones(400))
    found = align_poses(truth, dealt, point_group("C1"), generator)
    assert not found.is_found
    assert found.inlier_share > 0.5  # this is what would fool a count of inliers


def test_one_single_view_does_not_tell_the_hand():
    """In-plane turns of one view: its mirror is the view from behind, in another frame."""
    generator = np.random.default_rng(7)
    turns = np.radians(generator.uniform(0, 360, 200))
    zeros, ones = np.zeros(200), np.ones(200)
    c, s = np.cos(turns), np.sin(turns)
    in_plane = np.stack([c, -s, zeros, s, c, zeros, zeros, zeros, ones], axis=1).reshape(-1, 3, 3)
    truth = Poses(random_rotations(1, generator) @ in_plane, np.zeros((200, 2)), ones)
    predicted, _ = in_frame(truth, point_group("C1"), False, generator)
    noisy = with_noise(predicted, 2.0, 0.1, 0.2, generator)
    found = align_poses(truth, noisy, point_group("C1"), generator)
    assert found.is_found
    assert not found.is_hand_known


def test_shifts_that_were_not_predicted_give_no_offset():
    generator = np.random.default_rng(8)
    truth = random_truth(50, generator)
    predicted, _ = in_frame(truth, point_group("C1"), False, generator)
    found = align_poses(truth, predicted, point_group("C1"), generator, with_offset=False)
    np.testing.assert_array_equal(found.frame.offset_angst, 0.0)


def test_too_few_particles_and_unlike_numbers_are_refused():
    generator = np.random.default_rng(9)
    truth = random_truth(12, generator)
    group = point_group("C1")
    with pytest.raises(GeometryError, match="9 particles do not fix a frame; give 10 or more"):
        align_poses(truth.select(range(9)), truth.select(range(9)), group, generator)
    with pytest.raises(GeometryError, match="11 predicted poses and 12 true ones"):
        align_poses(truth, truth.select(range(11)), group, generator)
    stretched = Poses(truth.rotations * 1.5, truth.origins_angst, truth.confidence)
    with pytest.raises(GeometryError, match="predicted poses: matrix 1 of 12 is not orthonormal"):
        align_poses(truth, stretched, group, generator)
