"""What sets of views suffer on the device that learns: shifts, CTFs, noise."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.simulation.optics import OpticsRanges
from ...data.simulation.poses import drawn_origins_px
from ...physics.ctf import CtfParameters, ctf_half_plane
from ...physics.fourier import half_plane_to_images, images_to_half_plane, shift_phase


@dataclass(frozen=True)
class Corruption:
    """What is done to one set of views: origins `(N, 2)` [px], CTFs, signal over noise."""

    origins_px: NDArray[np.float64]
    ctf: CtfParameters | None
    snr: float | None
    noise_seed: int


def drawn_corruption(
    views: int,
    max_shift_px: float,
    optics: OpticsRanges | CtfParameters | None,
    snr: tuple[float, float] | None,
    generator: np.random.Generator,
) -> Corruption:
    """Return what is drawn for a set.

    Parameters
    ----------
    views : of the set
    max_shift_px : origins are uniform along x and y up to this
    optics : ranges that CTFs are drawn from, or CTFs to draw from; none when None
    snr : range that is uniform in its logarithm; no noise when None
    generator : random numbers
    """
    origins = drawn_origins_px(views, max_shift_px, None, generator)
    ctf = optics
    if isinstance(ctf, OpticsRanges):
        ctf = ctf.draw(views, generator)
    elif ctf is not None:
        ctf = ctf.select(generator.integers(0, len(ctf), views))
    ratio = None
    if snr is not None:
        ratio = float(np.exp(generator.uniform(*np.log(snr))))
    return Corruption(origins, ctf, ratio, int(generator.integers(0, 2**62)))


def shifted_with_ctf(images: Tensor, corruption: Corruption, pixel_size_angst: float) -> Tensor:
    """Return `(N, n, n)` images with shift and CTF, applied to their transforms."""
    if corruption.ctf is None and not corruption.origins_px.any():
        return images
    half_planes = images_to_half_plane(images)
    size = images.shape[-1]
    origins = torch.from_numpy(corruption.origins_px).to(images.device)
    half_planes = half_planes * shift_phase(size, -origins)
    if corruption.ctf is not None:
        transfer = ctf_half_plane(corruption.ctf, size, pixel_size_angst, device=images.device)
        half_planes = half_planes * transfer
    return half_plane_to_images(half_planes)


def with_noise(clean: Tensor, corruptions: Sequence[Corruption]) -> Tensor:
    """Return `(B, N, n, n)` images with white noise, drawn on their device.

    The variance of the noise is that of the images over the full frame, averaged over the views of
    a set, over the set's signal over noise.
    """
    noise = torch.empty_like(clean)
    for row, corruption in enumerate(corruptions):
        source = torch.Generator(clean.device).manual_seed(corruption.noise_seed)
        noise[row] = torch.randn(clean.shape[1:], generator=source, device=clean.device)
    power = clean.to(torch.float64).var(dim=(-2, -1), correction=0).mean(dim=1)
    wanted = [corruption.snr or np.inf for corruption in corruptions]
    ratios = torch.tensor(wanted, dtype=torch.float64).to(power.device)
    return clean + noise * (power / ratios).sqrt().to(noise.dtype)[:, None, None, None]


def joined_ctfs(ctfs: list[CtfParameters]) -> CtfParameters:
    """Return the CTFs of several sets, one after the other."""
    names = [field.name for field in fields(CtfParameters)]
    return CtfParameters(
        **{name: np.concatenate([getattr(ctf, name) for ctf in ctfs]) for name in names}
    )
