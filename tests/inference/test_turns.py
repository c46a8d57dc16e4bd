"""Test-time turns: turned back they agree, and their average is nearer to the truth."""

import numpy as np
import pytest
import torch

from cesped.errors import OptionError
from cesped.geometry.rotations import (
    axis_angle_rotations,
    geodesic_distance_deg,
    random_rotations,
)
from cesped.geometry.symmetry import point_group, symmetric_distance_deg
from cesped.inference.turns import predict_turned, set_turns
from cesped.models.prediction import PosePrediction
from cesped.models.registry import PoseModel

N = 33


class Pointer(PoseModel):
    """Reads the in-plane angle of an image from its centre of mass, and is wrong by `error_deg`."""

    def __init__(self, symmetry="C1", error_deg=0.0, seed=0):
        super().__init__(symmetry)
        self.error_deg = error_deg
        self.rng = np.random.default_rng(seed)
        self.calls = 0

    def loss(self, images, rotations, confidence): ...

    def predict(self, images):
        self.calls += 1
        axis = torch.arange(N) - N // 2
        mass = images[:, 0].clamp(min=0)
        x = (mass * axis).sum(dim=(1, 2)).numpy()
        y = (mass * axis[:, None]).sum(dim=(1, 2)).numpy()
        angle = np.degrees(np.arctan2(y, x))
        about_z = axis_angle_rotations(np.tile([0.0, 0.0, 1.0], (len(x), 1)), -angle)
        axes = self.rng.normal(size=(len(x), 3))
        off = axis_angle_rotations(axes, self.rng.normal(size=len(x)) * self.error_deg)
        group = point_group(self.symmetry).operators
        mate = group[self.rng.integers(len(group), size=len(x))]
        rotations = torch.from_numpy(mate @ off @ about_z)
        return PosePrediction(rotations, torch.full((len(x),), 0.5), torch.zeros(len(x), 2))


def pointers(angles_deg):
    """Images of a blob to the side, and the rotations that they show."""
    axis = torch.arange(N) - N // 2
    x, y = (6 * f(np.radians(angles_deg)) for f in (np.cos, np.sin))
    blobs = [
        torch.exp(-((axis - a) ** 2 + (axis[:, None] - b) ** 2) / 8)
        for a, b in zip(x, y, strict=True)
    ]
    about_z = axis_angle_rotations(np.tile([0.0, 0.0, 1.0], (len(x), 1)), -np.asarray(angles_deg))
    return torch.stack(blobs)[:, None].float(), about_z


@pytest.mark.parametrize("turns", [1, 4, 5])
def test_a_model_without_error_is_not_changed(turns):
    images, truth = pointers([0.0, 33.0, 200.0])
    found = predict_turned(Pointer(), images, turns)
    assert geodesic_distance_deg(found.rotations.numpy(), truth).max() < 0.5
    assert found.confidence.tolist() == pytest.approx([0.5] * 3)


@pytest.mark.parametrize("symmetry", ["C1", "D2", "T"])
def test_errors_average_out_whichever_equal_pose_is_answered(symmetry):
    images, truth = pointers(np.linspace(0, 350, 60))
    group = point_group(symmetry)
    errors = [
        symmetric_distance_deg(
            truth,
            predict_turned(Pointer(symmetry, 4.0), images, turns).rotations.double().numpy(),
            group,
        ).mean()
        for turns in (1, 8)
    ]
    assert errors[1] < 0.6 * errors[0]


def test_a_minority_of_wild_answers_is_outvoted_and_lowers_the_confidence():
    images, truth = pointers([10.0, 80.0])

    class OftenWild(Pointer):
        def predict(self, images):
            found = super().predict(images)
            if self.calls > 2:
                return found
            wild = torch.from_numpy(
                random_rotations(len(images), np.random.default_rng(self.calls))
            )
            return PosePrediction(wild, found.confidence, found.shifts_angst)

    found = predict_turned(OftenWild(), images, 6)
    assert geodesic_distance_deg(found.rotations.numpy(), truth).max() < 0.5
    assert found.confidence.max() < 0.4


def test_shifts_turn_back_with_the_image():
    """Whatever the turn, a model that sees where the blob is names the same shift."""

    class SeesShift(Pointer):
        def predict(self, images):
            axis = torch.arange(N) - N // 2
            mass = images[:, 0] / images[:, 0].sum(dim=(1, 2))[:, None, None]
            centre = torch.stack(
                [(mass * axis).sum((1, 2)), (mass * axis[:, None]).sum((1, 2))], dim=1
            )
            return PosePrediction(
                super().predict(images).rotations, torch.ones(len(images)), -centre
            )

    images, _ = pointers([25.0])
    found = predict_turned(SeesShift(), images, 5).shifts_angst[0].numpy()
    wanted = [-6 * np.cos(np.radians(25)), -6 * np.sin(np.radians(25))]
    np.testing.assert_allclose(found, wanted, atol=0.05)


def test_a_model_that_turns_images_itself_is_told():
    model = Pointer()
    assert set_turns(model, None) == 1
    assert set_turns(model, 4) == 4
    model.test_time_turns = 1
    assert set_turns(model, 4) == 1
    assert model.test_time_turns == 4
    with pytest.raises(OptionError, match="turns is 0"):
        set_turns(model, 0)


@pytest.mark.gpu
def test_images_on_a_gpu_are_turned_there():
    images, truth = pointers([0.0, 33.0])

    class OnDevice(Pointer):
        def predict(self, images):
            assert images.is_cuda
            found = super().predict(images.cpu())
            return PosePrediction(
                *(value.cuda() for value in vars(found).values() if value is not None)
            )

    found = predict_turned(OnDevice(), images.cuda(), 4)
    assert geodesic_distance_deg(found.rotations.numpy(), truth).max() < 0.5
