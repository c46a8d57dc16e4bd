"""Simulated particles: projections of a map with given poses and optics, and white noise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cesped.data.conventions import TRUE_CONFIDENCE
from cesped.data.star_columns import ANGLES, IMAGE_NAME, OPTICS_GROUP, ORIGINS_ANGST
from cesped.errors import MetadataError
from cesped.geometry.euler import rotation_to_euler
from cesped.geometry.poses import Poses
from cesped.io.stack import StackWriter
from cesped.io.star_writer import write_star
from cesped.physics.ctf import CtfParameters, ctf_half_plane
from cesped.physics.noise import noise_sigma, signal_variance, white_noise
from cesped.physics.noise_spectrum import NoiseSpectrum, colour_noise
from cesped.physics.projection import Projector
from cesped.progress import SILENT, Progress

_BATCH = 128
#: Images whose mean variance stands for the power of the signal of the whole set.
_IMAGES_FOR_POWER = 512


def simulate_stack(
    star_path: str | os.PathLike[str],
    volume: NDArray[np.float32],
    pixel_size_angst: float,
    poses: Poses,
    ctf: CtfParameters,
    *,
    snr: float | None,
    generator: np.random.Generator,
    random_subset: int | None = None,
    spectrum: NoiseSpectrum | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Write simulated particles: a RELION 3.1 star file, and its stack beside it.

    Parameters
    ----------
    star_path : file to write; the stack has the same name with suffix `.mrcs`
    volume : `(N, N, N)` map, [z, y, x]
    pixel_size_angst : of map and images
    poses : `P` poses; content is displaced by minus the origin
    ctf : contrast transfer of the `P` particles
    snr : variance of the CTF-modulated signal over the full frame, averaged over the particles,
        divided by the variance of the noise, which is the same for all; no noise when None
    generator : source of the noise
    random_subset : value of rlnRandomSubset; no such column when None
    spectrum : of the noise; white when None
    progress : told of every image

    Returns
    -------
    The stack.

    Raises
    ------
    OptionError
        If the SNR is not above 0.
    MetadataError
        If poses and CTF differ in number.
    DiskFullError
        If the disk is full; neither file is left half-written.
    """
    if len(poses) != len(ctf):
        raise MetadataError(f"{len(poses)} poses and {len(ctf)} CTFs; give one each per particle")
    star = Path(star_path)
    stack = star.with_suffix(".mrcs")
    box = volume.shape[-1]
    projector = Projector(volume)
    sigma = 0.0
    if snr is not None:
        sample = np.linspace(0, len(poses) - 1, min(len(poses), _IMAGES_FOR_POWER)).astype(int)
        batches = _projections(projector, poses, ctf, pixel_size_angst, sample)
        power = torch.cat([signal_variance(images) for images in batches])
        sigma = noise_sigma(float(power.mean()), snr)
    colour = None if spectrum is None else spectrum.amplitudes(box, pixel_size_angst)
    with (
        StackWriter(stack, len(poses), box, pixel_size_angst) as writer,
        progress.task(f"Simulating {stack.name}", len(poses)) as advance,
    ):
        rows = np.arange(len(poses))
        for images in _projections(projector, poses, ctf, pixel_size_angst, rows):
            if sigma > 0:
                noise = white_noise(tuple(images.shape), sigma, generator)
                images = images + (noise if colour is None else colour_noise(noise, colour))
            writer.append(images.numpy())
            advance(len(images))
    tables = simulated_tables(stack.name, box, pixel_size_angst, poses, ctf, random_subset)
    write_star(star, tables)
    return stack


def _projections(
    projector: Projector,
    poses: Poses,
    ctf: CtfParameters,
    pixel_size_angst: float,
    rows: NDArray[np.int64],
) -> Iterator[torch.Tensor]:
    box = projector.box
    for start in range(0, len(rows), _BATCH):
        chosen = rows[start : start + _BATCH]
        transfer = ctf_half_plane(ctf.select(chosen), box, pixel_size_angst)
        origins_px = poses.origins_angst[chosen] / pixel_size_angst
        yield projector.project(poses.rotations[chosen], origins_px, transfer)


def simulated_tables(
    stack_name: str,
    box: int,
    pixel_size_angst: float,
    poses: Poses,
    ctf: CtfParameters,
    random_subset: int | None = None,
) -> dict[str, pd.DataFrame]:
    """Return the optics and particle tables of a simulated stack, one row per image.

    Particles that share voltage, spherical aberration and amplitude contrast share a group.
    """
    microscope = np.stack(
        [ctf.voltage_kv, ctf.spherical_aberration_mm, ctf.amplitude_contrast], axis=1
    )
    kinds, group = np.unique(microscope, axis=0, return_inverse=True)
    numbers = np.arange(1, len(kinds) + 1)
    optics = pd.DataFrame(
        {
            OPTICS_GROUP: numbers,
            "rlnOpticsGroupName": [f"opticsGroup{number}" for number in numbers],
            "rlnVoltage": kinds[:, 0],
            "rlnSphericalAberration": kinds[:, 1],
            "rlnAmplitudeContrast": kinds[:, 2],
            "rlnImagePixelSize": pixel_size_angst,
            "rlnImageSize": box,
            "rlnImageDimensionality": 2,
            "rlnCtfDataAreCtfPremultiplied": 0,
        }
    )
    angles = rotation_to_euler(poses.rotations)
    columns: dict[str, object] = {
        IMAGE_NAME: [f"{row:06d}@{stack_name}" for row in range(1, len(poses) + 1)],
        OPTICS_GROUP: numbers[group.reshape(-1)],
        **{name: angles[:, axis] for axis, name in enumerate(ANGLES)},
        **{name: poses.origins_angst[:, axis] for axis, name in enumerate(ORIGINS_ANGST)},
        TRUE_CONFIDENCE: poses.confidence,
        "rlnDefocusU": ctf.defocus_u_angst,
        "rlnDefocusV": ctf.defocus_v_angst,
        "rlnDefocusAngle": ctf.defocus_angle_deg,
        "rlnPhaseShift": ctf.phase_shift_deg,
        "rlnCtfBfactor": ctf.b_factor_angst2,
        "rlnCtfScalefactor": ctf.scale,
    }
    if random_subset is not None:
        columns["rlnRandomSubset"] = random_subset
    return {"optics": optics, "particles": pd.DataFrame(columns)}
