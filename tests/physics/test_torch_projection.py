"""Projections on a device are those of the processor, on every device that there is."""

import numpy as np
import pytest
import torch

from cesped.errors import GeometryError, OptionError
from cesped.geometry.euler import euler_to_rotation
from cesped.geometry.rotations import random_rotations
from cesped.physics.ctf import CtfParameters, ctf_half_plane
from cesped.physics.projection import Projector
from cesped.physics.torch_projection import TorchProjector

PIXEL = 1.7
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("box", [24, 33])
@pytest.mark.parametrize("padding", [1, 2])
def test_images_are_those_of_the_projector(device, box, padding):
    generator = np.random.default_rng(0)
    volume = generator.normal(size=(box,) * 3).astype(np.float32)
    right_angles = euler_to_rotation(np.array([[0, 0, 0], [90, 0, 0], [0, 180, 0.0]])).round(15)
    turns = np.concatenate([random_rotations(20, generator), right_angles])
    count = len(turns)
    origins = generator.uniform(-9, 9, (count, 2))
    ctf = CtfParameters(
        generator.uniform(5e3, 2e4, count), generator.uniform(5e3, 2e4, count),
        generator.uniform(0, 180, count), 300.0, 2.7, 0.1, 30.0, 20.0, 0.8,
    )  # fmt: skip
    ours = TorchProjector(volume, PIXEL, device, padding).project(turns, origins, ctf)
    assert ours.device.type == device
    transfer = ctf_half_plane(ctf, box, PIXEL)
    theirs = Projector(volume, padding).project(turns, origins / PIXEL, transfer)
    assert float((ours.cpu() - theirs).abs().max()) < 1e-4 * float(theirs.abs().max())


def test_tensors_and_arrays_say_the_same():
    volume = np.random.default_rng(0).normal(size=(16,) * 3).astype(np.float32)
    turns = random_rotations(3, np.random.default_rng(1))
    projector = TorchProjector(torch.from_numpy(volume), PIXEL)
    from_array = projector.project(turns, np.ones((3, 2)))
    from_tensor = projector.project(torch.from_numpy(turns), torch.ones(3, 2))
    torch.testing.assert_close(from_array, from_tensor, rtol=0, atol=0)


def test_faults():
    with pytest.raises(GeometryError, match="cube"):
        TorchProjector(np.zeros((4, 4, 5)), PIXEL)
    with pytest.raises(OptionError, match="padding 0"):
        TorchProjector(np.zeros((4, 4, 4)), PIXEL, padding=0)
    projector = TorchProjector(np.zeros((8, 8, 8)), PIXEL)
    with pytest.raises(GeometryError, match="B, 3, 3"):
        projector.project(np.eye(3))
    with pytest.raises(GeometryError, match="origins have shape"):
        projector.project(np.eye(3)[None], np.zeros((2, 2)))
    with pytest.raises(GeometryError, match="1 rotations and 2 CTFs"):
        projector.project(np.eye(3)[None], ctf=CtfParameters(np.ones(2), 1.0, 0.0, 300.0, 2.7, 0.1))
