"""Simulated particles: what is written is what was asked for."""

import fake_entry as fake
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cesped import errors
from cesped.data.conventions import read_particle_table
from cesped.data.images import ImageSource
from cesped.data.simulation.stack import simulate_stack
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import geodesic_distance_deg
from cesped.physics.ctf import CtfParameters

BOX = 40


def ball_volume(balls, weights, box=BOX, sigma_px=1.3):
    offset = np.arange(box) - (balls / 3.0 + box // 2)[..., None]
    profile = np.exp(-0.5 * (offset / sigma_px) ** 2)
    return np.einsum(
        "a,az,ay,ax->zyx", weights, profile[:, 2], profile[:, 1], profile[:, 0], optimize=True
    ).astype(np.float32)


@pytest.fixture(scope="module")
def scene():
    balls, weights = fake.fake_balls(radius_angst=30.0)
    rng = np.random.default_rng(2)
    poses, ctf = fake.fake_poses(300, rng), fake.fake_ctf(300, rng)
    return balls, weights, poses, ctf, ball_volume(balls, weights)


def simulate(folder, scene, snr, seed=1, count=300, **options):
    _, _, poses, ctf, volume = scene
    rows = np.arange(count)
    star = folder / "sim.star"
    generator = np.random.default_rng(seed)
    simulate_stack(
        star,
        volume,
        3.0,
        poses.select(rows),
        ctf.select(rows),
        snr=snr,
        generator=generator,
        **options,
    )
    table = read_particle_table(star)
    return table, ImageSource(table).read(rows)


def test_noise_free_images_are_the_projections(tmp_path, scene):
    balls, weights, poses, ctf, _ = scene
    table, images = simulate(tmp_path, scene, None, count=20)
    twenty = np.arange(20)
    exact = fake.project_balls(balls, weights, poses.select(twenty), BOX)
    expected = fake.apply_ctf(exact, ctf.select(twenty))
    for image, reference in zip(images, expected, strict=True):
        assert np.corrcoef(image.ravel(), reference.ravel())[0, 1] > 0.999
    assert geodesic_distance_deg(table.poses.rotations, poses.rotations[:20]).max() < 1e-6
    np.testing.assert_allclose(table.poses.origins_angst, poses.origins_angst[:20])
    np.testing.assert_allclose(table.ctf.defocus_u_angst, ctf.defocus_u_angst[:20])
    np.testing.assert_allclose(table.ctf.defocus_angle_deg, ctf.defocus_angle_deg[:20])


@pytest.mark.parametrize("snr", [0.05, 1.0])
def test_snr_is_signal_variance_over_noise_variance(tmp_path, scene, snr):
    _, clean = simulate(tmp_path, scene, None)
    _, noisy = simulate(tmp_path, scene, snr)
    noise = noisy.astype(np.float64) - clean
    signal = clean.var(axis=(1, 2), dtype=np.float64).mean()
    assert signal / noise.var() == pytest.approx(snr, rel=0.01)
    assert noise.std(axis=(1, 2)).std() < 0.03 * noise.std()


def test_the_seed_is_all(tmp_path, scene):
    _, a = simulate(tmp_path, scene, 0.5, seed=8, count=150)
    _, b = simulate(tmp_path, scene, 0.5, seed=8, count=150)
    _, c = simulate(tmp_path, scene, 0.5, seed=9, count=150)
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 0


def test_optics_groups_and_columns(tmp_path, scene):
    poses = scene[2].select(np.arange(4))
    poses = Poses(poses.rotations, poses.origins_angst, np.array([0.5, 1, 0.2, 1]))
    ctf = CtfParameters(
        9000.0, 8900.0, 10.0, np.array([300, 200, 300, 200.0]), 2.7, 0.1, 90.0, 50.0, 0.9
    )
    star = tmp_path / "p.star"
    generator = np.random.default_rng(0)
    simulate_stack(star, scene[4], 3.0, poses, ctf, snr=1.0, generator=generator, random_subset=2)
    table = read_particle_table(star)
    assert len(table.optics) == 2
    assert table.ctf.voltage_kv.tolist() == [300, 200, 300, 200]
    assert table.ctf.phase_shift_deg.tolist() == [90] * 4
    assert table.ctf.b_factor_angst2.tolist() == [50] * 4
    assert table.ctf.scale.tolist() == [0.9] * 4
    assert table.has_confidence
    assert table.poses.confidence.tolist() == [0.5, 1, 0.2, 1]
    assert table.particles["rlnRandomSubset"].tolist() == [2] * 4


@given(seed=st.integers(0, 1000))
def test_mirror_pose_makes_the_mirrored_image(scene, seed):
    """A turn of the object about x by 180 degrees is a mirror of the image in y."""
    from cesped.physics.projection import Projector

    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    rotation *= np.linalg.det(rotation)
    projector = Projector(scene[4])
    flipped = rotation @ np.diag([1.0, -1.0, -1.0])
    images = projector.project(np.stack([rotation, flipped]))[:, 1:, 1:]
    mirrored = torch.flip(images[0], dims=(0,))
    assert np.corrcoef(images[1].numpy().ravel(), mirrored.numpy().ravel())[0, 1] > 0.9999


@pytest.mark.parametrize("snr", [0.0, -1.0, float("nan")])
def test_bad_snr_leaves_nothing(tmp_path, scene, snr):
    with pytest.raises(errors.OptionError, match="SNR"):
        simulate(tmp_path, scene, snr, count=3)
    assert list(tmp_path.iterdir()) == []


def test_unequal_numbers(tmp_path, scene):
    with pytest.raises(errors.MetadataError, match="300 poses and 2 CTFs"):
        simulate_stack(
            tmp_path / "x.star",
            scene[4],
            3.0,
            scene[2],
            scene[3].select([0, 1]),
            snr=1.0,
            generator=np.random.default_rng(0),
        )
