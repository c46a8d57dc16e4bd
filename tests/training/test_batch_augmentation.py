"""Augment image and pose together, project the pose again, and compare."""

import numpy as np
import pytest
import torch

from cesped.geometry.inplane import InPlaneMove
from cesped.geometry.rotations import random_rotations
from cesped.physics.density import density_from_atoms
from cesped.physics.projection import Projector
from cesped.training.batch_augmentation import BatchMove, augment, draw_moves
from cesped.training.recipe import AugmentationRecipe

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
    moves = BatchMove(
        mirrored=np.arange(count) % 2 == 0,
        inplane=InPlaneMove(
            generator.uniform(-180, 180, count), generator.uniform(-2, 2, (count, 2))
        ),
    )
    images = projector.project(rotations)
    moved = moves.apply_to_images(images[:, None])[:, 0]
    expected = projector.project(
        moves.apply_to_rotations(rotations), origins_px=-moves.inplane.shift_px
    )
    assert correlation(moved, expected).min() > 0.998
    # a mirror image with its old pose is not a projection: the law has teeth
    unturned = projector.project(
        moves.inplane.apply_to_rotations(rotations), origins_px=-moves.inplane.shift_px
    )
    assert correlation(moved[::2], unturned[::2]).mean() < 0.95


def test_noise_keeps_its_strength_when_images_turn():
    """Interpolation must not tell turned images from others: white noise stays nearly white."""
    noise = torch.randn(64, 1, BOX, BOX, generator=torch.Generator().manual_seed(0))
    recipe = AugmentationRecipe(max_shift_px=0.5)
    moved, _ = augment(
        noise, torch.eye(3).expand(64, 3, 3), recipe, torch.Generator().manual_seed(1)
    )
    assert float(moved.std()) == pytest.approx(1.0, abs=0.12)


def test_the_same_generator_draws_the_same_moves():
    recipe = AugmentationRecipe(max_shift_px=1.0, noise_std=0.1)
    images = torch.zeros(4, 1, 8, 8)
    rotations = torch.eye(3).expand(4, 3, 3)
    first, second = (
        augment(images, rotations, recipe, torch.Generator().manual_seed(7)) for _ in range(2)
    )
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_limits_are_kept():
    recipe = AugmentationRecipe(max_turn_deg=20.0, max_shift_px=0.0, opposite_views=False)
    moves = draw_moves(200, recipe, torch.Generator().manual_seed(0))
    assert not moves.mirrored.any()
    assert 15 < np.abs(moves.inplane.angle_deg).max() <= 20
    assert (moves.inplane.shift_px == 0).all()
