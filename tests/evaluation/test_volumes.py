"""Figures of maps against plain float64 restatements of the paper's equations 7 to 10."""

import numpy as np
import pytest
from plain_metrics import plain_fsc, plain_pcc
from plain_metrics import plain_resolution as plain_resolution_of_box

from cesped.errors import GeometryError
from cesped.evaluation.volumes import (
    MapPair,
    compare_maps,
    delta_pcc,
    delta_resolution_angst,
    mean_agreement,
    mean_delta_fsc,
)

N, PIXEL_SIZE = 24, 2.5


def plain_resolution(curve, threshold):
    return plain_resolution_of_box(curve, threshold, N * PIXEL_SIZE)


@pytest.fixture
def generator():
    return np.random.default_rng(3)


def smooth_noise(generator, length=3.0):
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(generator.normal(size=(N, N, N)), length).astype(np.float32) * 20


@pytest.fixture
def maps(generator):
    """Four half maps: a common smooth signal and noise of their own."""
    signal = smooth_noise(generator)
    return [(signal + 0.3 * generator.normal(size=(N, N, N))).astype(np.float32) for _ in range(4)]


@pytest.fixture
def mask():
    axis = np.arange(N) - N // 2
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis**2)
    return np.clip(9 - radius, 0, 1).astype(np.float32)


@pytest.mark.parametrize("is_masked", [False, True])
def test_agreement_equals_the_equations(maps, mask, is_masked):
    weights = mask if is_masked else None
    factor = mask.astype(np.float64) if is_masked else 1.0
    found = compare_maps(maps[0], maps[1], PIXEL_SIZE, weights)
    a, b = maps[0] * factor, maps[1] * factor
    assert found.pcc == pytest.approx(plain_pcc(a, b), abs=1e-6)
    np.testing.assert_allclose(found.curve.correlation, plain_fsc(a, b), atol=2e-5)
    for threshold, resolution in found.resolutions_angst().items():
        assert resolution == pytest.approx(plain_resolution(plain_fsc(a, b), threshold), rel=1e-4)


def test_a_map_agrees_with_itself_up_to_nyquist(maps):
    found = compare_maps(maps[0], maps[0], PIXEL_SIZE)
    assert found.pcc == pytest.approx(1)
    assert found.resolutions_angst() == {0.143: 2 * PIXEL_SIZE, 0.5: 2 * PIXEL_SIZE}


def test_means_of_opposite_sign_do_not_make_a_negative_resolution(maps):
    shifted = maps[0] - 2 * maps[0].mean()
    assert compare_maps(maps[0], shifted, PIXEL_SIZE).curve.correlation[0] == pytest.approx(-1)
    assert compare_maps(maps[0], shifted, PIXEL_SIZE).resolution_angst(0.143) > 0


def test_the_full_map_is_the_mean_of_the_halves(maps):
    pair = MapPair(maps[0], maps[1])
    np.testing.assert_allclose(pair.full, (maps[0].astype(float) + maps[1]) / 2, atol=1e-6)
    assert pair.full.dtype == np.float32


def test_differences_are_equations_9_and_10(maps):
    truth, predicted = MapPair(*maps[:2]), MapPair(*maps[2:])
    halves = compare_maps(truth.half0, truth.half1, PIXEL_SIZE)
    to_truth = compare_maps(truth.full, predicted.full, PIXEL_SIZE)
    expected = plain_pcc(maps[0], maps[1]) - plain_pcc(truth.full, predicted.full)
    assert delta_pcc(halves, to_truth) == pytest.approx(expected, abs=1e-6)
    curves = plain_fsc(maps[0], maps[1]), plain_fsc(truth.full, predicted.full)
    assert mean_delta_fsc(halves, to_truth) == pytest.approx(
        np.mean(curves[0][1:] - curves[1][1:]), abs=1e-5
    )
    for threshold in (0.143, 0.5):
        expected = plain_resolution(curves[1], threshold) - plain_resolution(curves[0], threshold)
        found = delta_resolution_angst(halves, to_truth, threshold)
        assert found == pytest.approx(expected, abs=1e-3)


def test_the_mean_of_agreements_is_of_correlations_and_of_curves(maps):
    first = compare_maps(maps[0], maps[1], PIXEL_SIZE)
    second = compare_maps(maps[2], maps[3], PIXEL_SIZE)
    mean = mean_agreement([first, second])
    assert mean.pcc == pytest.approx((first.pcc + second.pcc) / 2)
    np.testing.assert_allclose(
        mean.curve.correlation, (first.curve.correlation + second.curve.correlation) / 2
    )


def test_agreements_of_different_boxes_have_no_mean(maps):
    first = compare_maps(maps[0], maps[1], PIXEL_SIZE)
    other = compare_maps(maps[0], maps[1], 2 * PIXEL_SIZE)
    with pytest.raises(GeometryError, match="frequencies"):
        mean_agreement([first, other])
    with pytest.raises(GeometryError, match="at least one"):
        mean_agreement([])
