import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cesped.errors import GeometryError
from cesped.geometry.inplane import InPlaneMove
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import check_rotations, geodesic_distance_deg, random_rotations

ANGLE = st.floats(-400.0, 400.0)
SHIFT = st.floats(-50.0, 50.0)
MOVE = st.builds(
    lambda a, x, y, s, m: InPlaneMove(
        np.array([a]), np.array([[x, y]]), np.array([s]), np.array([m])
    ),
    ANGLE,
    SHIFT,
    SHIFT,
    st.floats(0.5, 2.0),
    st.booleans(),
)


def image_positions(rotations, origins_px, atoms):
    """Where points of the volume `(A, 3)` land in each image `(B, A, 2)`, about its centre."""
    seen = np.einsum("bij,ai->baj", rotations, atoms)[..., :2]  # x_image = R' x_volume
    return seen - origins_px[:, None]


def random_moves(n, rng):
    return InPlaneMove(
        rng.uniform(-180, 180, n),
        rng.normal(0, 5, (n, 2)),
        rng.uniform(0.8, 1.25, n),
        rng.random(n) < 0.5,
    )


def test_moving_the_image_is_moving_the_pose():
    rng = np.random.default_rng(1)
    rotations, origins = random_rotations(40, rng), rng.normal(0, 3, (40, 2))
    atoms = rng.normal(0, 20, (15, 3))
    move = random_moves(40, rng)
    moved_content = move.apply_to_points_px(image_positions(rotations, origins, atoms))
    larger = atoms * move.scale[:, None, None]  # pixels are smaller, so the particle has more
    seen = np.einsum("bij,bai->baj", move.apply_to_rotations(rotations), larger)[..., :2]
    moved_pose = seen - move.apply_to_origins_px(origins)[:, None]
    np.testing.assert_allclose(moved_pose, moved_content, atol=1e-12)
    check_rotations(move.apply_to_rotations(rotations), "moved")


def test_the_turn_runs_from_x_towards_y():
    move = InPlaneMove(np.array([90.0]), np.zeros((1, 2)))
    np.testing.assert_allclose(move.apply_to_points_px([[1.0, 0.0]]), [[0.0, 1.0]], atol=1e-15)
    assert move.apply_to_defocus_angle_deg([10.0]).tolist() == [100.0]


def test_a_shift_alone_changes_the_origin_by_exactly_as_much():
    rng = np.random.default_rng(2)
    shift = rng.normal(size=(5, 2))
    move = InPlaneMove(np.zeros(5), shift)
    rotations, origins = random_rotations(5, rng), rng.normal(size=(5, 2))
    assert np.array_equal(move.apply_to_rotations(rotations), rotations)
    np.testing.assert_allclose(move.apply_to_origins_px(origins), origins - shift, atol=1e-15)


def test_angstrom_origins_scale_with_the_pixel_size():
    rng = np.random.default_rng(3)
    move, origins = random_moves(4, rng), rng.normal(size=(4, 2))
    size = np.array([0.5, 1.0, 2.0, 4.0])
    after = move.apply_to_pixel_size_angst(size)
    np.testing.assert_allclose(after, size / move.scale)
    expected = move.apply_to_origins_px(origins / size[:, None]) * after[:, None]
    np.testing.assert_allclose(move.apply_to_origins_angst(origins, size), expected, atol=1e-12)
    expected = move.apply_to_origins_px(origins / 1.5) * 1.5 / move.scale[:, None]
    np.testing.assert_allclose(move.apply_to_origins_angst(origins, 1.5), expected, atol=1e-12)


