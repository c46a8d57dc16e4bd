"""A small residual network for small images: trains on two CPU cores in minutes."""

import torch
from torch import nn
from torch.nn import functional

from .resnet import BasicBlock


class CompactEncoder(nn.Module):
    """Three residual stages, each at half the resolution of the one before.

    The image is first made odd (its first row and column repeated at the end, as in a periodic
    image), so that the pixel `n // 2` it turns about is the middle of every map as well: `n` = 32
    gives maps of 17, 9 and 5 pixels that share their centre.

    Parameters
    ----------
    channels : of the input
    widths : features of the three stages
    blocks : residual blocks in each stage
    """

    def __init__(
        self,
        channels: int,
        widths: tuple[int, int, int] = (32, 64, 128),
        blocks: tuple[int, int, int] = (1, 1, 1),
    ) -> None:
        super().__init__()
        first = widths[0]
        self.stem = nn.Sequential(
            nn.Conv2d(channels, first, 5, 2, padding=2, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
        )
        stages: list[nn.Module] = []
        inputs = first
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            for block in range(count):
                stages.append(BasicBlock(inputs, width, 2 if stage and not block else 1))
                inputs = width
        self.stages = nn.Sequential(*stages)
        self.features = inputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `(B, features, h, h)` maps of `(B, channels, n, n)` images, h about n / 8."""
        even = x.shape[-1] % 2 == 0
        x = functional.pad(x, (0, 1, 0, 1), mode="circular") if even else x
        maps: torch.Tensor = self.stages(self.stem(x))
        return maps
