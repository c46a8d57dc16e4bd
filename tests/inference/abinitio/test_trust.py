"""What poses are worth without known ones: quarter turns, and what is said of them."""

import numpy as np
import pytest
import torch

from cesped.geometry.rotations import random_rotations, rotation_angle_deg
from cesped.inference.abinitio.groups import FramePoses
from cesped.inference.abinitio.trust import TurnCheck, judge


def frame(confidence):
    count = len(confidence)
    return FramePoses(
        0,
        torch.eye(3).repeat(count, 1, 1),
        torch.zeros(count, 2),
        torch.as_tensor(confidence, dtype=torch.float32),
    )


def check(error_deg, confidence):
    rows = np.arange(len(error_deg))
    return TurnCheck(rows, np.asarray(error_deg, float), np.asarray(confidence, float))


SPREAD = np.linspace(2, 4, 60)


@pytest.mark.parametrize(
    ("error_deg", "confidence", "poses", "trusted", "said"),
    [
        (np.full(60, 90.0), np.full(60, 2.0), False, False, "2 is what weights that know nothing"),
        (np.full(60, 46.0), SPREAD, False, False, "mean nothing"),
        (
            np.full(60, 84.0),
            300 + SPREAD,
            False,
            False,
            "unlike those they learned from",
        ),
        (np.full(60, 1.0), np.full(60, 2.0), True, False, "it is 2 for every particle"),
        (np.linspace(40, 10, 60), SPREAD, True, True, None),  # surer where better
        (np.linspace(10, 40, 60), SPREAD, True, False, "posed no better"),
        (np.linspace(1, 4, 60), SPREAD, True, True, None),  # all are good: nothing to tell
    ],
)
def test_what_is_said(error_deg, confidence, poses, trusted, said):
    found = judge(frame(confidence), check(error_deg, confidence))
    assert (found.poses, found.confidence) == (poses, trusted)
    assert (said is None) == (found.notes == ())
    assert said is None or said in " ".join(found.notes)


def test_confidence_that_has_nothing_to_do_with_errors_is_rarely_believed():
    rng = np.random.default_rng(0)
    believed = 0
    for _ in range(400):
        error, confidence = rng.uniform(6, 40, 63), rng.uniform(2, 4, 63)
        believed += judge(frame(confidence), check(error, confidence)).confidence
    assert 0.02 < believed / 400 < 0.09  # one in twenty, as the rule states


def test_poses_of_chance_are_off_by_more_than_a_right_angle_in_four_of_five_cases():
    angles = rotation_angle_deg(random_rotations(20_000, np.random.default_rng(1)))
    assert np.mean(angles > 90) == pytest.approx(0.5 + 1 / np.pi, abs=0.01)
    medians = np.median(angles[: 300 * 63].reshape(300, 63), axis=1)
    assert medians.min() > 90
