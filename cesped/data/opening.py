"""The one door to an entry: embedded ones are made, published ones fetched, others found."""

from __future__ import annotations

import os

from cesped.data.demo_entry import ensure_demo_entry
from cesped.data.demo_specifications import DEMO_SPECIFICATIONS
from cesped.data.download.entry_fetch import fetch_half
from cesped.data.download.entry_files import HalfPaths
from cesped.data.download.record_lookup import is_offline
from cesped.data.entry_checks import EntryHalf
from cesped.data.registry import published_entries
from cesped.data.store import EntryStore, added_by_hand, check_halfset
from cesped.errors import DownloadError, EntryNotFoundError, MrcFileError
from cesped.io.mrc import inspect_mrc
from cesped.progress import SILENT, Progress
from cesped.vocabulary import OFFLINE_VARIABLE


def open_entry(
    target: str | os.PathLike[str],
    halfset: int | str,
    benchmark_dir: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> EntryHalf:
    """Return where one half of an entry is, after making or fetching what is missing of it.

    Of a published entry, files that were copied to its folder are used as they are; the network
    is asked only if some are missing or cut short.

    Raises
    ------
    EntryNotFoundError
        If there is no such entry, or downloads are forbidden (CESPED_OFFLINE).
    DownloadError, RecordError, ChecksumError, EntryExistsError, DiskFullError
        If it cannot be fetched; see `fetch_half`.
    OptionError, SymmetryError, MetadataError
        As `EntryStore.locate`.
    """
    name, store = str(target), EntryStore(benchmark_dir)
    if name in DEMO_SPECIFICATIONS:
        ensure_demo_entry(benchmark_dir, name, progress)
    elif name in published_entries():
        paths = HalfPaths(published_entries()[name], check_halfset(halfset), store.benchmark_dir)
        if not _is_usable(paths, check_halfset(halfset)):
            return _fetched(name, halfset, store, paths, progress)
    return store.locate(target, halfset)


def _fetched(
    name: str, halfset: int | str, store: EntryStore, paths: HalfPaths, progress: Progress
) -> EntryHalf:
    by_hand = (
        f"without a network, copy the files of record {paths.record_number} of zenodo.org to "
        f"{paths.folder} and run `cesped verify {name}`"
    )
    if is_offline():
        raise EntryNotFoundError(
            f"half {halfset} of entry {name} is not complete in {store.benchmark_dir}, and "
            f"{OFFLINE_VARIABLE} forbids to download it; {by_hand}"
        )
    try:
        return fetch_half(name, halfset, store.benchmark_dir, progress)
    except DownloadError as error:
        raise DownloadError(f"{error} ({by_hand})") from error


def _is_usable(paths: HalfPaths, halfset: int) -> bool:
    """Return whether half a published entry can be opened without fetching anything."""
    if paths.is_complete:
        return True
    if not (paths.star.is_file() and paths.info.is_file()):
        return False
    if added_by_hand(paths.folder, halfset):
        return True
    try:
        inspect_mrc(paths.stack)
    except (MrcFileError, FileNotFoundError):  # cut short, as an interrupted program leaves it
        return False
    return True
