"""Where an image shows background, and what its grey values are there."""

from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .grey_kernel import background_statistics, grey_range, normalise_window
from .masks import corner_background, spherical_background
from .resampling import crop_centre


class Background:
    """The background pixels of images of `n` pixels; can be pickled.

    Parameters
    ----------
    mask : `(n, n)` bool: in each row, background at both ends and none in between, or all
    """

    def __init__(self, mask: NDArray[np.bool_]):
        self.mask = mask
        n = len(mask)
        inside = ~mask
        empty = ~inside.any(axis=1)
        self._left = np.where(empty, n, inside.argmax(axis=1))
        self._right = np.where(empty, n, n - inside[:, ::-1].argmax(axis=1))

    @classmethod
    def outside_circle(cls, n: int) -> Self:
        """Return all that is outside the inscribed circle."""
        return cls(spherical_background(n, n // 2))

    @classmethod
    def corners(cls, n: int) -> Self:
        """Return the largest squares in the corners that the inscribed circle leaves free."""
        return cls(corner_background(n))

    def statistics(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of the background of each image.

        Parameters
        ----------
        images : `(B, n, n)` float tensor on any device

        Returns
        -------
        two `(B,)` tensors of its type
        """
        if images.dtype is torch.float32 and images.device.type == "cpu":
            both = np.empty((2, len(images)), np.float32)
            background_statistics(images.contiguous().numpy(), self._left, self._right, both)
            mean, deviation = torch.from_numpy(both)
            return mean, deviation
        pixels = images[:, torch.from_numpy(self.mask).to(images.device)]
        return pixels.mean(dim=-1), pixels.std(dim=-1)


def grey_spread(images: Tensor) -> Tensor:
    """Return highest less lowest grey value of each image; NaN or infinite if a pixel is.

    Parameters
    ----------
    images : `(B, n, n)` float tensor on any device

    Returns
    -------
    `(B,)` tensor of its type
    """
    if images.dtype is torch.float32 and images.device.type == "cpu":
        both = np.empty((2, len(images)), np.float32)
        grey_range(
            images.contiguous().view(len(images), -1).numpy().view(np.int32), both.view(np.int32)
        )
        with np.errstate(invalid="ignore"):  # infinity less infinity is the NaN that is promised
            return torch.from_numpy(both[1] - both[0])
    spread: Tensor = images.amax(dim=(-2, -1)) - images.amin(dim=(-2, -1))
    return spread


def normalised_centre(images: Tensor, mean: Tensor, deviation: Tensor, size: int) -> Tensor:
    """Return the central `size` pixels of images, less `mean` and divided by `deviation`.

    Parameters
    ----------
    images : `(B, n, n)` float tensor on any device
    mean, deviation : `(B,)`
    size : see `cesped.physics.resampling.crop_centre`

    Returns
    -------
    `(B, size, size)` tensor of the same type
    """
    if images.dtype is torch.float32 and images.device.type == "cpu":
        out = torch.empty((len(images), size, size))
        start = images.shape[-1] // 2 - size // 2
        pixels = images.contiguous().numpy()
        normalise_window(pixels, mean.numpy(), deviation.numpy(), start, out.numpy())
        return out
    factor = 1 / deviation
    return (crop_centre(images, size) - mean[:, None, None]) * factor[:, None, None]
