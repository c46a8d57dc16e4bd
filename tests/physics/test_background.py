"""Background: where it is, and its statistics against float64."""

import numpy as np
import pytest
import torch

from cesped.errors import OptionError
from cesped.physics.background import Background, grey_spread, normalised_centre
from cesped.physics.masks import corner_background, spherical_background


@pytest.mark.parametrize("n", [8, 9, 32, 65])
def test_corners_are_the_largest_free_squares(n):
    corners, outside = corner_background(n), spherical_background(n, n // 2)
    assert not (corners & ~outside).any()
    side = int(corners[0].argmin())
    assert corners.sum() == 4 * side**2
    wider = np.zeros_like(corners)
    for rows in (slice(0, side + 1), slice(n - side - 1, n)):
        wider[rows, : side + 1] = wider[rows, n - side - 1 :] = True
    assert (wider & ~outside).any()


def test_an_image_without_corners_is_refused():
    with pytest.raises(OptionError, match="4 pixels have no corners"):
        corner_background(4)


@pytest.mark.parametrize("n", [32, 33])
@pytest.mark.parametrize("make", [Background.outside_circle, Background.corners])
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_statistics_are_those_of_float64(n, make, offset):
    generator = torch.Generator().manual_seed(n)
    images = (offset + 2 * torch.randn(5, n, n, generator=generator)).float()
    background = make(n)
    pixels = images.numpy()[:, background.mask].astype(np.float64)
    mean, deviation = background.statistics(images)
    np.testing.assert_allclose(mean, pixels.mean(axis=1), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(deviation, pixels.std(axis=1, ddof=1), rtol=2e-6 + offset * 2e-9)
    in_torch = background.statistics(images.double())
    np.testing.assert_allclose(in_torch[0], pixels.mean(axis=1), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(in_torch[1], pixels.std(axis=1, ddof=1), rtol=1e-9)


@pytest.mark.parametrize(("n", "size"), [(32, 24), (33, 24), (33, 33), (32, 25)])
def test_the_centre_is_normalised_alike_by_both_paths(n, size):
    images = torch.randn(3, n + 1, n)[:, :n]  # not contiguous
    mean, deviation = torch.randn(3), torch.rand(3) + 0.5
    start = n // 2 - size // 2
    window = images[:, start : start + size, start : start + size]
    expected = (window.double() - mean[:, None, None]) / deviation[:, None, None]
    compiled = normalised_centre(images, mean, deviation, size)
    in_torch = normalised_centre(images.double(), mean.double(), deviation.double(), size)
    torch.testing.assert_close(compiled, expected.float(), atol=1e-5, rtol=1e-6)
    torch.testing.assert_close(in_torch, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spread_of_all_kinds_of_numbers(dtype):
    images = torch.randn(8, 5, 5, dtype=dtype)
    images[1] = -images[1].abs() - 1
    images[2] = images[2].abs() + 1
    images[3] = 2.5
    images[4] = torch.tensor([0.0, -0.0, 0.0, -0.0, 0.0], dtype=dtype)
    images[5, 1, 2] = float("nan")
    images[6, 0, 0] = -float("nan")
    images[7, 4, 4] = -float("inf")
    spread = grey_spread(images)
    assert spread.dtype is dtype
    for row in range(5):
        assert float(spread[row]) == float(images[row].max() - images[row].min())
    assert spread[5:7].isnan().all()
    assert spread[7] == float("inf")
