"""From raw particle images to what a model sees, a batch at a time.

The order is fixed: the contrast transfer is corrected at the full box, where its oscillations are
sampled best; then the grey values are normalised by the background; then the image is cropped
about its centre; then it is resized by cutting or padding its Fourier transform.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cesped.errors import ImageValueError, MetadataError, OptionError
from cesped.physics.ctf import CtfParameters, correct_ctf, ctf_half_plane
from cesped.physics.fourier import half_plane_to_images, images_to_half_plane
from cesped.physics.masks import spherical_background
from cesped.vocabulary import CtfCorrection, Normalization

LARGEST_CROP = 0.5
SMALLEST_IMAGE_PX = 4
# A background this much flatter than the image is rounding, not noise.
_FLATTEST_BACKGROUND = 1e-6


@dataclass(frozen=True)
class PreprocessingOptions:
    """What is done to every image.

    Parameters
    ----------
    image_size : final box [px]; that of the stack when None
    normalization : how grey values are normalised
    ctf_correction : what is done about the contrast transfer
    crop_fraction : share of the box that is cut off before resizing, 0 to 0.5

    Raises
    ------
    OptionError
        If a value is out of range.
    """

    image_size: int | None = None
    normalization: Normalization = Normalization.NOISE_STATS
    ctf_correction: CtfCorrection = CtfCorrection.PHASE_FLIP
    crop_fraction: float = 0.25

    def __post_init__(self) -> None:
        if not 0 <= self.crop_fraction <= LARGEST_CROP:
            raise OptionError(
                f"image_size_factor_for_crop is {self.crop_fraction}; use a fraction of the box "
                f"from 0 to {LARGEST_CROP}"
            )
        if self.image_size is not None and self.image_size < SMALLEST_IMAGE_PX:
            raise OptionError(
                f"image_size is {self.image_size}; use at least {SMALLEST_IMAGE_PX} pixels, or "
                "None for the size of the stack"
            )


class Preprocessor:
    """Prepares images of `box` pixels; can be pickled.

    Parameters
    ----------
    options : what is done
    box : size of the raw images [px]

    Raises
    ------
    OptionError
        If the crop leaves too few pixels.
    """

    def __init__(self, options: PreprocessingOptions, box: int):
        self.options = options
        self.box = box
        self.cropped_size = int(box * (1 - options.crop_fraction))
        if self.cropped_size < SMALLEST_IMAGE_PX:
            raise OptionError(
                f"cropping {options.crop_fraction:g} of a {box} px box leaves "
                f"{self.cropped_size} px; crop less"
            )
        self.image_size = box if options.image_size is None else options.image_size
        self._background: Tensor | None = None
        if options.normalization is Normalization.NOISE_STATS:
            self._background = torch.from_numpy(spherical_background(box, box // 2))

    @property
    def magnification(self) -> float:
        """Pixels of the result per pixel of the raw image."""
        return self.image_size / self.cropped_size

    def pixel_size_after(self, pixel_size_angst: ArrayLike) -> NDArray[np.float64]:
        """Return the pixel size [angstrom] of the result for that of the raw image."""
        return np.asarray(pixel_size_angst, dtype=np.float64) / self.magnification

    def __call__(
        self,
        images: Tensor,
        ctf: CtfParameters | None,
        pixel_size_angst: ArrayLike,
        describe: Callable[[int], str] = "image {} of the batch".format,
    ) -> Tensor:
        """Return the prepared images, `(B, image_size, image_size)`: `normalised`, `resampled`."""
        return self.resampled(self.normalised(images, ctf, pixel_size_angst, describe))

    def normalised(
        self,
        images: Tensor,
        ctf: CtfParameters | None,
        pixel_size_angst: ArrayLike,
        describe: Callable[[int], str] = "image {} of the batch".format,
    ) -> Tensor:
        """Return images at the full box, their contrast transfer corrected, their greys normal.

        Parameters
        ----------
        images : `(B, box, box)` float tensor, raw
        ctf : contrast transfer of the `B` images; needed unless it is not corrected
        pixel_size_angst : of the raw images, one or `(B,)` [angstrom/px]
        describe : says which particle image `i` of the batch is, for messages

        Returns
        -------
        `(B, box, box)` tensor of the same type, on the same device

        Raises
        ------
        ImageValueError
            If an image is constant, or has NaN pixels, or no background to normalise by.
        MetadataError
            If the contrast transfer is to be corrected but not known.
        """
        spread = images.amax(dim=(-2, -1)) - images.amin(dim=(-2, -1))
        _refuse(~(spread > 0), describe, "has NaN pixels or is constant; remove the particle")
        images = self._correct_ctf(images, ctf, pixel_size_angst)
        return self._normalise(images, spread, describe)

    def resampled(self, images: Tensor) -> Tensor:
        """Return `(..., box, box)` images, cropped and resized: `(..., image_size, image_size)`."""
        return resize_band_limited(crop_centre(images, self.cropped_size), self.image_size)

    def _correct_ctf(
        self, images: Tensor, ctf: CtfParameters | None, pixel_size_angst: ArrayLike
    ) -> Tensor:
        if self.options.ctf_correction is CtfCorrection.NONE:
            return images
        if ctf is None:
            raise MetadataError(
                "the particles have no defocus, so their CTF cannot be corrected; estimate it "
                'first, or use ctf_correction="none"'
            )
        transfer = ctf_half_plane(
            ctf, self.box, pixel_size_angst, dtype=images.dtype, device=images.device
        )
        half_planes = images_to_half_plane(images)
        corrected = correct_ctf(half_planes, transfer, self.options.ctf_correction)
        return half_plane_to_images(corrected)

    def _normalise(self, images: Tensor, spread: Tensor, describe: Callable[[int], str]) -> Tensor:
        if self.options.normalization is Normalization.NONE:
            return images
        if self._background is None:
            return images - images.mean(dim=(-2, -1), keepdim=True)
        background = images[..., self._background.to(images.device)]
        mean = background.mean(dim=-1)
        deviation = background.std(dim=-1)
        _refuse(
            ~(deviation > _FLATTEST_BACKGROUND * spread),
            describe,
            "is constant outside the inscribed circle, so its noise cannot be measured; switch "
            "the per-image normalisation off",
        )
        return (images - mean[:, None, None]) / deviation[:, None, None]


def crop_centre(images: Tensor, size: int) -> Tensor:
    """Return the central `size` pixels of `(..., n, n)` images; pixel n // 2 becomes size // 2."""
    start = images.shape[-1] // 2 - size // 2
    return images[..., start : start + size, start : start + size]


