"""Laws of the image preparation: noise, centre, order, faults."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from second_device import back, second_device, there

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
    with pytest.raises(
        errors.ImageValueError, match="particle 1 has NaN or infinite pixels or is constant"
    ):
        plain(32, None)(images, None, 1.0, "particle {}".format)


def test_flat_background_is_named():
    images = torch.zeros(2, 32, 32)
    images[:, 16, 16] = 1
    images[0] += torch.randn(32, 32)
    with pytest.raises(errors.ImageValueError, match="image 1 of the batch is constant outside"):
        plain(32, None, normalization=Normalization.NOISE_STATS)(images, None, 1.0)


def test_words_are_taken_for_the_choices_they_name():
    said = PreprocessingOptions(None, "none", "phase_flip")
    assert said == PreprocessingOptions(None, Normalization.NONE, CtfCorrection.PHASE_FLIP)
    assert said.ctf_correction is CtfCorrection.PHASE_FLIP
    with pytest.raises(errors.OptionError, match="'flip' is not a CtfCorrection; use one of: none"):
        PreprocessingOptions(ctf_correction="flip")


def test_options_out_of_range():
    with pytest.raises(errors.OptionError, match=r"from 0 to 0\.5"):
        PreprocessingOptions(crop_fraction=0.6)
    with pytest.raises(errors.OptionError, match="at least 4"):
        PreprocessingOptions(image_size=2)
    with pytest.raises(errors.OptionError, match="crop less"):
        plain(6, None, crop=0.5)
    with pytest.raises(errors.MetadataError, match="no defocus"):
        plain(16, None, ctf_correction=CtfCorrection.PHASE_FLIP)(torch.randn(1, 16, 16), None, 1.0)


def slow_reference(images, ctf, pixel_size, options):
    """The whole preparation of `(B, n, n)` images in float64, image by image, with numpy alone."""
    n = images.shape[-1]
    cropped = int(n * (1 - options.crop_fraction))
    size = n if options.image_size is None else options.image_size
    axis = np.arange(n) - n // 2
    background = axis[:, None] ** 2 + axis[None, :] ** 2 > (n // 2) ** 2
    if options.normalization is Normalization.CORNER_STATS:
        first, last = int(np.argmin(np.diag(background))), int(np.argmin(np.diag(background)[::-1]))
        side = min(first, last)
        edge = np.minimum(np.arange(n), n - 1 - np.arange(n)) < side
        background = edge[:, None] & edge[None, :]
    transfers = ctf_half_plane(ctf, n, pixel_size, dtype=torch.double).numpy()
    done = []
    for image, transfer in zip(images.astype(np.float64), transfers, strict=True):
        factor = {
            CtfCorrection.NONE: np.ones_like(transfer),
            CtfCorrection.PHASE_FLIP: np.sign(transfer),
            CtfCorrection.CTF_MULTIPLY: transfer,
            CtfCorrection.WIENER: transfer / (transfer**2 + options.wiener_constant),
        }[options.ctf_correction]
        image = np.fft.irfft2(np.fft.rfft2(image) * factor, s=(n, n))
        if options.normalization is Normalization.SUBTRACT_MEAN:
            image = image - image.mean()
        elif options.normalization is not Normalization.NONE:
            image = (image - image[background].mean()) / image[background].std(ddof=1)
        start = n // 2 - cropped // 2
        image = image[start : start + cropped, start : start + cropped]
        at = (np.arange(size) - size // 2) * cropped / size
        frequencies = np.arange(-(cropped // 2), cropped // 2 + 1)
        frequencies = frequencies[np.abs(frequencies) <= size / 2]
        weight = np.where(2 * np.abs(frequencies) == min(size, cropped), 0.5, 1.0)
        pixels = np.arange(cropped) - cropped // 2
        turns = (at[:, None, None] - pixels[None, :, None]) * frequencies / cropped
        if size < cropped:  # at the edge of the band the result has one frequency for two
            edges = 2 * np.abs(frequencies) == size
            turns[..., edges] = (np.arange(size) - size // 2)[:, None, None] * frequencies[
                edges
            ] / size - pixels[None, :, None] * frequencies[edges] / cropped
        matrix = (weight * np.cos(2 * np.pi * turns)).sum(axis=-1) / cropped
        done.append(matrix @ image @ matrix.T)
    return np.stack(done)


@given(
    box=st.integers(16, 50),
    size=st.none() | st.integers(8, 60),
    crop=st.sampled_from([0.0, 0.1, 0.25, 0.5]),
    normalization=st.sampled_from(list(Normalization)),
    correction=st.sampled_from(list(CtfCorrection)),
    seed=st.integers(0, 99),
)
def test_every_choice_is_the_slow_reference(box, size, crop, normalization, correction, seed):
    rng = np.random.default_rng(seed)
    images = rng.normal(2.0, 3.0, (3, box, box)).astype(np.float32)
    ctf = CtfParameters(rng.uniform(9000, 15000, 3), 9000.0, 30.0, 300.0, 2.7, 0.1)
    options = PreprocessingOptions(size, normalization, correction, crop)
    expected = slow_reference(images, ctf, 3.0, options)
    preprocessor = Preprocessor(options, box)
    scale = float(np.abs(expected).max())
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-7)):
        given = torch.from_numpy(images).to(dtype)
        done = preprocessor(given, ctf, 3.0)
        assert done.dtype is dtype
        np.testing.assert_allclose(done.numpy(), expected, atol=tolerance * scale, rtol=0)
        in_two = preprocessor.resampled(preprocessor.normalised(given, ctf, 3.0))
        np.testing.assert_allclose(in_two.numpy(), expected, atol=tolerance * scale, rtol=0)
    assert np.array_equal(given.float().numpy(), images)  # what was given stays as it was


def test_images_do_not_depend_on_their_neighbours_in_the_batch():
    images = torch.randn(70, 64, 64)  # more than is prepared at a time
    ctf = CtfParameters(np.linspace(9000, 20000, 70), 9000.0, 30.0, 300.0, 2.7, 0.1)
    preprocessor = Preprocessor(PreprocessingOptions(48), 64)
    assert 1 < preprocessor.chunk_images() < 70
    together = preprocessor(images, ctf, 2.0)
    for row in (0, 63, 64, 69):
        alone = preprocessor(images[row : row + 1], ctf.select([row]), 2.0)
        torch.testing.assert_close(together[row], alone[0], atol=1e-6, rtol=0)
    images[69] = 0
    with pytest.raises(errors.ImageValueError, match="image 69 of the batch"):
        preprocessor(images, ctf, 2.0)


def test_default_keeps_the_size_of_the_file_and_states_the_pixel_size():
    preprocessor = Preprocessor(PreprocessingOptions(), 64)
    assert (preprocessor.cropped_size, preprocessor.image_size) == (48, 64)
    assert float(preprocessor.pixel_size_after(2.0)) == 1.5
    whole = plain(64, None)
    images = torch.randn(2, 64, 64)
    assert torch.equal(whole(images, None, 2.0), images)
    assert float(whole.pixel_size_after(2.0)) == 2.0


@pytest.mark.gpu
@pytest.mark.parametrize("correction", list(CtfCorrection))
@pytest.mark.parametrize("normalization", list(Normalization))
@pytest.mark.parametrize("size", [None, 64, 101])
def test_the_gpu_gives_the_same_numbers(correction, normalization, size):
    images = torch.randn(9, 128, 128)
    ctf = CtfParameters(np.linspace(9000, 20000, 9), 9000.0, 30.0, 300.0, 2.7, 0.1)
    preprocessor = Preprocessor(PreprocessingOptions(size, normalization, correction), 128)
    on_gpu = preprocessor(images.cuda(), ctf, 1.5).cpu()
    torch.testing.assert_close(on_gpu, preprocessor(images, ctf, 1.5), atol=1e-5, rtol=0)


@pytest.mark.parametrize("correction", list(CtfCorrection))
@pytest.mark.parametrize("normalization", list(Normalization))
@pytest.mark.parametrize("size", [None, 64, 101])
def test_images_of_another_device_are_prepared_there_to_the_same_numbers(
    correction, normalization, size
):
    images = torch.randn(9, 128, 128, generator=torch.Generator().manual_seed(3))
    ctf = CtfParameters(np.linspace(9000, 20000, 9), 9000.0, 30.0, 300.0, 2.7, 0.1)
    preprocessor = Preprocessor(PreprocessingOptions(size, normalization, correction), 128)
    with second_device():
        prepared = preprocessor(there(images), ctf, 1.5)
    torch.testing.assert_close(back(prepared), preprocessor(images, ctf, 1.5), atol=1e-5, rtol=0)
