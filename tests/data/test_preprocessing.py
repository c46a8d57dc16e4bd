"""Laws of the image preparation: noise, centre, order, faults."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cesped import errors
from cesped.data.preprocessing import (
    PreprocessingOptions,
    Preprocessor,
    crop_centre,
    resize_band_limited,
)
from cesped.physics.ctf import CtfParameters, ctf_half_plane
from cesped.physics.fourier import half_plane_to_images, images_to_half_plane
from cesped.vocabulary import CtfCorrection, Normalization


def gaussian(n, x=0.0, y=0.0, sigma=3.0):
    axis = torch.arange(n, dtype=torch.float64) - n // 2
    profile_x = torch.exp(-((axis - x) ** 2) / (2 * sigma**2))
    profile_y = torch.exp(-((axis - y) ** 2) / (2 * sigma**2))
    return profile_y[:, None] * profile_x[None, :]


def centre_of_mass(image):
    axis = torch.arange(image.shape[-1], dtype=image.dtype) - image.shape[-1] // 2
    total = image.sum()
    return float((image.sum(0) * axis).sum() / total), float((image.sum(1) * axis).sum() / total)


def plain(box, size, crop=0.0, **options):
    defaults = {"normalization": Normalization.NONE, "ctf_correction": CtfCorrection.NONE}
    return Preprocessor(PreprocessingOptions(size, crop_fraction=crop, **defaults | options), box)


def some_ctf(count=1):
    return CtfParameters(np.full(count, 12000.0), 11000.0, 30.0, 300.0, 2.7, 0.1)


def test_white_noise_keeps_the_share_of_its_band():
    noise = torch.randn(64, 256, 256, generator=torch.Generator().manual_seed(1))
    assert float(resize_band_limited(noise, 64).std()) == pytest.approx(0.25, abs=0.005)


@given(n=st.integers(16, 65), size=st.integers(8, 130), seed=st.integers(0, 9))
def test_noise_variance_follows_the_band(n, size, seed):
    noise = torch.randn(12, n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    share = min(1.0, size / n)
    edge = 2.0 / min(n, size)  # rows at the edge of the band count half
    measured = float(resize_band_limited(noise, size).std())
    assert measured == pytest.approx(share, rel=edge + 0.06)


@given(n=st.integers(40, 65), size=st.integers(28, 130))
def test_centre_and_shape_survive_resizing(n, size):
    image = gaussian(n, 2.3, -1.7)[None]
    scale = size / n
    resized = resize_band_limited(image, size)[0]
    expected = gaussian(size, 2.3 * scale, -1.7 * scale, 3.0 * scale)
    if scale > 0.75:  # else the Gaussian itself reaches the edge of the band
        assert float((resized - expected).abs().max()) < 1e-3
    x, y = centre_of_mass(resized)
    assert (x / scale, y / scale) == pytest.approx((2.3, -1.7), abs=0.01)


@given(n=st.integers(8, 40), more=st.integers(0, 40))
def test_up_and_down_again_is_the_same(n, more):
    image = torch.randn(n, n, dtype=torch.double)
    again = resize_band_limited(resize_band_limited(image[None], n + more), n)[0]
    if n % 2:  # with an even size the edge of the band is shared by two frequencies
        assert float((again - image).abs().max()) < 1e-9
    assert float((again.mean() - image.mean()).abs()) < 1e-9


@pytest.mark.parametrize("n", [48, 49])
@pytest.mark.parametrize("size", [24, 25])
def test_crop_keeps_the_centre_pixel(n, size):
    image = torch.zeros(n, n)
    image[n // 2, n // 2] = 1
    assert crop_centre(image, size)[size // 2, size // 2] == 1


@pytest.mark.parametrize("box", [64, 65])
@pytest.mark.parametrize("size", [32, 33, 64, 100])
def test_whole_pipeline_keeps_the_centre_within_a_hundredth(box, size):
    preprocessor = plain(box, size, crop=0.25)
    image = preprocessor(gaussian(box, 3.0, -2.0)[None], None, 1.5)[0]
    x, y = centre_of_mass(image)
    scale = preprocessor.magnification
    assert (x / scale, y / scale) == pytest.approx((3.0, -2.0), abs=0.01)
    assert preprocessor.pixel_size_after(1.5) == pytest.approx(1.5 / scale)


def test_background_is_normalised_at_the_full_box():
    generator = torch.Generator().manual_seed(2)
    images = 5 + 3 * torch.randn(8, 64, 64, generator=generator) + 100 * gaussian(64).float()
    done = plain(64, None, normalization=Normalization.NOISE_STATS)(images, None, 1.0)
    axis = torch.arange(64) - 32
    outside = (axis[:, None] ** 2 + axis[None, :] ** 2) > 32**2
    background = done[:, outside]
    assert float(background.mean(dim=1).abs().max()) < 1e-5
    assert float((background.std(dim=1) - 1).abs().max()) < 1e-5
    zero = plain(64, None, normalization=Normalization.SUBTRACT_MEAN)(images, None, 1.0)
    assert float(zero.mean(dim=(1, 2)).abs().max()) < 1e-4


def test_phase_flip_turns_signs_alone_and_happens_before_the_crop():
    images = torch.randn(2, 48, 48, generator=torch.Generator().manual_seed(3), dtype=torch.double)
    ctf = some_ctf(2)
    transfer = ctf_half_plane(ctf, 48, 2.0, dtype=torch.double)
    expected = half_plane_to_images(images_to_half_plane(images) * torch.sign(transfer))
    flipped = plain(48, None, ctf_correction=CtfCorrection.PHASE_FLIP)(images, ctf, 2.0)
    assert float((flipped - expected).abs().max()) < 1e-6
    cropped = plain(48, 36, crop=0.25, ctf_correction=CtfCorrection.PHASE_FLIP)(images, ctf, 2.0)
    assert float((cropped - expected[:, 6:42, 6:42]).abs().max()) < 1e-6


def test_ctf_multiply_works():
    images = torch.randn(1, 48, 48, dtype=torch.double)
    ctf = some_ctf()
    transfer = ctf_half_plane(ctf, 48, 2.0, dtype=torch.double)
    expected = half_plane_to_images(images_to_half_plane(images) * transfer)
    done = plain(48, None, ctf_correction=CtfCorrection.CTF_MULTIPLY)(images, ctf, 2.0)
    assert float((done - expected).abs().max()) < 1e-9


def test_two_pixel_sizes_in_one_batch():
    images = torch.randn(2, 48, 48, dtype=torch.double)
    correct = plain(48, None, ctf_correction=CtfCorrection.PHASE_FLIP)
    both = correct(images, some_ctf(2), np.array([1.5, 2.5]))
    for row, pixel_size in enumerate((1.5, 2.5)):
        alone = correct(images[row : row + 1], some_ctf(), pixel_size)
        assert float((both[row] - alone[0]).abs().max()) < 1e-9


@pytest.mark.parametrize("value", [0.0, 7.5, float("nan"), float("inf")])
def test_constant_or_nan_image_is_named(value):
    images = torch.randn(3, 32, 32)
    images[1] = value
    with pytest.raises(errors.ImageValueError, match="particle 1 has NaN or infinite pixels or is constant"):
        plain(32, None)(images, None, 1.0, "particle {}".format)


def test_flat_background_is_named():
    images = torch.zeros(2, 32, 32)
    images[:, 16, 16] = 1
    images[0] += torch.randn(32, 32)
    with pytest.raises(errors.ImageValueError, match="image 1 of the batch is constant outside"):
        plain(32, None, normalization=Normalization.NOISE_STATS)(images, None, 1.0)


def test_options_out_of_range():
    with pytest.raises(errors.OptionError, match=r"from 0 to 0\.5"):
        PreprocessingOptions(crop_fraction=0.6)
    with pytest.raises(errors.OptionError, match="at least 4"):
        PreprocessingOptions(image_size=2)
    with pytest.raises(errors.OptionError, match="crop less"):
        plain(6, None, crop=0.5)
    with pytest.raises(errors.MetadataError, match="no defocus"):
        plain(16, None, ctf_correction=CtfCorrection.PHASE_FLIP)(torch.randn(1, 16, 16), None, 1.0)
