"""Resampling: the compiled path, the torch path and sums written out agree for all parities."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cesped.physics.resampling import crop_centre, resize_band_limited


def interpolation_matrix(n, size):
    """`(size, n)` float64: the trigonometric polynomial about the centre, summed as written."""
    kept = min(n, size)
    at = (np.arange(size) - size // 2) * n / size  # where the new pixels lie among the old ones
    offset = at[:, None] - (np.arange(n) - n // 2)[None, :]
    matrix = np.ones_like(offset)
    for frequency in range(1, (kept - 1) // 2 + 1):
        matrix += 2 * np.cos(2 * np.pi * frequency * offset / n)
    if kept % 2 == 0:  # both sides count half: together one cosine each
        edge = np.pi * kept / n
        if size < n:  # the result knows this frequency at its own pixels only
            phase = np.cos(np.pi * (np.arange(size) - size // 2))[:, None]
            matrix += phase * np.cos(edge * (np.arange(n) - n // 2))[None, :]
        else:
            matrix += np.cos(edge * at)[:, None] * np.cos(edge * (np.arange(n) - n // 2))[None, :]
    return matrix / n


@given(n=st.integers(4, 37), size=st.integers(4, 41), seed=st.integers(0, 9))
def test_all_paths_are_the_interpolation_that_is_written_out(n, size, seed):
    images = torch.randn(3, n, n, generator=torch.Generator().manual_seed(seed)).double()
    matrix = interpolation_matrix(n, size)
    expected = torch.from_numpy(matrix @ images.numpy() @ matrix.T)
    in_torch = resize_band_limited(images, size)
    compiled = resize_band_limited(images.float(), size)
    assert in_torch.dtype is torch.float64
    assert compiled.dtype is torch.float32
    torch.testing.assert_close(in_torch, expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(compiled, expected.float(), atol=5e-6, rtol=0)


def test_leading_dimensions_and_strides_do_not_matter():
    images = torch.randn(2, 3, 40, 40)
    window = crop_centre(images, 30)
    together = resize_band_limited(window, 24)
    assert together.shape == (2, 3, 24, 24)
    alone = resize_band_limited(window[1, 2].contiguous(), 24)
    torch.testing.assert_close(together[1, 2], alone, atol=1e-6, rtol=0)


def test_the_images_given_stay_as_they_are():
    images = torch.randn(2, 16, 16)
    before = images.clone()
    resize_band_limited(images, 24)
    resize_band_limited(images, 12)
    assert torch.equal(images, before)
    assert resize_band_limited(images, 16) is images


@pytest.mark.gpu
@pytest.mark.parametrize(("n", "size"), [(96, 128), (75, 64), (96, 65)])
def test_the_gpu_resizes_to_the_same_numbers(n, size):
    images = torch.randn(5, n, n)
    on_gpu = resize_band_limited(images.cuda(), size).cpu()
    torch.testing.assert_close(on_gpu, resize_band_limited(images, size), atol=1e-5, rtol=0)
