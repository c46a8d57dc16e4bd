"""Operations on grey values, with the published names and arguments; the pose stays.

Strengths are in units of the deviation of the background noise of normalised images, so a recipe
means the same for every size of image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from cesped.data.augmentation.operation import (
    GreyOperation,
    at_least_zero,
    register_operation,
    uniform,
)
from cesped.errors import OptionError

#: A Gaussian is cut at this many deviations.
_BLUR_REACH = 4.0


@register_operation("randomGaussNoise")
class GaussianNoise(GreyOperation):
    """Adds white noise whose deviation is drawn from 0 to `scale`."""

    def __init__(self, scale: float) -> None:
        self.scale = at_least_zero("scale", scale)

    def apply(
        self, images: Tensor, noise_deviation: float, generator: torch.Generator | None
    ) -> Tensor:
        """Return images with Gaussian noise."""
        strength = _strengths(self.scale * noise_deviation, images, generator)
        noise = _drawn(torch.randn, images, generator)
        return images + strength * noise


@register_operation("randomUnifNoise")
class UniformNoise(GreyOperation):
    """Adds noise that is uniform over a range drawn from 0 to `scale` wide, about zero.

    Its deviation is the width divided by the root of 12: 0.58 at most for the paper's 2.
    """

    def __init__(self, scale: float) -> None:
        self.scale = at_least_zero("scale", scale)

    def apply(
        self, images: Tensor, noise_deviation: float, generator: torch.Generator | None
    ) -> Tensor:
        """Return images with uniform noise."""
        width = _strengths(self.scale * noise_deviation, images, generator)
        noise = _drawn(torch.rand, images, generator)
        return images + width * (noise - 0.5)


@register_operation("gaussianBlur")
class Blur(GreyOperation):
    """Blurs by a Gaussian whose deviation is drawn from 0 to `scale` pixels."""

    def __init__(self, scale: float) -> None:
        self.scale = at_least_zero("scale", scale)

    def apply(
        self, images: Tensor, noise_deviation: float, generator: torch.Generator | None
    ) -> Tensor:
        """Return blurred images."""
        sigma_px = _strengths(self.scale, images, generator)
        reach = max(1, int(np.ceil(_BLUR_REACH * self.scale)))
        reach = min(reach, images.shape[-1] - 1)  # a reflection has no more pixels than that
        distance = torch.arange(reach + 1, dtype=images.dtype, device=images.device)
        taps = torch.exp(-0.5 * (distance / sigma_px.clamp(min=1e-3)) ** 2)[:, 0, 0, :]
        taps = taps / (taps[:, :1] + 2 * taps[:, 1:].sum(dim=1, keepdim=True))
        for axis in (-1, -2):
            images = _filtered(images, taps, axis)
        return images


@register_operation("erasing")
class Erasing(GreyOperation):
    """Sets one rectangle to `value`, the mean of a normalised background.

    Parameters
    ----------
    scale : smallest and largest area, as shares of the image
    ratio : smallest and largest height over width; its logarithm is drawn uniformly
    value : what is put there
    """

    def __init__(
        self,
        scale: Sequence[float] = (0.0, 0.02),
        ratio: Sequence[float] = (0.3, 2.3),
        value: float = 0.0,
    ) -> None:
        self.scale, self.ratio = _range("scale", scale), _range("ratio", ratio)
        self.value = float(value)
        if self.scale[1] > 1:
            raise OptionError(f"scale is {list(scale)}; use shares of the image, 0 to 1")
        if self.ratio[0] <= 0:
            raise OptionError(f"ratio is {list(ratio)}; use numbers above 0")

    def apply(
        self, images: Tensor, noise_deviation: float, generator: torch.Generator | None
    ) -> Tensor:
        """Return images with a rectangle erased."""
        count, _, n, _ = images.shape
        drawn = uniform((count, 4), generator)
        area = n * n * (self.scale[0] + (self.scale[1] - self.scale[0]) * drawn[:, 0])
        low, high = np.log(self.ratio)
        aspect = np.exp(low + (high - low) * drawn[:, 1])
        height = np.minimum(np.rint(np.sqrt(area * aspect)), n).astype(int)
        width = np.minimum(np.rint(np.sqrt(area / aspect)), n).astype(int)
        top = np.floor(drawn[:, 2] * (n - height + 1)).astype(int)
        left = np.floor(drawn[:, 3] * (n - width + 1)).astype(int)
        images = images.clone()
        for i in range(count):
            images[i, :, top[i] : top[i] + height[i], left[i] : left[i] + width[i]] = self.value
        return images


def _strengths(largest: float, images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return one number for each image, from 0 to `largest`, `(B, 1, 1, 1)`."""
    drawn = largest * uniform((len(images),), generator)
    return torch.from_numpy(drawn).to(images)[:, None, None, None]


def _drawn(
    draw: Callable[..., Tensor], images: Tensor, generator: torch.Generator | None
) -> Tensor:
    """Return random numbers, one for each pixel, drawn where the generator lives.

    One on the CPU draws the same numbers for every device; one on the device draws faster.
    """
    device = torch.device("cpu") if generator is None else generator.device
    numbers = draw(images.shape, generator=generator, device=device, dtype=images.dtype)
    return numbers.to(images.device)


def _filtered(images: Tensor, taps: Tensor, axis: int) -> Tensor:
    """Return images `(B, C, n, n)` filtered along one axis by symmetric `taps` `(B, reach + 1)`.

    Edges are reflected. Sums of shifted images, since a convolution with another kernel for each
    image is slower on a core, and rounded to fewer digits on some devices.
    """
    n, reach = images.shape[axis], taps.shape[1] - 1
    index = torch.arange(-reach, n + reach, device=images.device).abs()
    index = torch.where(index >= n, 2 * n - 2 - index, index)
    padded = images.index_select(axis, index)
    weights = taps[:, :, None, None, None]
    total = weights[:, 0] * images
    for k in range(1, reach + 1):
        total += weights[:, k] * (
            padded.narrow(axis, reach - k, n) + padded.narrow(axis, reach + k, n)
        )
    return total


def _range(name: str, values: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = (at_least_zero(name, value) for value in values)
    except (TypeError, ValueError):
        low, high = 1.0, 0.0
    if low > high:
        raise OptionError(f"{name} is {values!r}; use two numbers, the smaller first")
    return low, high
