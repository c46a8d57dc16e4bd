import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cesped.errors import GeometryError
from cesped.geometry.euler import euler_to_rotation, rotation_to_euler
from cesped.geometry.rotations import (
    axis_angle_rotations,
    geodesic_distance_deg,
    random_rotations,
)

ANGLE = st.floats(-720.0, 720.0)


def test_matrices_are_scipys_intrinsic_zyz():
    angles = np.random.default_rng(1).uniform(-180.0, 180.0, (5000, 3))
    expected = Rotation.from_euler("ZYZ", angles, degrees=True).as_matrix()
    np.testing.assert_allclose(euler_to_rotation(angles), expected, atol=1e-14)


def test_the_product_is_the_stated_one():
    rot, tilt, psi = 20.0, 50.0, -70.0
    z, y = [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]
    product = (
        axis_angle_rotations(z, rot) @ axis_angle_rotations(y, tilt) @ axis_angle_rotations(z, psi)
    )
    np.testing.assert_allclose(euler_to_rotation([rot, tilt, psi]), product, atol=1e-15)


@settings(max_examples=100, deadline=None)
@given(ANGLE, ANGLE, ANGLE)
def test_round_trip_keeps_the_rotation(rot, tilt, psi):
    rotation = euler_to_rotation([rot, tilt, psi])
    angles = rotation_to_euler(rotation)
    assert 0.0 <= angles[1] <= 180.0
    assert np.abs(angles[[0, 2]]).max() <= 180.0
    assert geodesic_distance_deg(rotation, euler_to_rotation(angles)) < 1e-7


@pytest.mark.parametrize("pole", [0.0, 180.0, -180.0])
@pytest.mark.parametrize("off", [0.0, 1e-14, 1e-12, 1e-9, 1e-8, 1e-6, 1e-3])
def test_round_trip_at_and_near_the_poles(pole, off):
    rng = np.random.default_rng(2)
    angles = rng.uniform(-180.0, 180.0, (500, 3))
    angles[:, 1] = pole + off * rng.choice([-1, 1], 500)
    rotations = euler_to_rotation(angles)
    back = rotation_to_euler(rotations)
    assert geodesic_distance_deg(rotations, euler_to_rotation(back)).max() < 1e-7


def test_at_the_poles_rot_is_zero_and_psi_holds_the_turn():
    np.testing.assert_allclose(
        rotation_to_euler(euler_to_rotation([[30, 0, 40], [30, 180, 40]])),
        [[0.0, 0.0, 70.0], [0.0, 180.0, 10.0]],
        atol=1e-12,
    )
    assert rotation_to_euler(np.eye(3)).tolist() == [0.0, 0.0, 0.0]


def test_angles_come_back_away_from_the_poles():
    rng = np.random.default_rng(3)
    angles = rng.uniform([-180, 1, -180], [180, 179, 180], (2000, 3))
    np.testing.assert_allclose(rotation_to_euler(euler_to_rotation(angles)), angles, atol=1e-10)


def test_noise_of_float32_near_the_poles_raises_no_warning():
    poses = random_rotations(1000, np.random.default_rng(4)).astype(np.float32)
    poses[:10] = np.diag([1.0, -1.0, -1.0])
    rebuilt = euler_to_rotation(rotation_to_euler(poses))
    assert geodesic_distance_deg(rebuilt, poses).max() < 1e-4


def test_leading_axes_are_kept():
    assert euler_to_rotation(np.zeros((2, 5, 3))).shape == (2, 5, 3, 3)
    assert rotation_to_euler(np.zeros((2, 5, 3, 3)) + np.eye(3)).shape == (2, 5, 3)
    assert euler_to_rotation(np.empty((0, 3))).shape == (0, 3, 3)


def test_wrong_shapes_are_refused():
    with pytest.raises(GeometryError, match="rot, tilt, psi"):
        euler_to_rotation(np.zeros((4, 2)))
    with pytest.raises(GeometryError, match="3, 3"):
        rotation_to_euler(np.zeros((4, 3)))
