"""What the files of a published entry are called, and when half of it counts as complete."""

from __future__ import annotations

from pathlib import Path

from cesped.data.download.assembly import flush_folder
from cesped.data.registry import BenchmarkEntry
from cesped.data.store import MASK_NAME, info_path, star_path
from cesped.io.files import write_text_atomic


class HalfPaths:
    """The paths of half an entry.

    Parameters
    ----------
    entry : as published
    halfset : 0 or 1
    benchmark_dir : folder of entries
    """

    def __init__(self, entry: BenchmarkEntry, halfset: int, benchmark_dir: Path) -> None:
        self.folder = benchmark_dir / entry.name
        self.star = star_path(self.folder, halfset)
        self.info = info_path(self.folder, halfset)
        self.stack = self.folder / f"particles_{halfset}.mrcs"
        self.mask = self.folder / MASK_NAME
        self.lock = self.folder / f".download_{halfset}.lock"
        self.mask_lock = self.folder / ".download_mask.lock"
        self.record_number = entry.records[halfset]
        self.record = self.folder / f"record_{self.record_number}.json"
        self.mask_record = self.folder / f"record_{entry.mask_record}.json"
        #: the published name of the file that says that all is there
        self.marker = self.folder / f"SUCCESSFUL_DOWNLOAD_{self.record_number}.txt"

    @property
    def has_files(self) -> bool:
        """Whether particles, symmetry and images are there, right or not."""
        return all(path.is_file() for path in (self.star, self.info, self.stack))

    @property
    def is_complete(self) -> bool:
        """Whether all files are there, and were found right when they were fetched or verified.

        The published program leaves the same mark, but no record, and also on damaged stacks.
        """
        if not (self.marker.is_file() and self.record.is_file() and self.has_files):
            return False
        lines = self.marker.read_text(encoding="utf-8", errors="replace").split()
        return lines == [str(self.record_number), str(self.stack.stat().st_size)]

    def mark_complete(self) -> None:
        """Say so, whole or not at all: the published two lines, record and size of the stack.

        Raises
        ------
        DiskFullError, UnwritableError
            If the mark cannot be written.
        """
        flush_folder(self.folder)
        size = self.stack.stat().st_size
        write_text_atomic(self.marker, f"{self.record_number}\n{size}\n")
        flush_folder(self.folder)


def merged_path(folder: Path) -> Path:
    """Return the star file of both halves of the entry in `folder`, by its published name."""
    return folder / "particles_merged.star"
