"""Projections in cache order are those of `Projector`: shifts, CTF, odd boxes, axes and all."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cesped.errors import GeometryError, OptionError
from cesped.geometry.euler import euler_to_rotation
from cesped.geometry.rotations import random_rotations
from cesped.physics.batch_projection import BatchProjector
from cesped.physics.ctf import CtfParameters, ctf_half_plane
from cesped.physics.projection import Projector

PIXEL = 1.7


def rough_volume(box, seed=0):
    """Noise: there is something to miss at every frequency."""
    return np.random.default_rng(seed).normal(size=(box,) * 3).astype(np.float32)


def special_rotations():
    """Return turns whose slices lie along grid planes, where a bound of a slab is met exactly."""
    right_angles = [(a, b, c) for a in (0, 90, 180) for b in (0, 90, 180) for c in (0, 45, 90)]
    return euler_to_rotation(np.array(right_angles, float)).round(15)


@pytest.mark.parametrize("box", [16, 17, 24, 33, 64])
@pytest.mark.parametrize("padding", [1, 2])
def test_slices_are_those_of_the_projector(box, padding):
    volume = rough_volume(box)
    turns = np.concatenate([random_rotations(70, np.random.default_rng(1)), special_rotations()])
    ours = BatchProjector(volume, PIXEL, padding).project(turns)
    theirs = Projector(volume, padding).project(turns)
    assert float((ours - theirs).abs().max()) < 3e-6 * float(theirs.abs().max())


@pytest.mark.parametrize("box", [32, 31])
def test_shift_and_ctf_too(box):
    generator = np.random.default_rng(2)
    count = 40
    turns = random_rotations(count, generator)
    origins = generator.uniform(-9, 9, (count, 2))
    ctf = CtfParameters(
        generator.uniform(5e3, 2e4, count), generator.uniform(5e3, 2e4, count),
        generator.uniform(0, 180, count), 300.0, 2.7, 0.1, 30.0, 20.0, 0.8,
    )  # fmt: skip
    volume = rough_volume(box)
    ours = BatchProjector(volume, PIXEL).project(turns, origins, ctf)
    transfer = ctf_half_plane(ctf, box, PIXEL)
    theirs = Projector(volume).project(turns, origins / PIXEL, transfer)
    assert float((ours - theirs).abs().max()) < 5e-6 * float(theirs.abs().max())


@given(st.floats(-180, 180), st.floats(0, 180), st.floats(-180, 180))
def test_no_orientation_loses_a_sample(rot, tilt, psi):
    volume = rough_volume(20)
    turn = euler_to_rotation(np.array([[rot, tilt, psi]]))
    ours = torch.fft.rfft2(BatchProjector(volume, PIXEL).project(turn)[0])
    theirs = torch.fft.rfft2(Projector(volume).project(turn)[0])
    assert float((ours - theirs).abs().max()) < 1e-4 * float(theirs.abs().max())


def test_an_image_does_not_depend_on_its_neighbours():
    turns = random_rotations(50, np.random.default_rng(3))
    projector = BatchProjector(rough_volume(24), PIXEL)
    together = projector.project(turns)
    alone = torch.cat([projector.project(turn[None]) for turn in turns])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)


def test_nothing_gives_nothing():
    assert BatchProjector(rough_volume(8), PIXEL).project(np.zeros((0, 3, 3))).shape == (0, 8, 8)


def test_faults():
    with pytest.raises(GeometryError, match="cube"):
        BatchProjector(np.zeros((4, 4, 5)), PIXEL)
    with pytest.raises(OptionError, match="padding 0"):
        BatchProjector(np.zeros((4, 4, 4)), PIXEL, padding=0)
    with pytest.raises(OptionError, match="pixel size"):
        BatchProjector(np.zeros((4, 4, 4)), 0.0)
    projector = BatchProjector(rough_volume(8), PIXEL)
    with pytest.raises(GeometryError, match="one of each"):
        projector.project(np.eye(3)[None], np.zeros((2, 2)))
    with pytest.raises(GeometryError, match="not a rotation"):
        projector.project(2 * np.eye(3)[None])
