"""Sets of views: labels are exact, a number is a set, and signal and noise are as asked."""

import numpy as np
import pytest
import torch
from fake_entry import write_fake_entry

from cesped.data.conventions import read_particle_table
from cesped.data.preprocessing import PreprocessingOptions
from cesped.data.simulation.optics import OpticsRanges
from cesped.errors import MetadataError, OptionError
from cesped.geometry.rotations import geodesic_distance_deg
from cesped.geometry.symmetry import point_group
from cesped.models.cryofastar.planar_maps import PlanarMaps, maps_of_poses, relative_rotations
from cesped.models.cryofastar.poses import poses_of_maps
from cesped.physics.ctf import CtfParameters, ctf_half_plane
from cesped.physics.density import density_from_atoms
from cesped.physics.fourier import half_plane_to_images, images_to_half_plane
from cesped.physics.torch_projection import TorchProjector
from cesped.training.prepared import PreparedParticles
from cesped.training.views.particles import ParticleViews
from cesped.training.views.sets import TRAINING, VALIDATION, true_points, true_rotations
from cesped.training.views.simulated import SimulatedViews
from cesped.vocabulary import CtfCorrection, MapConvention, Normalization

BOX, PIXEL, RESOLUTION = 32, 3.0, 12.0
STREAM = (0, 1, TRAINING)
PAPER = MapConvention.PAPER
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def atoms(seed=0):
    """Return places [angstrom] and weights of a few atoms without symmetry."""
    generator = np.random.default_rng(seed)
    return generator.uniform(-20, 20, (7, 3)), generator.uniform(1, 2, 7)


def projector(seed=0, device="cpu"):
    volume = density_from_atoms(*atoms(seed), BOX, PIXEL, RESOLUTION)
    return TorchProjector(volume, PIXEL, device)


def known_maps(points):
    return PlanarMaps(points, torch.ones(points.shape[:-1]), None)


@pytest.mark.parametrize("convention", list(MapConvention))
def test_poses_come_back_from_the_maps_of_drawn_views(convention):
    batch = SimulatedViews([projector()], max_shift_px=5).draw([3, 9], 4, STREAM)
    points = true_points(batch, known_maps(torch.zeros(2, 4, BOX, BOX, 3)), convention)
    found = poses_of_maps(known_maps(points), convention)
    wanted = relative_rotations(batch.rotations)
    torch.testing.assert_close(found.rotations, wanted, rtol=0, atol=2e-5)
    torch.testing.assert_close(found.shifts_px, batch.shifts_px, rtol=0, atol=1e-4)
    assert float(batch.shifts_px.abs().max()) > 2


@pytest.mark.parametrize("device", DEVICES)
def test_images_show_the_atoms_where_the_labels_say(device):
    batch = SimulatedViews([projector(device=device)], max_shift_px=4).draw([0, 1], 3, STREAM)
    assert batch.images.device.type == device
    places, weights = atoms()
    axis = np.arange(BOX) - BOX // 2
    sigma_px = RESOLUTION / (np.pi * np.sqrt(2)) / PIXEL  # falls to 1/e at the resolution
    for image, rotation, shift in zip(
        batch.images[:, :, 0].flatten(0, 1).cpu().numpy(),
        batch.rotations.flatten(0, 1).double().cpu().numpy(),
        batch.shifts_px.flatten(0, 1).double().cpu().numpy(),
        strict=True,
    ):
        seen = (places @ rotation)[:, :2] / PIXEL + shift  # x_volume = R x_image
        x, y = (np.exp(-((axis - seen[:, i, None]) ** 2) / (2 * sigma_px**2)) for i in range(2))
        wanted = np.einsum("ay,ax->yx", y * weights[:, None], x)
        assert np.corrcoef(image.ravel(), wanted.ravel())[0, 1] > 0.9995


def test_a_number_is_the_same_set_in_every_batch_and_another_in_every_stream():
    source = SimulatedViews([projector(), projector(1)], (1, 4), 2.0, OpticsRanges())
    alone, among = source.draw([5], 3, STREAM), source.draw([2, 5, 8], 3, STREAM)
    assert torch.equal(alone.rotations[0], among.rotations[1])
    torch.testing.assert_close(alone.images[0], among.images[1], rtol=0, atol=2e-5)
    for stream in ((1, 1, TRAINING), (0, 2, TRAINING), (0, 1, VALIDATION)):
        other = source.draw([5], 3, stream)
        assert float((alone.rotations - other.rotations).abs().max()) > 0.1


def test_signal_over_noise_is_drawn_from_its_range_for_each_set():
    batch = SimulatedViews([projector()], (0.2, 5.0)).draw(list(range(24)), 3, STREAM)
    noise = (batch.images - batch.clean_images).var(dim=(2, 3, 4)).mean(dim=1)
    signal = batch.clean_images.var(dim=(2, 3, 4), correction=0).mean(dim=1)
    ratios = (signal / noise).numpy()
    assert 0.18 < ratios.min() < 0.5
    assert 2 < ratios.max() < 5.5
    assert 0.5 < np.median(ratios) < 2  # uniform in the logarithm: the mean would be 1.5


