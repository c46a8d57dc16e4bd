"""The network, its maps and its loss belong together: it learns the pose between two views."""

import numpy as np
import pytest
import torch

from cesped.geometry.rotations import nearest_rotations, random_rotations
from cesped.models.cryofastar.losses import planar_map_loss
from cesped.models.cryofastar.model import CryoFastAR
from cesped.models.cryofastar.planar_maps import maps_of_poses, relative_rotations
from cesped.models.cryofastar.poses import poses_of_maps
from cesped.models.cryofastar.views import normalized_views
from cesped.physics.phantom import chain_phantom

BOX = 32


def clean_pairs(count):
    """Return images of pairs of views of one phantom, and relative rotations."""
    rng = np.random.default_rng(0)
    phantom = chain_phantom(100, 0.4 * BOX, rng)
    rotations = random_rotations(2 * count, rng).reshape(count, 2, 3, 3)
    seen = phantom.positions_angst @ rotations  # x_volume = R @ x_image
    axis = np.arange(BOX) - BOX // 2
    x, y = (np.exp(-((axis - seen[..., i, None]) ** 2) / 2) for i in range(2))
    images = np.einsum("bvay,bvax->bvyx", y * phantom.weights[:, None], x)[:, :, None]
    return torch.from_numpy(images).float(), relative_rotations(torch.from_numpy(rotations).float())


def error_of(rotations, wanted):
    return float((rotations - wanted)[:, 1].norm(dim=(1, 2)).mean())


def learned_share(pairs, steps):
    """Return the rotation error after some steps, as a share of the best constant's."""
    images, relative = clean_pairs(pairs)
    truth = maps_of_poses(relative, torch.zeros(pairs, 2, 2), BOX, BOX)
    torch.manual_seed(0)
    model = CryoFastAR("tiny")
    images = normalized_views(images, model.normalization)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    warm_then_down = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1e-3, total_steps=steps, pct_start=0.1
    )
    for _ in range(steps):
        loss = planar_map_loss(model(images, with_images=False), truth)
        optimizer.zero_grad()
        loss.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        warm_then_down.step()
    with torch.no_grad():
        found = poses_of_maps(model(images, with_images=False))
    constant = torch.from_numpy(nearest_rotations(relative[:, 1].mean(dim=0))).float()
    return error_of(found.rotations, relative) / error_of(constant, relative)


def test_four_pairs_are_learned_quickly():
    assert learned_share(4, 30) < 0.5


@pytest.mark.slow
def test_sixteen_pairs_are_learned_to_a_quarter_of_the_best_constant():
    assert learned_share(16, 100) < 0.25
