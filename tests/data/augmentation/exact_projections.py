"""Projections of balls in closed form, and how alike two images are."""

import fake_entry as fake
import numpy as np
import torch

BALLS, WEIGHTS = fake.fake_balls(radius_angst=26.0)
PIXEL_SIZE_ANGST = 3.0
SIGMA_ANGST = 4.5


def projections(poses, box, pixel_size_angst=PIXEL_SIZE_ANGST):
    """Images `(B, box, box)` of the same balls; pixel sizes may differ, one each."""
    sizes = np.broadcast_to(pixel_size_angst, len(poses))
    images = [
        fake.project_balls(BALLS, WEIGHTS, poses.select([i]), box, size, SIGMA_ANGST / size)
        for i, size in enumerate(sizes)
    ]
    return torch.from_numpy(np.concatenate(images))


def correlations(a, b):
    a, b = (x.reshape(len(x), -1) - x.reshape(len(x), -1).mean(1, keepdim=True) for x in (a, b))
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))


def found_shift_px(image, reference):
    """Displacement of `image` from `reference`: the slope of the phases of their cross-spectrum.

    Of the low frequencies, which the whole particle shares, weighted by their strength.
    """
    n = image.shape[-1]
    cross = torch.fft.fft2(image.double()) * torch.fft.fft2(reference.double()).conj()
    low = [(0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0)]
    rows = np.array([[x, y] for y, x in low]) * -2 * np.pi / n
    phases = np.array([float(cross[y, x].angle()) for y, x in low])
    weights = np.array([float(cross[y, x].abs()) for y, x in low])
    return np.linalg.lstsq(rows * weights[:, None], phases * weights, rcond=None)[0]


def check_law(images, poses, pixel_size_angst):
    """The images are the projections at these poses: correlation, and shift to 0.02 px."""
    expected = projections(poses, images.shape[-1], pixel_size_angst)
    assert float(correlations(images, expected).min()) >= 0.995
    for image, reference in zip(images, expected, strict=True):
        assert np.abs(found_shift_px(image, reference)).max() < 0.02