def test_the_ctf_multiplies_the_shifted_transform():
    optics = CtfParameters(15000.0, 14000.0, 30.0, 300.0, 2.7, 0.1)
    seen = SimulatedViews([projector()], None, 3.0, optics).draw([4], 2, STREAM)
    plain = SimulatedViews([projector()], None, 3.0).draw([4], 2, STREAM)
    assert geodesic_distance_deg(seen.rotations[0].numpy(), plain.rotations[0].numpy()).max() < 0.1
    transfer = ctf_half_plane(optics, BOX, PIXEL)
    wanted = half_plane_to_images(images_to_half_plane(plain.images[0, :, 0]) * transfer)
    scale = float(wanted.abs().max())
    torch.testing.assert_close(seen.images[0, :, 0], wanted, rtol=0, atol=2e-5 * scale)


def test_sets_come_from_all_maps_and_each_from_one():
    first, second = projector(), projector(1)
    both = SimulatedViews([first, second]).draw(list(range(12)), 2, STREAM)
    ours = []
    for images, rotations in zip(both.images[:, :, 0], both.rotations, strict=True):
        errors = [float((p.project(rotations) - images).abs().max()) for p in (first, second)]
        assert min(errors) < 1e-3 * max(errors)
        ours.append(int(np.argmin(errors)))
    assert {0, 1} == set(ours)


def test_of_a_symmetric_particle_the_pose_counts_that_the_network_means():
    group = point_group("D2")
    batch = SimulatedViews([projector()], group=group).draw([0, 1, 2], 5, STREAM)
    operators = torch.tensor(group.operators, dtype=torch.float32)
    chosen = torch.tensor([[0, 1, 2, 3, 1], [0, 3, 2, 1, 0], [0, 0, 3, 3, 2]])
    meant = relative_rotations(
        torch.cat([batch.rotations[:, :1], (operators[chosen] @ batch.rotations)[:, 1:]], dim=1)
    )
    points = maps_of_poses(meant, batch.shifts_px, BOX, BOX)
    points = points + 0.2 * torch.randn(points.shape, generator=torch.Generator().manual_seed(0))
    found = true_rotations(batch, known_maps(points), PAPER)
    torch.testing.assert_close(found, meant, rtol=0, atol=1e-5)
    plain = SimulatedViews([projector()]).draw([0, 1, 2], 5, STREAM)
    assert not torch.allclose(true_rotations(plain, known_maps(points), PAPER), meant, atol=0.1)


def test_maps_of_two_boxes_or_none_are_refused():
    small = TorchProjector(np.ones((16, 16, 16)), PIXEL)
    with pytest.raises(OptionError, match="of 16 and 32 voxels"):
        SimulatedViews([small, projector()])
    with pytest.raises(OptionError, match="no such maps at all"):
        SimulatedViews([])


@pytest.fixture(scope="module")
def particles(tmp_path_factory):
    entry = write_fake_entry(tmp_path_factory.mktemp("views"), n_particles=20)
    table = read_particle_table(entry.star(0), entry.folder)
    plain = PreprocessingOptions(
        image_size=24,
        normalization=Normalization.NONE,
        ctf_correction=CtfCorrection.NONE,
        crop_fraction=0.0,
    )
    return PreparedParticles(table, plain)


def test_sets_of_particles_have_the_poses_of_the_star_file(particles):
    source = ParticleViews(particles, held_out_share=0.25, seed=3)
    learned = source.draw(list(range(30)), 4, STREAM)
    held_out = source.draw(list(range(30)), 4, (0, 1, VALIDATION))
    poses = particles.table.poses
    used = []
    for batch in (learned, held_out):
        distance = batch.rotations.double()[:, :, None] - torch.from_numpy(poses.rotations)
        rows = distance.flatten(3).norm(dim=-1).argmin(dim=-1)
        used.append({int(row) for row in rows.flatten()})
        assert all(len(set(row.tolist())) == 4 for row in rows)
        torch.testing.assert_close(
            batch.images.flatten(0, 1), particles.read(rows.flatten().numpy()), rtol=0, atol=0
        )
        wanted = -poses.origins_angst[rows.numpy()] / particles.pixel_size_angst
        np.testing.assert_allclose(batch.shifts_px.numpy(), wanted, atol=1e-5)
        assert float(np.abs(wanted).max()) > 0
    assert used[0] == set(source.training_rows.tolist())
    assert used[1] == set(source.held_out_rows.tolist())
    assert len(used[0]) == 15
    assert len(used[1]) == 5
    assert not used[0] & used[1]


def test_more_views_than_particles_are_refused(particles):
    source = ParticleViews(particles, held_out_share=0.1)
    with pytest.raises(MetadataError, match="of its 20 particles 2 are held out, too few for sets"):
        source.draw([0], 4, (0, 1, VALIDATION))
