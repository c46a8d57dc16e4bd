"""What each operation draws, and what a user's own one needs."""

import numpy as np
import pytest
import torch

from cesped.data.augmentation import (
    Augmenter,
    GeometricOperation,
    GreyOperation,
    operation_names,
    register_operation,
)
from cesped.data.augmentation.geometric import OppositeViews, QuarterTurns, Shifts, Turns, Zooms
from cesped.data.augmentation.grey import Blur, Erasing, GaussianNoise, UniformNoise
from cesped.errors import OptionError
from cesped.geometry.inplane import InPlaneMove

COUNT = 4000


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_names_are_the_published_ones_and_one_of_ours():
    assert set(operation_names()) >= {
        "erasing",
        "gaussianBlur",
        "inPlaneRotations",
        "inPlaneRotations90",
        "inPlaneShifts",
        "oppositeViews",
        "randomGaussNoise",
        "randomUnifNoise",
        "sizePerturbation",
    }


def test_angles_cover_plus_and_minus_what_is_said():
    angle = Turns(maxDegrees=20).draw(COUNT, 64, seeded()).angle_deg
    assert angle.min() == pytest.approx(-20, abs=0.1)
    assert angle.max() == pytest.approx(20, abs=0.1)
    assert angle.std() == pytest.approx(40 / np.sqrt(12), rel=0.03)


def test_shifts_cover_plus_and_minus_the_share_of_the_image_along_both_axes():
    shift = Shifts(maxShiftFraction=0.05).draw(COUNT, 200, seeded()).shift_px
    assert shift.min(axis=0) == pytest.approx([-10, -10], abs=0.05)
    assert shift.max(axis=0) == pytest.approx([10, 10], abs=0.05)
    assert abs(np.corrcoef(shift.T)[0, 1]) < 0.05


def test_quarters_come_alike_often_and_zooms_only_zoom_in():
    quarters = QuarterTurns().draw(COUNT, 64, seeded()).angle_deg
    values, counts = np.unique(quarters, return_counts=True)
    assert values.tolist() == [0, 90, 180, 270]
    assert counts.min() > 0.22 * COUNT
    scale = Zooms(maxSizeFraction=0.05).draw(COUNT, 64, seeded()).scale
    assert (scale.min(), scale.max()) == pytest.approx((1.0, 1.05), abs=1e-3)
    both = Zooms(maxSizeFraction=0.1, minSizeFraction=-0.2).draw(COUNT, 64, seeded()).scale
    assert (both.min(), both.max()) == pytest.approx((0.8, 1.1), abs=1e-3)
    assert OppositeViews().draw(3, 64, seeded()).mirrored.all()


