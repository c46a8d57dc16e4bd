"""From a feature map to the sphere: orthographic projection, then spherical harmonics."""

from typing import cast

import numpy as np
import torch
from torch import nn

from ...geometry.healpix import pixel_directions
from .harmonics import FloatArray, sphere_harmonics

#: Share of the sphere's radius over which the features fade out at the rim.
_FADE = 0.25


class SphereProjector(nn.Module):
    """Wrap feature maps over the half of the sphere that faces the camera.

    A HEALPix point (x, y, z) with z > 0 takes the feature at (x, y), bilinearly, with the map's
    centre `h // 2` on the axis and `coverage` times half of the map as the sphere's radius. The
    harmonics are the sums over points: HEALPix pixels have equal areas.

    Parameters
    ----------
    l_max : highest degree
    order : HEALPix order of the points
    sampled_share : share of the points used for one batch in training; evaluation uses all of
        them, so that a prediction does not depend on chance
    coverage : radius of the sphere in halves of the map
    rectify : take max(0, f) of the features at the points, as Klee et al. do
    """

    def __init__(
        self,
        l_max: int,
        order: int,
        sampled_share: float = 0.5,
        coverage: float = 0.9,
        rectify: bool = False,
    ) -> None:
        super().__init__()
        self.rectify = rectify
        points = pixel_directions(order)
        points = points[points[:, 2] > 1e-9]
        self.points: FloatArray = points
        self.coverage = coverage
        self.n_sampled = max(1, round(sampled_share * len(points)))
        radius = np.hypot(points[:, 0], points[:, 1])
        fade = 0.5 + 0.5 * np.cos(np.pi * np.clip((radius - 1 + _FADE) / _FADE, 0.0, 1.0))
        harmonics = sphere_harmonics(points, l_max) * torch.from_numpy(fade)[:, None]
        # a mean over the hemisphere's points; sqrt(2): as if over the whole sphere, at unit power
        harmonics *= 2.0**0.5 / len(points)
        self.register_buffer("harmonics", harmonics.to(torch.float32), persistent=False)
        self._interpolation: dict[tuple[int, torch.device], torch.Tensor] = {}

    def forward(
        self, features: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Return `(B, C, (l_max + 1)^2)` coefficients of `(B, C, h, h)` feature maps.

        `generator` draws the sampled points in training; without one torch's own does.
        """
        batch, channels, size, _ = features.shape
        weights = self._bilinear(size, features.device)  # (points, h h)
        harmonics = cast(torch.Tensor, self.harmonics)
        if self.training and self.n_sampled < len(harmonics):
            drawn = torch.randperm(len(harmonics), generator=generator)[: self.n_sampled]
            drawn = drawn.to(features.device)
            harmonics = harmonics[drawn] * (len(harmonics) / self.n_sampled)
            weights = weights[drawn]
        flat = features.reshape(batch, channels, -1)
        if self.rectify:
            at_points = torch.relu(flat @ weights.T.to(features.dtype))
            return at_points @ harmonics.to(features.dtype)
        return flat @ (weights.T @ harmonics).to(features.dtype)

    def _bilinear(self, size: int, device: torch.device) -> torch.Tensor:
        """Return the interpolation weights `(points, size * size)`, kept for the next batch."""
        key = (size, device)
        if key not in self._interpolation:
            matrix = bilinear_matrix(self.points[:, :2], size, self.coverage)
            self._interpolation[key] = matrix.to(device)
        return self._interpolation[key]


def bilinear_matrix(points: FloatArray, size: int, coverage: float) -> torch.Tensor:
    """Return weights `(n, size * size)` that read a map [y, x] at `(n, 2)` points (x, y).

    Points are in units of the sphere's radius, `coverage * size / 2` pixels, about pixel
    `size // 2`; beyond the last pixel the map goes on with its border.
    """
    pixels = size // 2 + points * (coverage * (size - size % 2) / 2)
    pixels = np.clip(pixels, 0, size - 1)
    low = np.minimum(np.floor(pixels).astype(np.int64), max(size - 2, 0))
    high = np.minimum(low + 1, size - 1)
    share = pixels - low
    matrix = np.zeros((len(points), size, size))
    rows = np.arange(len(points))
    for y, y_share in ((low[:, 1], 1 - share[:, 1]), (high[:, 1], share[:, 1])):
        for x, x_share in ((low[:, 0], 1 - share[:, 0]), (high[:, 0], share[:, 0])):
            np.add.at(matrix, (rows, y, x), y_share * x_share)
    return torch.from_numpy(matrix.reshape(len(points), -1)).to(torch.float32)
