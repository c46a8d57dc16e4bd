"""Star files on their way to other programs, and what came from those as tables of RELION 3.1."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cesped.data.conventions import (
    CTF_PREMULTIPLIED,
    PHASE_FLIPPED,
    PREDICTED_CONFIDENCE,
    TRUE_CONFIDENCE,
)
from cesped.data.image_names import ImageNames, locate_stacks, parse_image_names
from cesped.data.interop.exchange import (
    CLASS_NUMBER,
    CRYOSPARC_UID,
    MICROGRAPH_NAME,
    RANDOM_SUBSET,
    ExchangedParticles,
    listed,
)
from cesped.data.star_columns import (
    ANGLES,
    DIMENSIONALITY,
    IMAGE_NAME,
    IMAGE_PIXEL_SIZE,
    IMAGE_SIZE,
    OPTICS_GROUP,
    ORIGINS_ANGST,
    ORIGINS_PX,
    StarColumns,
    open_star_columns,
)
from cesped.data.star_quantities import ctf_of, pixel_sizes, poses_of, stated_boxes
from cesped.geometry.euler import rotation_to_euler
from cesped.io.mrc import inspect_mrc

OPTICS_GROUP_NAME = "rlnOpticsGroupName"
MICROSCOPE = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")

DEFOCUS = ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle", "rlnPhaseShift")
_SAMPLING = (IMAGE_PIXEL_SIZE, "rlnPixelSize", "rlnDetectorPixelSize", "rlnMagnification")
_CARRIED = (RANDOM_SUBSET, CLASS_NUMBER, MICROGRAPH_NAME, CRYOSPARC_UID)
_UNDERSTOOD = {
    *(IMAGE_NAME, OPTICS_GROUP, OPTICS_GROUP_NAME, IMAGE_SIZE, DIMENSIONALITY),
    *(*ANGLES, *ORIGINS_ANGST, *ORIGINS_PX, *MICROSCOPE, *DEFOCUS, *_SAMPLING, *_CARRIED),
}
# columns that say nothing at these values
_NEUTRAL = {"rlnCtfBfactor": 0.0, "rlnCtfScalefactor": 1.0, CTF_PREMULTIPLIED: 0, PHASE_FLIPPED: 0}
_CONFIDENCE = (TRUE_CONFIDENCE, PREDICTED_CONFIDENCE)


def from_star(
    star_path: str | os.PathLike[str], root_dir: str | os.PathLike[str] | None = None
) -> ExchangedParticles:
    """Read a star file of any RELION; its images are asked for their box, if they are there.

    Parameters
    ----------
    star_path : star file of particles, with or without poses
    root_dir : folder that image names start from; the star file's own when None

    Raises
    ------
    StarFileError, MetadataError
        As `cesped.data.conventions.read_particle_table`.
    """
    path = Path(star_path)
    columns = open_star_columns(path)
    particles = columns.particles
    names = parse_image_names(particles[IMAGE_NAME], columns.source)
    root = path.parent if root_dir is None else Path(root_dir).expanduser()
    sizes = pixel_sizes(columns)
    return ExchangedParticles(
        source=columns.source,
        stack_names=np.array(names.stack_names, dtype=object)[names.stack_index],
        section=names.section,
        box_px=_boxes(columns, names, root, path.parent),
        pixel_size_angst=sizes,
        poses=poses_of(columns, sizes, TRUE_CONFIDENCE, required=False),
        ctf=ctf_of(columns),
        optics_group=columns.numbers(OPTICS_GROUP, 1.0).astype(np.int64),
        columns={name: particles[name].to_numpy() for name in _CARRIED if name in particles},
        left_out=_left_out(columns),
    )


def to_tables(particles: ExchangedParticles) -> dict[str, pd.DataFrame]:
    """Return the optics and particle tables of RELION 3.1, one row for each particle."""
    optics, group_of_row = _optics(particles)
    numbers = particles.section + 1
    columns: dict[str, object] = {
        IMAGE_NAME: [
            f"{number:06d}@{stack}"
            for number, stack in zip(numbers, particles.stack_names, strict=True)
        ],
        OPTICS_GROUP: group_of_row,
    }
    columns |= pose_and_defocus(particles)
    columns |= particles.columns
    return {"optics": optics, "particles": pd.DataFrame(columns)}


def pose_and_defocus(particles: ExchangedParticles) -> dict[str, NDArray[np.float64]]:
    """Return the columns of RELION 3.1 for what is known of pose and defocus."""
    columns: dict[str, NDArray[np.float64]] = {}
    if particles.poses is not None:
        angles = rotation_to_euler(particles.poses.rotations)
        columns |= {name: angles[:, axis] for axis, name in enumerate(ANGLES)}
        origins = particles.poses.origins_angst
        columns |= {name: origins[:, axis] for axis, name in enumerate(ORIGINS_ANGST)}
    if particles.ctf is not None:
        ctf = particles.ctf
        defocus = (ctf.defocus_u_angst, ctf.defocus_v_angst, ctf.defocus_angle_deg)
        columns |= dict(zip(DEFOCUS, (*defocus, ctf.phase_shift_deg), strict=True))
    return columns


def microscope_columns(particles: ExchangedParticles) -> dict[str, NDArray[np.float64]]:
    """Return voltage, spherical aberration and amplitude contrast of every particle."""
    ctf = particles.ctf
    if ctf is None:
        return {}
    values = (ctf.voltage_kv, ctf.spherical_aberration_mm, ctf.amplitude_contrast)
    return dict(zip(MICROSCOPE, values, strict=True))


def _optics(particles: ExchangedParticles) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Return the optics table, and the group of each particle: all that agree in all share one."""
    kinds: dict[str, NDArray[np.generic]] = {
        "group": particles.optics_group,
        IMAGE_PIXEL_SIZE: particles.pixel_size_angst,
        IMAGE_SIZE: particles.box_px,
    }
    kinds |= microscope_columns(particles)
    return group_rows(pd.DataFrame(kinds))


