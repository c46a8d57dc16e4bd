import dataclasses

import numpy as np
import pytest

from cesped.errors import GeometryError
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import random_rotations


def six_poses():
    rng = np.random.default_rng(1)
    return Poses(random_rotations(6, rng), rng.normal(size=(6, 2)), rng.uniform(size=6))


def test_poses_know_their_number_and_are_float64():
    poses = Poses(np.eye(3, dtype=np.float32)[None], np.zeros((1, 2), int), np.ones(1))
    assert len(poses) == 1
    assert {poses.rotations.dtype, poses.origins_angst.dtype} == {np.dtype(np.float64)}


@pytest.mark.parametrize(
    "indices", [[4, 0], np.array([1, 0, 0, 0, 1, 0], bool), [], range(2), np.array([5])]
)
def test_select_takes_all_three_together(indices):
    poses = six_poses()
    chosen = poses.select(indices)
    rows = np.arange(6)[np.asarray(indices, dtype=bool if len(indices) == 6 else int)]
    assert len(chosen) == len(rows)
    assert np.array_equal(chosen.rotations, poses.rotations[rows])
    assert np.array_equal(chosen.origins_angst, poses.origins_angst[rows])
    assert np.array_equal(chosen.confidence, poses.confidence[rows])


def test_poses_cannot_be_rebound():
    with pytest.raises(dataclasses.FrozenInstanceError):
        six_poses().confidence = np.ones(6)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("origins_angst", np.zeros((5, 2)), r"origins_angst has shape \(5, 2\)"),
        ("rotations", np.zeros((6, 3)), r"rotations has shape \(6, 3\)"),
        ("confidence", np.zeros((6, 1)), r"confidence has shape \(6, 1\)"),
        ("confidence", np.array([1, 1, np.nan, 1, 1, 1]), "confidence of particle 3 of 6"),
        ("origins_angst", np.full((6, 2), np.inf), "origins_angst of particle 1 of 6"),
    ],
)
def test_poses_that_do_not_fit_are_refused(field, value, message):
    with pytest.raises(GeometryError, match=message):
        dataclasses.replace(six_poses(), **{field: value})


def test_no_poses_at_all_are_poses():
    assert len(Poses(np.empty((0, 3, 3)), np.empty((0, 2)), np.empty(0))) == 0
