"""How much of a published entry is here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cesped.data.download.assembly import length_of, partial_path
from cesped.data.download.entry_files import HalfPaths
from cesped.data.download.joining import chunks_by_hand
from cesped.data.download.record import read_record
from cesped.data.registry import BenchmarkEntry
from cesped.data.store import EntryStore
from cesped.errors import MrcFileError
from cesped.io.mrc import inspect_mrc


class Completeness(StrEnum):
    """How much of half an entry is here."""

    NONE = "not here"
    PARTIAL = "partial"
    UNVERIFIED = "not verified"
    COMPLETE = "complete"


@dataclass(frozen=True)
class HalfState:
    """What is on the disk of half a published entry.

    Parameters
    ----------
    completeness : how much of it is here
    bytes_here : size of what is here; images that are another entry's do not count
    bytes_total : size of all of it, None if that is not known here
    """

    completeness: Completeness
    bytes_here: int
    bytes_total: int | None

    @property
    def share(self) -> float | None:
        """How much of it is here, 0 to 1; None if the whole is not known."""
        return self.bytes_here / self.bytes_total if self.bytes_total else None


def half_state(entry: BenchmarkEntry, halfset: int, store: EntryStore) -> HalfState:
    """Return how much of half an entry is in the folder of `store`; nothing is read but sizes."""
    paths = HalfPaths(entry, halfset, store.benchmark_dir)
    record = read_record(paths.record, paths.record_number)
    sizes = [file.size_bytes for file in record.files] if record else [None]
    known = [size for size in sizes if size is not None]
    total = sum(known) if len(known) == len(sizes) else None
    here = sum(
        max(length_of(path), length_of(partial_path(path)))
        for path in (paths.star, paths.info, paths.stack)
        if not path.is_symlink()
    )
    here += sum(path.stat().st_size for path in chunks_by_hand(paths).values())
    if paths.is_complete:
        return HalfState(Completeness.COMPLETE, here, total or here)
    if paths.has_files and _is_whole(paths):
        return HalfState(Completeness.UNVERIFIED, here, total)
    return HalfState(Completeness.PARTIAL if here else Completeness.NONE, here, total)


def _is_whole(paths: HalfPaths) -> bool:
    try:
        inspect_mrc(paths.stack)
    except (MrcFileError, OSError):
        return False
    return True
