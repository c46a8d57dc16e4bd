"""Bringing a sample's images to the pixel size and box that a model learned at."""

import os
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ..data.preprocessing import LARGEST_CROP, PreprocessingOptions, Preprocessor
from ..data.table import ParticleTable
from ..errors import PixelSizeError
from ..physics.resampling import crop_centre
from ..progress import SILENT, Progress
from ..training.checkpoint import CheckpointCard
from ..training.prepared import PreparedParticles, preprocessing_from_dict
from ..training.raw_channel import has_raw_channel, particles_of
from ..vocabulary import Normalization

#: Pixel sizes that differ by less, relatively, are one: what rounding in files explains.
SAME_PIXEL_SIZE = 1e-3
#: No image is brought to a pixel size that is off by more.
_LARGEST_MISFIT = 0.01
#: A model whose images must be padded beyond this share of their box sees mostly padding.
_LARGEST_PADDING = 1.5
#: Share of the field of view that is kept at least for the sake of the pixel size, and how much
#: misfit of the pixel size a lost share is worth.
_KEPT_VIEW = 0.95
_PRICE_OF_VIEW = 0.02


@dataclass(frozen=True)
class SamplingPlan:
    """What is done to the images of one pixel size.

    Parameters
    ----------
    options : preparation, up to a resize to at least the model's box where there is as much
    image_size : the model's box [px]; prepared images are cropped or padded to it
    grey_factor : multiplies the grey values, so that white noise has the deviation it had in
        training
    pixel_size_angst : of the result
    is_training_s : whether this is what was done in training, pixel for pixel
    """

    options: PreprocessingOptions
    image_size: int
    grey_factor: float
    pixel_size_angst: float
    is_training_s: bool

    def finish(self, images: torch.Tensor) -> torch.Tensor:
        """Return `(B, C, m, m)` prepared images as the model takes them, `(B, C, n, n)`."""
        if self.is_training_s:
            return images
        size, n = images.shape[-1], self.image_size
        if size > n:
            images = crop_centre(images, n)
        elif size < n:
            before = n // 2 - size // 2  # the centre m // 2 goes to n // 2
            after = n - size - before
            images = functional.pad(images, (before, after, before, after))
        return images * self.grey_factor


def plan_sampling(card: CheckpointCard, box: int, pixel_size_angst: float) -> SamplingPlan:
    """Return how images of `box` px at `pixel_size_angst` become what a model learned on.

    The same field of view at the same pixel size: the image is cropped, resized within its band,
    and cropped to the model's box. Cropping is by whole pixels, so that crop is taken whose
    resize comes nearest to the wanted pixel size. An image that shows less than the model's field
    of view is padded with the mean of its background.

    Parameters
    ----------
    card : of the model
    box : of the raw images [px]
    pixel_size_angst : of the raw images

    Raises
    ------
    PixelSizeError
        If no resize comes within 1 % of the wanted pixel size, or more than half as much again
        would have to be padded, or the images are not normalised, so that nothing can be padded.
    """
    options = preprocessing_from_dict(card.preprocessing)
    there = Preprocessor(options, box)
    wanted, size = card.pixel_size_angst, there.image_size
    found = float(there.pixel_size_after(pixel_size_angst))
    normalised = options.normalization is not Normalization.NONE
    learned = there if card.box is None else Preprocessor(options, card.box)
    if wanted is None or abs(found / wanted - 1) <= SAME_PIXEL_SIZE:
        factor = learned.noise_deviation / there.noise_deviation if normalised else 1.0
        return SamplingPlan(options, size, factor, found, card.box in (None, box))
    crop, resized = _best_crop(
        box, size, wanted / pixel_size_angst, _KEPT_VIEW if normalised else 1.0
    )
    reached = pixel_size_angst * crop / resized
    if abs(reached / wanted - 1) > _LARGEST_MISFIT:
        raise PixelSizeError(
            f"images of {box} px at {pixel_size_angst:.4g} angstrom/px cannot be brought to the "
            f"{wanted:.4g} angstrom/px that the model learned at; the nearest is {reached:.4g}: "
            "give larger images"
        )
    if resized < size and (not normalised or size > _LARGEST_PADDING * resized):
        raise PixelSizeError(
            f"images of {box} px at {pixel_size_angst:.4g} angstrom/px show "
            f"{box * pixel_size_angst:.0f} angstrom, the model was trained on "
            f"{size * wanted:.0f}; extract the particles with a larger box"
        )
    here = replace(options, image_size=resized, crop_fraction=_fraction(box, crop))
    factor = learned.noise_deviation / min(1.0, resized / crop) if normalised else 1.0
    return SamplingPlan(here, size, factor, reached, False)


