"""Whether the files of half a published entry fit together, and with the other half."""

from __future__ import annotations

import json

from cesped.data.conventions import read_particle_table
from cesped.data.download.entry_files import HalfPaths
from cesped.data.entry_checks import check_halves, check_mask
from cesped.data.registry import BenchmarkEntry
from cesped.data.store import EntryStore
from cesped.data.table import ParticleTable
from cesped.errors import MetadataError, RecordError


def check_half(entry: BenchmarkEntry, halfset: int, store: EntryStore) -> ParticleTable:
    """Return the particles of half an entry, if its files fit together.

    Raises
    ------
    StarFileError, MetadataError, MissingImageError, MrcFileError, PixelSizeError
        If star file and stack are faulty or disagree, or name images outside the entry.
    SymmetryError, IdMismatchError
        If the symmetry is none, or the other half is here and does not belong to this one.
    RecordError
        If the info file points somewhere else.
    """
    paths = HalfPaths(entry, halfset, store.benchmark_dir)
    _refuse_other_root(paths)
    half = store.locate(entry.name, halfset)
    table = read_particle_table(half.star_path, half.root_dir)
    for stack in table.stacks:
        if stack.absolute() != paths.stack.absolute():
            raise MetadataError(
                f"{half.star_path} names images of {stack}, which is not {paths.stack.name} of "
                "this entry"
            )
    table.check_ids_unique()
    if half.mask_path is not None:
        check_mask(half.mask_path, table)
    # a half that is not complete yet is compared with this one when it is
    if HalfPaths(entry, 1 - halfset, store.benchmark_dir).is_complete:
        check_halves(table, half.symmetry, store.locate(entry.name, 1 - halfset))
    return table


def differences_from_registry(
    entry: BenchmarkEntry, symmetry: str, table: ParticleTable
) -> list[str]:
    """Return in what half an entry differs from the paper's table; empty if it agrees."""
    found = []
    if table.image_size != entry.box:
        found.append(f"images of {table.image_size} px (the paper: {entry.box})")
    if abs(table.sampling_rate - entry.pixel_size_angst) > 0.01:
        found.append(f"{table.sampling_rate:.4g} Å/px (the paper: {entry.pixel_size_angst:g})")
    if symmetry != entry.symmetry:
        found.append(f"symmetry {symmetry} (the paper: {entry.symmetry})")
    return found


def _refuse_other_root(paths: HalfPaths) -> None:
    """Refuse an info file that moves the images: a record could point anywhere with it."""
    try:
        info = json.loads(paths.info.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        return  # told with its reason when the entry is located
    root = info.get("root_dir", ".") if isinstance(info, dict) else "."
    if root != ".":
        raise RecordError(
            f"{paths.info} says that images are in {root!r}; those of a published entry lie beside "
            "it: remove root_dir from the file"
        )