def resize_band_limited(images: Tensor, size: int) -> Tensor:
    """Return images resampled to `size` pixels with the same field of view.

    Frequencies that do not fit are cut, those that are new are zero; the grey values keep their
    mean, and the centre pixel n // 2 goes to size // 2. White noise of deviation 1 gets the
    deviation size / n.

    Parameters
    ----------
    images : `(..., n, n)` float tensor
    size : pixels of the result

    Notes
    -----
    A frequency at the edge of the band of the smaller size counts half, on both sides: the only
    choice that is symmetric about the centre.
    """
    n = images.shape[-1]
    if n == size:
        return images
    source = images_to_half_plane(images)
    target = torch.zeros(
        (*images.shape[:-2], size, size // 2 + 1), dtype=source.dtype, device=source.device
    )
    kept = min(n, size)
    edge, n_columns = kept // 2, kept // 2 + 1
    n_positive, n_negative = (kept + 1) // 2, (kept - 1) // 2  # rows within the band's edge
    target[..., :n_positive, :n_columns] = source[..., :n_positive, :n_columns]
    target[..., size - n_negative :, :n_columns] = source[..., n - n_negative :, :n_columns]
    if kept % 2 == 0 and size < n:
        both = source[..., edge, :n_columns] + source[..., n - edge, :n_columns]
        target[..., edge, :] = 0.5 * both
        column = target[..., :, edge]
        mirrored = torch.roll(column.flip(-1), 1, dims=-1).conj()
        target[..., :, edge] = 0.5 * (column + mirrored)
    elif kept % 2 == 0:
        half = 0.5 * source[..., edge, :n_columns]
        target[..., edge, :n_columns] = half
        target[..., size - edge, :n_columns] = half
        target[..., :, edge] *= 0.5
    return half_plane_to_images(target) * (size / n) ** 2


def _refuse(bad: Tensor, describe: Callable[[int], str], reason: str) -> None:
    if bool(bad.any()):
        first = int(torch.nonzero(bad)[0, 0])
        raise ImageValueError(f"{describe(first)} {reason}")
