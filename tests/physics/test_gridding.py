"""Weights, masks and transforms behind a map, each against a slow float64 version of itself."""

import numpy as np
import pytest
from dense_sums import density_sums, to_fft_layout
from scipy.integrate import quad
from scipy.special import i0

from cesped.physics.gridding import (
    BLOB_ALPHA,
    BLOB_RADIUS_PX,
    GRIDDING_ITERATIONS,
    blob_octant,
    blob_profile,
    floored_weights,
    gridding_weights,
    tabulated_blob_profile,
)
from cesped.physics.half_ball import FourierSums


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


def distances(size):
    k = np.fft.fftfreq(size, 1 / size)
    return np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)


@pytest.mark.parametrize(("box", "padding"), [(12, 2), (9, 3), (13, 2)])
def test_gridding_weights_are_those_of_relions_grid(box, padding):
    """On 2 radius + 3 voxels, in float64, with whole complex transforms."""
    size, radius = padding * box, padding * (box // 2)
    density = even_density(size, radius, seed=1)
    points = 2 * radius + 3
    k = np.fft.fftfreq(points, 1 / points).astype(int)
    weights = (distances(points) < radius).astype(float)
    on_points = weights * density[np.ix_(k % size, k % size, k % size)]
    blob = tabulated_blob_profile(distances(points), size, padding)
    for _ in range(GRIDDING_ITERATIONS):
        convolved = np.fft.fftn(np.fft.ifftn(weights * on_points) * blob)
        weights = weights / np.maximum(1e-6, np.abs(convolved))
    sums = density_sums(density, box, padding)
    found = to_fft_layout(sums.ball, gridding_weights(sums, size, padding, threads=2), points)
    expected = weights[..., : points // 2 + 1]
    np.testing.assert_allclose(found, expected, atol=3e-4 * expected.max(), rtol=3e-3)


@pytest.mark.parametrize("n", [28, 29, 30])
def test_a_resampled_blob_convolves_alike(n):
    size, radius, padding = 24, 12, 2
    points = 2 * radius + 3
    octant = blob_octant(n, radius, size, padding)
    kernels = []
    for samples, blob in (
        (points, tabulated_blob_profile(distances(points), size, padding)),
        (n, mirror(octant, n)),
    ):
        kernel = np.fft.fftshift(np.fft.ifftn(blob).real)
        middle = samples // 2
        kernels.append(kernel[(slice(middle - radius, middle + radius + 1),) * 3])
    np.testing.assert_allclose(kernels[1], kernels[0], atol=1e-6)


def mirror(octant, size):
    place = np.minimum(np.arange(size), size - np.arange(size))
    return octant[np.ix_(place, place, place)]


def test_gridding_evens_the_density():
    size, radius, padding = 32, 16, 2
    density = even_density(size, radius, seed=2)
    sums = density_sums(density, 16, padding)
    weights = to_fft_layout(sums.ball, gridding_weights(sums, size, padding, threads=1), size)
    blob = blob_profile(distances(size) * (2 * radius + 3) / size, size, padding)
    full = np.fft.irfftn(weights * density[..., : size // 2 + 1], s=(size,) * 3, axes=(0, 1, 2))
    evened = np.fft.rfftn(full * blob).real
    assert np.abs(evened[distances(size)[..., : size // 2 + 1] < radius - 4] - 1).mean() < 0.05


def test_weights_without_gridding_are_floored_shell_by_shell():
    box, size, radius, padding = 8, 16, 8, 2
    rng = np.random.default_rng(3)
    density = rng.uniform(0, 1, size=(size, size, size // 2 + 1)).astype(np.float32) ** 8
    sums = density_sums(density, box, padding)
    found = to_fft_layout(sums.ball, floored_weights(sums, padding, threads=2), size)
    shells = {}
    for z, y, x in np.ndindex(density.shape):
        k = np.array([x, y - size * (y > size // 2), z - size * (z > size // 2)], dtype=float)
        if k @ k <= radius**2:
            shells.setdefault(int(np.sqrt(k @ k) / padding), []).append((z, y, x))
    expected = np.zeros(density.shape)
    for voxels in shells.values():
        values = np.array([density[voxel] for voxel in voxels], dtype=float)
        for voxel, value in zip(voxels, values, strict=True):
            expected[voxel] = 1 / max(value, values.mean() / 1000)
    # of the outermost shell the half ball holds both ends of an axis, which are one on the grid
    outermost = distances(size)[..., : size // 2 + 1] >= radius
    np.testing.assert_allclose(found[~outermost], expected[~outermost], rtol=1e-4)


def test_empty_sums_have_no_weights():
    sums = FourierSums.empty(4, 2)
    assert not floored_weights(sums, 2, threads=1).any()
    assert not gridding_weights(sums, 8, 2, threads=1).any()
