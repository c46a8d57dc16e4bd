"""Masks: where they are one, where they fall, and what is refused."""

import numpy as np
import pytest

from cesped.errors import GeometryError, OptionError
from cesped.physics.masks import mask_from_density, soft_sphere, spherical_background


@pytest.mark.parametrize("n", [32, 33])
def test_soft_sphere_is_centred_and_falls_by_a_cosine(n):
    mask = soft_sphere(n, 8, 4)
    line = mask[n // 2, n // 2, n // 2 :]
    expected = [1] * 9 + [0.5 + 0.5 * np.cos(np.pi * step / 4) for step in (1, 2, 3)] + [0]
    np.testing.assert_allclose(line[:13], expected, atol=1e-6)
    odd = mask[n % 2 == 0 :, n % 2 == 0 :, n % 2 == 0 :]
    np.testing.assert_array_equal(odd, odd[::-1, ::-1, ::-1])


def test_hard_sphere_has_the_volume_of_a_ball():
    mask = soft_sphere(64, 20, 0)
    assert set(np.unique(mask)) == {0.0, 1.0}
    assert mask.sum() == pytest.approx(4 / 3 * np.pi * 20**3, rel=0.01)


def test_background_is_outside_the_circle():
    background = spherical_background(32, 10)
    assert not background[16, 26]
    assert background[16, 27]
    assert background[0, 0]
    with pytest.raises(OptionError, match="no background"):
        spherical_background(32, 23)


def test_mask_from_density_extends_and_softens():
    volume = np.zeros((32, 32, 32), np.float32)
    volume[16, 16, 16] = 1
    mask = mask_from_density(volume, threshold=0.5, extend_px=5, edge_px=4)
    np.testing.assert_allclose(mask, soft_sphere(32, 5, 4), atol=1e-6)
    volume[2, 2, 2] = 1  # reaches the border: no wrap to the other side
    near_border = mask_from_density(volume, threshold=0.5, extend_px=5, edge_px=4)
    assert near_border[0, 0, 0] == 1
    assert near_border[-1, -1, -1] == 0


def test_quantile_sets_the_share_of_dense_voxels():
    volume = np.random.default_rng(0).normal(size=(20, 20, 20))
    mask = mask_from_density(volume, quantile=0.9, extend_px=0, edge_px=0)
    assert mask.mean() == pytest.approx(0.1, abs=1e-3)


def test_density_without_contrast_is_refused():
    with pytest.raises(OptionError, match="no voxel is above"):
        mask_from_density(np.zeros((8, 8, 8)))
    with pytest.raises(OptionError, match="all voxels are above"):
        mask_from_density(np.ones((8, 8, 8)), threshold=0)
    with pytest.raises(GeometryError, match="shape"):
        mask_from_density(np.ones((8, 8)))
    with pytest.raises(OptionError, match="edge"):
        soft_sphere(8, 2, -1)
