"""Several answers on one pose: who wins, what is averaged, what symmetry makes equal."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cesped.errors import GeometryError
from cesped.geometry.consensus import best_of_answers, robust_mean
from cesped.geometry.rotations import geodesic_distance_deg, random_rotations
from cesped.geometry.symmetry import point_group, symmetric_distance_deg

RNG = np.random.default_rng(5)


def scattered(truth, count, angle_deg, rng):
    """Return `(B, count, 3, 3)` rotations off the truth by about an angle, each its own way."""
    turns = Rotation.from_rotvec(rng.normal(size=(len(truth) * count, 3)) * np.radians(angle_deg))
    return turns.as_matrix().reshape(len(truth), count, 3, 3) @ truth[:, None]


def test_of_two_rotations_the_mean_lies_midway():
    turn = Rotation.from_rotvec([0.0, 0.1, 0.0]).as_matrix()
    answers = np.stack([np.eye(3), turn @ turn])[None]
    mean, near = best_of_answers(answers, np.ones((1, 2)), point_group("C1"), 15.0)
    np.testing.assert_allclose(mean[0], turn, atol=1e-12)
    np.testing.assert_allclose(near, [[1.0, 1.0]])


def test_an_answer_far_from_the_others_has_no_say():
    truth = random_rotations(20, RNG)
    answers = scattered(truth, 5, 1.0, RNG)
    answers[:, 2] = random_rotations(20, RNG)
    answers[:, 2] = np.where(
        (geodesic_distance_deg(answers[:, 2], truth) > 30)[:, None, None],
        answers[:, 2],
        truth @ np.diag([1.0, -1.0, -1.0]),
    )
    mean, near = best_of_answers(answers, np.full((20, 5), 0.5), point_group("C1"), 15.0)
    assert geodesic_distance_deg(mean, truth).max() < 4
    np.testing.assert_allclose(near, np.tile([0.5, 0.5, 0.0, 0.5, 0.5], (20, 1)))


@pytest.mark.parametrize("symmetry", ["C1", "C3", "D2", "O"])
def test_a_robust_mean_is_right_with_wrong_answers_and_any_equals(symmetry):
    group = point_group(symmetry)
    truth = random_rotations(10, RNG)
    answers = scattered(truth, 24, 3.0, RNG)
    answers[:, :7] = random_rotations(70, RNG).reshape(10, 7, 3, 3)  # 29 % know nothing
    drawn = RNG.integers(0, group.order, (10, 24))
    equals = group.operators[drawn] @ answers
    found = robust_mean(equals, np.ones((10, 24)), group)
    assert symmetric_distance_deg(truth, found, group).max() < 5
    plain = robust_mean(answers[:, 7:8], np.ones((10, 1)), group)
    assert symmetric_distance_deg(answers[:, 7], plain, group).max() < 1e-6


def test_answers_that_agree_are_met_exactly():
    truth = random_rotations(4, RNG)
    answers = np.repeat(truth[:, None], 6, axis=1)
    answers[:, 0] = random_rotations(4, RNG)
    found = robust_mean(answers, np.ones((4, 6)), point_group("C1"))
    assert geodesic_distance_deg(found, truth).max() < 1e-2


def test_shapes_that_do_not_belong_together_are_refused():
    with pytest.raises(GeometryError, match=r"answers have shape \(2, 3, 3\)"):
        robust_mean(np.zeros((2, 3, 3)), np.ones((2, 1)), point_group("C1"))
