"""`Poses`: orientation, origin and confidence of each particle."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from ..errors import GeometryError
from .rotations import FloatArray


@dataclass(frozen=True)
class Poses:
    """The poses of `P` particles, in float64.

    Parameters
    ----------
    rotations : `(P, 3, 3)`, `x_volume = R @ x_image` (see `cesped.geometry.euler`)
    origins_angst : `(P, 2)` x, y [angstrom]: what must be added to bring the particle to the
        centre, so the content of the image is displaced by its negative
    confidence : `(P,)`, at least 0; 1 where nothing is known

    Raises
    ------
    GeometryError
        If the three do not describe the same number of particles, or hold values that are not
        finite; the message names the first bad particle, counted from 1.
    """

    rotations: FloatArray
    origins_angst: FloatArray
    confidence: FloatArray

    def __post_init__(self) -> None:
        rotations = np.asarray(self.rotations, dtype=np.float64)
        count = rotations.shape[0] if rotations.ndim else 0
        shapes = {
            "rotations": (count, 3, 3),
            "origins_angst": (count, 2),
            "confidence": (count,),
        }
        for name, shape in shapes.items():
            values = np.asarray(getattr(self, name), dtype=np.float64)
            if values.shape != shape:
                raise GeometryError(f"poses: {name} has shape {values.shape}, expected {shape}")
            finite = np.isfinite(values.reshape(count, -1)).all(axis=1) if count else np.ones(0)
            if not finite.all():
                first = int(np.argmin(finite)) + 1
                raise GeometryError(
                    f"poses: {name} of particle {first} of {count} is not finite: "
                    f"{values[first - 1].tolist()}"
                )
            object.__setattr__(self, name, values)

    def __len__(self) -> int:
        return int(self.rotations.shape[0])

    def select(self, indices: ArrayLike) -> Self:
        """Return the poses at `indices` (integers, a slice's range, or a mask of booleans)."""
        rows = np.asarray(indices)
        if rows.size == 0:
            rows = rows.astype(np.int64)
        return type(self)(self.rotations[rows], self.origins_angst[rows], self.confidence[rows])
