"""Image2Sphere as a whole: conventions, symmetry, determinism, learning."""

import resource

import numpy as np
import pytest
import torch
from second_device import back, second_device, there
from torch import nn
from torch.nn import functional

from cesped.data.warp import move_images
from cesped.errors import OptionError
from cesped.geometry.euler import rotation_to_euler
from cesped.geometry.inplane import InPlaneMove
from cesped.geometry.rotations import geodesic_distance_deg, random_rotations
from cesped.geometry.symmetry import point_group, symmetric_distance_deg
from cesped.models.image2sphere.grid_logits import GridLogits
from cesped.models.image2sphere.harmonics import so3_slices, wigner_matrices
from cesped.models.image2sphere.presets import PRESETS
from cesped.models.image2sphere.projector import SphereProjector
from cesped.models.registry import build_model
from cesped.physics.resampling import resize_band_limited

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


@pytest.mark.parametrize("rectify_points", [False, True])
def test_a_turned_image_turns_the_distribution_by_our_convention(rectify_points):
    """Turning the image by a quarter takes R to R Rz(-90), at all nodes and in the prediction."""
    model = tiny(rectify_points=rectify_points)
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


def test_sampled_points_stand_for_all_of_them():
    """The mean over many draws of half of the points is what all of them give."""
    torch.manual_seed(0)
    project = SphereProjector(2, 2, sampled_share=0.5)
    features = torch.randn(1, 3, 7, 7)
    whole = project.eval()(features)
    project.train()
    drawn = torch.stack([project(features) for _ in range(800)])
    assert float((drawn[0] - whole).abs().max()) > 0.02
    torch.testing.assert_close(drawn.mean(dim=0), whole, atol=0.03, rtol=0)


def test_a_particle_may_come_in_two_images():
    """Both are looked at, both are resized, smoothed and turned."""
    model = tiny(image_channels=2, sigmas_px=[1.0], test_time_turns=2, input_px=32).eval()
    assert model.channels.n_channels == 4
    images = torch.cat([blobs(3), blobs(3, seed=1)], dim=1)
    found = model.predict(images).rotations
    for changed in (images[:, [1, 0]], images * torch.tensor([1.0, 0.0])[:, None, None]):
        assert float((model.predict(changed).rotations - found).abs().max()) > 1e-3
    assert model.loss(images, found, torch.ones(3)).isfinite()
    twin = build_model(**model.config).eval()
    twin.load_state_dict(model.state_dict())
    assert torch.equal(twin.predict(images).rotations, found)


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


def test_paper_preset_builds_without_gigabytes():
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # the encoder is 58 million random numbers; its own test covers it
    model = build_model("image2sphere", "D2", preset="paper", encoder="resnet18")
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


def test_paper_preset_holds_the_papers_numbers():
    """CESPED paper, appendix B; the encoder alone is a smaller one here."""
    model = build_model("image2sphere", "D2", preset="paper", encoder="resnet18")
    assert PRESETS["paper"]["encoder"] == "resnet152"
    assert model.input_px == 256
    assert model.channels.n_channels == 3
    # the hemisphere of 768 pixels with its equator left out, half of them in training
    assert model.project.n_sampled == round(0.5 * len(model.project.points)) == 184
    assert tuple(model.reduce.weight.shape[0:1]) == (512,)
    assert model.sphere_convolution.weight.shape == (512, 16, 768)
    assert model.so3_convolution.weight.shape == (16, 1, 8 * 3 * 8)
    assert model.activation.transform.l_max == model.logits_at_nodes.l_max == 8
    assert model.grid.size == 294_912
    assert model.label_width_deg == 0
    assert model.decoding == "argmax"
    assert not model.learns_shifts


def test_images_of_any_size_are_resampled_about_their_centre():
    model = tiny(input_px=24).eval()
    images = blobs(2, 48)
    found = model.distribution(images).harmonics
    expected = model.distribution(resize_band_limited(images, 24)).harmonics
    torch.testing.assert_close(found, expected)
    assert model.loss(images, torch.eye(3).expand(2, 3, 3), torch.ones(2)).isfinite()


def test_a_prediction_holds_its_distribution_if_asked():
    model = tiny("D2").eval()
    images = blobs(3)
    assert model.predict(images).distribution is None
    prediction = model.predict(images, distribution=True)
    found = prediction.distribution
    assert len(found) == 3
    torch.testing.assert_close(found.probabilities(), torch.softmax(model.logits(images), dim=1))
    torch.testing.assert_close(found.decode(model.decoding)[0], prediction.rotations)


