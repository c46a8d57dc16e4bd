import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cesped.errors import GeometryError
from cesped.geometry.rotations import (
    axis_angle_rotations,
    check_rotations,
    direction_distance_deg,
    geodesic_distance_deg,
    nearest_rotations,
    random_rotations,
    rotations_about_random_axes,
    viewing_directions,
)

ANGLE = st.floats(-360.0, 360.0)
POSE = st.tuples(ANGLE, ANGLE, ANGLE).map(
    lambda angles: Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix()
)


def test_the_same_pose_computed_twice_is_at_distance_zero():
    rng = np.random.default_rng(1)
    poses = random_rotations(20_000, rng)
    there = random_rotations(20_000, rng)
    again = np.swapaxes(there, 1, 2) @ (there @ poses)
    through_quaternions = Rotation.from_matrix(poses).as_matrix()
    assert geodesic_distance_deg(poses, poses).max() == 0.0
    assert geodesic_distance_deg(poses, again).max() < 1e-6
    assert geodesic_distance_deg(poses, through_quaternions).max() < 1e-6


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-6, 1e-3, 3.0, 90.0, 179.9, 179.999999, 180.0])
def test_a_turn_by_an_angle_is_at_that_distance(angle):
    rng = np.random.default_rng(2)
    poses = random_rotations(1000, rng)
    turned = rotations_about_random_axes(1000, angle, rng) @ poses
    np.testing.assert_allclose(geodesic_distance_deg(poses, turned), angle, rtol=0, atol=1e-11)


def test_distance_agrees_with_scipy():
    rng = np.random.default_rng(3)
    a, b = random_rotations(5000, rng), random_rotations(5000, rng)
    expected = (Rotation.from_matrix(a).inv() * Rotation.from_matrix(b)).magnitude()
    np.testing.assert_allclose(geodesic_distance_deg(a, b), np.degrees(expected), atol=1e-10)


def test_distance_broadcasts():
    poses = random_rotations(4, np.random.default_rng(4))
    assert geodesic_distance_deg(poses[:, None], poses[None]).shape == (4, 4)


@settings(max_examples=60, deadline=None)
@given(POSE, POSE, POSE)
def test_distance_is_a_bi_invariant_metric(a, b, c):
    ab = geodesic_distance_deg(a, b)
    assert abs(ab - geodesic_distance_deg(b, a)) < 1e-10
    assert ab <= geodesic_distance_deg(a, c) + geodesic_distance_deg(c, b) + 1e-10
    assert abs(ab - geodesic_distance_deg(c @ a, c @ b)) < 1e-10
    assert abs(ab - geodesic_distance_deg(a @ c, b @ c)) < 1e-10
    assert 0.0 <= ab <= 180.0


def test_direction_distance_is_exact_at_both_ends():
    rng = np.random.default_rng(5)
    directions = viewing_directions(random_rotations(1000, rng))
    assert direction_distance_deg(directions, directions).max() == 0.0
    np.testing.assert_allclose(direction_distance_deg(directions, -directions), 180.0, atol=1e-11)
    tiny = 1e-7
    near = axis_angle_rotations([1.0, 0.0, 0.0], tiny) @ [0.0, 0.0, 1.0]
    assert abs(direction_distance_deg([0.0, 0.0, 1.0], near) - tiny) < 1e-12


def test_directions_are_never_farther_apart_than_poses():
    rng = np.random.default_rng(6)
    a, b = random_rotations(5000, rng), random_rotations(5000, rng)
    apart = direction_distance_deg(viewing_directions(a), viewing_directions(b))
    assert (apart <= geodesic_distance_deg(a, b) + 1e-10).all()


def test_random_rotations_are_uniform():
    poses = random_rotations(200_000, np.random.default_rng(7))
    check_rotations(poses, "random")
    # Haar measure: the mean angle to any pose is pi / 2 + 2 / pi, 126.476 degrees
    angles = geodesic_distance_deg(poses, np.eye(3))
    assert abs(angles.mean() - np.degrees(np.pi / 2 + 2 / np.pi)) < 0.3
    assert np.abs(poses.mean(axis=0)).max() < 0.01


def test_the_same_generator_state_gives_the_same_rotations():
    first = random_rotations(5, np.random.default_rng(8))
    assert np.array_equal(first, random_rotations(5, np.random.default_rng(8)))


def test_axis_angle_is_right_handed_and_agrees_with_scipy():
    quarter = axis_angle_rotations([0.0, 0.0, 1.0], 90.0)
    np.testing.assert_allclose(quarter @ [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], atol=1e-15)
    vectors = np.random.default_rng(9).standard_normal((50, 3))
    angles = np.linalg.norm(vectors, axis=1)
    ours = axis_angle_rotations(vectors / angles[:, None], np.degrees(angles))
    np.testing.assert_allclose(ours, Rotation.from_rotvec(vectors).as_matrix(), atol=1e-14)


def test_nearest_rotations_repairs_noise_and_reflections():
    rng = np.random.default_rng(10)
    poses = random_rotations(200, rng)
    repaired = nearest_rotations(poses + rng.normal(0.0, 1e-4, poses.shape))
    assert geodesic_distance_deg(poses, repaired).max() < 0.1
    anything = nearest_rotations(rng.standard_normal((200, 3, 3)))
    np.testing.assert_allclose(np.linalg.det(anything), 1.0, atol=1e-12)
    check_rotations(anything, "repaired")
    np.testing.assert_allclose(nearest_rotations(poses), poses, atol=1e-14)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m[:, :2], r"predictions: expected an array \(\.\.\., 3, 3\)"),
        (lambda m: np.where(np.arange(4)[:, None, None] == 2, np.nan, m), "matrix 3 of 4.*finite"),
        (lambda m: m * np.array([1, 1.1, 1, 1])[:, None, None], "matrix 2 of 4.*orthonormal"),
        (lambda m: m * np.array([1, 1, 1, -1])[:, None, None], "matrix 4 of 4.*mirrors"),
    ],
)
def test_what_is_not_a_rotation_is_refused_by_row(change, message):
    poses = random_rotations(4, np.random.default_rng(11))
    with pytest.raises(GeometryError, match=message):
        check_rotations(change(poses), "predictions")


def test_float32_rotations_and_empty_arrays_pass():
    poses = random_rotations(100, np.random.default_rng(12)).astype(np.float32)
    assert check_rotations(poses, "predictions").dtype == np.float64
    assert check_rotations(np.empty((0, 3, 3)), "predictions").shape == (0, 3, 3)
    assert geodesic_distance_deg(poses, poses).max() < 1e-6
