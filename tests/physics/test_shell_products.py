"""Products of maps by shells: against plain transforms, and the same for sums of maps."""

import numpy as np
import pytest

from cesped.errors import GeometryError
from cesped.physics.fsc import curve_of, fsc_curve, pearson
from cesped.physics.shell_products import MapSpectra


def spectra_of(volumes, mask=None, threads=1):
    spectra = MapSpectra(len(volumes), len(volumes[0]), mask, threads)
    for place, volume in enumerate(volumes):
        spectra.put(place, volume)
    return spectra


@pytest.fixture
def volumes():
    generator = np.random.default_rng(4)
    signal = generator.normal(size=(18, 18, 18)) + 0.3
    return [(signal + generator.normal(size=signal.shape)).astype(np.float32) for _ in range(4)]


@pytest.fixture
def mask():
    return np.random.default_rng(5).uniform(size=(18, 18, 18))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("n", [9, 12])
def test_products_are_sums_over_the_full_space(n, threads):
    volumes = np.random.default_rng(n).normal(size=(3, n, n, n))
    transforms = np.fft.fftn(volumes, axes=(1, 2, 3))
    k = np.fft.fftfreq(n, 1 / n)
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)
    found = spectra_of(volumes, threads=threads).products().by_shell
    for shell in range(n // 2 + 2):
        inside = (radius >= shell) & (radius < shell + 1)
        if shell == n // 2 + 1:  # the corners
            inside = radius >= shell
        some = transforms[:, inside]
        np.testing.assert_allclose(found[shell], (some @ some.conj().T).real, rtol=1e-10, atol=1e-8)


def test_sums_of_maps_need_no_transform_of_their_own(volumes, mask):
    products = spectra_of(volumes, mask).products()
    first, second = (volumes[0] + volumes[1]) / 2.0, (volumes[2] + volumes[3]) / 2.0
    curve = curve_of(products, (0.5, 0.5, 0, 0), (0, 0, 0.5, 0.5), 18, 2.0)
    expected = fsc_curve(first, second, 2.0, mask)
    np.testing.assert_allclose(curve.correlation, expected.correlation, atol=1e-6)
    found = products.pearson((0.5, 0.5, 0, 0), (0, 0, 0.5, 0.5))
    assert found == pytest.approx(pearson(first, second, mask), abs=1e-6)


@pytest.mark.parametrize("is_masked", [False, True])
def test_pearson_over_frequencies_is_that_over_voxels(volumes, mask, is_masked):
    weights = mask if is_masked else None
    found = spectra_of(volumes[:2], weights).products().pearson((1, 0), (0, 1))
    assert found == pytest.approx(pearson(*volumes[:2], weights), abs=1e-12)


def test_a_constant_map_correlates_with_nothing(volumes):
    flat = np.full((18, 18, 18), 1234.567, dtype=np.float32)
    products = spectra_of([volumes[0], flat, 0 * flat]).products()
    assert products.pearson((1, 0, 0), (0, 1, 0)) == 0
    assert products.pearson((0, 0, 1), (1, 0, 0)) == 0


def test_the_first_maps_alone(volumes):
    spectra = spectra_of(volumes)
    np.testing.assert_array_equal(
        spectra.products(2).by_shell, spectra_of(volumes[:2]).products().by_shell
    )


def test_maps_and_masks_of_another_size_are_refused(volumes):
    with pytest.raises(GeometryError, match="mask"):
        MapSpectra(1, 18, np.ones((9, 9, 9)))
    with pytest.raises(GeometryError, match="one size"):
        MapSpectra(1, 9).put(0, volumes[0])
    with pytest.raises(GeometryError, match="cube"):
        MapSpectra(1, 9).put(0, np.ones((9, 9)))
