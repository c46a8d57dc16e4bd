"""From raw particle images to what a model sees, a batch at a time.

The order is fixed: the contrast transfer is corrected at the full box, where its oscillations are
sampled best; then the grey values are normalised by the background; then the image is cropped
about its centre; then it is resized by cutting or padding its Fourier transform.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cesped.errors import ImageValueError, MetadataError, OptionError
from cesped.physics.background import Background, grey_spread, normalised_centre
from cesped.physics.ctf import CtfParameters, phase_coefficients
from cesped.physics.ctf_correction import (
    WIENER_CONSTANT,
    check_wiener_constant,
    correct_half_planes,
)
from cesped.physics.fourier import corner_half_plane_to_images, images_to_corner_half_plane
from cesped.physics.resampling import crop_centre, resize_band_limited
from cesped.vocabulary import CtfCorrection, Normalization

__all__ = ["PreprocessingOptions", "Preprocessor", "crop_centre", "resize_band_limited"]

LARGEST_CROP = 0.5
SMALLEST_IMAGE_PX = 4
# A background this much flatter than the image is rounding, not noise.
_FLATTEST_BACKGROUND = 1e-6
# Pixels prepared at a time: on a CPU what its nearest caches hold from the first step to the last,
# elsewhere what is worth a launch.
_CHUNK_PX = 1 << 18
_DEVICE_CHUNK_PX = 1 << 25

Describe = Callable[[int], str]
_describe_place: Describe = "image {} of the batch".format


@dataclass(frozen=True)
class PreprocessingOptions:
    """What is done to every image.

    Parameters
    ----------
    image_size : final box [px]; that of the stack when None
    normalization : how grey values are normalised; a member or its value
    ctf_correction : what is done about the contrast transfer; a member or its value
    crop_fraction : share of the box that is cut off before resizing, 0 to 0.5
    wiener_constant : noise power over signal power, for `CtfCorrection.WIENER`

    Raises
    ------
    OptionError
        If a value is out of range, or a word names no choice.
    """

    image_size: int | None = None
    normalization: Normalization = Normalization.NOISE_STATS
    ctf_correction: CtfCorrection = CtfCorrection.PHASE_FLIP
    crop_fraction: float = 0.25
    wiener_constant: float = WIENER_CONSTANT

    def __post_init__(self) -> None:
        # words are taken for what they name: a string is no member, and would mean nothing below
        object.__setattr__(self, "normalization", Normalization.parse(self.normalization))
        object.__setattr__(self, "ctf_correction", CtfCorrection.parse(self.ctf_correction))
        if not (isinstance(self.crop_fraction, Real) and 0 <= self.crop_fraction <= LARGEST_CROP):
            raise OptionError(
                f"image_size_factor_for_crop is {self.crop_fraction!r}; use a fraction of the box "
                f"from 0 to {LARGEST_CROP}"
            )
        size = self.image_size
        if size is not None and not (isinstance(size, Integral) and size >= SMALLEST_IMAGE_PX):
            raise OptionError(
                f"image_size is {size!r}; use a whole number of at least {SMALLEST_IMAGE_PX} "
                "pixels, or None for the size of the stack"
            )
        check_wiener_constant(self.wiener_constant)


class Preprocessor:
    """Prepares images of `box` pixels on any device; can be pickled.

    Parameters
    ----------
    options : what is done
    box : size of the raw images [px]

    Raises
    ------
    OptionError
        If the crop leaves too few pixels, or the image no background to normalise by.
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
        self._background: Background | None = None
        if options.normalization is Normalization.NOISE_STATS:
            self._background = Background.outside_circle(box)
        elif options.normalization is Normalization.CORNER_STATS:
            self._background = Background.corners(box)

    @property
    def magnification(self) -> float:
        """Pixels of the result per pixel of the raw image."""
        return self.image_size / self.cropped_size

    @property
    def noise_deviation(self) -> float:
        """Deviation of white noise of deviation 1 after resizing: averaging pixels averages it."""
        return min(1.0, self.magnification)

    def pixel_size_after(self, pixel_size_angst: ArrayLike) -> NDArray[np.float64]:
        """Return the pixel size [angstrom] of the result for that of the raw image."""
        return np.asarray(pixel_size_angst, dtype=np.float64) / self.magnification

    def chunk_images(self, device: torch.device | str = "cpu") -> int:
        """Return how many images are best prepared together on a device."""
        on_cpu = torch.device(device).type == "cpu"
        return max(1, (_CHUNK_PX if on_cpu else _DEVICE_CHUNK_PX) // self.box**2)

    def __call__(
        self,
        images: Tensor,
        ctf: CtfParameters | None,
        pixel_size_angst: ArrayLike,
        describe: Describe = _describe_place,
    ) -> Tensor:
        """Return the prepared images, `(B, image_size, image_size)`: `normalised`, `resampled`.

        Takes and raises what `normalised` does.
        """
        shape = (len(images), self.image_size, self.image_size)
        prepared = images.new_empty(shape)
        read, step = images.__getitem__, self.chunk_images(images.device)
        self.prepare_into(prepared, read, step, ctf, pixel_size_angst, describe)
        return prepared

    def normalised(
        self,
        images: Tensor,
        ctf: CtfParameters | None,
        pixel_size_angst: ArrayLike,
        describe: Describe = _describe_place,
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
        prepared = torch.empty_like(images)
        read, step = images.__getitem__, self.chunk_images(images.device)
        self.prepare_into(prepared, read, step, ctf, pixel_size_angst, describe, resample=False)
        return prepared

    def resampled(self, images: Tensor) -> Tensor:
        """Return `(..., box, box)` images, cropped and resized: `(..., image_size, image_size)`."""
        return resize_band_limited(crop_centre(images, self.cropped_size), self.image_size)

    def prepare_into(
        self,
        prepared: Tensor,
        read: Callable[[slice], Tensor],
        step: int,
        ctf: CtfParameters | None,
        pixel_size_angst: ArrayLike,
        describe: Describe = _describe_place,
        *,
        resample: bool = True,
    ) -> None:
        """Prepare images as they are read, a few at a time.

        Parameters
        ----------
        prepared : `(B, n, n)` tensor that takes the result
        read : returns the raw images `(b, box, box)` of a slice of the batch, on the device of
            `prepared`; it may use the same memory again at each call
        step : images read at a time
        ctf, pixel_size_angst, describe : as for `normalised`
        resample : whether to crop and resize them too

        Raises
        ------
        ImageValueError, MetadataError
            As `normalised`.
        """
        count = len(prepared)
        coefficients = self._coefficients(ctf, pixel_size_angst, count)
        size = self.cropped_size if resample else self.box
        spread = prepared.new_empty(count)
        deviation = prepared.new_empty(count)
        for start in range(0, count, step):
            part = slice(start, min(start + step, count))
            raw = read(part)
            spread[part] = grey_spread(raw)
            window, deviation[part] = self._normalised_window(
                raw, None if coefficients is None else coefficients[part], size
            )
            prepared[part] = resize_band_limited(window, self.image_size) if resample else window
        self._check(spread, deviation, describe)

    def _check(self, spread: Tensor, deviation: Tensor, describe: Describe) -> None:
        """Raise if an image had no usable grey values: once a batch, not to wait for a device."""
        _refuse(
            ~((spread > 0) & (spread < torch.inf)),
            describe,
            "has NaN or infinite pixels or is constant; remove the particle",
        )
        if self._background is not None:
            _refuse(
                ~(deviation > _FLATTEST_BACKGROUND * spread),
                describe,
                "is constant outside the inscribed circle, so its noise cannot be measured; switch "
                "the per-image normalisation off",
            )

    def _coefficients(
        self, ctf: CtfParameters | None, pixel_size_angst: ArrayLike, count: int
    ) -> NDArray[np.float64] | None:
        if self.options.ctf_correction is CtfCorrection.NONE:
            return None
        if ctf is None:
            raise MetadataError(
                "the particles have no defocus, so their CTF cannot be corrected; estimate it "
                'first, or use ctf_correction="none"'
            )
        if len(ctf) != count:
            raise MetadataError(f"{count} images have {len(ctf)} CTFs; give each its own")
        return phase_coefficients(ctf, self.box, pixel_size_angst)

    def _normalised_window(
        self, images: Tensor, coefficients: NDArray[np.float64] | None, size: int
    ) -> tuple[Tensor, Tensor | float]:
        """Return the central `size` pixels, corrected and normalised, and the deviations found."""
        if coefficients is not None:
            images = self._correct_ctf(images, coefficients)
        if self.options.normalization is Normalization.NONE:
            return crop_centre(images, size), 1.0
        if self._background is None:
            return crop_centre(images, size) - images.mean(dim=(-2, -1), keepdim=True), 1.0
        mean, deviation = self._background.statistics(images)
        return normalised_centre(images, mean, deviation, size), deviation

    def _correct_ctf(self, images: Tensor, coefficients: NDArray[np.float64]) -> Tensor:
        corrected = correct_half_planes(
            images_to_corner_half_plane(images),
            coefficients,
            self.options.ctf_correction,
            self.options.wiener_constant,
        )
        return corner_half_plane_to_images(corrected)


def _refuse(bad: Tensor, describe: Describe, reason: str) -> None:
    if bool(bad.any()):
        first = int(torch.nonzero(bad)[0, 0])
        raise ImageValueError(f"{describe(first)} {reason}")
