"""Turned copies of an image at test time, and what becomes of harmonics when an image turns."""

import numpy as np
import pytest
import torch
from dense_so3 import dense_logits

from cesped.data.warp import move_images
from cesped.geometry.inplane import InPlaneMove
from cesped.geometry.rotations import geodesic_distance_deg, random_rotations
from cesped.models.image2sphere.harmonics import so3_size
from cesped.models.image2sphere.series import turned_about_z
from cesped.models.image2sphere.turns import turned_images
from cesped.models.registry import build_model


def blobs(count, pixels, seed=0):
    generator = np.random.default_rng(seed)
    axis = np.arange(pixels) - pixels // 2
    images = np.zeros((count, pixels, pixels))
    for image in images:
        for x, y in generator.uniform(-pixels / 5, pixels / 5, (4, 2)):
            weight = generator.uniform(0.5, 2)
            image += weight * np.exp(-((axis[None] - x) ** 2 + (axis[:, None] - y) ** 2) / 5)
    return torch.from_numpy(images)[:, None].float()


@pytest.mark.parametrize("pixels", [24, 25])
@pytest.mark.parametrize("angle_deg", [90.0, 180.0, -90.0, 30.0, 217.0])
def test_images_turn_as_the_dataset_turns_them(pixels, angle_deg):
    images = blobs(2, pixels)
    move = InPlaneMove(np.full(2, angle_deg), np.zeros((2, 2)))
    found = turned_images(images, np.radians(angle_deg))
    atol = 1e-5 if angle_deg % 90 == 0 else 0.06
    axis = torch.arange(pixels).float() - pixels // 2
    inner = torch.hypot(axis[:, None], axis[None]) < pixels // 2 - 1  # none came from outside
    expected = move_images(images, move)
    torch.testing.assert_close(found[..., inner], expected[..., inner], atol=atol, rtol=0)
    assert float((found - images).abs().max()) > 0.1


def test_harmonics_of_a_turned_image_speak_of_the_turned_poses():
    angle_deg, l_max = 50.0, 3
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(so3_size(l_max), 2, generator=generator)
    after = turned_about_z(before, l_max, np.radians(angle_deg))
    rotations = random_rotations(5, np.random.default_rng(0))
    move = InPlaneMove(np.full(5, angle_deg), np.zeros((5, 2)))
    torch.testing.assert_close(
        dense_logits(after, l_max, move.apply_to_rotations(rotations)),
        dense_logits(before, l_max, rotations),
        atol=1e-5,
        rtol=0,
    )


def test_predictions_from_four_turns_turn_with_the_image_whatever_the_network():
    """A network that is not equivariant at all predicts as if it were."""
    torch.manual_seed(0)
    options = {"encoder": "compact", "widths": [8, 8, 8], "l_max": 4, "sphere_features": 16}
    options |= {"so3_features": 4, "projector_order": 2, "filter_order": 1, "grid_order": 1}
    model = build_model("image2sphere", "C1", **options).eval()
    images = blobs(4, 24)
    quarter = InPlaneMove(np.full(4, 90.0), np.zeros((4, 2)))
    turned = move_images(images, quarter)

    def disagreement():
        before = model.distribution(images).probabilities().view(4, -1, model.grid.n_inplane)
        after = model.distribution(turned).probabilities().view(4, -1, model.grid.n_inplane)
        steps = model.grid.n_inplane // 4
        return float((after - before.roll(-steps, dims=2)).abs().max() / before.max())

    assert disagreement() > 0.01
    model.test_time_turns = 4
    assert disagreement() < 1e-4
    predicted = model.predict(images).rotations.double().numpy()
    after = model.predict(turned).rotations.double().numpy()
    error_deg = geodesic_distance_deg(quarter.apply_to_rotations(predicted), after)
    assert np.median(error_deg) < 0.1
