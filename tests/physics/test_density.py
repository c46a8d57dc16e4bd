"""Densities of atoms against the closed form, and the laws of a sum of Gaussians."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cesped.errors import GeometryError, OptionError
from cesped.physics.density import density_from_atoms, gaussian_sigma_angst


def restated(positions, weights, box, voxel_size, resolution):
    """Every Gaussian on every voxel, float64, with x, y, z written out."""
    sigma = resolution / (np.pi * np.sqrt(2))
    z, y, x = (np.mgrid[:box, :box, :box] - box // 2) * voxel_size
    volume = np.zeros((box,) * 3)
    for (px, py, pz), weight in zip(positions, weights, strict=True):
        squared = (x - px) ** 2 + (y - py) ** 2 + (z - pz) ** 2
        volume += weight * (2 * np.pi * sigma**2) ** -1.5 * np.exp(-squared / (2 * sigma**2))
    return volume


@pytest.mark.parametrize("box", [24, 25])
@pytest.mark.parametrize("threads", [1, 3])
def test_density_is_the_sum_of_gaussians(box, threads):
    generator = np.random.default_rng(0)
    positions = generator.normal(scale=8, size=(30, 3))
    weights = generator.uniform(1, 8, size=30)
    made = density_from_atoms(positions, weights, box, 1.5, 6.0, threads=threads)
    expected = restated(positions, weights, box, 1.5, 6.0)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, expected, atol=2e-5 * expected.max())


@given(
    voxel_size=st.floats(0.5, 3),
    voxels_per_resolution=st.floats(3, 6),
    x=st.floats(-3, 3),
    y=st.floats(-3, 3),
    z=st.floats(-3, 3),
)
def test_integral_and_centre_are_those_of_the_atom(voxel_size, voxels_per_resolution, x, y, z):
    position = np.array([[x, y, z]]) * voxel_size
    volume = density_from_atoms(
        position, [7.0], 32, voxel_size, voxels_per_resolution * voxel_size
    ).astype(np.float64)
    assert volume.sum() * voxel_size**3 == pytest.approx(7, rel=1e-3)
    axis = np.arange(32) - 16
    centre = [
        np.sum(volume * axis.reshape(shape)) / volume.sum()
        for shape in ((1, 1, -1), (1, -1, 1), (-1, 1, 1))
    ]
    np.testing.assert_allclose(centre, [x, y, z], atol=3e-3)


def test_transform_falls_to_one_over_e_at_the_resolution():
    volume = density_from_atoms(np.zeros((1, 3)), [1.0], 64, 1.0, 8.0).astype(np.float64)
    along_x = np.abs(np.fft.fft(volume.sum(axis=(0, 1))))
    assert along_x[8] / along_x[0] == pytest.approx(np.exp(-1), rel=1e-3)
    assert gaussian_sigma_angst(8.0) == pytest.approx(1.8006, abs=1e-4)


def test_atoms_at_and_beyond_the_border_do_not_wrap():
    volume = density_from_atoms([[-16.0, 0, 0], [40.0, 0, 0]], [1.0, 1.0], 32, 1.0, 4.0)
    assert volume[16, 16, 0] == volume.max()
    assert volume[:, :, 16:].max() == 0


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(GeometryError, match="needed"):
        density_from_atoms(np.zeros((3, 2)), np.ones(3), 16, 1.0, 4.0)
    with pytest.raises(GeometryError, match="atom 2 of 2"):
        density_from_atoms([[0, 0, 0], [np.nan, 0, 0]], np.ones(2), 16, 1.0, 4.0)
    with pytest.raises(OptionError, match="resolution"):
        density_from_atoms(np.zeros((1, 3)), np.ones(1), 16, 2.0, 3.0)
    with pytest.raises(OptionError, match="positive"):
        density_from_atoms(np.zeros((1, 3)), np.ones(1), 16, 0.0, 3.0)