def test_poses_move_as_a_whole():
    rng = np.random.default_rng(4)
    poses = Poses(random_rotations(6, rng), rng.normal(size=(6, 2)), rng.uniform(size=6))
    move = random_moves(6, rng)
    moved = move.apply_to_poses(poses, 2.0)
    check_rotations(moved.rotations, "moved")
    assert np.array_equal(moved.rotations, move.apply_to_rotations(poses.rotations))
    assert np.array_equal(moved.confidence, poses.confidence)
    back = move.inverse().apply_to_poses(moved, move.apply_to_pixel_size_angst(2.0))
    assert geodesic_distance_deg(back.rotations, poses.rotations).max() < 1e-10
    np.testing.assert_allclose(back.origins_angst, poses.origins_angst, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(MOVE, SHIFT, SHIFT)
def test_the_inverse_undoes_a_move_from_both_sides(move, x, y):
    point = np.array([[x, y]])
    for pair in (move.compose(move.inverse()), move.inverse().compose(move)):
        np.testing.assert_allclose(pair.apply_to_points_px(point), point, atol=1e-10)
        np.testing.assert_allclose(pair.apply_to_origins_px(point), point, atol=1e-10)


@settings(max_examples=60, deadline=None)
@given(MOVE, MOVE, MOVE, SHIFT, SHIFT)
def test_composition_is_one_move_after_the_other(first, second, third, x, y):
    point = np.array([[x, y]])
    both = first.compose(second)
    np.testing.assert_allclose(
        both.apply_to_points_px(point),
        second.apply_to_points_px(first.apply_to_points_px(point)),
        atol=1e-9,
    )
    np.testing.assert_allclose(
        both.apply_to_origins_px(point),
        second.apply_to_origins_px(first.apply_to_origins_px(point)),
        atol=1e-9,
    )
    pose = random_rotations(1, np.random.default_rng(5))
    stepwise = second.apply_to_rotations(first.apply_to_rotations(pose))
    assert geodesic_distance_deg(both.apply_to_rotations(pose), stepwise).max() < 1e-9
    left, right = both.compose(third), first.compose(second.compose(third))
    np.testing.assert_allclose(left.shift_px, right.shift_px, atol=1e-9)


def test_a_mirrored_image_is_the_view_from_the_opposite_side():
    mirror = InPlaneMove(np.zeros(1), np.zeros((1, 2)), mirrored=np.array([True]))
    assert mirror.apply_to_points_px([[3.0, 2.0]]).tolist() == [[-3.0, 2.0]]
    pose = random_rotations(1, np.random.default_rng(7))
    np.testing.assert_array_equal(mirror.apply_to_rotations(pose)[..., 2], -pose[..., 2])
    assert mirror.apply_to_defocus_angle_deg([30.0]).tolist() == [-30.0]
    turned = mirror.compose(InPlaneMove(np.array([10.0]), np.zeros((1, 2))))
    assert turned.apply_to_defocus_angle_deg([30.0]).tolist() == [-20.0]


@settings(max_examples=60, deadline=None)
@given(MOVE, st.floats(-90, 90))
def test_the_defocus_axis_goes_with_the_image(move, angle_deg):
    """An axis through the centre is drawn by its points, and found again as an angle."""
    still = InPlaneMove(move.angle_deg, np.zeros((1, 2)), move.scale, move.mirrored)
    along = np.array([[np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))]])
    x, y = still.apply_to_points_px(along)[0]
    difference = np.degrees(np.arctan2(y, x)) - move.apply_to_defocus_angle_deg([angle_deg])[0]
    assert abs((difference + 90) % 180 - 90) < 1e-9


def test_only_the_chosen_move():
    move = random_moves(6, np.random.default_rng(8))
    chosen = np.array([True, False, True, False, False, True])
    some, points = move.where(chosen), np.random.default_rng(9).normal(size=(6, 4, 2))
    np.testing.assert_array_equal(some.apply_to_points_px(points)[~chosen], points[~chosen])
    np.testing.assert_allclose(
        some.apply_to_points_px(points)[chosen], move.apply_to_points_px(points)[chosen]
    )


def test_identity_changes_nothing():
    rng = np.random.default_rng(6)
    still = InPlaneMove.identity(3)
    points = rng.normal(size=(3, 7, 2))
    assert np.array_equal(still.apply_to_points_px(points), points)
    assert len(still) == 3


@pytest.mark.parametrize(
    ("angle", "shift"),
    [
        (np.zeros((3, 1)), np.zeros((3, 2))),
        (np.zeros(3), np.zeros((2, 2))),
        (np.zeros(3), np.zeros((3, 3))),
        (np.array([np.nan]), np.zeros((1, 2))),
    ],
)
def test_bad_moves_are_refused(angle, shift):
    with pytest.raises(GeometryError, match="in-plane move"):
        InPlaneMove(angle, shift)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_scales_that_cannot_be_are_refused(scale):
    with pytest.raises(GeometryError, match="not above 0"):
        InPlaneMove(np.zeros(3), np.zeros((3, 2)), np.array([scale]))
    with pytest.raises(GeometryError, match=r"scale has shape \(2,\); \(3,\) or \(1,\)"):
        InPlaneMove(np.zeros(3), np.zeros((3, 2)), np.ones(2))


def test_vectors_for_another_number_of_images_are_refused():
    with pytest.raises(GeometryError, match="in-plane move of 3 images"):
        InPlaneMove.identity(3).apply_to_origins_px(np.zeros((2, 2)))
