"""Turned and moved maps against Gaussian balls, whose turned map has a closed form."""

import numpy as np
import pytest

from cesped.errors import GeometryError, OptionError
from cesped.geometry.rotations import axis_angle_rotations, random_rotations
from cesped.physics.fsc import fsc_curve
from cesped.physics.volume_sampling import VolumeSampler, moved_volume, sphere_of_frequencies


def balls(n, generator, count=20):
    positions = generator.normal(size=(count, 3))
    positions *= 0.25 * n / np.linalg.norm(positions, axis=1).max()
    return positions, generator.uniform(0.5, 2.0, count)


def density(positions, weights, n, sigma_px=1.6):
    axis = np.arange(n) - n // 2
    x, y, z = (np.exp(-0.5 * ((axis - p[:, None]) / sigma_px) ** 2) for p in positions.T)
    return np.einsum("az,ay,ax->zyx", z * weights[:, None], y, x, optimize=True)


@pytest.mark.parametrize("is_mirrored", [False, True])
@pytest.mark.parametrize("n", [32, 33])
def test_a_moved_map_is_the_map_of_the_moved_balls(n, is_mirrored):
    generator = np.random.default_rng(n)
    positions, weights = balls(n, generator)
    rotation = random_rotations(1, generator)[0]
    shift = np.array([1.5, -2.25, 0.5])
    hand = -1.0 if is_mirrored else 1.0
    expected = density(hand * positions @ rotation.T + shift, weights, n)
    found = moved_volume(density(positions, weights, n), rotation, shift, is_mirrored=is_mirrored)
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.max())


@pytest.mark.parametrize(("width", "accuracy"), [(2, 0.1), (4, 2e-3), (6, 2e-5)])
def test_samples_are_those_of_the_exact_transform(width, accuracy):
    n = 24
    generator = np.random.default_rng(width)
    volume = density(*balls(n, generator), n)
    rotation = random_rotations(1, generator)
    frequencies = sphere_of_frequencies(11)[::37]
    axis = np.arange(n) - n // 2
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij")[::-1], axis=-1).reshape(-1, 3)
    turned = frequencies @ rotation[0]  # rows of R^T k
    exact = np.exp(-2j * np.pi / n * (turned @ points.T)) @ volume.ravel()
    found = VolumeSampler(volume, width=width).sample(frequencies, rotation)[0]
    assert np.abs(found - exact).max() < accuracy * np.abs(exact).max()
    if width > 2:
        assert np.abs(found - exact).max() > 1e-8 * np.abs(exact).max()  # it is interpolation


def test_threads_and_batches_change_nothing():
    generator = np.random.default_rng(5)
    sampler = VolumeSampler(generator.normal(size=(17, 17, 17)), limit=6)
    frequencies, rotations = sphere_of_frequencies(6), random_rotations(5, generator)
    together = sampler.sample(frequencies, rotations, threads=3)
    for row, rotation in zip(together, rotations, strict=True):
        alone = sampler.sample(frequencies, rotation[None], threads=1)[0]
        np.testing.assert_array_equal(row, alone)


def test_the_half_space_lists_every_frequency_or_its_opposite_once():
    frequencies = {tuple(k) for k in sphere_of_frequencies(3)}
    assert len(frequencies) == len(sphere_of_frequencies(3))
    axis = range(-3, 4)
    for k in ((x, y, z) for x in axis for y in axis for z in axis if x * x + y * y + z * z <= 9):
        opposite = tuple(-c for c in k)
        assert (k in frequencies) or (opposite in frequencies)
        if k[0] == 0:
            assert k in frequencies


def test_what_leaves_the_box_does_not_come_back_on_the_other_side():
    n = 32
    volume = density(np.array([[10.0, 0.0, 0.0]]), np.ones(1), n)
    moved = moved_volume(volume, np.eye(3), [12.0, 0.0, 0.0])
    assert np.abs(moved).max() < 1e-3
    by_turn = moved_volume(volume, axis_angle_rotations([0.0, 0.0, 1.0], 45.0), np.zeros(3))
    assert by_turn.max() == pytest.approx(density(np.zeros((1, 3)), np.ones(1), n).max(), rel=0.02)


@pytest.mark.parametrize("n", [32, 33])
def test_a_map_that_stays_keeps_its_last_shell(n):
    """All shells that an FSC counts, up to the one at the Nyquist frequency."""
    generator = np.random.default_rng(n)
    axis = np.arange(n) - n // 2
    square = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    noise = generator.normal(size=(n, n, n)) * np.exp(-0.5 * square / (n / 8) ** 2)
    still = fsc_curve(noise, moved_volume(noise, np.eye(3), np.zeros(3)), 1.0).correlation
    assert still[1:-1].min() > 0.997
    assert still[-1] > 0.9
    turn = axis_angle_rotations([0.0, 0.0, 1.0], 30.0)
    there = moved_volume(noise, turn, np.zeros(3))
    back = fsc_curve(noise, moved_volume(there, turn.T, np.zeros(3)), 1.0).correlation
    assert back[1:-2].min() > 0.99


def test_the_background_stays():
    n = 20
    volume = density(np.zeros((1, 3)), np.ones(1), n) + 7.0
    moved = moved_volume(volume, np.eye(3), [1.0, 2.0, 3.0])
    np.testing.assert_allclose(moved[0, 0, 0], 7.0, atol=1e-3)
    assert np.unravel_index(moved.argmax(), moved.shape) == (13, 12, 11)


def test_what_cannot_be_sampled_is_refused():
    cube = np.zeros((8, 8, 8))
    with pytest.raises(GeometryError, match=r"shape \(8, 8, 7\); a cube"):
        VolumeSampler(cube[:, :, :7])
    with pytest.raises(OptionError, match=r"limit 6 of a map of 8 voxels; use 0 to N / 2 \+ 1"):
        VolumeSampler(cube, limit=6)
    with pytest.raises(OptionError, match="width 3; use 2, 4 or 6"):
        VolumeSampler(cube, width=3)
    sampler = VolumeSampler(cube, limit=2)
    with pytest.raises(GeometryError, match="frequencies up to 3 of a sampler with the limit 2"):
        sampler.sample([[3.0, 0.0, 0.0]], np.eye(3)[None])
    with pytest.raises(GeometryError, match="matrices that are no rotations"):
        sampler.sample([[1.0, 0.0, 0.0]], 2.0 * np.eye(3)[None])
    with pytest.raises(GeometryError, match=r"give \(M, 3\) and \(B, 3, 3\)"):
        sampler.sample([1.0, 0.0, 0.0], np.eye(3)[None])
