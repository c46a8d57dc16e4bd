"""What the columns of a RELION star file mean; the only place that knows.

RELION 3.0 has one table, RELION 3.1 to 5.0 an optics table beside the particles. Lengths become
angstrom, orientations the rotations of `cesped.geometry.euler`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cesped.data.image_names import (
    ImageNames,
    check_stacks,
    locate_stacks,
    parse_image_names,
)
from cesped.data.star_columns import (
    ANGLES,
    IMAGE_NAME,
    IMAGE_SIZE,
    ORIGINS_ANGST,
    ORIGINS_PX,
    StarColumns,
    open_star_columns,
)
from cesped.data.star_quantities import (
    ctf_of,
    one_stated_box,
    pixel_sizes,
    poses_of,
    stated_boxes,
)
from cesped.data.table import ParticleTable
from cesped.errors import EntryExistsError, MetadataError
from cesped.geometry.euler import euler_to_rotation, rotation_to_euler
from cesped.geometry.poses import Poses
from cesped.io.star_writer import write_star
from cesped.vocabulary import CtfCorrection

_log = logging.getLogger(__name__)

TRUE_CONFIDENCE = "rlnMaxValueProbDistribution"
PREDICTED_CONFIDENCE = "rlnParticleFigureOfMerit"

CTF_PREMULTIPLIED = "rlnCtfDataAreCtfPremultiplied"
PHASE_FLIPPED = "rlnCtfDataArePhaseFlipped"

_PROCESSED = {CTF_PREMULTIPLIED: "multiplied by their CTF", PHASE_FLIPPED: "phase flipped"}
_SAME_ROTATION = 1e-9  # largest difference of matrix elements that rounding explains


def read_particle_table(
    star_path: str | os.PathLike[str],
    root_dir: str | os.PathLike[str] | None = None,
    *,
    require_poses: bool = True,
    check_images: bool = True,
    check_headers: bool = True,
) -> ParticleTable:
    """Read a RELION star file of particles and check it against its image stacks.

    Parameters
    ----------
    star_path : star file of RELION 3.0, 3.1, 4.0 or 5.0
    root_dir : folder that image names start from; a stack that is not there is looked for beside
        the star file. The star file's own folder when None
    require_poses : whether a file without angles is an error
    check_images : whether stacks must exist, be whole, and agree with the star file
    check_headers : whether their headers must state the pixel size of the star file

    Returns
    -------
    ParticleTable

    Raises
    ------
    StarFileError
        If the file cannot be read, or has no particles.
    MetadataError
        If columns are missing, name an unknown optics group, or hold what is no number.
    MissingImageError, MrcFileError, PixelSizeError
        If an image does not exist, a stack is truncated, or pixel sizes disagree.
    """
    path = Path(star_path)
    columns = open_star_columns(path)
    names = parse_image_names(columns.particles[IMAGE_NAME], columns.source)
    pixel_size = pixel_sizes(columns)
    root = path.parent if root_dir is None else Path(root_dir).expanduser()
    stacks = locate_stacks(names, root, path.parent, columns.source, must_exist=check_images)
    poses = poses_of(columns, pixel_size, TRUE_CONFIDENCE, required=require_poses)
    _warn_of_processed_images(columns)
    return ParticleTable(
        source=columns.source,
        particles=columns.particles,
        optics=columns.optics,
        ids=names.ids,
        stacks=stacks,
        stack_index=names.stack_index,
        section=names.section,
        image_size=_checked_box(
            columns, names, stacks, pixel_size if check_headers else None, check_images
        ),
        pixel_size_angst=pixel_size,
        poses=poses,
        ctf=ctf_of(columns),
        has_confidence=TRUE_CONFIDENCE in columns.particles,
        ctf_correction_done=_correction_done(columns),
    )


def read_predictions(
    star_path: str | os.PathLike[str],
) -> tuple[NDArray[np.object_], Poses, bool]:
    """Read the ids and poses of a star file of predictions; its images need not be there.

    Returns
    -------
    ids : `(P,)` rlnImageName, verbatim
    poses : predicted poses; the confidence is rlnParticleFigureOfMerit, 1 where it is absent
    has_confidence : whether the file has that column

    Raises
    ------
    StarFileError, MetadataError
        As `read_particle_table`.
    """
    columns = open_star_columns(Path(star_path))
    names = parse_image_names(columns.particles[IMAGE_NAME], columns.source)
    in_px = ORIGINS_ANGST[0] not in columns.particles and ORIGINS_PX[0] in columns.particles
    pixel_size = pixel_sizes(columns) if in_px else np.ones(len(names.ids))
    poses = poses_of(columns, pixel_size, PREDICTED_CONFIDENCE, required=True)
    if poses is None:  # not reached: it is required
        raise MetadataError(f"{columns.source} has no angles")
    return names.ids, poses, PREDICTED_CONFIDENCE in columns.particles


def write_particle_table(
    path: str | os.PathLike[str],
    table: ParticleTable,
    overwrite: bool = True,
    *,
    predicted_confidence: NDArray[np.float64] | None = None,
) -> None:
    """Write the particles of `table` as a star file; poses from `table.poses`, the rest as read.

    Angles of rows whose pose did not change are kept as they were written.

    Parameters
    ----------
    path : file to write, whole or not at all
    table : the particles
    overwrite : whether an existing file may be replaced
    predicted_confidence : `(P,)` for column rlnParticleFigureOfMerit; the column stays as it was
        when None

    Raises
    ------
    EntryExistsError
        If the file exists and may not be replaced.
    DiskFullError
        If the disk is full.
    """
    if not overwrite and Path(path).exists():
        raise EntryExistsError(f"{path} exists; choose another name, or allow overwriting")
    particles = table.particles.copy()
    if table.poses is not None:
        _set_angles(particles, table.poses)
        _set_origins(particles, table)
    if predicted_confidence is not None:
        particles[PREDICTED_CONFIDENCE] = np.asarray(predicted_confidence, dtype=np.float64)
    _write_tables(path, particles, table.optics, overwrite)


def pose_columns(table: ParticleTable, row: int) -> dict[str, float]:
    """Return the pose of one particle as the columns that `write_particle_table` would write."""
    poses = table.require_poses()
    in_angst, in_px = _origin_columns(table)
    origin_angst = poses.origins_angst[row]
    origin_px = origin_angst / table.pixel_size_angst[row]
    pairs = [
        *zip(ANGLES, rotation_to_euler(poses.rotations[row]), strict=True),
        *zip(in_angst, origin_angst, strict=bool(in_angst)),
        *zip(in_px, origin_px, strict=bool(in_px)),
    ]
    return {name: float(value) for name, value in pairs}


def write_as_read(
    path: str | os.PathLike[str], table: ParticleTable, image_names: Sequence[str] | None = None
) -> None:
    """Write the columns of `table` as they were read, with other `image_names` if given.

    Raises
    ------
    DiskFullError
        If the disk is full.
    """
    particles = table.particles
    if image_names is not None:
        particles = particles.assign(**{IMAGE_NAME: list(image_names)})
    _write_tables(path, particles, table.optics, overwrite=True)


def _write_tables(
    path: str | os.PathLike[str],
    particles: pd.DataFrame,
    optics: pd.DataFrame | None,
    overwrite: bool,
) -> None:
    # RELION 3.0 files have one table, whose name does not matter
    tables = {"": particles} if optics is None else {"optics": optics, "particles": particles}
    write_star(path, tables, overwrite=overwrite)


def _checked_box(
    columns: StarColumns,
    names: ImageNames,
    stacks: tuple[Path, ...],
    pixel_size: NDArray[np.float64] | None,
    check_images: bool,
) -> int:
    if not check_images:
        return one_stated_box(columns)
    size = check_stacks(names, stacks, pixel_size, columns.source)
    stated = stated_boxes(columns)
    wrong = np.flatnonzero(stated != size) if columns.has(IMAGE_SIZE) else np.empty(0, dtype=int)
    if wrong.size:
        row = int(wrong[0])
        raise MetadataError(
            f"row {row + 1} of {columns.source}{columns.group_of(row)}: {IMAGE_SIZE} is "
            f"{stated[row]:g}, but {stacks[names.stack_index[row]]} holds images of {size} px; "
            "correct the optics table"
        )
    return size


def _warn_of_processed_images(columns: StarColumns) -> None:
    for name, done in _PROCESSED.items():
        if columns.has(name) and columns.numbers(name).any():
            _log.warning(
                "%s: images are %s already (%s); use no CTF correction, and no reconstruction "
                "that divides by the CTF",
                columns.source,
                done,
                name,
            )


def _correction_done(columns: StarColumns) -> CtfCorrection:
    marks = {
        CTF_PREMULTIPLIED: CtfCorrection.CTF_MULTIPLY,
        PHASE_FLIPPED: CtfCorrection.PHASE_FLIP,
    }
    for name, correction in marks.items():
        marked = columns.numbers(name, 0.0) != 0
        if marked.any() and not marked.all():
            row = int(np.flatnonzero(marked != marked[0])[0])
            raise MetadataError(
                f"row {row + 1} of {columns.source}{columns.group_of(row)}: {name} is "
                f"{int(marked[row])}, row 1{columns.group_of(0)} has {int(marked[0])}; images that "
                "are corrected for the CTF and images that are not cannot be used together: keep "
                "the optics groups of one kind"
            )
        if marked.any():
            return correction
    return CtfCorrection.NONE


def _set_angles(particles: pd.DataFrame, poses: Poses) -> None:
    angles = rotation_to_euler(poses.rotations)
    if all(name in particles for name in ANGLES):
        before = particles[list(ANGLES)].to_numpy(dtype=np.float64)
        difference = np.abs(euler_to_rotation(before) - poses.rotations).max(axis=(-2, -1))
        # several triples describe one rotation: keep the one the file had
        angles = np.where((difference < _SAME_ROTATION)[:, None], before, angles)
    for axis, name in enumerate(ANGLES):
        particles[name] = angles[:, axis]


def _set_origins(particles: pd.DataFrame, table: ParticleTable) -> None:
    origins_angst = table.require_poses().origins_angst
    in_angst, in_px = _origin_columns(table)
    for axis, name in enumerate(in_px):
        particles[name] = origins_angst[:, axis] / table.pixel_size_angst
    for axis, name in enumerate(in_angst):
        particles[name] = origins_angst[:, axis]


def _origin_columns(table: ParticleTable) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the origin columns to write, in angstrom and in pixels: those that are there."""
    has_px = any(name in table.particles for name in ORIGINS_PX)
    has_angst = any(name in table.particles for name in ORIGINS_ANGST)
    in_px = has_px or (table.optics is None and not has_angst)
    return (
        ORIGINS_ANGST if has_angst or table.optics is not None else (),
        ORIGINS_PX if in_px else (),
    )
