"""The half ball of Fourier space that central slices fill, packed row by row.

A cube about the ball would hold twice as many voxels, most of which no sample ever touches.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError

#: Samples on the sphere itself may land this far outside by rounding [voxels].
_ROUNDING_PX = 0.01


@dataclass(frozen=True)
class HalfBall:
    """Which voxels there are: x >= 0, and within trilinear reach of the ball.

    Parameters
    ----------
    radius : of the ball [voxels of the padded grid]
    starts : `(2 radius + 3, 2 radius + 3)` int64: number of the first voxel (x = 0) of each row;
        axes are z, y with the origin in the middle. Voxels of a row follow each other
    lengths : `(2 radius + 3, 2 radius + 3)` int64: voxels of each row, 0 outside
    """

    radius: int
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @classmethod
    @lru_cache(maxsize=4)
    def of_radius(cls, radius: int) -> Self:
        """Return the layout of a ball; 2.1 radius^3 voxels and the rim."""
        nearest = np.maximum(np.abs(np.arange(-radius - 1, radius + 2)) - 1.0, 0)
        room = (radius + _ROUNDING_PX) ** 2 - nearest[:, None] ** 2 - nearest**2
        lengths = np.where(room >= 0, np.sqrt(np.maximum(room, 0)).astype(np.int64) + 2, 0)
        starts = np.cumsum(lengths.ravel()) - lengths.ravel()
        return cls(radius, starts.reshape(lengths.shape), lengths)

    @property
    def n_voxels(self) -> int:
        """Return the number of voxels."""
        return int(self.lengths.sum())


def ball_radius(box: int, padding: int) -> int:
    """Return the radius [voxels of the padded grid] of the ball that slices of `box` fill."""
    return padding * (box // 2)


@dataclass(frozen=True)
class FourierSums:
    """Numerator and denominator of a map, added up over images.

    Parameters
    ----------
    ball : where each voxel is
    values : `(n_voxels, 3)` float32: real and imaginary part of the numerator, and the
        denominator, so that one sample touches few cache lines
    """

    ball: HalfBall
    values: NDArray[np.float32]

    @classmethod
    def empty(cls, box: int, padding: int) -> Self:
        """Return sums of nothing, for images of `box` px on a grid `padding` times as large."""
        ball = HalfBall.of_radius(ball_radius(box, padding))
        return cls(ball, np.zeros((ball.n_voxels, 3), dtype=np.float32))

    def add(self, other: Self) -> None:
        """Add other sums to these.

        Raises
        ------
        OptionError
            If they are of another size.
        """
        if self.ball.radius != other.ball.radius:
            raise OptionError(
                f"sums of radius {self.ball.radius} and {other.ball.radius} voxels do not add up; "
                "use images of one size and one padding"
            )
        np.add(self.values, other.values, out=self.values)
