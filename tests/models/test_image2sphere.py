"""Image2Sphere as a whole: conventions, symmetry, determinism, learning."""

import resource
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from cesped.data.warp import move_images
from cesped.geometry.euler import rotation_to_euler
from cesped.geometry.inplane import InPlaneMove
from cesped.geometry.rotations import geodesic_distance_deg, random_rotations
from cesped.geometry.symmetry import point_group, symmetric_distance_deg
from cesped.models.image2sphere.grid_logits import GridLogits
from cesped.models.image2sphere.harmonics import so3_slices, wigner_matrices
from cesped.models.registry import build_model

TINY = {
    "encoder": "compact",
    "widths": [8, 16, 32],
    "l_max": 4,
    "sphere_features": 24,
    "so3_features": 8,
    "projector_order": 2,
    "filter_order": 1,
    "grid_order": 1,
}


def tiny(symmetry="C1", seed=0, **options):
    torch.manual_seed(seed)
    return build_model("image2sphere", symmetry, **{**TINY, **options})


class PixelsAsFeatures(nn.Module):
    """An encoder that turns with its image: the image itself, made odd."""

    features = 3

    def forward(self, x):
        return functional.pad(x, (0, 1, 0, 1), mode="circular")


def blobs(count, pixels=24, seed=0):
    """Off-centre Gaussians that vanish at the border."""
    generator = np.random.default_rng(seed)
    axis = np.arange(pixels) - pixels // 2
    images = np.zeros((count, pixels, pixels))
    for image in images:
        for x, y in generator.uniform(-5, 5, (4, 2)):
            weight = generator.uniform(0.5, 2)
            image += weight * np.exp(-((axis[None] - x) ** 2 + (axis[:, None] - y) ** 2) / 3)
    return torch.from_numpy(images)[:, None].float()


def test_a_turned_image_turns_the_distribution_by_our_convention():
    """Turning the image by a quarter takes R to R Rz(-90), at all nodes and in the prediction."""
    model = tiny()
    model.encoder = PixelsAsFeatures()
    model.reduce = nn.Conv2d(3, TINY["sphere_features"], 1)
    model.eval()
    images = blobs(3)
    move = InPlaneMove(np.full(3, 90.0), np.zeros((3, 2)))
    with torch.no_grad():
        before = model.logits(images).view(3, -1, model.grid.n_inplane)
        after = model.logits(move_images(images, move)).view(3, -1, model.grid.n_inplane)
    steps = model.grid.n_inplane // 4
    # the node (direction, psi) of R becomes (direction, psi - 90)
    torch.testing.assert_close(after, before.roll(-steps, dims=2), atol=1e-3, rtol=0)
    assert float((after - before).abs().max()) > 0.1
    turned = move.apply_to_rotations(model.predict(images).rotations.double().numpy())
    predicted = model.predict(move_images(images, move)).rotations.double().numpy()
    assert geodesic_distance_deg(turned, predicted).max() < 0.5


@pytest.mark.parametrize("symmetry", ["C4", "D2", "I1"])
def test_logits_are_equal_at_equal_poses(symmetry):
    model = tiny(symmetry).eval()
    group = point_group(symmetry)
    with torch.no_grad():
        coefficients = model.harmonics(blobs(2))
    rotations = random_rotations(4, np.random.default_rng(0))

    def logits_at(poses):
        inverse = np.swapaxes(poses, -1, -2)
        total = 0.0
        for degree, matrices in enumerate(wigner_matrices(4, rotation_to_euler(inverse))):
            width = 2 * degree + 1
            block = coefficients[so3_slices(4)[degree]].double().view(width, width, -1)
            total = total + width**0.5 * torch.einsum("rmn,mnb->rb", matrices, block)
        return total

    expected = logits_at(rotations)
    for operator in group.operators[1:]:
        torch.testing.assert_close(logits_at(operator @ rotations), expected, atol=1e-5, rtol=0)


