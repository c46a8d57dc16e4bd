"""What every pose model returns."""

from dataclasses import dataclass

import torch

from ..errors import GeometryError


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

    Raises
    ------
    GeometryError
        If the shapes do not belong together.
    """

    rotations: torch.Tensor
    confidence: torch.Tensor
    shifts_angst: torch.Tensor | None = None

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
