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


@pytest.mark.parametrize("n", [48, 47])
def test_the_spectrum_of_images_is_that_they_were_coloured_with(n):
    spectrum = NoiseSpectrum.falling(corner_angst=30.0, floor=0.1)
    white = white_noise((400, n, n), 3.0, np.random.default_rng(0))
    images = colour_noise(white, spectrum.amplitudes(n, 2.0)) + 5.0
    found = NoiseSpectrum.of_images(images, 2.0)
    k = np.arange(2, n // 2) / (n * 2.0)
    ratio = found.at(k) / spectrum.at(k)
    np.testing.assert_allclose(ratio / ratio.mean(), 1.0, atol=0.06)
    again = found.amplitudes(n, 2.0)  # at frequency 0 there is nothing to measure
    assert float((again - spectrum.amplitudes(n, 2.0)).abs()[1:].max()) < 0.15


def test_what_noise_was_multiplied_by_is_taken_off():
    white = white_noise((300, 32, 32), 1.0, np.random.default_rng(1))
    radius = torch.arange(17)[None, :].expand(32, -1)
    passed = torch.where(radius < 8, 0.5, 2.0) * (radius != 12)
    multiplied = torch.fft.irfft2(torch.fft.rfft2(white) * passed, s=(32, 32))
    found = NoiseSpectrum.of_images(multiplied, 1.0, passed[None])
    power = found.at(np.arange(2, 15) / 32.0)
    np.testing.assert_allclose(power / power.mean(), 1.0, atol=0.1)
    uneven = NoiseSpectrum.of_images(multiplied, 1.0).at([3 / 32, 15 / 32])
    assert uneven[1] > 2 * uneven[0]  # the test can fail


def test_images_of_nothing_have_no_spectrum():
    with pytest.raises(OptionError, match="not all 0"):
        NoiseSpectrum.of_images(torch.ones(3, 16, 16), 1.0)
