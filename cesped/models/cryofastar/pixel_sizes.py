"""Pixel sizes that weights know: those of the images that they learned from, as they were shown.

A network that is shown a particle larger or smaller than it learned gives other poses, and is as
sure of them; nothing else tells. So training writes down what it showed, and use compares.
"""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .weights import config_of_weights, facts_of_weights

#: Of the facts of weights: the least and the largest pixel size [Angstrom].
PIXEL_SIZES_FACT = "pixel_sizes_angst"
#: Pixel sizes this far outside the range still count as known: star files round.
TOLERANCE = 0.02


@dataclass(frozen=True)
class PixelSizes:
    """A range of pixel sizes [Angstrom]; of no image as it is made, and NaN if one is not known."""

    least: float = math.inf
    largest: float = -math.inf

    def with_sizes(self, sizes: Iterable[float]) -> "PixelSizes":
        """Return the range that holds `sizes` too; unknown if one of them is, or there is none."""
        known = [*sizes] or [math.nan]
        if any(math.isnan(size) for size in (*known, self.least)):
            return PixelSizes(math.nan, math.nan)
        return PixelSizes(min(self.least, *known), max(self.largest, *known))

    def as_fact(self) -> dict[str, list[float]]:
        """Return the entry among the facts of weights; none where the range is not known."""
        if not 0 < self.least <= self.largest < math.inf:
            return {}
        return {PIXEL_SIZES_FACT: [self.least, self.largest]}

    def miss(self, size_angst: float) -> float:
        """Return how far a pixel size is outside, as a share of the nearest known one; 0 inside."""
        return max(0.0, self.least / size_angst - 1, size_angst / self.largest - 1)


def pixel_sizes_of_facts(facts: Mapping[str, Any]) -> PixelSizes | None:
    """Return the pixel sizes that facts of weights state; None if they state none."""
    try:
        least, largest = map(float, facts[PIXEL_SIZES_FACT])
    except (KeyError, TypeError, ValueError):
        return None
    return PixelSizes(least, largest) if PixelSizes(least, largest).as_fact() else None


def _known_to(weights: str | os.PathLike[str]) -> PixelSizes | None:
    if Path(weights).suffix != ".safetensors" or not Path(weights).is_file():
        return None  # released ones say nothing; one that is missing is told where it is read
    return pixel_sizes_of_facts(facts_of_weights(weights))


def states_pixel_sizes(weights: str | os.PathLike[str]) -> bool:
    """Whether a file of weights says which pixel sizes they learned from.

    Raises
    ------
    CheckpointError
        If it cannot be read.
    """
    return _known_to(weights) is not None


@dataclass(frozen=True)
class PixelSizeFit:
    """Images as a network is given them, beside those that its weights know.

    Parameters
    ----------
    given_angst : pixel size [Angstrom]
    side_px : of the images
    box_px : of the images before they are resized
    patch_px : sides are multiples of it
    known : by the weights
    option : that states the side
    """

    given_angst: float
    side_px: int
    box_px: int
    patch_px: int
    known: PixelSizes
    option: str

    @property
    def is_known(self) -> bool:
        """Whether the weights know such images."""
        return self.known.miss(self.given_angst) <= TOLERANCE

    @property
    def best_side_px(self) -> int:
        """Return the side that brings the pixel size nearest to the range [px]."""
        field_angst = self.given_angst * self.side_px
        exact = [field_angst / self.known.largest, field_angst / self.known.least]
        patches = [part(side / self.patch_px) for side in exact for part in (math.floor, math.ceil)]
        sides = [self.side_px, *(max(1, count) * self.patch_px for count in patches)]
        return min(
            sides,
            key=lambda side: (self.known.miss(field_angst / side), abs(side - self.side_px)),
        )

    @property
    def best_box_px(self) -> int:
        """Return the even box that gives the nearest known pixel size at this side [px]."""
        low = self.given_angst < self.known.least
        nearest = self.known.least if low else self.known.largest
        return max(2, 2 * round(nearest / self.given_angst * self.box_px / 2))

    @property
    def warning(self) -> str | None:
        """Return what was found, what the weights know, and what to do; None if all is well."""
        if self.is_known:
            return None
        known, best = f"{self.known.least:.4g}", self.best_side_px
        if self.known.largest > self.known.least * 1.0005:
            known += f" to {self.known.largest:.4g}"
        best_angst = self.given_angst * self.side_px / best
        if best == self.side_px:
            advice = f"no other {self.option} comes nearer"
        else:
            advice = f"use {self.option} {best}, which makes it {best_angst:.4g} Å"
        if self.known.miss(best_angst) > TOLERANCE:
            advice += (
                f" (multiples of {self.patch_px} px); for a known size, cut or pad the images from "
                f"{self.box_px} to {self.best_box_px} px first, and keep {self.option} "
                f"{self.side_px}"
            )
        return (
            f"The network is given images of {self.given_angst:.4g} Å a pixel ({self.side_px} px), "
            f"but its weights learned from {known} Å a pixel: poses may be wrong with nothing else "
            f"to show it; {advice}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "given_angst": self.given_angst,
            "image_size_px": self.side_px,
            "weights_know_angst": [self.known.least, self.known.largest],
            "is_known": self.is_known,
            "best_image_size_px": self.best_side_px,
            "warning": self.warning,
        }


def pixel_size_fit(
    weights: str | os.PathLike[str],
    given_angst: float,
    side_px: int,
    box_px: int,
    option: str,
) -> PixelSizeFit | None:
    """Return how images suit weights; None if these do not say what they learned from.

    Parameters
    ----------
    weights : file; released ones say nothing
    given_angst, side_px, box_px, option : see `PixelSizeFit`

    Raises
    ------
    CheckpointError
        If the file cannot be read.
    """
    known = _known_to(weights)
    if known is None:
        return None
    patch_px = config_of_weights(weights).patch_px
    return PixelSizeFit(given_angst, side_px, box_px, patch_px, known, option)