def test_temperature_is_fitted_kept_and_makes_confidence_honest():
    model = tiny(grid_order=2).eval()
    images = blobs(40)
    with torch.no_grad():
        for parameter in model.so3_convolution.parameters():
            parameter.mul_(40.0)
    found = model.distribution(images)
    generator = torch.Generator().manual_seed(0)
    nodes = torch.multinomial(found.probabilities(), 1, generator=generator)[:, 0]
    poses = torch.from_numpy(model.grid.rotations(nodes.numpy())).float()
    with torch.no_grad():  # what would be right is now stated three times as sharply
        for parameter in model.so3_convolution.parameters():
            parameter.mul_(3.0)
    before = model.predict(images)
    fitted = model.calibrate([(images[:20], poses[:20]), (images[20:], poses[20:])])
    assert fitted > 1.3
    assert fitted == pytest.approx(float(model.temperature))
    after = model.predict(images)
    assert float(after.confidence.mean()) < float(before.confidence.mean())
    twin = build_model(**model.config).eval()
    twin.load_state_dict(model.state_dict())
    torch.testing.assert_close(twin.predict(images).confidence, after.confidence)
    assert not model.training
    assert model.calibrate([]) == 1.0


def test_a_state_from_before_there_was_a_temperature_loads():
    model = tiny()
    state = model.state_dict()
    del state["temperature"]
    twin = tiny(seed=1)
    twin.temperature.fill_(2.0)
    twin.load_state_dict(state)
    assert float(twin.temperature) == 1.0


@pytest.mark.parametrize("options", [{"label_width_deg": 8.0}, {"test_time_turns": 2}])
def test_mixed_precision_stops_at_the_encoder(options):
    model = tiny(**options).eval()
    images, rotations = blobs(2), torch.eye(3).expand(2, 3, 3)
    exact = float(model.loss(images, rotations, torch.ones(2)).detach())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model.loss(images, rotations, torch.ones(2))
        prediction = model.predict(images)
    assert mixed.dtype == prediction.rotations.dtype == torch.float32
    assert float(mixed.detach()) == pytest.approx(exact, rel=0.02)
    mixed.backward()


def moved(model):
    """Put parameters and buffers on the second device, as `model.to` does for a real one."""
    for module in model.modules():
        for name, value in module._parameters.items():
            if value is not None:
                module._parameters[name] = nn.Parameter(there(value.detach()))
        for name, value in module._buffers.items():
            module._buffers[name] = there(value)
    return model


@pytest.mark.parametrize("options", [{"label_width_deg": 8.0}, {"decoding": "neighbours"}])
def test_a_step_on_another_device_gives_the_same_numbers(options):
    options |= {"shift_head": True, "pixel_size_angst": 2.0, "test_time_turns": 2}
    model = tiny("D2", **options).eval()
    images, origins = blobs(2), torch.ones(2, 2)
    rotations = torch.from_numpy(random_rotations(2, np.random.default_rng(0))).float()
    here = model.loss(images, rotations, torch.ones(2), shifts_angst=origins)
    here.backward()
    slope = model.so3_convolution.weight.grad
    expected = model.predict(images)
    with second_device():
        far = moved(tiny("D2", **options).eval())
        value = far.loss(
            there(images), there(rotations), there(torch.ones(2)), shifts_angst=there(origins)
        )
        value.backward()
        found = far.predict(there(images), distribution=True)
        torch.testing.assert_close(back(value.detach()), here.detach())
        torch.testing.assert_close(back(far.so3_convolution.weight.grad), slope)
        torch.testing.assert_close(back(found.shifts_angst), expected.shifts_angst)
        torch.testing.assert_close(back(found.rotations), expected.rotations)
        assert len(back(found.distribution.top_k(3)[1])) == 2


@pytest.mark.gpu
@pytest.mark.parametrize("options", [{"label_width_deg": 8.0}, {"decoding": "neighbours"}])
def test_a_step_on_a_gpu_gives_the_same_numbers(options):
    model = tiny("D2", test_time_turns=2, **options).eval()
    images = blobs(2)
    rotations = torch.from_numpy(random_rotations(2, np.random.default_rng(0))).float()
    here = float(model.loss(images, rotations, torch.ones(2)).detach())
    expected = model.predict(images)
    far = model.to("cuda")
    value = far.loss(images.cuda(), rotations.cuda(), torch.ones(2).cuda())
    value.backward()
    found = far.predict(images.cuda(), distribution=True)
    assert float(value.detach()) == pytest.approx(here, rel=1e-3)
    error_deg = geodesic_distance_deg(
        found.rotations.double().cpu().numpy(), expected.rotations.double().numpy()
    )
    assert error_deg.max() < 1.0
    torch.testing.assert_close(found.confidence.cpu(), expected.confidence, atol=1e-3, rtol=0)
    assert found.distribution.to("cpu").at_order(2).probabilities().shape == (2, 4608)


@pytest.mark.parametrize(
    "wrong",
    [
        {"test_time_turns": 0},
        {"label_smoothing": 1.0},
        {"l_max": 13},
        {"sphere_features": -1},
        {"label_width_deg": -1.0},
        {"max_shift_share": 0.9},
        {"sampled_share": 0.0},
        {"input_px": 0},
        {"image_channels": 0},
        {"decoding": "best"},
    ],
)
def test_options_that_mean_nothing_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(OptionError, match="best" if name == "decoding" else f"{name}=.*range"):
        tiny(**wrong)
