"""Operations that move images in their plane, with the published names and arguments."""

from __future__ import annotations

import numpy as np
import torch

from cesped.data.augmentation.operation import (
    GeometricOperation,
    at_least_zero,
    register_operation,
    uniform,
)
from cesped.errors import OptionError
from cesped.geometry.inplane import InPlaneMove


@register_operation("inPlaneRotations90")
class QuarterTurns(GeometricOperation):
    """Turns by 0, 90, 180 or 270 degrees, alike often, about the centre pixel n // 2.

    Pixels go to pixels. In an even image the first row and column, -n / 2, have no partner: what
    comes in their place is a reflection, or what the crop had left out.
    """

    def draw(self, count: int, size: int, generator: torch.Generator | None) -> InPlaneMove:
        """Return turns by quarters."""
        quarters = np.floor(4 * uniform((count,), generator))
        return InPlaneMove(90.0 * quarters, np.zeros((count, 2)))


@register_operation("inPlaneRotations")
class Turns(GeometricOperation):
    """Turns by an angle within plus or minus `maxDegrees`."""

    def __init__(self, maxDegrees: float) -> None:
        self.max_angle_deg = at_least_zero("maxDegrees", maxDegrees)

    def draw(self, count: int, size: int, generator: torch.Generator | None) -> InPlaneMove:
        """Return turns."""
        angle_deg = self.max_angle_deg * (2 * uniform((count,), generator) - 1)
        return InPlaneMove(angle_deg, np.zeros((count, 2)))


@register_operation("inPlaneShifts")
class Shifts(GeometricOperation):
    """Shifts along x and y within plus or minus `maxShiftFraction` of the image."""

    def __init__(self, maxShiftFraction: float) -> None:
        self.max_shift_fraction = at_least_zero("maxShiftFraction", maxShiftFraction)
        if self.max_shift_fraction > 1:
            raise OptionError(
                f"maxShiftFraction is {maxShiftFraction}; use a share of the image, 0 to 1"
            )

    def draw(self, count: int, size: int, generator: torch.Generator | None) -> InPlaneMove:
        """Return shifts."""
        shift_px = self.max_shift_fraction * size * (2 * uniform((count, 2), generator) - 1)
        return InPlaneMove(np.zeros(count), shift_px)


@register_operation("sizePerturbation")
class Zooms(GeometricOperation):
    """Magnifies by `minSizeFraction` to `maxSizeFraction` more than the size of the particle.

    The origin [pixels] grows with the image, and the pixel size [angstrom] shrinks: see
    `cesped.geometry.inplane`.
    """

    def __init__(self, maxSizeFraction: float, minSizeFraction: float = 0.0) -> None:
        self.smallest, self.largest = 1 + float(minSizeFraction), 1 + float(maxSizeFraction)
        if not 0 < self.smallest <= self.largest < np.inf:
            raise OptionError(
                f"sizes change by {minSizeFraction} to {maxSizeFraction}; use two numbers above "
                "-1, the smaller as minSizeFraction"
            )

    def draw(self, count: int, size: int, generator: torch.Generator | None) -> InPlaneMove:
        """Return magnifications."""
        span = self.largest - self.smallest
        scale = self.smallest + span * uniform((count,), generator)
        return InPlaneMove(np.zeros(count), np.zeros((count, 2)), scale)


@register_operation("oppositeViews")
class OppositeViews(GeometricOperation):
    """Mirrors the image, which makes it the view from the opposite side of the same particle.

    The hand stays: it is the pose that turns, by 180 degrees about the image's y.
    """

    def draw(self, count: int, size: int, generator: torch.Generator | None) -> InPlaneMove:
        """Return mirrors."""
        return InPlaneMove(
            np.zeros(count), np.zeros((count, 2)), mirrored=np.ones(count, dtype=bool)
        )
