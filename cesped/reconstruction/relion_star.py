"""The star file of RELION 3.1 that hands particles and poses to `relion_reconstruct`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..data.table import ParticleTable
from ..geometry.euler import rotation_to_euler
from ..io.star_writer import write_star
from ..physics.ctf import CtfParameters
from ..vocabulary import CtfCorrection
from .protocol import PoseSet

# RELION wants a microscope even where no CTF is asked for
_NO_MICROSCOPE = (300.0, 2.7, 0.1)


def write_relion_star(
    path: Path,
    tables: Sequence[ParticleTable],
    pose_sets: Sequence[PoseSet],
    pixel_size_angst: float,
    with_ctf: bool,
) -> None:
    """Write the particles of all tables, with these poses, into one star file.

    Images are named through symbolic links beside the file, because RELION judges stacks by their
    suffix and its star files end a name at a space.

    Parameters
    ----------
    path : file to write, in a folder of its own
    tables : particles, one after the other
    pose_sets : one for each table
    pixel_size_angst : of all particles
    with_ctf : whether to write the contrast transfer
    """
    blocks = []
    microscopes = []
    for number, (table, pose_set) in enumerate(zip(tables, pose_sets, strict=True)):
        links = _link_stacks(path.parent, number, table)
        blocks.append(_particle_columns(table, pose_set, links))
        if with_ctf:
            ctf = table.require_ctf()
            blocks[-1] = blocks[-1].assign(**_ctf_columns(ctf))
            microscopes.append(_microscopes(ctf))
        else:
            microscopes.append(np.tile(_NO_MICROSCOPE, (len(table), 1)))
    particles = pd.concat(blocks, ignore_index=True)
    groups, group_of = np.unique(np.concatenate(microscopes), axis=0, return_inverse=True)
    particles["rlnOpticsGroup"] = group_of.reshape(-1) + 1
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": np.arange(len(groups)) + 1,
            "rlnOpticsGroupName": [f"opticsGroup{i + 1}" for i in range(len(groups))],
            "rlnVoltage": groups[:, 0],
            "rlnSphericalAberration": groups[:, 1],
            "rlnAmplitudeContrast": groups[:, 2],
            "rlnImagePixelSize": pixel_size_angst,
            "rlnImageSize": tables[0].image_size,
            "rlnImageDimensionality": 2,
        }
    )
    if with_ctf and tables[0].ctf_correction_done is CtfCorrection.CTF_MULTIPLY:
        optics["rlnCtfDataAreCtfPremultiplied"] = 1
    write_star(path, {"optics": optics, "particles": particles})


def _link_stacks(folder: Path, number: int, table: ParticleTable) -> list[str]:
    """Link the stacks of a table into the folder and return the names of the links."""
    names = []
    for index, stack in enumerate(table.stacks):
        link = folder / f"stack_{number}_{index:05d}.mrcs"
        link.unlink(missing_ok=True)
        link.symlink_to(stack.resolve())
        names.append(link.name)
    return names


def _particle_columns(table: ParticleTable, pose_set: PoseSet, links: list[str]) -> pd.DataFrame:
    # as many digits as a star file of RELION can hold: with others its gridding iterations, which
    # amplify rounding where samples are few, give another map than from the user's own file
    angles_deg = np.round(rotation_to_euler(pose_set.poses.rotations), 9)
    origins_angst = pose_set.poses.origins_angst
    where = zip(table.section, table.stack_index, strict=True)
    weights = np.ones(len(table)) if pose_set.weights is None else pose_set.weights
    return pd.DataFrame(
        {
            "rlnImageName": [f"{section + 1:06d}@{links[stack]}" for section, stack in where],
            "rlnAngleRot": angles_deg[:, 0],
            "rlnAngleTilt": angles_deg[:, 1],
            "rlnAnglePsi": angles_deg[:, 2],
            "rlnOriginXAngst": origins_angst[:, 0],
            "rlnOriginYAngst": origins_angst[:, 1],
            "rlnParticleFigureOfMerit": weights,
        }
    )


def _ctf_columns(ctf: CtfParameters) -> dict[str, NDArray[np.float64]]:
    return {
        "rlnDefocusU": ctf.defocus_u_angst,
        "rlnDefocusV": ctf.defocus_v_angst,
        "rlnDefocusAngle": ctf.defocus_angle_deg,
        "rlnPhaseShift": ctf.phase_shift_deg,
        "rlnCtfBfactor": ctf.b_factor_angst2,
        "rlnCtfScalefactor": ctf.scale,
    }


def _microscopes(ctf: CtfParameters) -> NDArray[np.float64]:
    """Return `(P, 3)` voltage, spherical aberration, amplitude contrast."""
    columns = (ctf.voltage_kv, ctf.spherical_aberration_mm, ctf.amplitude_contrast)
    return np.stack(columns, axis=1)
