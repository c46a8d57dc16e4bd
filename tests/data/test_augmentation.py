"""The law of augmentation: the moved image is the projection at the moved pose."""

import fake_entry as fake
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cesped import errors
from cesped.data.augmentation import InPlaneAugmenter, move_images
from cesped.data.preprocessing import crop_centre, resize_band_limited
from cesped.geometry.inplane import InPlaneMove
from cesped.geometry.poses import Poses

BALLS, WEIGHTS = fake.fake_balls(radius_angst=30.0)


def projections(poses, box, pixel_size_angst=3.0):
    """Sharper than a pixel at 3 angstrom never: balls of 4.5 angstrom."""
    return torch.from_numpy(
        fake.project_balls(BALLS, WEIGHTS, poses, box, pixel_size_angst, 4.5 / pixel_size_angst)
    )


def correlations(a, b):
    a, b = (x.reshape(len(x), -1) - x.reshape(len(x), -1).mean(1, keepdim=True) for x in (a, b))
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))


def found_shift_px(image, reference):
    """Displacement of `image` from `reference`, by the phases of the low frequencies."""
    n = image.shape[-1]
    cross = torch.fft.fft2(image.double()) * torch.fft.fft2(reference.double()).conj()
    low = [(0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0)]
    rows = np.array([[x, y] for y, x in low]) * -2 * np.pi / n
    phases = np.array([float(cross[y, x].angle()) for y, x in low])
    weights = np.array([float(cross[y, x].abs()) for y, x in low])
    return np.linalg.lstsq(rows * weights[:, None], phases * weights, rcond=None)[0]


@pytest.mark.parametrize("box", [48, 49])
@pytest.mark.parametrize("quarter_turns", [False, True])
def test_augment_then_reproject(box, quarter_turns):
    rng = np.random.default_rng(5)
    poses = fake.fake_poses(24, rng, shift_angst=6.0)
    augmenter = InPlaneAugmenter(20.0 if quarter_turns else 180.0, 3.0, quarter_turns)
    images, rotations, origins_px = augmenter.augment(
        projections(poses, box)[:, None],
        torch.from_numpy(poses.rotations),
        torch.from_numpy(poses.origins_angst / 3.0),
        torch.Generator().manual_seed(4),
    )
    moved = Poses(rotations.numpy(), origins_px.numpy() * 3.0, np.ones(24))
    expected = projections(moved, box)
    assert float(correlations(images[:, 0], expected).min()) >= 0.995
    for image, reference in zip(images[:, 0], expected, strict=True):
        assert np.abs(found_shift_px(image, reference)).max() < 0.02


@pytest.mark.parametrize(("box", "size"), [(64, 40), (65, 40), (64, 41), (63, 33)])
def test_law_holds_through_crop_and_resize(box, size):
    rng = np.random.default_rng(6)
    poses = fake.fake_poses(12, rng, shift_angst=5.0)
    cropped = int(box * 0.75)
    pixel_size = 3.0 * cropped / size
    small = resize_band_limited(crop_centre(projections(poses, box), cropped), size)
    images, rotations, origins_px = InPlaneAugmenter(180.0, 2.0).augment(
        small[:, None],
        torch.from_numpy(poses.rotations),
        torch.from_numpy(poses.origins_angst / pixel_size),
        torch.Generator().manual_seed(7),
    )
    moved = Poses(rotations.numpy(), origins_px.numpy() * pixel_size, np.ones(12))
    expected = projections(moved, size, pixel_size)
    assert float(correlations(images[:, 0], expected).min()) >= 0.995
    for image, reference in zip(images[:, 0], expected, strict=True):
        assert np.abs(found_shift_px(image, reference)).max() < 0.02


