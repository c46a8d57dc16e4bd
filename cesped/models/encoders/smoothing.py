"""Input channels: each image, and the image smoothed with Gaussians (two of them in the paper)."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from ...errors import OptionError

#: Standard deviations [px] of the two Gaussians (CESPED paper, appendix B).
SIGMAS_PX = (1.0, 2.0)

#: A Gaussian is cut at this many standard deviations.
_REACH = 4.0


class SmoothedChannels(nn.Module):
    """From `(B, C, n, n)` images to `(B, channels, n, n)`: the images and smoothed copies of them.

    Parameters
    ----------
    sigmas_px : standard deviation of each Gaussian [px]
    images : number C of images of a particle

    Raises
    ------
    OptionError
        If one is not above 0.
    """

    def __init__(self, sigmas_px: Sequence[float] = SIGMAS_PX, images: int = 1) -> None:
        super().__init__()
        if images < 1:
            raise OptionError(f"a particle has {images} images; it needs at least one")
        if any(not sigma_px > 0 for sigma_px in sigmas_px):
            raise OptionError(f"sigmas_px {list(sigmas_px)!r}: each must be above 0")
        self.n_channels = images * (1 + len(sigmas_px))
        self._n_kernels = len(sigmas_px)
        for number, sigma_px in enumerate(sigmas_px):
            reach = int(_REACH * sigma_px)
            steps = torch.arange(-reach, reach + 1, dtype=torch.float64)
            kernel = torch.exp(-(steps**2) / (2 * sigma_px**2))
            kernel = (kernel / kernel.sum()).to(torch.float32)
            self.register_buffer(f"kernel_{number}", kernel, persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the channels: the images first, then those of each Gaussian in turn."""
        count, size = images.shape[0], images.shape[-1]
        single = images.reshape(-1, 1, size, size)
        channels = [images]
        for number in range(self._n_kernels):
            kernel = cast(torch.Tensor, getattr(self, f"kernel_{number}")).to(images.dtype)
            reach = len(kernel) // 2
            padded = functional.pad(single, (reach, reach, reach, reach), mode="replicate")
            rows = functional.conv2d(padded, kernel.view(1, 1, -1, 1))
            smooth = functional.conv2d(rows, kernel.view(1, 1, 1, -1))
            channels.append(smooth.reshape(count, -1, size, size))
        return torch.cat(channels, dim=1)
