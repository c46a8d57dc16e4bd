"""The shift head: it follows an image that turns and moves, and its units are Angstrom."""

import numpy as np
import pytest
import torch

from cesped.data.warp import move_images
from cesped.errors import OptionError
from cesped.geometry.inplane import InPlaneMove
from cesped.geometry.rotations import random_rotations
from cesped.models.image2sphere.harmonics import so3_size
from cesped.models.image2sphere.series import turned_about_z
from cesped.models.image2sphere.shift_head import ShiftHead
from cesped.models.registry import build_model

L_MAX = 3
TINY = {"encoder": "compact", "widths": [8, 8, 8], "l_max": L_MAX, "sphere_features": 8}
TINY |= {"so3_features": 4, "projector_order": 1, "filter_order": 1, "grid_order": 1}


def head_and_signals(batch=2, seed=0, **options):
    torch.manual_seed(seed)
    head = ShiftHead(4, L_MAX, **options)
    signals = torch.randn(so3_size(L_MAX), batch * 4)
    return head, signals


def particle(x_px, y_px, pixels=64):
    """An image of a lopsided particle displaced by (x, y)."""
    axis = torch.arange(pixels) - pixels // 2
    image = torch.zeros(pixels, pixels)
    for dx, dy, weight in ((0, 0, 1.0), (6, 1, 0.7), (-2, 5, 0.5)):
        x = axis - (x_px + dx)
        y = axis - (y_px + dy)
        image += weight * torch.exp(-(x[None] ** 2 + y[:, None] ** 2) / 8)
    return image[None, None]


def test_the_correlation_map_turns_with_image_and_signals():
    """A quarter turn of what the head sees is a quarter turn of its map: E(2) in the plane."""
    head, signals = head_and_signals()
    images = torch.cat([particle(3, -2), particle(-1, 2)])
    move = InPlaneMove(np.full(2, 90.0), np.zeros((2, 2)))
    turned = turned_about_z(signals, L_MAX, np.pi / 2)
    with torch.no_grad():
        before = head.correlation(signals, images)
        after = head.correlation(turned, move_images(images, move))
        origins = head.expectation(before).double().numpy()
        found = head.expectation(after).double().numpy()
    # rows are y: what was at (x, y) is at (-y, x)
    error = (after - torch.rot90(before, -1, dims=(1, 2))).abs().max()
    assert float(error) < 0.02 * float(before.std())  # the first row of an even image has no mate
    np.testing.assert_allclose(found, move.apply_to_origins_px(origins), atol=1e-3)
    assert np.abs(origins).max() > 1e-3


def test_the_correlation_map_moves_with_the_image():
    head, signals = head_and_signals(max_shift_share=0.2)
    with torch.no_grad():
        before = head.correlation(signals, torch.cat([particle(0, 0)] * 2))
        after = head.correlation(signals, torch.cat([particle(3, -2)] * 2))
    expected = before[:, 2:-2, 1:-3]
    error = (after[:, :-4, 4:] - expected).abs().max()
    assert float(error) < 0.1 * float(expected.std())


def test_the_loss_is_least_at_the_truth_and_the_mean_is_exact():
    head, _ = head_and_signals()
    shifts = torch.tensor([[0.03, -0.021], [0.0, 0.05]])
    k = 2 * head.reach_px + 1
    logits = torch.zeros(2, k, k, requires_grad=True)
    head.loss(logits, shifts).sum().backward()
    # the slope of a cross-entropy is what is predicted less what is wanted
    wanted = 1 / k**2 - logits.grad
    torch.testing.assert_close(head.expectation(torch.log(wanted + 1e-12)), shifts)


def test_shifts_are_learnt_and_come_out_in_angstrom():
    """Origins are what brings a particle back: content displaced by d has the origin -d."""
    torch.manual_seed(0)
    generator = np.random.default_rng(0)
    model = build_model("image2sphere", "C1", **TINY, shift_head=True, max_shift_share=0.15)
    assert model.learns_shifts
    model.pixel_size_angst = 2.0
    displaced_px = generator.uniform(-4, 4, (16, 2))
    images = torch.cat([particle(x, y, 48) for x, y in displaced_px])
    origins_angst = torch.from_numpy(-2.0 * displaced_px).float()
    rotations = torch.from_numpy(random_rotations(1, generator)).float().expand(16, 3, 3)
    optimizer = torch.optim.RAdam(model.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        model.loss(images, rotations, torch.ones(16), shifts_angst=origins_angst).backward()
        optimizer.step()
    found = model.eval().predict(images).shifts_angst
    error_angst = (found - origins_angst).norm(dim=1)
    assert float(error_angst.mean()) < 0.5 * float(origins_angst.norm(dim=1).mean())


def test_a_pixel_size_is_asked_for_and_kept():
    model = build_model("image2sphere", "C1", **TINY, shift_head=True)
    with pytest.raises(OptionError, match=r"set model\.pixel_size_angst"):
        model.predict(particle(0, 0))
    model.pixel_size_angst = np.float64(1.5)
    twin = build_model(**model.config)
    assert twin.pixel_size_angst == 1.5
    twin.load_state_dict(model.state_dict())
    model.eval(), twin.eval()
    expected = model.predict(particle(1, 2)).shifts_angst
    torch.testing.assert_close(twin.predict(particle(1, 2)).shifts_angst, expected)
    twin.pixel_size_angst = 3.0
    torch.testing.assert_close(twin.predict(particle(1, 2)).shifts_angst, 2 * expected)


def test_a_model_without_the_head_predicts_no_shifts():
    model = build_model("image2sphere", "C1", **TINY).eval()
    assert not model.learns_shifts
    assert model.predict(particle(0, 0)).shifts_angst is None
