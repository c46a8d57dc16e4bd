"""A plain convolutional network with a 6-D rotation head (Zhou et al., CVPR 2019)."""

from typing import ClassVar

import torch
from torch import nn

from cesped.geometry.symmetry import point_group
from cesped.models.prediction import PosePrediction
from cesped.models.registry import PoseModel


class PlainCnn(PoseModel):
    """Images in, one rotation each out.

    Parameters
    ----------
    symmetry : point group of the particle; the package says which
    widths : channels of the stages, each of which halves the image
    """

    presets: ClassVar = {"wide": {"widths": (64, 128, 256, 512)}}

    def __init__(self, symmetry, widths=(16, 32, 64)):
        super().__init__(symmetry, widths=list(widths))  # the base keeps what rebuilds the model
        stages = []
        for before, after in zip((1, *widths[:-1]), widths, strict=True):
            stages += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.SiLU()]
        self.network = nn.Sequential(
            *stages, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * widths[-1], 7)
        )
        operators = torch.tensor(point_group(symmetry).operators, dtype=torch.float32)
        self.register_buffer("operators", operators, persistent=False)

    def forward(self, images):
        """Return rotations `(B, 3, 3)` and the logarithm of their expected squared error `(B,)`."""
        out = self.network(images).float()  # of lower precision if the recipe says so
        first = nn.functional.normalize(out[:, 0:3], dim=1)
        second = out[:, 3:6] - (first * out[:, 3:6]).sum(dim=1, keepdim=True) * first
        second = nn.functional.normalize(second, dim=1)
        third = torch.linalg.cross(first, second)
        return torch.stack([first, second, third], dim=2), out[:, 6]

    def loss(self, images, rotations, confidence):
        """Return the weighted error to the nearest of the poses that symmetry makes equal."""
        found, log_error = self(images)
        equal = torch.einsum("gij,bjk->bgik", self.operators, rotations)
        squared = (equal - found[:, None]).square().sum(dim=(2, 3)).amin(dim=1)
        return (confidence * (squared * torch.exp(-log_error) + log_error)).mean()

    def predict(self, images):
        """Return the pose of each image; an expected error of zero is a confidence of one."""
        rotations, log_error = self(images)
        return PosePrediction(rotations, 1 / (1 + log_error.exp()))
