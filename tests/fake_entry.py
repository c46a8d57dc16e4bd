"""A small benchmark entry with known poses, exact in closed form and written by other programs.

Gaussian balls are projected by their formula, not by the package; files are written by `mrcfile`
and `starfile`. The default is 24 particles of 32 px in each half.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import mrcfile
import numpy as np
import pandas as pd
import starfile
import torch
from scipy.spatial.transform import Rotation

from cesped.geometry.poses import Poses
from cesped.geometry.symmetry import point_group
from cesped.physics.ctf import CtfParameters, ctf_half_plane
from cesped.physics.fourier import half_plane_to_images, images_to_half_plane

PIXEL_SIZE_ANGST = 3.0


@dataclass(frozen=True)
class FakeEntry:
    """What was written, to compare with what is read."""

    benchmark_dir: Path
    name: str
    symmetry: str
    balls_angst: np.ndarray
    weights: np.ndarray
    poses: tuple[Poses, Poses]
    ctf: tuple[CtfParameters, CtfParameters]
    images: tuple[np.ndarray, np.ndarray]

    @property
    def folder(self):
        return self.benchmark_dir / self.name

    def star(self, halfset):
        return self.folder / f"particles_{halfset}.star"


def fake_balls(symmetry="C1", n_balls=24, radius_angst=24.0, seed=3):
    """Positions `(A, 3)` [angstrom] and weights of balls without other symmetry."""
    rng = np.random.default_rng(seed)
    operators = point_group(symmetry).operators
    positions = rng.normal(size=(max(4, n_balls // len(operators)), 3))
    positions *= radius_angst / np.linalg.norm(positions, axis=1).max()
    weights = rng.uniform(0.5, 2.0, len(positions))
    everywhere = np.einsum("gij,aj->gai", operators, positions).reshape(-1, 3)
    return everywhere, np.tile(weights, len(operators))


def project_balls(
    positions_angst, weights, poses, box, pixel_size_angst=PIXEL_SIZE_ANGST, sigma_px=1.3
):
    """Return noise-free images `(P, box, box)`: content displaced by minus the origin."""
    in_image = np.einsum("pji,aj->pai", poses.rotations, positions_angst)[..., :2]
    centres = (in_image - poses.origins_angst[:, None]) / pixel_size_angst + box // 2
    offset = np.arange(box) - centres[..., None]
    profile = np.exp(-0.5 * (offset / sigma_px) ** 2)
    y, x = profile[:, :, 1], profile[:, :, 0]
    return np.einsum("a,pay,pax->pyx", weights, y, x, optimize=True).astype(np.float32)


def apply_ctf(images, ctf, pixel_size_angst=PIXEL_SIZE_ANGST):
    transfer = ctf_half_plane(ctf, images.shape[-1], pixel_size_angst)
    return half_plane_to_images(images_to_half_plane(torch.from_numpy(images)) * transfer).numpy()


def fake_poses(count, rng, shift_angst=5.0):
    rotations = Rotation.random(count, random_state=rng).as_matrix()
    return Poses(rotations, rng.uniform(-shift_angst, shift_angst, (count, 2)), np.ones(count))


def fake_ctf(count, rng):
    mean = rng.uniform(6000, 12000, count)
    return CtfParameters(mean + 200, mean - 200, rng.uniform(0, 180, count), 300.0, 2.7, 0.1)


def write_fake_entry(
    benchmark_dir,
    name="FAKE",
    symmetry="C1",
    n_particles=24,
    box=32,
    seed=11,
    snr=10.0,
    with_mask=False,
):
    """Write both halves below `benchmark_dir` as the published package lays them out."""
    rng = np.random.default_rng(seed)
    folder = Path(benchmark_dir) / name
    folder.mkdir(parents=True)
    balls, weights = fake_balls(symmetry)
    halves = []
    for halfset in (0, 1):
        poses, ctf = fake_poses(n_particles, rng), fake_ctf(n_particles, rng)
        images = apply_ctf(project_balls(balls, weights, poses, box), ctf)
        noise = rng.normal(size=images.shape) * images.std() / np.sqrt(snr)
        images = (images + noise).astype(np.float32)
        write_stack(folder / f"particles_{halfset}.mrcs", images)
        write_star_31(folder / f"particles_{halfset}.star", poses, ctf, box)
        (folder / f"info_{halfset}.json").write_text(json.dumps({"symmetry": symmetry}))
        halves.append((poses, ctf, images))
    if with_mask:
        axis = np.arange(box) - box // 2
        squared = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2
        mask = (squared < (0.4 * box) ** 2).astype(np.float32)
        with mrcfile.new(folder / "mask.mrc", data=mask) as mrc:
            mrc.voxel_size = PIXEL_SIZE_ANGST
    both = zip(*halves, strict=True)
    return FakeEntry(Path(benchmark_dir), name, symmetry, balls, weights, *both)


def write_stack(path, images, pixel_size_angst=PIXEL_SIZE_ANGST):
    with mrcfile.new(path, data=images, overwrite=True) as mrc:
        mrc.set_image_stack()
        mrc.voxel_size = pixel_size_angst


def particle_columns(poses, stack_name):
    rot, tilt, psi = Rotation.from_matrix(poses.rotations).as_euler("ZYZ", degrees=True).T
    return {
        "rlnImageName": [f"{i + 1:06d}@{stack_name}" for i in range(len(poses))],
        "rlnAngleRot": rot,
        "rlnAngleTilt": tilt,
        "rlnAnglePsi": psi,
    }


def defocus_columns(ctf):
    return {
        "rlnDefocusU": ctf.defocus_u_angst,
        "rlnDefocusV": ctf.defocus_v_angst,
        "rlnDefocusAngle": ctf.defocus_angle_deg,
    }


def write_star_31(path, poses, ctf, box, **changes):
    """Write a RELION 3.1 file; `changes` replace or drop (None) columns of either table."""
    path = Path(path)
    optics = {
        "rlnOpticsGroup": [1],
        "rlnOpticsGroupName": ["opticsGroup1"],
        "rlnVoltage": [300.0],
        "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.1],
        "rlnImagePixelSize": [PIXEL_SIZE_ANGST],
        "rlnImageSize": [box],
        "rlnImageDimensionality": [2],
    }
    particles = {
        **particle_columns(poses, path.with_suffix(".mrcs").name),
        "rlnOriginXAngst": poses.origins_angst[:, 0],
        "rlnOriginYAngst": poses.origins_angst[:, 1],
        **defocus_columns(ctf),
        "rlnOpticsGroup": 1,
    }
    for column, values in changes.items():
        one_each = values is not None and len(values) == len(poses)
        table = optics if column in optics and not one_each else particles
        table[column] = values
    tables = {
        "optics": pd.DataFrame({k: v for k, v in optics.items() if v is not None}),
        "particles": pd.DataFrame({k: v for k, v in particles.items() if v is not None}),
    }
    starfile.write(tables, path, overwrite=True, float_format="%.10f")


def write_star_30(path, poses, ctf, stack_name, pixel_size_angst=PIXEL_SIZE_ANGST, **changes):
    """Write a RELION 3.0 file: one table, origins in pixels, pixel size by magnification."""
    count = len(poses)
    columns = {
        **particle_columns(poses, stack_name),
        "rlnOriginX": poses.origins_angst[:, 0] / pixel_size_angst,
        "rlnOriginY": poses.origins_angst[:, 1] / pixel_size_angst,
        **defocus_columns(ctf),
        "rlnVoltage": np.full(count, 300.0),
        "rlnSphericalAberration": np.full(count, 2.7),
        "rlnAmplitudeContrast": np.full(count, 0.1),
        "rlnMagnification": np.full(count, 14e4 / pixel_size_angst),
        "rlnDetectorPixelSize": np.full(count, 14.0),
        **changes,
    }
    frame = pd.DataFrame({k: v for k, v in columns.items() if v is not None})
    starfile.write({"": frame}, path, overwrite=True, float_format="%.10f")
