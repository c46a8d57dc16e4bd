import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from tiny_entries import turned

from cesped.evaluation.angular import PoseErrors, completed_poses, pose_errors
from cesped.evaluation.pose_figures import pose_rows
from cesped.geometry.euler import euler_to_rotation, rotation_to_euler
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import random_rotations
from cesped.geometry.symmetry import point_group
from cesped.vocabulary import PredictionType

SO3, S2, SO3XR2 = PredictionType.SO3, PredictionType.S2, PredictionType.SO3XR2
C1 = point_group("C1")


@pytest.fixture
def generator():
    return np.random.default_rng(17)


@pytest.fixture
def truth(generator):
    return poses_of(random_rotations(200, generator), generator)


def poses_of(rotations, generator):
    count = len(rotations)
    return Poses(rotations, generator.normal(0, 4, (count, 2)), generator.uniform(0, 1, count))


def figures(errors, confidence):
    """Return the figures of poses by name."""
    return {row.metric: row.value for row in pose_rows("E", "prediction", "0", errors, confidence)}


@pytest.mark.parametrize("prediction_type", list(PredictionType))
@pytest.mark.parametrize("symmetry", ["C1", "C7", "D2", "T", "O", "I1"])
def test_identical_poses_have_no_error_at_all(truth, prediction_type, symmetry):
    errors = pose_errors(truth, truth, prediction_type, point_group(symmetry))
    assert errors.angular_deg.max() < 1e-6
    assert errors.shift_angst.max() == 0
    assert figures(errors, truth.confidence)["weighted_mean_angular_error_deg"] < 1e-6


@pytest.mark.parametrize("angle_deg", [1e-5, 0.1, 3.0, 179.9])
def test_a_turn_by_a_known_angle_reads_that_angle(truth, angle_deg, generator):
    errors = pose_errors(truth, turned(truth, angle_deg, generator), SO3, C1)
    np.testing.assert_allclose(errors.angular_deg, angle_deg, rtol=0, atol=1e-6)


@pytest.mark.parametrize("symmetry", ["C1", "C3", "D2", "T", "O", "I2"])
def test_errors_equal_the_paper_s_equation_5_by_brute_force(truth, symmetry, generator):
    predicted = poses_of(random_rotations(len(truth), generator), generator)
    group = point_group(symmetry)
    expected = np.min(
        [
            Rotation.from_matrix(
                g @ truth.rotations @ predicted.rotations.transpose(0, 2, 1)
            ).magnitude()
            for g in group.operators
        ],
        axis=0,
    )
    errors = pose_errors(truth, predicted, SO3, group)
    np.testing.assert_allclose(errors.angular_deg, np.degrees(expected), atol=1e-6)


def test_a_symmetry_mate_is_right_unless_symmetry_is_ignored(truth):
    group = point_group("D2")
    mates = Poses(group.operators[2] @ truth.rotations, truth.origins_angst, truth.confidence)
    assert pose_errors(truth, mates, SO3, group).angular_deg.max() < 1e-6
    np.testing.assert_allclose(pose_errors(truth, mates, SO3, C1).angular_deg, 180, atol=1e-4)


def test_s2_does_not_see_the_in_plane_angle(truth):
    angles_deg = rotation_to_euler(truth.rotations)
    angles_deg[:, 2] += 77
    spun = Poses(euler_to_rotation(angles_deg), truth.origins_angst, truth.confidence)
    assert pose_errors(truth, spun, S2, C1).angular_deg.max() < 1e-6
    np.testing.assert_allclose(pose_errors(truth, spun, SO3, C1).angular_deg, 77, atol=1e-6)


def test_s2_error_is_the_angle_between_viewing_directions(truth, generator):
    predicted = poses_of(random_rotations(len(truth), generator), generator)
    cosine = np.sum(truth.rotations[:, :, 2] * predicted.rotations[:, :, 2], axis=1)
    errors = pose_errors(truth, predicted, S2, C1)
    np.testing.assert_allclose(errors.angular_deg, np.degrees(np.arccos(cosine)), atol=1e-6)
    np.testing.assert_array_equal(errors.angular_deg, errors.direction_deg)