def group_rows(kinds: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Return an optics table of the distinct rows of `kinds`, and the group of each row.

    Parameters
    ----------
    kinds : values that make an optics group, a row for each particle; a column `group` gives the
        groups their names and is not kept

    Returns
    -------
    optics : groups numbered from 1
    group_of_row : `(P,)`
    """
    distinct = kinds.drop_duplicates().sort_values(list(kinds.columns), ignore_index=True)
    numbers = np.arange(1, len(distinct) + 1)
    lookup = distinct.assign(**{OPTICS_GROUP: numbers})
    merged = kinds.merge(lookup, on=list(kinds.columns), how="left")
    labels = numbers
    if "group" in distinct and distinct["group"].is_unique:
        labels = distinct["group"].to_numpy()
    optics = distinct.drop(columns="group", errors="ignore")
    optics.insert(0, OPTICS_GROUP, numbers)
    optics.insert(1, OPTICS_GROUP_NAME, [f"opticsGroup{label}" for label in labels])
    if IMAGE_SIZE in optics and not (optics[IMAGE_SIZE] > 0).all():
        optics = optics.drop(columns=IMAGE_SIZE)
    optics[DIMENSIONALITY] = 2
    return optics, merged[OPTICS_GROUP].to_numpy(dtype=np.int64)


def _boxes(
    columns: StarColumns, names: ImageNames, root: Path, star_dir: Path
) -> NDArray[np.int64]:
    stated = stated_boxes(columns).astype(np.int64)
    silent = stated <= 0
    if not silent.any():
        return stated
    stacks = locate_stacks(names, root, star_dir, columns.source, must_exist=False)
    needed = set(names.stack_index[silent].tolist())
    found = np.array(
        [
            inspect_mrc(path).shape[2] if number in needed and path.is_file() else 0
            for number, path in enumerate(stacks)
        ],
        dtype=np.int64,
    )
    return np.where(silent, found[names.stack_index], stated)


def _left_out(columns: StarColumns) -> tuple[str, ...]:
    """Return a sentence for everything in the file that no other program takes."""
    tables = [columns.particles] if columns.optics is None else [columns.particles, columns.optics]
    names = dict.fromkeys(str(name) for table in tables for name in table)
    sentences = [
        f"{name}: the confidence of the poses, which the other format cannot hold"
        for name in _CONFIDENCE
        if name in names
    ]
    sentences += [
        f"{name}: not {neutral:g} everywhere, and the other format cannot hold it"
        for name, neutral in _NEUTRAL.items()
        if name in names and (columns.numbers(name) != neutral).any()
    ]
    others = [name for name in names if name not in _UNDERSTOOD | {*_CONFIDENCE, *_NEUTRAL}]
    if others:
        sentences.append(f"columns that the other format does not have: {listed(others)}")
    return tuple(sentences)
