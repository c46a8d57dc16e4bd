"""Laws of the transforms: origin, round trip, Parseval, and the shift theorem."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cesped.physics.fourier import (
    corner_half_plane_to_images,
    frequency_grid_px,
    half_plane_to_images,
    half_space_to_volume,
    images_to_corner_half_plane,
    images_to_half_plane,
    shift_phase,
    volume_to_half_space,
)

SIZES = [8, 9, 31, 32]


def random_images(n, count=2, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(count, n, n)))


def shift_images(images, shifts_px):
    half_planes = images_to_half_plane(images)
    phase = shift_phase(images.shape[-1], shifts_px, dtype=half_planes.dtype)
    return half_plane_to_images(half_planes * phase)


@pytest.mark.parametrize("n", SIZES)
def test_a_point_at_the_origin_has_a_constant_real_transform(n):
    image = torch.zeros(1, n, n, dtype=torch.float64)
    image[0, n // 2, n // 2] = 1
    ones = torch.ones(1, n, n // 2 + 1, dtype=torch.complex128)
    torch.testing.assert_close(images_to_half_plane(image), ones)
    volume = torch.zeros(n, n, n, dtype=torch.float64)
    volume[n // 2, n // 2, n // 2] = 1
    torch.testing.assert_close(volume_to_half_space(volume), ones.expand(n, n, n // 2 + 1))


@pytest.mark.parametrize("n", SIZES)
def test_transforms_come_back(n):
    images = random_images(n)
    torch.testing.assert_close(half_plane_to_images(images_to_half_plane(images)), images)
    volume = random_images(n, count=n)
    torch.testing.assert_close(half_space_to_volume(volume_to_half_space(volume)), volume)


@pytest.mark.parametrize("n", SIZES)
def test_parseval(n):
    images = random_images(n)
    power = images_to_half_plane(images).abs() ** 2
    weight = torch.full((n // 2 + 1,), 2.0, dtype=torch.float64)
    weight[0] = 1
    if n % 2 == 0:
        weight[-1] = 1
    torch.testing.assert_close((power * weight).sum((1, 2)) / n**2, (images**2).sum((1, 2)))


@pytest.mark.parametrize("n", SIZES)
def test_transform_of_a_cosine_sits_at_its_frequency(n):
    row, column = 2, 3  # three waves along x, two along y
    y, x = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) - n // 2] * 2, indexing="ij")
    half_plane = images_to_half_plane(torch.cos(2 * torch.pi * (column * x + row * y) / n)[None])
    expected = torch.zeros(1, n, n // 2 + 1, dtype=torch.complex128)
    expected[0, row, column] = n**2 / 2
    torch.testing.assert_close(half_plane, expected, atol=1e-9, rtol=0)
    ky, kx = frequency_grid_px(n)
    assert float(ky[row, 0]) == pytest.approx(row / n)
    assert float(kx[0, column]) == pytest.approx(column / n)


@given(
    n=st.sampled_from(SIZES),
    x=st.integers(-40, 40),
    y=st.integers(-40, 40),
    seed=st.integers(0, 1000),
)
@settings(max_examples=40, deadline=None)
def test_whole_pixel_shift_is_a_roll(n, x, y, seed):
    images = random_images(n, count=1, seed=seed)
    moved = shift_images(images, torch.tensor([[x, y]]))
    torch.testing.assert_close(moved, torch.roll(images, (y, x), dims=(1, 2)))


@given(
    n=st.sampled_from([31, 32]),
    x=st.floats(-6, 6),
    y=st.floats(-6, 6),
)
@settings(max_examples=40, deadline=None)
def test_fractional_shift_is_the_blob_placed_elsewhere(n, x, y):
    def blob(centre_x, centre_y):
        rows, columns = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) - n // 2] * 2,
                                       indexing="ij")  # fmt: skip
        return torch.exp(-((columns - centre_x) ** 2 + (rows - centre_y) ** 2) / 4.5)[None]

    moved = shift_images(blob(0.3, -0.2), torch.tensor([[x, y]], dtype=torch.float64))
    torch.testing.assert_close(moved, blob(0.3 + x, -0.2 + y), atol=2e-4, rtol=0)


def test_shift_phase_in_single_precision_keeps_far_shifts():
    shifts = torch.tensor([[123.4, -87.6]], dtype=torch.float64)
    single = shift_phase(256, shifts)
    double = shift_phase(256, shifts, dtype=torch.complex128)
    assert single.dtype == torch.complex64
    assert float((single - double).abs().max()) < 3e-7


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [16, 17, 40])
def test_corner_half_planes_are_those_of_numpy_and_come_back(n, dtype):
    images = torch.randn(2, 3, n, n, dtype=dtype)
    half_planes = images_to_corner_half_plane(images)
    exact = np.fft.rfft2(images.double().numpy())
    tolerance = 1e-4 if dtype is torch.float32 else 1e-11
    np.testing.assert_allclose(half_planes.numpy(), exact, atol=tolerance)
    again = corner_half_plane_to_images(half_planes)
    torch.testing.assert_close(again, images, atol=tolerance / 50, rtol=0)
    scaled = images_to_corner_half_plane(images, norm="forward")
    torch.testing.assert_close(scaled * n**2, half_planes, atol=tolerance, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
@pytest.mark.parametrize("n", [16, 33])
@pytest.mark.parametrize("n_given", [1, 5, 8])
def test_columns_that_are_not_given_are_zero(n, n_given, dtype):
    whole = images_to_corner_half_plane(torch.randn(2, n, n, dtype=torch.float64)).to(dtype)
    few = whole.clone()
    few[..., n_given:] = 0
    expected = np.fft.irfft2(few.to(torch.complex128).numpy(), s=(n, n))
    found = corner_half_plane_to_images(whole[..., :n_given])
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
