"""Weights, masks and transforms behind a map, each against a slow float64 version of itself."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import i0

from cesped.physics.gridding import (
    BLOB_ALPHA,
    BLOB_RADIUS_PX,
    GRIDDING_ITERATIONS,
    _central_box,
    blob_profile,
    floored_weights,
    gridding_weights,
    mask_outside,
)


def test_the_blob_profile_is_the_transform_of_a_kaiser_bessel_ball():
    size, padding = 64, 2
    radius = BLOB_RADIUS_PX * padding

    def transform(frequency):
        def integrand(r):
            return (
                r**2 * i0(BLOB_ALPHA * np.sqrt(1 - (r / radius) ** 2)) * np.sinc(2 * frequency * r)
            )

        return quad(integrand, 0, radius)[0]

    for distance in (0.0, 3.0, 11.5, 25.0, 31.9):
        expected = transform(distance / size) / transform(0)
        found = blob_profile(np.array(distance), size, padding)
        assert found == pytest.approx(expected, abs=1e-9)
    assert blob_profile(np.array(32.0), size, padding) == 0


def even_density(size, radius, seed):
    """Half grid [z, y, x >= 0] of a positive density, equal at k and -k, 0 outside the sphere."""
    rng = np.random.default_rng(seed)
    real_space = rng.normal(size=(size,) * 3)
    density = np.abs(np.fft.fftn(real_space)) ** 2  # power is even
    k = np.fft.fftfreq(size, 1 / size)
    square = k[:, None, None] ** 2 + k[:, None] ** 2 + k**2
    density *= 1 / (1 + square)
    density[square >= radius**2] = 0
    return density / density.max()


@pytest.mark.parametrize("size", [24, 27])
def test_gridding_weights_are_those_of_full_complex_transforms(size):
    radius, padding = size // 2, 2
    density = even_density(size, radius, seed=1)
    k = np.fft.fftfreq(size, 1 / size)
    distance = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)
    blob = blob_profile(distance * (2 * radius + 3) / size, size, padding)
    weights = (distance < radius).astype(float)
    for _ in range(GRIDDING_ITERATIONS):
        convolved = np.fft.fftn(np.fft.ifftn(weights * density) * blob)
        weights = weights / np.maximum(1e-6, np.abs(convolved))
    half = np.ascontiguousarray(density[..., : size // 2 + 1], dtype=np.float32)
    found = gridding_weights(half, radius, padding, threads=2)
    expected = weights[..., : size // 2 + 1]
    np.testing.assert_allclose(found, expected, atol=3e-4 * expected.max(), rtol=3e-3)


def test_gridding_evens_the_density():
    size, radius, padding = 32, 16, 2
    density = even_density(size, radius, seed=2)
    half = np.ascontiguousarray(density[..., : size // 2 + 1], dtype=np.float32)
    weights = gridding_weights(half, radius, padding, threads=1)
    k = np.fft.fftfreq(size, 1 / size)
    distance = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(size // 2 + 1) ** 2)
    full = np.fft.irfftn(weights * half, s=(size,) * 3, axes=(0, 1, 2))
    whole = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)
    blob = blob_profile(whole * (2 * radius + 3) / size, size, padding)
    evened = np.fft.rfftn(full * blob).real[distance < radius - 4]
    assert np.abs(evened - 1).mean() < 0.05


def test_weights_without_gridding_are_floored_shell_by_shell():
    size, radius, padding = 16, 8, 2
    rng = np.random.default_rng(3)
    density = rng.uniform(0, 1, size=(size, size, size // 2 + 1)).astype(np.float32) ** 8
    found = floored_weights(density, radius, padding, threads=2)
    shells = {}
    for z, y, x in np.ndindex(density.shape):
        k = np.array([x, y - size * (y > size // 2), z - size * (z > size // 2)], dtype=float)
        if k @ k < radius**2:
            shells.setdefault(int(np.sqrt(k @ k) / padding), []).append((z, y, x))
    expected = np.zeros(density.shape)
    for voxels in shells.values():
        values = np.array([density[voxel] for voxel in voxels], dtype=float)
        for voxel, value in zip(voxels, values, strict=True):
            expected[voxel] = 1 / max(value, values.mean() / 1000)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_an_empty_grid_has_no_weights():
    assert not floored_weights(np.zeros((8, 8, 5), np.float32), 4, 2, threads=1).any()


@pytest.mark.parametrize("box", [8, 9])
def test_the_pruned_transform_is_the_middle_of_the_whole(box):
    size = 2 * box
    rng = np.random.default_rng(4)
    grid = np.fft.rfftn(rng.normal(size=(size,) * 3)).astype(np.complex64)
    whole = np.fft.irfftn(grid, s=(size,) * 3, axes=(0, 1, 2))
    shifted = np.roll(whole, (box // 2,) * 3, axis=(0, 1, 2))[:box, :box, :box]
    np.testing.assert_allclose(_central_box(grid.copy(), box, size, 2), shifted, atol=1e-5)


def test_the_mask_keeps_the_inside_and_levels_the_outside():
    box = 24
    axis = np.arange(box) - box // 2
    distance = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).astype(np.float32)
    volume = np.random.default_rng(5).normal(size=(box,) * 3).astype(np.float32)
    masked = volume.copy()
    mask_outside(masked, distance)
    np.testing.assert_array_equal(masked[distance < 12], volume[distance < 12])
    outside = masked[distance > 15]
    assert np.ptp(outside) < 1e-5
    assert outside[0] == pytest.approx(volume[distance > 13.5].mean(), abs=0.02)
    level = np.full((box,) * 3, 0.5, np.float32)
    mask_outside(level, distance)
    np.testing.assert_allclose(level, 0.5, atol=1e-6)
