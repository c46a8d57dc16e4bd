"""Coloured noise: the spectrum that was asked for, and the variance too."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cesped.errors import OptionError
from cesped.physics.noise import white_noise
from cesped.physics.noise_spectrum import NoiseSpectrum, colour_noise


@pytest.mark.parametrize("n", [64, 63])
def test_variance_is_kept_and_power_follows_the_spectrum(n):
    spectrum = NoiseSpectrum.falling(corner_angst=30.0, floor=0.1)
    white = white_noise((600, n, n), 3.0, np.random.default_rng(0))
    coloured = colour_noise(white, spectrum.amplitudes(n, 2.0)).to(torch.float64)
    assert coloured.shape == white.shape
    assert float(coloured.var()) == pytest.approx(9.0, rel=0.01)
    power = (torch.fft.fft2(coloured).abs() ** 2).mean(0).numpy()
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(n, 2.0), np.fft.fftfreq(n, 2.0)))
    expected = 0.1 + 0.9 / (1 + (k * 30.0) ** 2)
    rings = (k * 2 * n).round().astype(int)
    measured = np.bincount(rings.ravel(), power.ravel()) / np.bincount(
        rings.ravel(), expected.ravel()
    )
    np.testing.assert_allclose(measured[4:], measured[4:].mean(), rtol=0.06)


@given(st.floats(0.2, 12.0), st.sampled_from([16, 31, 128]))
def test_amplitudes_mean_square_is_one_over_the_whole_plane(pixel_size, n):
    half = NoiseSpectrum.falling().amplitudes(n, pixel_size).numpy().astype(np.float64) ** 2
    whole = half[:, 1:].sum() * 2 + half[:, 0].sum() - (half[:, -1].sum() if n % 2 == 0 else 0)
    assert whole / n**2 == pytest.approx(1.0, rel=1e-5)


def test_a_flat_spectrum_is_white():
    amplitudes = NoiseSpectrum(np.array([0.0]), np.array([5.0])).amplitudes(32, 1.0)
    white = torch.randn(2, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(colour_noise(white, amplitudes), white, atol=1e-5, rtol=0)


def test_between_and_beyond_the_points():
    spectrum = NoiseSpectrum(np.array([0.1, 0.2]), np.array([4.0, 2.0]))
    np.testing.assert_allclose(spectrum.at([0.0, 0.15, 0.9]), [4.0, 3.0, 2.0])


@pytest.mark.parametrize(
    ("frequencies", "power", "complaint"),
    [
        ([0, 0.1], [1], "one power per frequency"),
        ([], [], "one power per frequency"),
        ([0.1, 0.1], [1, 1], "rise"),
        ([0.2, 0.1], [1, 1], "rise"),
        ([-0.5, 0.1], [1, 1], "begin at 0"),
        ([0, 0.1], [1, -1], "0 or more"),
        ([0, 0.1], [0, 0], "not all 0"),
        ([0, 0.1], [1, np.nan], "0 or more"),
    ],
)
def test_what_is_no_spectrum(frequencies, power, complaint):
    with pytest.raises(OptionError, match=complaint):
        NoiseSpectrum(np.array(frequencies, float), np.array(power, float))


def test_no_power_where_the_images_are():
    spectrum = NoiseSpectrum(np.array([0.0, 0.4, 0.5]), np.array([0.0, 0.0, 1.0]))
    with pytest.raises(OptionError, match="no power"):
        spectrum.amplitudes(16, 4.0)
    with pytest.raises(OptionError, match="corner"):
        NoiseSpectrum.falling(-1.0)
