"""Particles on disk for the reconstruction tests: two optics groups, one with a phase plate."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from gaussian_particles import (
    PIXEL_SIZE_ANGST,
    noisy_images,
    random_ctf,
    random_poses,
    shown_positions_px,
)

from cesped.data.conventions import read_particle_table
from cesped.geometry.euler import rotation_to_euler
from cesped.io.stack import StackWriter
from cesped.io.star_writer import write_star


def write_particles(folder, box, n_particles, symmetry="C1", seed=5, noise_over_signal=2.0):
    """Write a star file of RELION 3.1 and its stack, and return the table read from it."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    poses = random_poses(n_particles, rng)
    group = np.arange(n_particles) % 3 // 2  # one third is in the second group
    ctf = replace(
        random_ctf(n_particles, rng, phase_shift_deg=np.where(group, 60.0, 0.0)),
        amplitude_contrast=np.where(group, 0.07, 0.1),
        voltage_kv=np.where(group, 200.0, 300.0),
    )
    images = noisy_images(
        shown_positions_px(box, symmetry, seed), poses, ctf, box, rng, noise_over_signal
    )
    with StackWriter(folder / "particles.mrcs", n_particles, box, PIXEL_SIZE_ANGST) as stack:
        stack.append(images)
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [1, 2],
            "rlnOpticsGroupName": ["plain", "plate"],
            "rlnVoltage": [300.0, 200.0],
            "rlnSphericalAberration": [2.7, 2.7],
            "rlnAmplitudeContrast": [0.1, 0.07],
            "rlnImagePixelSize": [PIXEL_SIZE_ANGST] * 2,
            "rlnImageSize": [box] * 2,
            "rlnImageDimensionality": [2, 2],
        }
    )
    angles = rotation_to_euler(poses.rotations)
    particles = pd.DataFrame(
        {
            "rlnImageName": [f"{i + 1:06d}@particles.mrcs" for i in range(n_particles)],
            "rlnAngleRot": angles[:, 0],
            "rlnAngleTilt": angles[:, 1],
            "rlnAnglePsi": angles[:, 2],
            "rlnOriginXAngst": poses.origins_angst[:, 0],
            "rlnOriginYAngst": poses.origins_angst[:, 1],
            "rlnDefocusU": ctf.defocus_u_angst,
            "rlnDefocusV": ctf.defocus_v_angst,
            "rlnDefocusAngle": ctf.defocus_angle_deg,
            "rlnPhaseShift": ctf.phase_shift_deg,
            "rlnOpticsGroup": group + 1,
            "rlnMaxValueProbDistribution": rng.uniform(0.1, 1, n_particles),
        }
    )
    write_star(folder / "particles.star", {"optics": optics, "particles": particles})
    return read_particle_table(folder / "particles.star")


@pytest.fixture(scope="session")
def make_particles():
    return write_particles


@pytest.fixture(scope="session")
def small_table(tmp_path_factory):
    """60 particles of 24 px."""
    return write_particles(tmp_path_factory.mktemp("small"), box=24, n_particles=60)
