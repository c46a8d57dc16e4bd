"""Augment image and pose together, project the pose again, and compare."""

import numpy as np
import pytest
import torch

from cesped.data.warp import move_images
from cesped.errors import OptionError
from cesped.geometry.inplane import InPlaneMove
from cesped.geometry.rotations import random_rotations
from cesped.physics.density import density_from_atoms
from cesped.physics.projection import Projector
from cesped.training.batch_augmentation import BatchAugmentation, draw_moves
from cesped.training.recipe import load_recipe
from cesped.training.sections import AugmentationRecipe

BOX = 32


@pytest.fixture(scope="module")
def projector():
    generator = np.random.default_rng(0)
    atoms = generator.uniform(-11, 11, (40, 3))  # within 20 angstrom, 10 of the 16 pixels
    volume = density_from_atoms(atoms, generator.uniform(0.5, 2, 40), BOX, 2.0, 8.0)
    return Projector(volume)


def correlation(a, b):
    a, b = (x.flatten(1) - x.flatten(1).mean(dim=1, keepdim=True) for x in (a, b))
    return (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1))


def test_changed_images_are_projections_of_the_changed_poses(projector):
    """Mirror, turn and shift of a projection = the projection with the pose they lead to."""
    count = 24
    generator = np.random.default_rng(1)
    rotations = random_rotations(count, generator)
    mirrored = np.arange(count) % 2 == 0
    angle, shift = generator.uniform(-180, 180, count), generator.uniform(-2, 2, (count, 2))
    move = InPlaneMove(angle, shift, mirrored=mirrored)
    moved = move_images(projector.project(rotations)[:, None], move, oversampling=2)[:, 0]
    expected = projector.project(move.apply_to_rotations(rotations), origins_px=-shift)
    assert correlation(moved, expected).min() > 0.998
    # a mirror image with its old pose is not a projection: the law has teeth
    unturned = InPlaneMove(angle, shift).apply_to_rotations(rotations)
    wrong = projector.project(unturned, origins_px=-shift)
    assert correlation(moved[::2], wrong[::2]).mean() < 0.95


@pytest.mark.parametrize(
    "recipe", [AugmentationRecipe(), AugmentationRecipe(recipe="paper")], ids=["own", "paper"]
)
def test_images_and_poses_of_a_training_batch_belong_together(projector, recipe):
    rotations = random_rotations(24, np.random.default_rng(2))
    origins_px = np.random.default_rng(4).uniform(-2, 2, (24, 2))
    images, poses, origins = BatchAugmentation(recipe)(
        projector.project(rotations, origins_px=origins_px)[:, None],
        torch.from_numpy(rotations),
        torch.from_numpy(origins_px),
        torch.Generator().manual_seed(3),
    )
    expected = projector.project(poses.numpy(), origins_px=origins.numpy())
    # the paper's noise and zoom are not in the poses
    limit = 0.998 if recipe.recipe is None else 0.97
    assert correlation(images[:, 0], expected).median() > limit
    unmoved = projector.project(poses.numpy(), origins_px=origins_px)
    assert correlation(images[:, 0], unmoved).median() < 0.95


def test_noise_keeps_its_strength_when_images_turn():
    """Interpolation must not tell turned images from others: white noise stays nearly white."""
    noise = torch.randn(64, 1, BOX, BOX, generator=torch.Generator().manual_seed(0))
    augmentation = BatchAugmentation(AugmentationRecipe(max_shift_px=0.5))
    poses, origins = torch.eye(3).expand(64, 3, 3), torch.zeros(64, 2)
    moved, *_ = augmentation(noise, poses, origins, torch.Generator().manual_seed(1))
    assert float(moved.std()) == pytest.approx(1.0, abs=0.04)


@pytest.mark.parametrize("name", [None, "paper"])
def test_the_same_generator_draws_the_same_moves(name):
    augmentation = BatchAugmentation(
        AugmentationRecipe(max_shift_px=1.0, noise_std=0.1, recipe=name)
    )
    images = torch.ones(4, 1, 8, 8)
    rotations = torch.eye(3).expand(4, 3, 3)
    first, second = (
        augmentation(images, rotations, torch.zeros(4, 2), torch.Generator().manual_seed(7))
        for _ in range(2)
    )
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_noise_of_a_recipe_is_as_strong_as_that_of_the_images(tmp_path):
    path = tmp_path / "noise.yaml"
    path.write_text("operations: {randomGaussNoise: {p: 1, kwargs: {scale: 1}}}")
    images, poses = torch.zeros(40, 1, 16, 16), torch.eye(3).expand(40, 3, 3)
    full, half = (
        BatchAugmentation(AugmentationRecipe(recipe=str(path)), deviation)(
            images, poses, torch.zeros(40, 2), torch.Generator().manual_seed(0)
        )[0]
        for deviation in (1.0, 0.5)
    )
    assert float(full.std()) == pytest.approx(1 / np.sqrt(3), rel=0.2)
    assert torch.allclose(half, full / 2, atol=1e-6)


def test_limits_are_kept():
    recipe = AugmentationRecipe(max_turn_deg=20.0, max_shift_px=0.0, opposite_views=False)
    move = draw_moves(200, recipe, torch.Generator().manual_seed(0))
    assert not move.mirrored.any()
    assert 15 < np.abs(move.angle_deg).max() <= 20
    assert (move.shift_px == 0).all()


def test_the_recipe_of_the_paper_augments_as_the_paper_did():
    assert load_recipe("paper").augmentation.recipe == "paper"
    with pytest.raises(OptionError, match="there is no augmentation recipe 'papre'"):
        BatchAugmentation(AugmentationRecipe(recipe="papre"))
