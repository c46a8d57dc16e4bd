"""The map of a set of particles: nearer to the truth for its filter, its strength measured."""

import contextlib
from dataclasses import replace

import mrcfile
import numpy as np
import pytest
import torch
from fake_entry import write_fake_entry

from cesped.data.conventions import read_particle_table
from cesped.data.images import ImageSource
from cesped.errors import MetadataError
from cesped.physics.ctf import ctf_half_plane
from cesped.physics.fourier import half_plane_to_images, images_to_half_plane
from cesped.physics.fsc import FscCurve
from cesped.physics.noise_spectrum import NoiseSpectrum, colour_noise
from cesped.physics.projection import Projector
from cesped.reconstruction.native import NativeReconstructor
from cesped.reconstruction.own_map import own_map, wiener_weights
from cesped.reconstruction.protocol import PoseSet, ReconstructionOptions
from cesped.vocabulary import CtfCorrection

N = 24


@pytest.fixture(scope="module")
def particles(tmp_path_factory):
    entry = write_fake_entry(tmp_path_factory.mktemp("own"), n_particles=400, box=N, snr=0.5)
    return entry, read_particle_table(entry.star(0), entry.folder)


def made(table, seed=0):
    return own_map(table, "C1", NativeReconstructor(), np.random.default_rng(seed))


def test_the_filter_brings_the_map_nearer_to_the_truth(particles):
    entry, table = particles
    options = ReconstructionOptions()
    plain = NativeReconstructor().reconstruct(table, [PoseSet(table.poses)], options)[0]
    axis = (np.arange(N) - N // 2) * table.sampling_rate
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    truth = sum(
        w * np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / (2 * (1.3 * 3.0) ** 2))
        for (a, b, c), w in zip(entry.balls_angst, entry.weights, strict=True)
    )
    found = made(table)
    before, after = (np.corrcoef(truth.ravel(), m.ravel())[0, 1] for m in (plain, found.volume))
    assert after > before + 0.02
    assert 2 * table.sampling_rate <= found.resolution_angst < 20


def test_projections_have_the_grey_values_of_the_images(particles):
    _, table = particles
    found = made(table)
    transfer = ctf_half_plane(table.ctf, N, table.sampling_rate)
    origins_px = table.poses.origins_angst / table.sampling_rate
    shown = Projector(found.volume).project(table.poses.rotations, origins_px, transfer).numpy()
    images = ImageSource(table).read(np.arange(len(table)))
    assert (shown * images).sum() / (shown**2).sum() == pytest.approx(1.0, abs=0.1)
    assert found.snr == pytest.approx(0.5, rel=0.2)


@pytest.mark.parametrize("correction", [CtfCorrection.PHASE_FLIP, CtfCorrection.CTF_MULTIPLY])
def test_the_strength_is_that_of_the_raw_image_whatever_was_done_to_it(
    particles, tmp_path, correction
):
    _, table = particles
    raw = torch.from_numpy(ImageSource(table).read(np.arange(len(table))))
    transfer = ctf_half_plane(table.ctf, N, table.sampling_rate)
    factor = transfer.sign() if correction is CtfCorrection.PHASE_FLIP else transfer
    images = half_plane_to_images(images_to_half_plane(raw) * factor).float().numpy()
    stack = tmp_path / "corrected.mrcs"
    with mrcfile.new(stack, data=images) as file:
        file.set_image_stack()
    corrected = replace(table, stacks=(stack,), ctf_correction_done=correction)
    assert made(corrected).snr == pytest.approx(made(table).snr, rel=0.1)


@pytest.mark.parametrize("correction", [CtfCorrection.NONE, CtfCorrection.CTF_MULTIPLY])
def test_the_noise_is_that_of_the_raw_images(particles, tmp_path, correction):
    """White as simulated, then coloured; multiplied by the CTF it still is told from it."""
    _, table = particles
    assert flatness(made(table).noise) < 2
    raw = torch.from_numpy(ImageSource(table).read(np.arange(len(table))))
    colour = NoiseSpectrum.falling(corner_angst=30.0, floor=0.05).amplitudes(N, 3.0)
    white = torch.from_numpy(np.random.default_rng(1).normal(size=raw.shape).astype(np.float32))
    images = raw + 2 * raw.std() * colour_noise(white, colour)
    if correction is CtfCorrection.CTF_MULTIPLY:
        transfer = ctf_half_plane(table.ctf, N, table.sampling_rate)
        images = half_plane_to_images(images_to_half_plane(images) * transfer).float()
    stack = tmp_path / "coloured.mrcs"
    with mrcfile.new(stack, data=images.numpy()) as file:
        file.set_image_stack()
    coloured = replace(table, stacks=(stack,), ctf_correction_done=correction)
    assert flatness(made(coloured).noise) > 4


def flatness(noise):
    low, high = noise.at([2 / (N * 3.0), (N // 2 - 1) / (N * 3.0)])
    return low / high


def test_images_of_nothing_show_no_map(particles, tmp_path):
    _, table = particles
    noise = np.random.default_rng(8).normal(size=(len(table), N, N)).astype(np.float32)
    with mrcfile.new(tmp_path / "noise.mrcs", data=noise) as file:
        file.set_image_stack()
    lost = replace(table, stacks=(tmp_path / "noise.mrcs",))
    signs = []
    for seed in range(6):
        with contextlib.suppress(MetadataError):
            signs.append(made(lost, seed).snr)
    assert len(signs) < 6  # by chance some maps correlate with the noise of the other part
    assert not signs or max(signs) < 0.05
    with pytest.raises(MetadataError, match="at least 4"):
        made(table.select(np.arange(3)))


def test_the_weights_are_wiener_s_and_end_where_noise_begins():
    correlation = np.array([-1.0, 1.0, 0.5, 0.2, 0.1, 0.9])
    curve = FscCurve(np.arange(6) / 10, correlation, 1.0)
    weights = wiener_weights(curve)
    assert weights.tolist() == pytest.approx([1.0, 1.0, 2 / 3, 1 / 3, 0.0, 0.0])