@pytest.mark.parametrize(
    ("operation", "largest"), [(GaussianNoise(0.5), 0.5), (UniformNoise(2.0), 2 / np.sqrt(12))]
)
def test_noise_is_white_and_as_strong_as_drawn(operation, largest):
    images = torch.ones(500, 1, 24, 24)
    noise = operation.apply(images, 1.0, seeded()) - images
    strength = noise.std(dim=(1, 2, 3))
    assert float(strength.max()) == pytest.approx(largest, rel=0.08)
    assert float(strength.mean()) == pytest.approx(largest / 2, rel=0.08)
    assert float(noise.mean()) == pytest.approx(0, abs=0.003)
    neighbours = (noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean()
    assert abs(float(neighbours)) < 0.01
    # a background of half the deviation gets half the noise
    halved = operation.apply(images, 0.5, seeded()) - images
    assert torch.allclose(halved, noise / 2, atol=1e-6)
    if isinstance(operation, UniformNoise):
        assert float(noise.abs().max()) <= 1.0


def test_blur_is_a_gaussian_of_what_is_drawn_and_keeps_the_sum():
    images = torch.zeros(300, 1, 41, 41, dtype=torch.double)
    images[:, :, 20, 20] = 1.0
    blurred = Blur(2.0).apply(images, 1.0, seeded())
    assert torch.allclose(blurred.sum(dim=(1, 2, 3)), torch.ones(300, dtype=torch.double))
    axis = torch.arange(41, dtype=torch.double) - 20
    variance_x = (blurred * axis**2).sum(dim=(1, 2, 3))
    variance_y = (blurred * axis[:, None] ** 2).sum(dim=(1, 2, 3))
    assert torch.allclose(variance_x, variance_y)
    assert float(variance_x.max()) == pytest.approx(4.0, rel=0.03)
    assert float(variance_x.min()) < 0.01
    centre = (blurred * axis).sum(dim=(1, 2, 3))
    assert float(centre.abs().max()) < 1e-12


def test_a_wide_blur_of_a_small_image_reflects_at_the_edges():
    flat = torch.full((2, 1, 5, 5), 3.0)
    assert torch.allclose(Blur(4.0).apply(flat, 1.0, seeded()), flat, atol=1e-5)


def test_patches_have_the_areas_and_ratios_that_are_said():
    images = torch.ones(800, 1, 100, 100)
    kept = images.clone()
    erased = Erasing(scale=(0.01, 0.04), ratio=(0.5, 2.0), value=-3).apply(images, 1.0, seeded())
    assert torch.equal(images, kept)
    gone = erased[:, 0] == -3
    area = gone.float().mean(dim=(1, 2))
    assert float(area.min()) == pytest.approx(0.01, abs=0.001)
    assert float(area.max()) == pytest.approx(0.04, abs=0.002)
    height = gone.any(dim=2).sum(dim=1)
    width = gone.any(dim=1).sum(dim=1)
    assert torch.equal(height * width, gone.sum(dim=(1, 2)))  # one rectangle each
    ratio = height / width
    assert 0.45 < float(ratio.min()) < 0.56
    assert 1.8 < float(ratio.max()) < 2.2
    middle = gone[:, 45:55, 45:55].float().mean()  # more often than the edge, which cuts no patch
    assert float(middle) == pytest.approx(0.025 / 0.85**2, rel=0.3)


def test_a_patch_may_be_empty_or_the_whole_image():
    images = torch.ones(50, 1, 10, 10)
    assert torch.equal(Erasing(scale=(0, 0)).apply(images, 1.0, seeded()), images)
    whole = Erasing(scale=(1, 1), ratio=(1, 1)).apply(images, 1.0, seeded())
    assert not whole.any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Turns(-1), "maxDegrees is -1"),
        (lambda: Turns("20"), "maxDegrees is '20'"),
        (lambda: Turns(True), "maxDegrees is True"),
        (lambda: Shifts(5), "maxShiftFraction is 5; use a share"),
        (lambda: Zooms(-1), "use two numbers above -1"),
        (lambda: Zooms(0.0, 0.1), "the smaller as minSizeFraction"),
        (lambda: GaussianNoise(float("nan")), "scale is nan"),
        (lambda: UniformNoise(-0.5), "scale is -0.5"),
        (lambda: Blur(float("inf")), "scale is inf"),
        (lambda: Erasing(scale=(0.2, 0.1)), "scale is .*the smaller first"),
        (lambda: Erasing(scale=(0, 2)), "use shares of the image"),
        (lambda: Erasing(scale=0.1), "scale is 0.1; use two numbers"),
        (lambda: Erasing(ratio=(0, 1)), "use numbers above 0"),
        (lambda: Erasing(ratio=(1, 2, 3)), "use two numbers"),
    ],
)
def test_ranges_that_cannot_be_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()


class Invert(GreyOperation):
    """Dark becomes bright."""

    def apply(self, images, noise_deviation, generator):
        """Return the negatives."""
        return -images


class StepRight(GeometricOperation):
    """One pixel along x."""

    def draw(self, count, size, generator):
        """Return shifts."""
        return InPlaneMove(np.zeros(count), np.tile([1.0, 0.0], (count, 1)))


def test_an_operation_of_ones_own_by_object():
    plan = {
        "operations": {
            "a": {"p": 1, "operation": Invert()},
            "b": {"p": 1, "operation": StepRight()},
        }
    }
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 4, 4] = 1.0
    changed, _, origins_px = Augmenter(plan).augment(image, torch.eye(3)[None])
    assert float(changed[0, 0, 4, 5]) == pytest.approx(-1, abs=1e-5)
    assert origins_px.tolist() == [[-1, 0]]


def test_an_operation_of_ones_own_by_name():
    register_operation("testInvert")(Invert)
    register_operation("testInvert")(Invert)  # as when a notebook cell is run again
    changed, *_ = Augmenter({"operations": {"testInvert": {"p": 1}}}).augment(
        torch.ones(2, 1, 6, 6), torch.eye(3).expand(2, 3, 3)
    )
    assert torch.allclose(changed, -torch.ones(2, 1, 6, 6), atol=1e-5)
    with pytest.raises(OptionError, match="the operation 'testInvert' is Invert already"):
        register_operation("testInvert")(StepRight)
    with pytest.raises(OptionError, match="dict is neither"):
        register_operation("other")(dict)
