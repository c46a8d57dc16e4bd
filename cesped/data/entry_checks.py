"""What must hold before particles become half an entry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cesped.data.conventions import read_particle_table
from cesped.data.images import ImageSource
from cesped.data.table import ParticleTable
from cesped.errors import (
    IdMismatchError,
    MetadataError,
    PixelSizeError,
    SymmetryError,
)
from cesped.io.mrc import inspect_mrc
from cesped.progress import SILENT, Progress

_BATCH = 256  # images read at a time
_SAME_PIXEL_SIZE = 1e-3  # relative; both halves come from one extraction


@dataclass(frozen=True)
class EntryHalf:
    """One half of an entry on disk.

    Parameters
    ----------
    target : name of the entry
    halfset : 0 or 1
    star_path : its particles
    root_dir : folder that image names start from
    symmetry : point group, as RELION names it
    mask_path : mask of the entry, if it has one
    """

    target: str
    halfset: int
    star_path: Path
    root_dir: Path
    symmetry: str
    mask_path: Path | None


def check_sampled_alike(first: ParticleTable, second: ParticleTable) -> None:
    """Check that the halves of an entry have one box and one pixel size.

    Raises
    ------
    MetadataError
        If the boxes differ.
    PixelSizeError
        If the pixel sizes differ by more than 0.1 %, which rounding does not explain.
    """
    if first.image_size != second.image_size:
        raise MetadataError(
            f"{first.source} has images of {first.image_size} px and {second.source} of "
            f"{second.image_size} px; both halves of an entry must have one box size"
        )
    difference = abs(first.sampling_rate - second.sampling_rate)
    if difference > _SAME_PIXEL_SIZE * first.sampling_rate:
        raise PixelSizeError(
            f"{first.source} has {first.sampling_rate:.5g} angstrom/px and {second.source} "
            f"{second.sampling_rate:.5g}; both halves of an entry must have one pixel size"
        )


def check_halves(table: ParticleTable, symmetry: str, other: EntryHalf) -> None:
    """Check that `table` can be the half of an entry whose other half is there already.

    Raises
    ------
    SymmetryError, MetadataError, PixelSizeError
        If the halves differ in symmetry, box or pixel size.
    IdMismatchError
        If an image is in both.
    """
    whose = f"half {other.halfset} of entry {other.target}"
    if other.symmetry != symmetry:
        raise SymmetryError(
            f"{whose} has symmetry {other.symmetry}, {table.source} {symmetry}; both halves must "
            "have the same"
        )
    theirs = read_particle_table(other.star_path, other.root_dir)
    check_sampled_alike(table, theirs)
    check_no_image_is_shared(table, theirs, whose)


def check_no_image_is_shared(table: ParticleTable, other: ParticleTable, whose: str) -> None:
    """Check that no image is in both halves of an entry.

    Parameters
    ----------
    table, other : the halves
    whose : what messages call the other one

    Raises
    ------
    IdMismatchError
        If one is; names it.
    """
    stacks, others = ({path.resolve() for path in half.stacks} for half in (table, other))
    if stacks.isdisjoint(others):
        return
    shared = _image_keys(table) & _image_keys(other)
    if shared:
        path, section = min(shared)
        raise IdMismatchError(
            f"{len(shared)} images of {table.source} are in {whose} too, for example "
            f"{section + 1}@{path}; a model would be tested on what it was trained on: give "
            "halves that share no image"
        )


def _image_keys(table: ParticleTable) -> set[tuple[str, int]]:
    paths = [str(path.resolve()) for path in table.stacks]
    numbers = zip(table.stack_index.tolist(), table.section.tolist(), strict=True)
    return {(paths[stack], section) for stack, section in numbers}


def check_every_image(table: ParticleTable, progress: Progress = SILENT) -> None:
    """Read every image of `table` once.

    Raises
    ------
    ImageValueError
        If an image is constant, or holds NaN or infinite pixels; names its row.
    """
    source = ImageSource(table)
    with progress.task(f"Checking images of {Path(table.source).name}", len(table)) as advance:
        for rows in image_batches(len(table)):
            source.read(rows)
            advance(len(rows))


def check_mask(path: Path, table: ParticleTable) -> None:
    """Check that the mask `path` has the box and the pixel size of the images of `table`.

    Raises
    ------
    MrcFileError, MetadataError, PixelSizeError
        If it is no volume, or has another box or pixel size.
    """
    info = inspect_mrc(path)
    if tuple(info.shape) != (table.image_size,) * 3:
        raise MetadataError(
            f"mask {path} has the shape {tuple(info.shape)}, the images of {table.source} are "
            f"{table.image_size} px; give a mask with the box of the images"
        )
    voxel = info.voxel_size_angst
    if voxel and voxel != 1.0 and abs(voxel - table.sampling_rate) > 0.01 * table.sampling_rate:
        raise PixelSizeError(
            f"mask {path} has {voxel:.4g} angstrom/voxel, the images of {table.source} "
            f"{table.sampling_rate:.4g} angstrom/px; resample the mask or correct its header"
        )


def image_batches(count: int) -> Iterator[NDArray[np.int64]]:
    """Yield the rows 0 to `count` - 1 in runs that fit in memory."""
    for start in range(0, count, _BATCH):
        yield np.arange(start, min(start + _BATCH, count))
