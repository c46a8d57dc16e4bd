"""The one interpolation against scipy, against Fourier series, and against its twin in torch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from cesped.data import warp
from cesped.data.warp import lattice, move_images, warp_images
from cesped.errors import GeometryError, OptionError
from cesped.geometry.inplane import InPlaneMove
from cesped.physics.resampling import crop_centre, resize_band_limited


def random_moves(count, rng, shift_px=4.0):
    return InPlaneMove(
        rng.uniform(-180, 180, count),
        rng.uniform(-shift_px, shift_px, (count, 2)),
        rng.uniform(0.9, 1.1, count),
        rng.random(count) < 0.5,
    )


def fourier_series(image, x, y):
    """Values of the Fourier series of `image` `(n, n)` at positions about pixel n // 2."""
    n = image.shape[-1]
    waves = np.fft.fftfreq(n) * n
    spectrum = np.fft.fft2(np.fft.ifftshift(image)) / n**2
    along_x = np.exp(2j * np.pi * np.multiply.outer(x, waves) / n)
    along_y = np.exp(2j * np.pi * np.multiply.outer(y, waves) / n)
    return np.einsum("...v,vu,...u->...", along_y, spectrum, along_x, optimize=True).real


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("n", "size", "magnification"), [(32, 32, 1.0), (33, 33, 1.0), (32, 45, 1.4), (9, 32, 1.0)]
)
def test_the_spline_is_that_of_scipy(n, size, magnification, dtype):
    rng = np.random.default_rng(n)
    images, move = rng.normal(size=(6, n, n)), random_moves(6, rng, shift_px=n)
    places = lattice(move, n, size, magnification)
    expected = [
        ndimage.affine_transform(
            image, [[yy, yx], [xy, xx]], [y0, x0], (size, size), order=3, mode="mirror"
        )
        for image, (xx, xy, x0, yx, yy, y0) in zip(images, places, strict=True)
    ]
    found = warp_images(
        torch.tensor(images, dtype=dtype), move, size=size, magnification=magnification
    )
    assert found.dtype == dtype
    np.testing.assert_allclose(
        found.numpy(), expected, atol=1e-5 if dtype == torch.float32 else 1e-10
    )


