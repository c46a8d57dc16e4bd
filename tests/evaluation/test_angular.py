import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from tiny_entries import turned

from cesped.evaluation.angular import (
    completed_poses,
    pose_errors,
    shift_rmse_angst,
    summarise,
)
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


@pytest.mark.parametrize("prediction_type", list(PredictionType))
@pytest.mark.parametrize("symmetry", ["C1", "C7", "D2", "T", "O", "I1"])
def test_identical_poses_have_no_error_at_all(truth, prediction_type, symmetry):
    errors = pose_errors(truth, truth, prediction_type, point_group(symmetry))
    assert errors.angular_deg.max() < 1e-6
    assert errors.shift_angst.max() == 0
    assert summarise(errors.angular_deg, truth.confidence).mean_deg < 1e-6


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


def test_summary_equals_a_plain_restatement(generator):
    errors = generator.uniform(0, 30, 501)
    weights = generator.uniform(0, 1, 501)
    summary = summarise(errors, weights)
    total = sum(w * e for w, e in zip(weights, errors, strict=True))
    assert summary.mean_deg == pytest.approx(sum(errors) / 501, abs=1e-12)
    assert summary.weighted_mean_deg == pytest.approx(total / sum(weights), abs=1e-12)
    assert summary.median_deg == sorted(errors)[250]
    assert summary.share_under_5_deg == sum(e < 5 for e in errors) / 501
    assert summary.share_under_10_deg == sum(e < 10 for e in errors) / 501


def test_weights_of_zero_leave_the_weighted_mean_undefined():
    assert np.isnan(summarise([1.0, 2.0], [0.0, 0.0]).weighted_mean_deg)


def test_shift_error_is_the_published_one(truth, generator):
    predicted = poses_of(truth.rotations, generator)
    errors = pose_errors(truth, predicted, SO3XR2, C1)
    difference = predicted.origins_angst - truth.origins_angst
    published = np.linalg.norm(difference) / np.sqrt(len(truth))
    assert shift_rmse_angst(errors.shift_angst) == pytest.approx(published, abs=1e-12)


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
