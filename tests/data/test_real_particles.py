"""Seventeen real particles go through the house; their poses must explain their images.

Leave-one-out: sixteen particles are back-projected, the map is projected at the pose of the
seventeenth and correlated with its image. Wrong conventions (a transposed rotation) cannot pass.
"""

import numpy as np
import pytest
import torch
from real_data import REAL_DATA, needs_real_data

from cesped.data.conventions import read_particle_table
from cesped.data.dataset import ParticlesDataset
from cesped.data.images import ImageSource
from cesped.data.preprocessing import resize_band_limited
from cesped.data.store import EntryStore
from cesped.geometry.rotations import random_rotations
from cesped.physics.backprojection import BackProjector
from cesped.physics.ctf import ctf_half_plane
from cesped.physics.fourier import frequency_grid_px, images_to_half_plane, shift_phase
from cesped.physics.projection import Projector

pytestmark = needs_real_data("aspire_sample.mrcs", "aspire_sample_relion_data.star")
BOX = 36


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The star file calls the stack sample.mrcs."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "particles.star").symlink_to(REAL_DATA / "aspire_sample_relion_data.star")
    (folder / "sample.mrcs").symlink_to(REAL_DATA / "aspire_sample.mrcs")
    return folder


@pytest.fixture(scope="module")
def table(project):
    return read_particle_table(project / "particles.star")


def test_relion_30_conventions(table):
    assert len(table) == 17
    assert table.image_size == 200
    assert table.sampling_rate == pytest.approx(1.338, abs=1e-3)
    assert table.has_confidence
    assert set(table.ctf.voltage_kv) == {300.0}


def test_added_and_opened(project, tmp_path):
    star = project / "particles.star"
    half = EntryStore(tmp_path).add(star, project, "REAL", 0, "C1")
    assert half.symmetry == "C1"
    dataset = ParticlesDataset("REAL", 0, tmp_path, image_size=64)
    assert len(dataset) == 17
    assert dataset.sampling_rate == pytest.approx(1.338 * 150 / 64, rel=1e-3)
    for iid, image, (rotation, shift, confidence), metadata in dataset:
        assert iid.endswith("@sample.mrcs")
        assert image.shape == (1, 64, 64)
        assert torch.isfinite(image).all()
        assert torch.allclose(rotation @ rotation.T, torch.eye(3), atol=1e-5)
        assert shift.shape == (2,)
        assert 0 <= float(confidence) <= 1
        assert metadata["pixel_size_angst"] == pytest.approx(dataset.sampling_rate)


class LeaveOneOut:
    """Correlates each image with the projection of a map of the others."""

    def __init__(self, table):
        images = torch.from_numpy(ImageSource(table).read(np.arange(len(table))))
        scale = table.image_size / BOX
        pixel_size = table.sampling_rate * scale
        images = resize_band_limited(images, BOX)
        images = (images - images.mean((1, 2), keepdim=True)) / images.std((1, 2), keepdim=True)
        origins_px = torch.from_numpy(table.poses.origins_angst / pixel_size)
        self.ctf = ctf_half_plane(table.ctf, BOX, pixel_size)
        self.centred = images_to_half_plane(images) * shift_phase(BOX, origins_px)
        ky, kx = frequency_grid_px(BOX)
        frequency = torch.sqrt(ky**2 + kx**2) / pixel_size
        self.band = (frequency > 1 / 150) & (frequency < 1 / 20)
        self.count = len(table)

    def mean_correlation(self, rotations):
        found = []
        for out in range(self.count):
            others = [row for row in range(self.count) if row != out]
            projector = BackProjector(BOX, threads=1)
            projector.insert(self.centred[others], self.ctf[others], rotations[others], None)
            volume = projector.reconstruct(gridding=False)
            predicted = (
                Projector(volume, threads=1).slices(rotations[out : out + 1])[0] * self.ctf[out]
            )
            predicted, image = predicted[self.band], self.centred[out][self.band]
            overlap = (predicted * image.conj()).real.sum()
            found.append(float(overlap / (predicted.norm() * image.norm())))
        return float(np.mean(found))


@pytest.fixture
def one_thread():
    """Small transforms are slower on two threads that others use too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_star_poses_explain_images_left_out(table):
    test = LeaveOneOut(table)
    rng = np.random.default_rng(1)
    chance = [test.mean_correlation(random_rotations(17, rng)) for _ in range(20)]
    mean, deviation = np.mean(chance), np.std(chance, ddof=1)
    rotations = table.poses.rotations
    z_star = (test.mean_correlation(rotations) - mean) / deviation
    z_transposed = (test.mean_correlation(rotations.transpose(0, 2, 1)) - mean) / deviation
    assert z_star >= 5, f"{z_star:.1f}"
    assert z_transposed < 2
