"""Fourier shell correlation and Pearson against plain numpy and scipy, and their laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr

from cesped.errors import GeometryError, OptionError
from cesped.physics.fsc import FscCurve, fsc_curve, pearson, resolution_angst


def maps(n, seed=0, noise=1.0):
    generator = np.random.default_rng(seed)
    first = generator.normal(size=(n, n, n))
    return first, first + noise * generator.normal(size=(n, n, n))


def restated(a, b):
    """Full complex transforms and a loop over shells, float64."""
    n = a.shape[0]
    fa, fb = (np.fft.fftshift(np.fft.fftn(v.astype(np.float64))) for v in (a, b))
    z, y, x = np.mgrid[:n, :n, :n] - n // 2
    radius = np.sqrt(z**2 + y**2 + x**2)
    curve = []
    for shell in range(n // 2 + 1):
        inside = (radius >= shell) & (radius < shell + 1)
        cross = np.sum(fa[inside] * fb[inside].conj()).real
        power = np.sum(np.abs(fa[inside]) ** 2) * np.sum(np.abs(fb[inside]) ** 2)
        curve.append(cross / np.sqrt(power))
    return np.array(curve)


@pytest.mark.parametrize("n", [16, 17, 32])
@pytest.mark.parametrize("dtype", ["<f8", "<f4", ">f4", "<f2"])
def test_curve_is_the_plain_sum_over_the_full_space(n, dtype):
    a, b = (volume.astype(dtype) for volume in maps(n))
    a.flags.writeable = False  # as a memory-mapped file is
    curve = fsc_curve(a, b, 1.5)
    np.testing.assert_allclose(curve.correlation, restated(a, b), atol=1e-12)
    np.testing.assert_allclose(curve.frequency_per_angst, np.arange(n // 2 + 1) / (1.5 * n))


@pytest.mark.parametrize("n", [16, 17])
@pytest.mark.parametrize("planes", [1, 3])
def test_blocks_of_planes_make_the_curve_of_the_whole(n, planes, monkeypatch):
    a, b = maps(n)
    mask = np.random.default_rng(5).uniform(size=a.shape).astype(np.float32)
    monkeypatch.setattr("cesped.physics.shell_products._BLOCK_VOXELS", planes * n**2 + 1)
    found = fsc_curve(a, b, 1.5, mask).correlation
    np.testing.assert_allclose(found, restated(a * mask, b * mask), atol=1e-12)


@given(n=st.integers(4, 20), seed=st.integers(0, 99), factor=st.floats(0.01, 100))
@settings(max_examples=25, deadline=None)
def test_a_map_correlates_fully_with_itself_at_any_scale(n, seed, factor):
    volume, _ = maps(n, seed)
    curve = fsc_curve(volume, factor * volume, 2.0)
    np.testing.assert_allclose(curve.correlation, 1, atol=1e-12)
    assert resolution_angst(curve, 0.143) == pytest.approx(2.0 * n / (n // 2))


def test_curve_is_symmetric_and_takes_a_mask():
    a, b = maps(16)
    mask = np.zeros((16, 16, 16))
    mask[4:12, 4:12, 4:12] = 1
    one_way = fsc_curve(a, b, 1.0, mask).correlation
    other_way = fsc_curve(b, a, 1.0, mask).correlation
    np.testing.assert_allclose(one_way, other_way)
    np.testing.assert_allclose(one_way, restated(a * mask, b * mask))


def test_shells_with_a_millionth_of_the_power_count():
    n = 24
    z, y, x = np.mgrid[:n, :n, :n] - n // 2
    smooth = np.exp(-(x**2 + y**2 + z**2) / 12).astype(np.float64)
    a, b = maps(n, noise=0.5)
    first, second = smooth + 1e-9 * a, smooth + 1e-9 * b
    np.testing.assert_allclose(
        fsc_curve(first, second, 1.0).correlation[-3:], restated(first, second)[-3:], atol=1e-6
    )


def test_shell_without_power_counts_as_nothing():
    a, _ = maps(8)
    assert fsc_curve(a, np.zeros_like(a), 1.0).correlation.tolist() == [0.0] * 5


def curve_of(*values):
    frequency = np.arange(len(values)) / (2.0 * (2 * len(values) - 2))
    return FscCurve(frequency, np.array(values), 2.0)


def test_resolution_interpolates_to_the_first_crossing():
    curve = curve_of(1, 0.9, 0.7, 0.3, 0.8, 0.1)
    step = 1 / 20
    assert resolution_angst(curve, 0.5) == pytest.approx(1 / (2.5 * step))
    assert resolution_angst(curve, 0.143) == pytest.approx(1 / ((4 + 0.657 / 0.7) * step))


def test_resolution_is_nyquist_when_the_curve_stays_high():
    assert resolution_angst(curve_of(1, 0.9, 0.9, 0.9), 0.5) == pytest.approx(4.0)


@pytest.mark.parametrize("mean_sign", [-1.0, 0.0, 1.0])
def test_sign_of_the_mean_never_decides_the_resolution(mean_sign):
    assert resolution_angst(curve_of(mean_sign, 0.9, 0.1, 0), 0.5) == pytest.approx(8.0)


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=30), st.floats(0.05, 1.0))
@settings(max_examples=100, deadline=None)
def test_resolution_is_positive_and_not_beyond_nyquist(values, threshold):
    curve = curve_of(*values)
    assert 1 / curve.frequency_per_angst[-1] - 1e-9 <= resolution_angst(curve, threshold) < np.inf


def test_pearson_is_scipys():
    a, b = maps(12)
    mask = np.random.default_rng(1).uniform(size=a.shape)
    assert pearson(a, b) == pytest.approx(pearsonr(a.ravel(), b.ravel()).statistic, abs=1e-12)
    masked = pearsonr((a * mask).ravel(), (b * mask).ravel()).statistic
    assert pearson(a, b, mask) == pytest.approx(masked, abs=1e-12)
    assert pearson(a, np.ones_like(a)) == 0


def test_inputs_that_do_not_fit_are_refused():
    a, b = maps(8)
    with pytest.raises(GeometryError, match="cube"):
        fsc_curve(a[:4], b[:4], 1.0)
    with pytest.raises(GeometryError, match="one size"):
        fsc_curve(a, maps(9)[0], 1.0)
    with pytest.raises(GeometryError, match="mask"):
        fsc_curve(a, b, 1.0, np.ones((9, 9, 9)))
    with pytest.raises(GeometryError, match="shapes"):
        pearson(a, b[:4])
    with pytest.raises(OptionError, match="pixel size"):
        fsc_curve(a, b, 0.0)
    with pytest.raises(OptionError, match="threshold"):
        resolution_angst(fsc_curve(a, b, 1.0), 1.5)