def _best_crop(box: int, size: int, shrink: float, kept_view: float) -> tuple[int, int]:
    """Return the pixels to keep of `box`, and to resize them to, for pixels `shrink` as large.

    Some of the field of view, down to `kept_view`, is given up where that brings the pixel size
    nearer.
    """
    least = int(np.ceil(max((1 - LARGEST_CROP) * box, kept_view * min(box, size * shrink))))
    crops = np.arange(min(least, box), box + 1)
    resized = np.maximum(1, np.round(crops / shrink)).astype(int)
    misfit = np.abs(crops / (resized * shrink) - 1)
    missing = np.clip(1 - resized / size, 0, 1)
    best = int(np.argmin((misfit + _PRICE_OF_VIEW * missing).round(6)))  # if equal, the smallest
    return int(crops[best]), int(resized[best])


def _fraction(box: int, crop: int) -> float:
    """Return the share to cut off so that `crop` pixels of `box` are left, after rounding down."""
    return 0.0 if crop == box else 1.0 - (crop + 0.5) / box


class SampledParticles:
    """Images of a table as a model takes them, whatever pixel sizes its optics groups have.

    Parameters
    ----------
    table : the particles
    card : of the model
    cache_dir : folder of prepared images, as recipes name it

    Raises
    ------
    PixelSizeError, OptionError, MetadataError
        If the images cannot be brought to the model's pixel size, or prepared at all.
    """

    def __init__(
        self,
        table: ParticleTable,
        card: CheckpointCard,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        self.table = table
        sizes = table.pixel_size_angst
        self.plans: list[SamplingPlan] = []
        self._members: list[PreparedParticles] = []
        raw_channel = has_raw_channel(card.preprocessing)
        self._group = np.zeros(len(table), np.int64)
        self._place = np.zeros(len(table), np.int64)
        left = np.ones(len(table), bool)
        while left.any():
            nominal = float(sizes[left][0])
            group = left & (np.abs(sizes / nominal - 1) <= SAME_PIXEL_SIZE)
            self._group[group] = len(self.plans)
            self._place[group] = np.arange(group.sum())
            plan = plan_sampling(card, table.image_size, nominal)
            chosen = table if group.all() else table.select(group)
            self._members.append(particles_of(chosen, plan.options, raw_channel, 0, cache_dir))
            self.plans.append(plan)
            left &= ~group

    def __len__(self) -> int:
        return len(self.table)

    def load(self, progress: Progress = SILENT) -> None:
        """Prepare all images now, if there is a folder to keep them in."""
        for member in self._members:
            member.load(progress)

    def read(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return the images `(B, 1 or 2, n, n)` of rows of the table.

        Raises
        ------
        MissingImageError, ImageValueError, MetadataError
            If an image cannot be read or used; names the row.
        """
        if len(self.plans) == 1:
            return self.plans[0].finish(self._members[0].read(rows))
        size = self.plans[0].image_size
        images = torch.empty(0)
        for number, (plan, member) in enumerate(zip(self.plans, self._members, strict=True)):
            chosen = np.flatnonzero(self._group[rows] == number)
            if chosen.size:
                found = plan.finish(member.read(self._place[rows[chosen]]))
                if not images.numel():
                    images = torch.empty(len(rows), found.shape[1], size, size)
                images[torch.from_numpy(chosen)] = found
        return images
