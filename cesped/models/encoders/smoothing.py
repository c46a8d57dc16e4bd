"""The input channels of the paper: the image, and the image smoothed with two Gaussians."""

from typing import cast

import torch
from torch import nn
from torch.nn import functional

#: Standard deviations [px] of the two Gaussians (CESPED paper, appendix B).
SIGMAS_PX = (1.0, 2.0)

#: A Gaussian is cut at this many standard deviations.
_REACH = 4.0


class SmoothedChannels(nn.Module):
    """From `(B, 1, n, n)` images to `(B, 3, n, n)`: the image and two smoothed copies."""

    def __init__(self) -> None:
        super().__init__()
        self.n_channels = 1 + len(SIGMAS_PX)
        for number, sigma_px in enumerate(SIGMAS_PX):
            reach = int(_REACH * sigma_px)
            steps = torch.arange(-reach, reach + 1, dtype=torch.float64)
            kernel = torch.exp(-(steps**2) / (2 * sigma_px**2))
            kernel = (kernel / kernel.sum()).to(torch.float32)
            self.register_buffer(f"kernel_{number}", kernel, persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the channels, in the order of `SIGMAS_PX` after the image itself."""
        channels = [images]
        for number in range(len(SIGMAS_PX)):
            kernel = cast(torch.Tensor, getattr(self, f"kernel_{number}")).to(images.dtype)
            reach = len(kernel) // 2
            padded = functional.pad(images, (reach, reach, reach, reach), mode="replicate")
            rows = functional.conv2d(padded, kernel.view(1, 1, -1, 1))
            channels.append(functional.conv2d(rows, kernel.view(1, 1, 1, -1)))
        return torch.cat(channels, dim=1)
