"""In-plane shifts: where in the image does the projection lie that the head expects to see?

The signals on SO(3) know what the particle looks like from where it is seen. From them comes an
expected picture of it, which turns with the image; it is correlated with the image itself, and the
shift is the expectation over that correlation map, finer than a pixel of it. So the shift follows
the image both when it turns and when it moves: SE(2) in the plane, with the rotation SE(3).
"""

from typing import cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ...physics.resampling import resize_band_limited
from .harmonics import orders, so3_index

#: Pixels of the image that is correlated.
_SIDE_PX = 64

#: Rings of which a picture is made.
_RINGS = 12


class ShiftHead(nn.Module):
    """From signals on SO(3) and an image to the shift of the particle.

    Parameters
    ----------
    features : number of signals on SO(3)
    l_max : their highest degree
    max_shift_share : shifts up to this share of the image's side are looked for
    """

    def __init__(self, features: int, l_max: int, max_shift_share: float = 0.1) -> None:
        super().__init__()
        self.l_max = l_max
        self.reach_px = max(1, int(np.ceil(max_shift_share * _SIDE_PX)))
        self.weights = nn.ParameterList()
        for m in range(l_max + 1):
            # what multiplies cos(m angle) and sin(m angle) has the orders m and -m
            index = [
                [so3_index(degree, sign * m, n) for sign in (1, -1)]
                for degree in range(m, l_max + 1)
                for n in orders(degree).tolist()
            ]
            self.register_buffer(f"index_{m}", torch.tensor(index), persistent=False)
            scale = (len(index) * features * (l_max + 1)) ** -0.5
            self.weights.append(nn.Parameter(scale * torch.randn(len(index), features, _RINGS)))
        self.register_buffer("pictures", _pictures(l_max), persistent=False)
        steps = torch.arange(-self.reach_px, self.reach_px + 1, dtype=torch.float32)
        self.register_buffer("steps", steps, persistent=False)

    def correlation(self, signals: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Return logits of the particle's place, `(B, k, k)` with axes y, x.

        Parameters
        ----------
        signals : `(coefficients, B x features)`
        images : `(B, C, n, n)`; the first is looked at
        """
        batch = len(images)
        signals = signals.float().view(len(signals), batch, -1)
        parts = []
        for m, weight in enumerate(self.weights):
            index = cast(torch.Tensor, getattr(self, f"index_{m}"))
            # (terms, 2, B, features), (terms, features, rings) -> (B, 2, rings)
            parts.append(torch.einsum("tsbf,tfr->bsr", signals[index], weight))
        amplitudes = torch.stack(parts, dim=1).flatten(1)
        expected = (amplitudes @ cast(torch.Tensor, self.pictures)).view(batch, _SIDE_PX, _SIDE_PX)
        seen = resize_band_limited(images[:, 0].float(), _SIDE_PX)
        seen = seen - seen.mean(dim=(1, 2), keepdim=True)
        seen = seen / seen.std(dim=(1, 2), keepdim=True).clamp(min=1e-6)
        reach = self.reach_px
        padded = functional.pad(seen, (reach, reach, reach, reach))
        logits = functional.conv2d(padded[None], expected[:, None], groups=batch)[0]
        scaled: torch.Tensor = logits * (2 * _RINGS) ** -0.5
        return scaled

    def loss(self, logits: torch.Tensor, shifts_share: torch.Tensor) -> torch.Tensor:
        """Return the cross-entropy `(B,)` of the correlation map with the true place.

        The truth is shared among the four nearest steps so that its mean is exact.

        Parameters
        ----------
        logits : `(B, k, k)`
        shifts_share : `(B, 2)` true origins x, y in shares of the image's side
        """
        place = (-shifts_share * _SIDE_PX).clamp(-self.reach_px, self.reach_px)
        steps = cast(torch.Tensor, self.steps)
        along = (1.0 - (place[..., None] - steps).abs()).clamp(min=0.0)  # (B, 2, k)
        wanted = along[:, 1, :, None] * along[:, 0, None, :]
        logarithms = functional.log_softmax(logits.flatten(1), dim=1)
        return -(wanted.flatten(1) * logarithms).sum(dim=1)

    def expectation(self, logits: torch.Tensor) -> torch.Tensor:
        """Return origins x, y `(B, 2)` in shares of the image's side."""
        weights = torch.softmax(logits.flatten(1), dim=1).view_as(logits)
        steps = cast(torch.Tensor, self.steps)
        x = weights.sum(dim=1) @ steps
        y = weights.sum(dim=2) @ steps
        return -torch.stack([x, y], dim=1) / _SIDE_PX


def _pictures(l_max: int) -> torch.Tensor:
    """Return rings times cosines and sines of the azimuth.

    `(m cosine-or-sine ring, y x)`: what multiplies a vector of amplitudes to make a picture.
    """
    axis = torch.arange(_SIDE_PX, dtype=torch.float64) - _SIDE_PX // 2
    radius = torch.hypot(axis[:, None], axis[None, :])
    azimuth = torch.atan2(axis[:, None], axis[None, :])
    step = 0.45 * _SIDE_PX / _RINGS
    centres = (torch.arange(_RINGS) + 0.5) * step
    rings = torch.exp(-((radius - centres[:, None, None]) ** 2) / (2 * (0.7 * step) ** 2))
    m = torch.arange(l_max + 1, dtype=torch.float64)[:, None, None]
    waves = torch.stack([torch.cos(m * azimuth), torch.sin(m * azimuth)], dim=1)
    # near the centre a wave of order m turns within a pixel
    fade = torch.tanh(radius / (m + 1e-9)) ** 2
    pictures = waves[:, :, None] * fade[:, None, None] * rings
    pictures = pictures / pictures.square().sum(dim=(-2, -1), keepdim=True).sqrt().clamp(min=1e-9)
    return pictures.to(torch.float32).flatten(0, 2).flatten(1)