def test_prediction_is_deterministic_and_made_of_rotations():
    model = tiny().eval()
    images = blobs(5)
    first, second = model.predict(images), model.predict(images)
    assert torch.equal(first.rotations, second.rotations)
    assert torch.equal(first.confidence, second.confidence)
    torch.testing.assert_close(
        first.rotations @ first.rotations.mT, torch.eye(3).expand(5, 3, 3), atol=1e-5, rtol=0
    )
    assert bool((torch.linalg.det(first.rotations) > 0).all())
    assert bool(((first.confidence > 0) & (first.confidence <= 1)).all())
    assert first.shifts_angst is None


def test_a_model_is_rebuilt_from_its_configuration():
    model = tiny("D2").eval()
    twin = build_model(**model.config).eval()
    twin.load_state_dict(model.state_dict())
    images = blobs(2)
    with torch.no_grad():
        assert torch.equal(model.logits(images), twin.logits(images))


def test_training_samples_half_of_the_projectors_points():
    model = tiny()
    model.encoder.eval()
    images = blobs(2)
    torch.manual_seed(1)
    first = model.logits(images)
    second = model.logits(images)
    assert not torch.equal(first, second)
    model.eval()
    assert torch.equal(model.logits(images), model.logits(images))


@pytest.mark.parametrize("width_deg", [0.0, 10.0])
def test_untrusted_labels_weigh_nothing(width_deg):
    model = tiny(label_width_deg=width_deg)
    rotations = torch.from_numpy(random_rotations(4, np.random.default_rng(0))).float()
    images = blobs(4)
    assert float(model.loss(images, rotations, torch.zeros(4)).detach()) == 0.0
    torch.manual_seed(0)
    half = float(model.loss(images, rotations, torch.full((4,), 0.5)).detach())
    torch.manual_seed(0)
    full = float(model.loss(images, rotations, torch.ones(4)).detach())
    assert full == pytest.approx(2 * half, rel=1e-3)


def test_paper_preset_builds_in_seconds_and_without_gigabytes():
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started_s = time.process_time()
    # the encoder is 58 million random numbers; its own test covers it
    model = build_model("image2sphere", "D2", preset="paper", encoder="resnet18")
    assert time.process_time() - started_s < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 1.5 * 2**20
    assert model.grid.size == 294_912
    tables = sum(b.numel() * b.element_size() for b in model.logits_at_nodes.buffers())
    assert tables < 64 * 2**20
    assert isinstance(model.logits_at_nodes, GridLogits)


@pytest.mark.parametrize("symmetry", ["C1", "D2"])
def test_sixty_four_particles_are_learnt_below_the_grid_spacing(symmetry):
    """Overfitting: projections of a few points, the order-2 grid, 15 degrees between nodes."""
    generator = np.random.default_rng(5)
    group = point_group(symmetry)
    points = generator.uniform(-5.5, 5.5, (6, 3))
    points = np.concatenate([points @ operator.T for operator in group.operators])
    rotations = random_rotations(64, generator)
    axis = np.arange(16) - 8
    xy = np.einsum("bji,pj->bpi", rotations, points)[:, :, :2]  # x_image = R' x_volume
    images = (
        np.exp(-((axis - xy[..., :1]) ** 2) / 2)[:, :, None, :]
        * (np.exp(-((axis - xy[..., 1:]) ** 2) / 2)[:, :, :, None])
    )
    images = torch.from_numpy(images.sum(axis=1))[:, None].float()
    truth = torch.from_numpy(rotations).float()
    model = tiny(symmetry, widths=[16, 32, 32], grid_order=2, label_width_deg=8.0)
    optimizer = torch.optim.RAdam(model.parameters(), lr=5e-3)
    for _ in range(150):
        loss = model.loss(images, truth, torch.ones(64))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    predicted = model.predict(images).rotations.double().numpy()
    error_deg = symmetric_distance_deg(rotations, predicted, group)
    assert error_deg.mean() < model.grid.inplane_step_deg
