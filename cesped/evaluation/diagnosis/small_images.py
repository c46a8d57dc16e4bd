"""A sample of particles at a small box, their noise made white: what every test of poses needs.

Wrong conventions show at coarse detail, where the signal is strong and the images are cheap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from cesped.data.images import ImageSource
from cesped.data.preprocessing import resize_band_limited
from cesped.data.table import ParticleTable
from cesped.errors import MetadataError
from cesped.physics.fourier import frequency_grid_px, half_plane_to_images, images_to_half_plane
from cesped.progress import SILENT, Progress

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Fewer particles than this say nothing: every map of the others would be one view.
FEWEST_PARTICLES = 8
#: The mean and the coarsest shell hold ice gradients and normalisation, not the particle.
FIRST_SHELL = 2

_BATCH = 128
_CENTRE_RADIUS, _BACKGROUND_RADIUS = 0.25, 0.45  # of the box: surely particle, surely not
_BAND_EDGES = (2, 4, 6, 9, 13, 18, 24, 32, 48, 64, 96, 128)


@dataclass(frozen=True)
class SmallParticles:
    """Images of `P` particles at a small box, `m` px, in Fourier space.

    Parameters
    ----------
    table : the particles, `P` rows
    half_planes : `(P, m, m // 2 + 1)` complex64, layout of `cesped.physics.fourier`; divided by
        the square root of the mean power of each shell, so noise is white
    pixel_size_angst : `(P,)` after shrinking [angstrom/px]
    signal_to_noise : `(m // 2,)` power of signal over power of noise in each shell, measured
        without any pose
    """

    table: ParticleTable
    half_planes: NDArray[np.complex64]
    pixel_size_angst: FloatArray
    signal_to_noise: FloatArray

    def __len__(self) -> int:
        return len(self.half_planes)

    @property
    def box(self) -> int:
        """Return the side of the images [px]."""
        return int(self.half_planes.shape[1])

    @property
    def original_pixels(self) -> float:
        """Return how many pixels of the file one pixel of these images is."""
        return self.table.image_size / self.box

    def shrunk(self, box: int) -> SmallParticles:
        """Return the same images at `box` px, or these if they are not larger.

        Frequencies on the edge of the band are left as they are: no test uses them.
        """
        if box >= self.box:
            return self
        rows = np.fft.fftfreq(box, 1 / box).astype(np.int64)
        cut = self.half_planes[:, rows, : box // 2 + 1]
        return replace(
            self,
            half_planes=np.ascontiguousarray(cut),
            pixel_size_angst=self.pixel_size_angst * (self.box / box),
            signal_to_noise=self.signal_to_noise[: box // 2],
        )

    def select(self, rows: IntArray) -> SmallParticles:
        """Return the particles at `rows`."""
        return replace(
            self,
            table=self.table.select(rows),
            half_planes=self.half_planes[rows],
            pixel_size_angst=self.pixel_size_angst[rows],
        )


def shell_numbers(box: int) -> IntArray:
    """Return the shell `round(|k|)` of each sample of a half plane, `(box, box // 2 + 1)`."""
    ky, kx = frequency_grid_px(box)
    shells: IntArray = torch.sqrt(ky**2 + kx**2).mul(box).round().long().numpy()
    return shells


def load_small(table: ParticleTable, box: int, progress: Progress = SILENT) -> SmallParticles:
    """Read all particles of `table` and shrink them to `box` px, or keep them if they are smaller.

    Parameters
    ----------
    table : few particles, `P` rows; all their images are kept in memory at the small box
    box : side of the result [px]
    progress : told of every image

    Raises
    ------
    MetadataError
        If there are fewer than 8 particles.
    MissingImageError, ImageValueError, MrcFileError
        As `ImageSource.read`.
    """
    if len(table) < FEWEST_PARTICLES:
        raise MetadataError(
            f"{table.source} offers {len(table)} particles; at least {FEWEST_PARTICLES} are needed "
            "to compare any of them with a map of the others"
        )
    size = min(box, table.image_size)
    source = ImageSource(table)
    images = torch.empty((len(table), size, size))
    with progress.task("reading particles", len(table)) as advance:
        for start in range(0, len(table), _BATCH):
            rows = np.arange(start, min(start + _BATCH, len(table)))
            small = resize_band_limited(torch.from_numpy(source.read(rows)), size)
            small = small - small.mean(dim=(1, 2), keepdim=True)
            images[rows] = small / small.std(dim=(1, 2), keepdim=True)
            advance(len(rows))
    half_planes = images_to_half_plane(images)
    shells = shell_numbers(size)
    power = (half_planes.abs() ** 2).mean(dim=0).numpy()
    power_of_shell = np.bincount(shells.ravel(), power.ravel()) / np.bincount(shells.ravel())
    amplitude = np.sqrt(np.maximum(power_of_shell, 1e-12 * power_of_shell.max()))[shells]
    white = half_planes / torch.from_numpy(amplitude.astype(np.float32))
    return SmallParticles(
        table=table,
        half_planes=white.numpy(),
        pixel_size_angst=table.pixel_size_angst * (table.image_size / size),
        signal_to_noise=_signal_to_noise(white, shells),
    )


def _signal_to_noise(half_planes: torch.Tensor, shells: IntArray) -> FloatArray:
    """Return signal over noise `(m // 2,)`, band by band of frequency, without any pose.

    Notes
    -----
    An image filtered to one band has a certain variance in its corners, where there is only noise,
    and more than that over the whole frame, by what the particle adds. A particle that fills the
    box to the corners is seen too weak: then less is expected of right poses, never more. So is
    one whose excess in the middle is no more than chance.
    """
    size = int(half_planes.shape[-2])
    y, x = np.mgrid[:size, :size] - size // 2
    radius = np.hypot(y, x) / size
    centre, background = radius < _CENTRE_RADIUS, radius > _BACKGROUND_RADIUS
    ratio = np.zeros(size // 2)
    for first, last in pairwise(_BAND_EDGES):
        band = (shells >= first) & (shells < min(last, size // 2))
        if not band.any():
            break
        filtered = half_plane_to_images(half_planes * torch.from_numpy(band)).numpy() ** 2
        noise = filtered[:, background].mean(axis=1)
        excess = filtered[:, centre].mean(axis=1) - noise
        error = excess.std(ddof=1) / np.sqrt(len(excess))
        if noise.mean() > 0 and excess.mean() > 2 * error:
            signal = filtered.mean() - noise.mean()
            ratio[first : min(last, size // 2)] = max(0.0, float(signal / noise.mean()))
    return ratio
