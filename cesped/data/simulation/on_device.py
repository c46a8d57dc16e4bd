"""Simulated particles on the fly: a batch at a time on the device, nothing on the disk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cesped.data.simulation.optics import OpticsRanges
from cesped.data.simulation.poses import PreferredView, drawn_origins_px, drawn_rotations
from cesped.errors import OptionError
from cesped.physics.ctf import CtfParameters
from cesped.physics.noise_spectrum import NoiseSpectrum, colour_noise
from cesped.physics.torch_projection import TorchProjector


@dataclass(frozen=True)
class SimulatedBatch:
    """Images and what they were made with.

    Parameters
    ----------
    images : `(B, N, N)` float32, on the device
    rotations : `(B, 3, 3)` float32, on the device
    origins_angst : `(B, 2)` float32, on the device
    ctf : of the images; None if they have none
    """

    images: Tensor
    rotations: Tensor
    origins_angst: Tensor
    ctf: CtfParameters | None


@dataclass(frozen=True)
class OnTheFly:
    """Draws particles of one volume without end.

    Parameters
    ----------
    projector : of the volume, on the device
    snr : variance of the CTF-modulated signal over the full frame, averaged over the batch, over
        the variance of the noise; no noise when None
    max_shift_px : origins are uniform along x and y up to this
    optics : ranges that CTFs are drawn from, or CTFs to draw from; none when None
    views : preferred directions; uniform on SO(3) when there are none
    spectrum : of the noise; white when None
    shift_sigma_px : origins are normal along x and y with this deviation instead, when given
    origins_angst : `(P, 2)` that origins are drawn from instead, when given
    noise_sigma : deviation of the noise, the same for every batch; takes the place of `snr`

    Raises
    ------
    OptionError
        If the SNR is not above 0, or more than one of shifts, or of noises, is given.

    Examples
    --------
    >>> volume = torch.zeros(16, 16, 16)
    >>> volume[8, 8, 9:12] = 1.0
    >>> source = OnTheFly(TorchProjector(volume, 1.5), snr=0.5, max_shift_px=2.0)
    >>> source.draw(4, np.random.default_rng(0)).images.shape
    torch.Size([4, 16, 16])
    """

    projector: TorchProjector
    snr: float | None = None
    max_shift_px: float = 0.0
    optics: OpticsRanges | CtfParameters | None = None
    views: tuple[PreferredView, ...] = ()
    spectrum: NoiseSpectrum | None = None
    shift_sigma_px: float | None = None
    origins_angst: NDArray[np.float64] | None = None
    noise_sigma: float | None = None

    def __post_init__(self) -> None:
        if self.snr is not None and not self.snr > 0:
            raise OptionError(f"SNR {self.snr} was given; it must be above 0, or None")
        if self.snr is not None and self.noise_sigma is not None:
            raise OptionError("give the SNR or the deviation of the noise, not both")
        if self.origins_angst is not None and (self.max_shift_px or self.shift_sigma_px):
            raise OptionError("give the origins that are drawn from or a range, not both")

    def draw(self, count: int, generator: np.random.Generator) -> SimulatedBatch:
        """Return `count` particles.

        The generator decides poses, shifts and CTFs; from it comes the seed of the noise too, which
        is drawn on the device and so differs between kinds of devices.
        """
        device = self.projector.device
        rotations = drawn_rotations(count, self.views, generator)
        origins_angst = self._origins_angst(count, generator)
        ctf = self.optics
        if isinstance(ctf, OpticsRanges):
            ctf = ctf.draw(count, generator)
        elif ctf is not None:
            ctf = ctf.select(generator.integers(0, len(ctf), count))
        images = self.projector.project(rotations, origins_angst, ctf)
        seed = int(generator.integers(0, 2**62))
        if self.snr is not None or self.noise_sigma:
            images = images + self._noise(images, seed)
        return SimulatedBatch(
            images,
            torch.from_numpy(rotations).to(device, torch.float32),
            torch.from_numpy(origins_angst).to(device, torch.float32),
            ctf,
        )

    def _origins_angst(self, count: int, generator: np.random.Generator) -> NDArray[np.float64]:
        if self.origins_angst is not None:
            return self.origins_angst[generator.integers(0, len(self.origins_angst), count)]
        largest_px = self.max_shift_px if self.shift_sigma_px is None else self.max_shift_px or None
        origins_px = drawn_origins_px(count, largest_px, self.shift_sigma_px, generator)
        return origins_px * self.projector.pixel_size_angst

    def _noise(self, images: Tensor, seed: int) -> Tensor:
        source = torch.Generator(images.device).manual_seed(seed)
        noise = torch.randn(images.shape, generator=source, device=images.device)
        if self.spectrum is not None:
            box, pixel_size_angst = self.projector.box, self.projector.pixel_size_angst
            noise = colour_noise(noise, self.spectrum.amplitudes(box, pixel_size_angst).to(noise))
        if self.noise_sigma is not None or self.snr is None:
            return noise * (self.noise_sigma or 0.0)
        power = images.to(torch.float64).var(dim=(-2, -1), correction=0).mean()
        return noise * (power / self.snr).sqrt().to(torch.float32)