@pytest.mark.parametrize("n", [32, 33])
def test_whole_moves_are_exact(n):
    small = torch.randn(1, 1, n - 7, n - 7, dtype=torch.double)
    image = resize_band_limited(small, n)  # nothing at the edge of the band
    assert torch.allclose(move_images(image, InPlaneMove.identity(1)), image, atol=1e-9)
    shifted = move_images(image, InPlaneMove(np.zeros(1), np.array([[3.0, -2.0]])))
    inner = slice(8, n - 8)
    rolled = torch.roll(image, (-2, 3), dims=(-2, -1))
    assert torch.allclose(shifted[..., inner, inner], rolled[..., inner, inner], atol=1e-9)
    quarter = move_images(image, InPlaneMove(np.array([90.0]), np.zeros((1, 2))))
    c = n // 2
    # content at +x (right of the centre) goes to +y (below it)
    assert quarter[0, 0, c + 5, c] == pytest.approx(float(image[0, 0, c, c + 5]), abs=1e-9)
    assert quarter[0, 0, c, c] == pytest.approx(float(image[0, 0, c, c]), abs=1e-9)


@given(angle=st.floats(-180, 180), x=st.floats(-3, 3), y=st.floats(-3, 3))
def test_a_blob_goes_where_the_move_says(angle, x, y):
    move = InPlaneMove(np.array([angle]), np.array([[x, y]]))
    n, centre = 48, np.array([[5.0, 2.0]])
    axis = torch.arange(n, dtype=torch.double) - n // 2

    def blob(at):
        px, py = at[0]
        profile_x = torch.exp(-((axis - px) ** 2) / 12.5)
        profile_y = torch.exp(-((axis - py) ** 2) / 12.5)
        return profile_y[:, None] * profile_x[None]

    moved = move_images(blob(centre)[None, None], move)[0, 0]
    difference = (moved - blob(move.apply_to_points_px(centre))).abs()
    # the corners show what lay outside the image before
    inside = (axis[:, None] - y) ** 2 + (axis[None] - x) ** 2 < (n // 2 - 1) ** 2
    assert float(difference[inside].max()) < 0.01


def test_published_protocol_moves_pose_and_image_alike():
    poses = fake.fake_poses(1, np.random.default_rng(1))
    from cesped.geometry.euler import euler_to_rotation, rotation_to_euler

    augmenter = InPlaneAugmenter(180.0, 3.0, generator=torch.Generator().manual_seed(2))
    image, euler, fraction, applied = augmenter(
        projections(poses, 48),
        torch.from_numpy(rotation_to_euler(poses.rotations)[0]),
        torch.from_numpy(poses.origins_angst[0] / 144.0),
    )
    moved = Poses(euler_to_rotation(euler.numpy())[None], fraction.numpy()[None] * 144, np.ones(1))
    assert float(correlations(image, projections(moved, 48)).min()) > 0.995
    assert len(applied) == 2


def test_draws_follow_the_generator_and_cover_the_range():
    augmenter = InPlaneAugmenter(180.0, 2.5)
    a, b = (augmenter.draw(4000, torch.Generator().manual_seed(9)) for _ in range(2))
    np.testing.assert_array_equal(a.angle_deg, b.angle_deg)
    assert a.angle_deg.min() < -178
    assert a.angle_deg.max() > 178
    assert np.abs(a.shift_px).max() <= 2.5
    assert np.abs(a.shift_px).max() > 2.49
    quarter = InPlaneAugmenter(0.0, 0.0, True).draw(100, torch.Generator().manual_seed(1))
    assert set(quarter.angle_deg) == {0.0, 90.0, 180.0, 270.0}


def test_new_tensors_are_returned():
    images = torch.randn(2, 1, 16, 16)
    kept = images.clone()
    rotations = torch.eye(3).repeat(2, 1, 1)
    moved, turned, origins = InPlaneAugmenter(90.0, 1.0).augment(images, rotations)
    assert torch.equal(images, kept)
    assert torch.equal(rotations, torch.eye(3).repeat(2, 1, 1))
    assert moved.dtype == images.dtype
    assert turned.dtype == rotations.dtype
    assert origins.shape == (2, 2)


def test_negative_ranges_are_refused():
    with pytest.raises(errors.OptionError, match="must not be negative"):
        InPlaneAugmenter(max_shift_px=-1)