def test_figures_equal_a_plain_restatement(generator):
    angular, direction, shift, inplane = generator.uniform(0, 30, (4, 501))
    weights = generator.uniform(0, 1, 501)
    found = figures(PoseErrors(angular, direction, shift, inplane), weights)
    total = sum(w * e for w, e in zip(weights, angular, strict=True))
    expected = {
        "mean_angular_error_deg": sum(angular) / 501,
        "weighted_mean_angular_error_deg": total / sum(weights),
        "median_angular_error_deg": sorted(angular)[250],
        "share_under_5_deg": sum(e < 5 for e in angular) / 501,
        "share_under_10_deg": sum(e < 10 for e in angular) / 501,
        "mean_direction_error_deg": sum(direction) / 501,
        "shift_rmse_angst": (sum(e**2 for e in shift) / 501) ** 0.5,
        "angular_error_quantile_25_deg": sorted(angular)[125],
        "angular_error_quantile_75_deg": sorted(angular)[375],
        "angular_error_quantile_90_deg": sorted(angular)[450],
        "angular_error_quantile_95_deg": sorted(angular)[475],
        "median_direction_error_deg": sorted(direction)[250],
        "direction_share_under_5_deg": sum(e < 5 for e in direction) / 501,
        "direction_share_under_10_deg": sum(e < 10 for e in direction) / 501,
        "mean_inplane_error_deg": sum(inplane) / 501,
        "median_inplane_error_deg": sorted(inplane)[250],
        "median_shift_error_angst": sorted(shift)[250],
    }
    assert found == pytest.approx(expected, abs=1e-12)


def test_weights_of_zero_leave_the_weighted_mean_undefined(truth):
    errors = pose_errors(truth, truth, SO3, C1)
    assert np.isnan(figures(errors, np.zeros(200))["weighted_mean_angular_error_deg"])


@pytest.mark.parametrize("symmetry", ["C1", "D2", "O"])
def test_direction_and_in_plane_parts_make_up_the_whole_turn(truth, symmetry, generator):
    """By scipy: the turn is a swing about an axis in the image plane after an in-plane turn."""
    group = point_group(symmetry)
    tilt = generator.uniform(0, 20, 200)
    spin = generator.uniform(-15, 15, 200)
    about = generator.uniform(0, 360, 200)
    swing = Rotation.from_euler("ZYZ", np.column_stack([about, tilt, -about]), degrees=True)
    twist = Rotation.from_euler("Z", spin[:, None], degrees=True)
    mates = group.operators[generator.integers(0, group.order, 200)]
    rotations = mates @ truth.rotations @ (swing * twist).as_matrix()
    predicted = Poses(rotations, truth.origins_angst, truth.confidence)
    errors = pose_errors(truth, predicted, SO3, group)
    np.testing.assert_allclose(errors.inplane_deg, abs(spin), atol=1e-6)
    # a symmetry mate may have a nearer direction, though it is further off as a whole
    assert np.all(errors.direction_deg <= tilt + 1e-6)
    if symmetry == "C1":
        np.testing.assert_allclose(errors.direction_deg, tilt, atol=1e-6)
    whole = np.cos(np.radians(tilt / 2)) * np.cos(np.radians(spin / 2))
    np.testing.assert_allclose(np.cos(np.radians(errors.angular_deg / 2)), whole, atol=1e-9)


def test_the_in_plane_error_does_not_jump_at_a_pole(generator):
    """Near tilt 0 psi is anything, but a turn by 2 degrees has no part above 2 degrees."""
    angles_deg = np.column_stack([generator.uniform(0, 360, (200, 1)), np.full((200, 2), 0.01)])
    truth = poses_of(euler_to_rotation(angles_deg), generator)
    errors = pose_errors(truth, turned(truth, 2.0, generator), SO3, C1)
    assert errors.inplane_deg.max() <= 2 + 1e-9
    assert errors.direction_deg.max() <= 2 + 1e-9
    assert np.isnan(pose_errors(truth, truth, S2, C1).inplane_deg).all()


def test_shift_error_is_the_published_one(truth, generator):
    predicted = poses_of(truth.rotations, generator)
    errors = pose_errors(truth, predicted, SO3XR2, C1)
    difference = predicted.origins_angst - truth.origins_angst
    published = np.linalg.norm(difference) / np.sqrt(len(truth))
    found = figures(errors, truth.confidence)["shift_rmse_angst"]
    assert found == pytest.approx(published, abs=1e-12)


def test_what_was_not_predicted_comes_from_the_truth(truth, generator):
    predicted = poses_of(random_rotations(len(truth), generator), generator)
    everything = completed_poses(truth, predicted, SO3XR2)
    np.testing.assert_array_equal(everything.origins_angst, predicted.origins_angst)
    rotations = completed_poses(truth, predicted, SO3)
    np.testing.assert_array_equal(rotations.origins_angst, truth.origins_angst)
    np.testing.assert_array_equal(rotations.rotations, predicted.rotations)
    directions = completed_poses(truth, predicted, S2)
    angles_deg = rotation_to_euler(directions.rotations)
    np.testing.assert_allclose(
        angles_deg[:, :2], rotation_to_euler(predicted.rotations)[:, :2], atol=1e-6
    )
    np.testing.assert_allclose(
        angles_deg[:, 2], rotation_to_euler(truth.rotations)[:, 2], atol=1e-6
    )
    np.testing.assert_array_equal(directions.origins_angst, truth.origins_angst)
