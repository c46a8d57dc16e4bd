"""What every pose model returns."""

from dataclasses import dataclass
from typing import Protocol

import torch

from ..errors import GeometryError


class RotationDistribution(Protocol):
    """What a model believes about the poses of a batch of `B` images."""

    def __len__(self) -> int: ...

    def log_prob(self, rotations: torch.Tensor) -> torch.Tensor:
        """Return `(B,)` or `(B, K)` values at `(B, 3, 3)` or `(B, K, 3, 3)` rotations."""

    def top_k(self, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the most probable rotations `(B, k, 3, 3)` and their probabilities `(B, k)`."""

    def probabilities(self) -> torch.Tensor:
        """Return the probabilities `(B, N)` of the nodes of its grid."""


@dataclass(frozen=True)
class PosePrediction:
    """Poses that a model gives to a batch of images.

    Parameters
    ----------
    rotations : `(B, 3, 3)` float tensor
        `x_volume = R @ x_image`, vectors (x, y, z).
    confidence : `(B,)` float tensor
        Between 0 and 1; what the star file's rlnParticleFigureOfMerit will hold.
    shifts_angst : `(B, 2)` float tensor, optional
        Origins x, y [Angstrom]: what must be added to bring the particle to the centre.
        `None` for a model that predicts orientations only.
    distribution : `RotationDistribution`, optional
        What the rotations were read off, of a model that was asked for it.

    Raises
    ------
    GeometryError
        If the shapes do not belong together.
    """

    rotations: torch.Tensor
    confidence: torch.Tensor
    shifts_angst: torch.Tensor | None = None
    distribution: RotationDistribution | None = None

    def __post_init__(self) -> None:
        batch = self.rotations.shape[0]
        wanted = {"rotations": (batch, 3, 3), "confidence": (batch,), "shifts_angst": (batch, 2)}
        for name, shape in wanted.items():
            value = getattr(self, name)
            if value is not None and tuple(value.shape) != shape:
                raise GeometryError(
                    f"a prediction's {name} has shape {tuple(value.shape)}, expected {shape}; "
                    "return one row per image of the batch"
                )

    def __len__(self) -> int:
        return self.rotations.shape[0]
