"""Copies of an image turned in its plane, for predictions that do not depend on how it lies."""

import math

import torch
from torch.nn import functional


def turned_images(images: torch.Tensor, angle_rad: float) -> torch.Tensor:
    """Return `(B, C, n, n)` images turned by Rz(angle) about pixel `n // 2`.

    The content at x goes to Rz(angle) x, vectors (x, y), so poses go from R to R Rz(-angle).
    Quarter turns move pixels; other turns interpolate, bicubically. What comes from outside the
    image repeats its border.
    """
    n = images.shape[-1]
    quarters = angle_rad / (math.pi / 2)
    if abs(quarters - round(quarters)) < 1e-9:
        return _quarter_turned(images, round(quarters) % 4)
    axis = torch.arange(n, dtype=torch.float64, device=images.device) - n // 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    cosine, sine = math.cos(angle_rad), math.sin(angle_rad)
    # where what arrives at (x, y) comes from, in grid_sample's units: pixel centres at odd / n
    sources = torch.stack([cosine * x + sine * y, cosine * y - sine * x], dim=-1)
    places = ((2.0 * (sources + n // 2) + 1.0) / n - 1.0).to(images.dtype)
    return functional.grid_sample(
        images,
        places.expand(len(images), -1, -1, -1),
        mode="bicubic",
        padding_mode="border",
        align_corners=False,
    )


def _quarter_turned(images: torch.Tensor, quarters: int) -> torch.Tensor:
    """Turn by quarters, the image taken as periodic so that an even one keeps its centre."""
    if quarters == 0:
        return images
    even = images.shape[-1] % 2 == 0
    odd = functional.pad(images, (0, 1, 0, 1), mode="circular") if even else images
    # rows are y: rot90 from the row axis to the column axis takes x to -y
    turned = torch.rot90(odd, -quarters, dims=(-2, -1))
    return turned[..., :-1, :-1] if even else turned
