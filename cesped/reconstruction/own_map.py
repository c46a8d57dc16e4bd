"""The map that a set of particles has of itself, as good as its own two parts agree it is.

Particles are split at random in two; the correlation of the two maps says at which frequencies the
map of all is signal. Nothing else than these particles enters.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.images import ImageSource
from ..data.table import ParticleTable
from ..errors import MetadataError
from ..physics.ctf import ctf_half_plane
from ..physics.fourier import half_space_to_volume, volume_to_half_space
from ..physics.fsc import FscCurve, fsc_curve, resolution_angst
from ..physics.noise_spectrum import NoiseSpectrum
from ..physics.projection import Projector
from ..progress import SILENT, Progress
from ..vocabulary import CtfCorrection
from .protocol import PoseSet, ReconstructionOptions, Reconstructor, Volume

#: FSC of two independent parts below which a map is taken for noise from there on.
_NOISE_FSC = 0.143
#: Particles that the strength of signal and noise is measured on.
_MEASURED = 512


@dataclass(frozen=True)
class OwnMap:
    """A filtered map, and how strong its projections are in the images.

    Parameters
    ----------
    volume : `(N, N, N)` [z, y, x], in the grey values of the images
    pixel_size_angst : of map and images
    snr : variance of a projection with its CTF over that of the noise, over the full frame
    resolution_angst : at which the two parts correlate 0.143
    noise : spectrum of what the images hold beside their projections
    """

    volume: Volume
    pixel_size_angst: float
    snr: float
    resolution_angst: float
    noise: NoiseSpectrum


def own_map(
    table: ParticleTable,
    symmetry: str,
    reconstructor: Reconstructor,
    generator: np.random.Generator,
    *,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> OwnMap:
    """Reconstruct particles with their known poses and filter the map by their own agreement.

    Each shell is multiplied by 2 f / (1 + f), f being the correlation of the maps of two random
    parts: Wiener's filter for the map of all. From the first shell below 0.143 on it is zero.

    Parameters
    ----------
    table : at least 4 particles with poses and CTF
    symmetry : point group
    reconstructor : see `cesped.reconstruction.backends`
    generator : of the split
    threads : processor cores to use
    progress : told of every particle

    Raises
    ------
    MetadataError
        If there are fewer particles, poses or defocus are missing, or the images do not show the
        map: their poses are wrong.
    The errors of `Reconstructor.reconstruct_halves`.
    """
    poses = table.require_poses()
    table.require_ctf()
    if len(table) < 4:
        raise MetadataError(
            f"{table.source} has {len(table)} particles; a map that is compared with itself needs "
            "at least 4"
        )
    order = generator.permutation(len(table))
    parts = np.sort(order[::2]), np.sort(order[1::2])
    tables = table.select(parts[0]), table.select(parts[1])
    sets = PoseSet(poses.select(parts[0])), PoseSet(poses.select(parts[1]))
    options = ReconstructionOptions(symmetry=symmetry, threads=threads)
    maps = reconstructor.reconstruct_halves(tables, [sets], options, progress)[0]
    pixel_size_angst = table.sampling_rate
    curve = fsc_curve(maps.half0, maps.half1, pixel_size_angst)
    weights = wiener_weights(curve)
    if not weights[1:].any():
        raise _no_map(table)
    # the second part has no share in the first one's map: its noise is not taken for signal
    scale, snr, noise = strength_in_images(
        _filtered(maps.half0, weights), tables[1], pixel_size_angst
    )
    return OwnMap(
        scale * _filtered(maps.full, weights),
        pixel_size_angst,
        snr,
        resolution_angst(curve, _NOISE_FSC),
        noise,
    )


def wiener_weights(curve: FscCurve) -> NDArray[np.float64]:
    """Return the weight of each shell of the map of all particles, from that of two parts."""
    correlation = np.concatenate([[1.0], curve.correlation[1:]])  # shell 0 is the mean
    weights: NDArray[np.float64] = 2 * correlation / (1 + np.maximum(correlation, 0.0))
    noise = np.flatnonzero(correlation < _NOISE_FSC)
    if noise.size:
        weights[noise[0] :] = 0.0
    return weights


def _filtered(volume: Volume, weights: NDArray[np.float64]) -> Volume:
    """Return a map with each shell floor(|k|) multiplied by its weight; the corners are cut."""
    n = len(volume)
    half_space = volume_to_half_space(torch.from_numpy(np.ascontiguousarray(volume)))
    whole = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)
    last = torch.arange(n // 2 + 1, dtype=torch.float64)
    squared = whole[:, None, None] ** 2 + whole[:, None] ** 2 + last**2
    shell = squared.sqrt().floor().long().clamp(max=len(weights))
    factors = torch.from_numpy(np.append(weights, 0.0)).float()
    return np.asarray(half_space_to_volume(half_space * factors[shell]), dtype=np.float32)


def strength_in_images(
    volume: Volume, table: ParticleTable, pixel_size_angst: float
) -> tuple[float, float, NoiseSpectrum]:
    """Return how strong projections of a map are in images, beside what noise.

    All of images as the microscope makes them, whatever was done to their CTF since.

    Parameters
    ----------
    volume : `(N, N, N)` [z, y, x], with no share in the noise of these images
    table : particles with poses and CTF; some hundreds of them are looked at
    pixel_size_angst : of map and images

    Returns
    -------
    What scales projections to the images; the variance of a projection with its CTF over that of
    the noise; and the noise's spectrum.

    Raises
    ------
    MetadataError
        If the images do not show the map.
    """
    rows = np.linspace(0, len(table) - 1, min(len(table), _MEASURED)).astype(np.int64)
    poses, ctf = table.require_poses().select(rows), table.require_ctf().select(rows)
    transfer = ctf_half_plane(ctf, table.image_size, pixel_size_angst)
    kept = {CtfCorrection.PHASE_FLIP: transfer.sign(), CtfCorrection.CTF_MULTIPLY: transfer}
    done = kept.get(table.ctf_correction_done, torch.ones(()))
    origins_px = poses.origins_angst / pixel_size_angst
    projector = Projector(volume)
    raw = _centred(projector.project(poses.rotations, origins_px, transfer))
    shown = _centred(projector.project(poses.rotations, origins_px, transfer * done))
    images = _centred(torch.from_numpy(ImageSource(table).read(rows)))
    power = float((shown**2).mean())
    scale = float((shown * images).mean()) / power if power > 0 else 0.0
    if not scale > 0:
        raise _no_map(table)
    rest = images - scale * shown
    noise = float((rest**2).mean()) / float((done**2).mean())
    snr = scale**2 * float((raw**2).mean()) / max(noise, np.finfo(float).tiny)
    return scale, snr, NoiseSpectrum.of_images(rest, pixel_size_angst, done)


def _no_map(table: ParticleTable) -> MetadataError:
    return MetadataError(
        f"{table.source}: the particles do not show the map that their own poses give; `cesped "
        "doctor` says what is wrong with them"
    )


def _centred(images: torch.Tensor) -> torch.Tensor:
    return images.double() - images.double().mean(dim=(-2, -1), keepdim=True)
