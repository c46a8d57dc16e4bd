"""What an evaluation reads of its entry: both halves of the particles, and a mask."""

import os
from dataclasses import dataclass
from pathlib import Path

from cesped.data.conventions import read_particle_table
from cesped.data.entry_checks import check_no_image_is_shared, check_sampled_alike
from cesped.data.opening import open_entry
from cesped.data.store import EntryHalf
from cesped.data.table import ParticleTable
from cesped.errors import MetadataError, MrcFileError, PixelSizeError
from cesped.evaluation.volumes import Volume
from cesped.io.mrc import inspect_mrc, read_volume
from cesped.progress import SILENT, Progress

_SAME_VOXEL = 1e-2  # relative, between mask and images: masks are often resampled


@dataclass(frozen=True)
class KnownEntry:
    """An entry as the truth that predictions are scored against.

    Parameters
    ----------
    halves : where half 0 and half 1 are
    tables : their particles with their true poses
    symmetry : point group that they are scored with
    mask_path, mask : of the maps, `(N, N, N)` [z, y, x]; None for unmasked figures alone
    """

    halves: tuple[EntryHalf, EntryHalf]
    tables: tuple[ParticleTable, ParticleTable]
    symmetry: str
    mask_path: Path | None
    mask: Volume | None


def read_known_entry(
    target: str,
    benchmark_dir: str | os.PathLike[str] | None,
    mask: str | os.PathLike[str] | None = None,
    use_mask: bool = True,
    ignore_symmetry: bool = False,
    progress: Progress = SILENT,
) -> KnownEntry:
    """Read the truth of an entry; arguments and errors as of `evaluate_entry`."""
    halves = locate_halves(target, benchmark_dir, progress)
    tables = read_halves(halves)
    mask_path = choose_mask(halves, mask) if use_mask else None
    return KnownEntry(
        halves=halves,
        tables=tables,
        symmetry="C1" if ignore_symmetry else halves[0].symmetry,
        mask_path=mask_path,
        mask=None if mask_path is None else read_mask(mask_path, tables[0]),
    )


def locate_halves(
    target: str, benchmark_dir: str | os.PathLike[str] | None, progress: Progress = SILENT
) -> tuple[EntryHalf, EntryHalf]:
    """Return both halves of an entry; an embedded one is made on first use.

    Raises
    ------
    EntryNotFoundError
        If one is not there.
    MetadataError
        If they state different symmetries.
    """
    first, second = (open_entry(target, half, benchmark_dir, progress) for half in (0, 1))
    if first.symmetry != second.symmetry:
        raise MetadataError(
            f"entry {first.target} in {first.star_path.parent}: info_0.json says symmetry "
            f"{first.symmetry}, info_1.json {second.symmetry}; correct the wrong one"
        )
    return first, second


def read_halves(halves: tuple[EntryHalf, EntryHalf]) -> tuple[ParticleTable, ParticleTable]:
    """Return the particles of both halves.

    Raises
    ------
    StarFileError, MetadataError, MissingImageError, MrcFileError
        As `cesped.data.conventions.read_particle_table`, and if the boxes differ.
    PixelSizeError
        If the pixel sizes differ.
    IdMismatchError
        If an image is in both: half maps would agree by their shared noise.
    """
    first, second = (read_particle_table(half.star_path, half.root_dir) for half in halves)
    check_sampled_alike(first, second)
    check_no_image_is_shared(first, second, f"half 1 ({second.source})")
    return first, second


def choose_mask(
    halves: tuple[EntryHalf, EntryHalf], explicit: str | os.PathLike[str] | None
) -> Path | None:
    """Return the mask that was asked for, else the entry's own, else None."""
    if explicit is not None:
        return Path(explicit).expanduser()
    return halves[0].mask_path or halves[1].mask_path


def read_mask(path: Path, table: ParticleTable) -> Volume:
    """Return a mask `(N, N, N)` for maps made of the particles of `table`.

    Raises
    ------
    MrcFileError
        If it cannot be read, has another box, or holds what no mask holds.
    PixelSizeError
        If its voxels are not of the size of the pixels.
    """
    # a header without a voxel size, or with the 1 that programs write for want of one, says
    # nothing against the mask
    stated_angst = inspect_mrc(path).voxel_size_angst
    volume, _ = read_volume(path, stated_angst or table.sampling_rate)
    if volume.shape != (table.image_size,) * 3:
        raise MrcFileError(
            f"mask {path} has the shape {volume.shape}, but the images of {table.source} are "
            f"{table.image_size} px; give a mask with the box of the images"
        )
    voxel_size_angst = table.sampling_rate if stated_angst in (None, 1) else float(stated_angst)
    if abs(voxel_size_angst - table.sampling_rate) > _SAME_VOXEL * table.sampling_rate:
        raise PixelSizeError(
            f"mask {path} has {voxel_size_angst:g} angstrom/voxel, but the images of "
            f"{table.source} {table.sampling_rate:g} angstrom/px; resample the mask"
        )
    low, high = float(volume.min()), float(volume.max())
    if low < -1e-3 or high > 1 + 1e-3 or high < 0.5:
        raise MrcFileError(
            f"mask {path} holds values from {low:g} to {high:g}; a mask is 1 inside, 0 outside, "
            "and between them on a soft edge"
        )
    return volume
