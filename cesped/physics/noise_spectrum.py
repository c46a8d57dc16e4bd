"""Noise that is not white: its power as a function of frequency, and white noise turned into it."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..errors import OptionError

#: The shape of `NoiseSpectrum.falling`: below 1 / 40 angstrom ice and support dominate, far above
#: it a fifth of that power remains, which is the counting noise of the detector.
_CORNER_ANGST = 40.0
_FLOOR = 0.2
_TABLE_STEPS = 400


@dataclass(frozen=True)
class NoiseSpectrum:
    """The power of noise at some frequencies; linear between them, constant beyond.

    Only the shape matters: noise made from it has the variance that is asked for.

    Parameters
    ----------
    frequencies_per_angst : `(F,)` rising, none negative [1 / angstrom]
    power : `(F,)` not negative, and not all 0

    Raises
    ------
    OptionError
        If the two do not fit each other, or hold what no spectrum can.
    """

    frequencies_per_angst: NDArray[np.float64]
    power: NDArray[np.float64]

    def __post_init__(self) -> None:
        frequencies = np.asarray(self.frequencies_per_angst, dtype=np.float64)
        power = np.asarray(self.power, dtype=np.float64)
        if frequencies.ndim != 1 or frequencies.shape != power.shape or not len(power):
            raise OptionError(
                f"a noise spectrum has {frequencies.shape} frequencies and {power.shape} powers; "
                "give one power per frequency"
            )
        if not (np.isfinite(frequencies).all() and (np.diff(frequencies, prepend=-1.0) > 0).all()):
            raise OptionError("the frequencies of a noise spectrum must be 0 or more, and rise")
        if frequencies[0] < 0:
            raise OptionError(f"a noise spectrum begins at {frequencies[0]:g} 1/A; begin at 0")
        if not (np.isfinite(power).all() and (power >= 0).all() and power.any()):
            raise OptionError("the powers of a noise spectrum must be 0 or more, and not all 0")
        object.__setattr__(self, "frequencies_per_angst", frequencies)
        object.__setattr__(self, "power", power)

    @classmethod
    def falling(cls, corner_angst: float = _CORNER_ANGST, floor: float = _FLOOR) -> Self:
        """Return power that falls with frequency: floor + (1 - floor) / (1 + (k corner)^2).

        A stand-in for the noise of real images, where structure of the ice and the support is
        stronger at low frequencies; measured spectra are better where there are some.

        Parameters
        ----------
        corner_angst : length whose frequency has the mean of the lowest and highest power
        floor : power that stays at high frequencies, of that at 0
        """
        if not (corner_angst > 0 and 0 <= floor <= 1):
            raise OptionError(
                f"noise with corner {corner_angst:g} A and floor {floor:g}; the corner must be "
                "positive and the floor between 0 and 1"
            )
        frequencies = np.linspace(0.0, 1.0, _TABLE_STEPS) ** 2  # denser where it is steep
        return cls(frequencies, floor + (1 - floor) / (1 + (frequencies * corner_angst) ** 2))

    @classmethod
    def of_images(
        cls, images: Tensor, pixel_size_angst: float, passed: Tensor | None = None
    ) -> Self:
        """Return the mean power of images on rings one Fourier pixel wide, up to the corners.

        Parameters
        ----------
        images : `(B, n, n)` noise; their means count for nothing
        pixel_size_angst : [angstrom per pixel]
        passed : `(B or 1, n, n // 2 + 1)` or a scalar: what the noise was multiplied by before, and
            is freed of here; rings that nothing passed are left out

        Raises
        ------
        OptionError
            If the images hold nothing.
        """
        n = images.shape[-1]
        ky, kx = np.fft.fftfreq(n, 1.0 / n)[:, None], np.arange(n // 2 + 1)[None, :]
        ring = np.rint(np.hypot(ky, kx)).astype(np.int64)
        columns = _columns(n)
        transform = torch.fft.rfft2(images.to(torch.float64))
        power = transform.abs().square().mean(0).cpu().numpy() * columns
        share = torch.ones((1, 1, 1)) if passed is None else passed
        share = share.to(torch.float64).square().reshape(-1, *share.shape[-2:]).mean(0).cpu()
        weights = np.broadcast_to(share.numpy(), ring.shape) * columns
        power[0, 0] = weights[0, 0] = 0.0  # the mean is no noise
        sums = np.bincount(ring.ravel(), power.ravel())
        counts = np.bincount(ring.ravel(), weights.ravel())
        known = counts > 1e-6 * counts.max()
        frequencies = np.flatnonzero(known) / (n * pixel_size_angst)
        return cls(frequencies, sums[known] / counts[known])

    def at(self, frequencies_per_angst: ArrayLike) -> NDArray[np.float64]:
        """Return the power at any frequencies [1 / angstrom]."""
        wanted = np.asarray(frequencies_per_angst, dtype=np.float64)
        return np.interp(wanted, self.frequencies_per_angst, self.power)

    def amplitudes(self, n: int, pixel_size_angst: float) -> Tensor:
        """Return what the half plane of white noise is multiplied by.

        Parameters
        ----------
        n : image size [pixel]
        pixel_size_angst : [angstrom per pixel]

        Returns
        -------
        `(n, n // 2 + 1)` float32 tensor; the mean of its squares over the whole plane is 1, so
        that the variance of a pixel stays what it was

        Raises
        ------
        OptionError
            If the spectrum has no power at any frequency of such images.
        """
        ky = np.fft.fftfreq(n)[:, None] / pixel_size_angst
        kx = np.fft.rfftfreq(n)[None, :] / pixel_size_angst
        power = self.at(np.hypot(ky, kx))
        mean = float((power * _columns(n)).sum() / n**2)
        if not mean > 0:
            raise OptionError(
                f"the noise spectrum has no power at the frequencies of images of {n} px at "
                f"{pixel_size_angst:g} A/px"
            )
        return torch.from_numpy(np.sqrt(power / mean).astype(np.float32))


def _columns(n: int) -> NDArray[np.float64]:
    """Return how many columns of the whole plane each of the half plane stands for."""
    columns = np.full(n // 2 + 1, 2.0)
    columns[0] = 1.0
    if n % 2 == 0:
        columns[-1] = 1.0
    return columns


def colour_noise(white: Tensor, amplitudes: Tensor) -> Tensor:
    """Return white noise with another spectrum.

    Parameters
    ----------
    white : `(..., n, n)` real tensor
    amplitudes : `(n, n // 2 + 1)` real tensor of `NoiseSpectrum.amplitudes`

    Returns
    -------
    `(..., n, n)` tensor
    """
    n = white.shape[-1]
    coloured: Tensor = torch.fft.irfft2(torch.fft.rfft2(white) * amplitudes, s=(n, n))
    return coloured