@pytest.mark.parametrize(
    ("n", "oversampling", "limit"), [(32, 1, 1e-2), (33, 1, 1e-2), (32, 2, 1e-3)]
)
def test_images_without_the_edge_of_the_band_are_moved_as_their_fourier_series(
    n, oversampling, limit
):
    """Of images white to half of the band it misses 0.8 %; twice as fine, 0.1 %."""
    rng = np.random.default_rng(4)
    images = resize_band_limited(torch.from_numpy(rng.normal(size=(4, n // 2, n // 2))), n)
    move = random_moves(4, rng)
    moved = warp_images(images.float(), move, oversampling=oversampling).numpy()
    axis = np.arange(n) - n // 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    for k in range(4):
        back = move.inverse()
        points = np.stack([x, y], axis=-1)[None].repeat(4, axis=0)
        source = back.apply_to_points_px(points)[k]
        inside = (np.abs(source) < n // 2 - 6).all(axis=-1)  # what enters is a reflection
        exact = fourier_series(images[k].numpy(), source[..., 0], source[..., 1])
        assert inside.sum() > 100
        error = (moved[k] - exact)[inside]
        assert error.std() < limit * exact[inside].std()


@pytest.mark.parametrize(
    ("n", "size", "magnification", "oversampling"),
    [(48, 48, 1.0, 1), (48, 64, 4 / 3, 1), (49, 30, 0.7, 1), (32, 32, 1.0, 2), (20, 11, 0.3, 2)],
)
def test_kernel_and_torch_give_the_same_numbers(n, size, magnification, oversampling, monkeypatch):
    """In float64, and in float32 as another device would compute."""
    rng = np.random.default_rng(7)
    images = torch.from_numpy(rng.normal(size=(5, n, n)).astype(np.float32))
    move = random_moves(5, rng)
    options = {"size": size, "magnification": magnification, "oversampling": oversampling}
    compiled = warp_images(images, move, **options)
    in_torch = warp_images(images.double(), move, **options)
    assert torch.allclose(compiled.double(), in_torch, atol=1e-5)
    monkeypatch.setattr(warp, "_kernel_takes", lambda images: False)
    in_single = warp_images(images, move, **options)
    assert in_single.dtype == torch.float32
    assert torch.allclose(compiled, in_single, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("magnification", [0.6, 1.0, 1.5])
def test_the_device_gives_the_same_numbers(magnification):
    rng = np.random.default_rng(8)
    images = torch.from_numpy(rng.normal(size=(7, 64, 64)).astype(np.float32))
    move = random_moves(7, rng)
    here = warp_images(images, move, size=64, magnification=magnification)
    with torch.autocast("cuda"):  # must not round it
        there = warp_images(images.cuda(), move, size=64, magnification=magnification)
    assert there.device.type == "cuda"
    assert torch.allclose(here, there.cpu(), atol=1e-5)


@pytest.mark.parametrize("n", [32, 33])
@pytest.mark.parametrize("oversampling", [1, 2])
def test_whole_moves_are_exact(n, oversampling):
    small = torch.randn(1, 1, n - 7, n - 7, dtype=torch.double)
    image = resize_band_limited(small, n)  # nothing at the edge of the band
    still = move_images(image, InPlaneMove.identity(1), oversampling=oversampling)
    assert torch.allclose(still, image, atol=1e-9)
    shift = InPlaneMove(np.zeros(1), np.array([[3.0, -2.0]]))
    shifted = move_images(image, shift, oversampling=oversampling)
    inner = slice(8, n - 8)
    rolled = torch.roll(image, (-2, 3), dims=(-2, -1))
    assert torch.allclose(shifted[..., inner, inner], rolled[..., inner, inner], atol=1e-9)


@pytest.mark.parametrize("n", [16, 17])
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_quarter_turns_move_pixels_about_the_centre_pixel(n, quarters):
    image = torch.randn(1, 1, n, n, dtype=torch.double)
    turned = move_images(image, InPlaneMove(np.array([90.0 * quarters]), np.zeros((1, 2))))
    # of an even image the first row and column have no partner: all others make an odd one
    odd = slice(1 - n % 2, None)
    expected = torch.rot90(image[..., odd, odd], -quarters, dims=(-2, -1))
    assert torch.allclose(turned[..., odd, odd], expected, atol=1e-12)
    if n % 2 == 0:  # what comes in their place is the reflection about the last pixel
        row = turned[0, 0, 0] if quarters < 3 else turned[0, 0, :, 0]
        assert float(row.abs().min()) > 0


def test_mirrored_twice_is_as_before():
    image = torch.randn(2, 1, 15, 15, dtype=torch.double)
    mirror = InPlaneMove(np.zeros(2), np.zeros((2, 2)), mirrored=np.ones(1, bool))
    mirrored = move_images(image, mirror)
    assert torch.allclose(mirrored, image.flip(-1), atol=1e-12)
    assert torch.allclose(move_images(mirrored, mirror), image, atol=1e-12)


def test_without_a_move_the_image_is_cropped_and_resized():
    """The warp shows the pixels that crop and band-limited resize show, larger and smaller."""
    rng = np.random.default_rng(2)
    smooth = resize_band_limited(torch.from_numpy(rng.normal(size=(3, 16, 16))), 64).float()
    still = InPlaneMove.identity(3)
    for cropped, size in ((48, 64), (48, 48), (48, 36), (49, 30)):
        warped = warp_images(smooth, still, size=size, magnification=size / cropped)
        resized = resize_band_limited(crop_centre(smooth, cropped), size)
        inner = slice(size // 4, -size // 4)  # at the edge the resized one wraps round
        difference = (warped - resized)[:, inner, inner]
        assert float(difference.std() / resized.std()) < 0.03, (cropped, size)


@pytest.mark.parametrize(
    ("magnification", "oversampling", "expected"),
    [(1.0, 1, 0.87), (1.0, 2, 0.99), (0.5, 1, 0.43), (0.25, 1, 0.215), (0.25, 2, 0.245)],
)
def test_what_is_left_of_white_noise(magnification, oversampling, expected):
    """Pixels twice as large average four: deviation one half, less what the spline takes."""
    noise = torch.randn(24, 96, 96, generator=torch.Generator().manual_seed(0))
    move = random_moves(24, np.random.default_rng(0))
    move = InPlaneMove(move.angle_deg, move.shift_px)
    size = int(96 * magnification)
    warped = warp_images(
        noise, move, size=size, magnification=magnification, oversampling=oversampling
    )
    assert float(warped.std()) == pytest.approx(expected, rel=0.03)


@given(
    angle=st.floats(-180, 180),
    x=st.floats(-3, 3),
    y=st.floats(-3, 3),
    scale=st.floats(0.8, 1.25),
    mirrored=st.booleans(),
)
def test_a_blob_goes_where_the_move_says(angle, x, y, scale, mirrored):
    move = InPlaneMove(
        np.array([angle]), np.array([[x, y]]), np.array([scale]), np.array([mirrored])
    )
    n, centre = 48, np.array([[5.0, 2.0]])
    axis = torch.arange(n, dtype=torch.double) - n // 2

    def blob(at, width):
        px, py = at[0]
        profile_x = torch.exp(-((axis - px) ** 2) / (12.5 * width**2))
        profile_y = torch.exp(-((axis - py) ** 2) / (12.5 * width**2))
        return profile_y[:, None] * profile_x[None]

    moved = move_images(blob(centre, 1.0)[None, None], move)[0, 0]
    difference = (moved - blob(move.apply_to_points_px(centre), scale)).abs()
    # the corners show what lay outside the image before
    inside = (axis[:, None] - y) ** 2 + (axis[None] - x) ** 2 < (scale * (n // 2 - 1)) ** 2
    assert float(difference[inside].max()) < 0.002


def test_channels_move_alike_and_nothing_is_overwritten():
    images = torch.randn(3, 2, 12, 12)
    kept = images.clone()
    move = random_moves(3, np.random.default_rng(1))
    moved = move_images(images, move)
    assert torch.equal(images, kept)
    assert torch.equal(moved[:, 1], warp_images(images[:, 1], move))


def test_many_threads_and_images_that_are_not_contiguous():
    images = torch.randn(5, 40, 40)
    move = random_moves(5, np.random.default_rng(3))
    window = images[:, 4:36, 4:36]
    assert torch.equal(warp_images(window, move), warp_images(window.contiguous(), move))
    assert warp_images(images[:0], InPlaneMove.identity(0), size=7).shape == (0, 7, 7)


def test_wrong_shapes_and_sizes_are_refused():
    move = InPlaneMove.identity(2)
    with pytest.raises(GeometryError, match=r"2 moves were given for images of shape \(3, 8, 8\)"):
        warp_images(torch.zeros(3, 8, 8), move)
    with pytest.raises(GeometryError, match=r"\(2, n, n\) is needed"):
        warp_images(torch.zeros(2, 8, 9), move)
    with pytest.raises(OptionError, match=r"size 0, magnification 1\.0 and oversampling 1 must"):
        warp_images(torch.zeros(2, 8, 8), move, size=0)
    with pytest.raises(OptionError, match="magnification nan"):
        warp_images(torch.zeros(2, 8, 8), move, magnification=float("nan"))
