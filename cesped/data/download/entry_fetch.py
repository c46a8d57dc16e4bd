"""Fetching half a published entry: what is missing of it, and nothing twice.

One process at a time works on a half; what it has done is on the disk, so that whoever comes next
goes on from there.
"""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path

from cesped.data.download.assembly import Assembly, length_of, md5_of, partial_path
from cesped.data.download.disk_room import check_room
from cesped.data.download.entry_files import HalfPaths
from cesped.data.download.half_check import check_half
from cesped.data.download.known_files import ask_half_files, ask_mask
from cesped.data.download.record import HalfFiles
from cesped.data.download.retries import Patience
from cesped.data.download.transfer import fill
from cesped.data.entry_checks import EntryHalf
from cesped.data.registry import BenchmarkEntry, nearest_names, published_entries
from cesped.data.store import EntryStore, check_halfset, check_target_name
from cesped.errors import EntryExistsError, EntryNotFoundError
from cesped.io.files import check_writable
from cesped.io.locks import exclusive_lock
from cesped.progress import SILENT, Progress


def fetch_half(
    target: str | os.PathLike[str],
    halfset: int | str,
    benchmark_dir: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
    *,
    patience: Patience | None = None,
    force: bool = False,
) -> EntryHalf:
    """Return half a published entry, after fetching what is missing of it.

    Every file is checked against the MD5 of its record, the particles against the images, and the
    half against the other one if that is here. Interrupted at any byte, it goes on from there.

    Parameters
    ----------
    target : name of a published entry
    halfset : 0 or 1
    benchmark_dir : folder of entries (see `default_benchmark_dir` when None)
    progress : told of every byte, and of whatever is waited for
    patience : with servers that fail
    force : replace files of other content that have the names of the entry's

    Raises
    ------
    EntryNotFoundError
        If there is no such published entry.
    DownloadError
        If a server cannot be reached, has not what the registry names, or stays busy.
    RecordError
        If the record does not list what an entry needs.
    ChecksumError
        If a file arrives damaged again and again.
    EntryExistsError
        If files of other content are in the way.
    DiskFullError, UnwritableError
        If there is no room, or no right to write.
    StarFileError, MetadataError, MrcFileError, PixelSizeError, SymmetryError, IdMismatchError
        If the files do not fit together, or not with the other half.
    """
    entry, half = published_entry(target), check_halfset(halfset)
    store = EntryStore(benchmark_dir)
    paths = HalfPaths(entry, half, store.benchmark_dir)
    if not paths.is_complete:
        _fetch(entry, half, store, paths, progress, patience or Patience(), force)
    else:
        if not paths.mask.exists():
            fetch_mask(entry, paths, progress, patience)
        _tidy_up(paths)
    return store.locate(entry.name, half)


def published_entry(target: str | os.PathLike[str]) -> BenchmarkEntry:
    """Return what the registry knows of `target`.

    Raises
    ------
    EntryNotFoundError
        If it is no published entry; names the nearest.
    OptionError
        If it cannot be a name.
    """
    name = check_target_name(target)
    entries = published_entries()
    if name in entries:
        return entries[name]
    nearest = [near for near in nearest_names(name) if near in entries]
    meant = f" (did you mean {' or '.join(nearest)}?)" if nearest else ""
    raise EntryNotFoundError(f"{name} is no published entry{meant}; those are {', '.join(entries)}")


def fetch_mask(
    entry: BenchmarkEntry,
    paths: HalfPaths,
    progress: Progress = SILENT,
    patience: Patience | None = None,
) -> None:
    """Fetch the mask of an entry, which both halves share; one that is there stays.

    Raises
    ------
    DownloadError, RecordError, ChecksumError, DiskFullError
        As `fetch_half`.
    """
    patience = patience or Patience()
    title = f"fetching the mask of {entry.name}"
    with exclusive_lock(paths.mask_lock, progress, title):
        if paths.mask.exists():
            return  # whoever completes the half tidies up
        assembly = Assembly(paths.mask, [ask_mask(entry, paths, patience, progress)])
        _deliver([assembly], f"{entry.name} mask", patience, progress)


def _fetch(
    entry: BenchmarkEntry,
    half: int,
    store: EntryStore,
    paths: HalfPaths,
    progress: Progress,
    patience: Patience,
    force: bool,
) -> None:
    check_writable(paths.marker)
    paths.folder.mkdir(parents=True, exist_ok=True)
    title = f"fetching {entry.name} half {half}"
    bytes_done = functools.partial(length_of, partial_path(paths.stack))
    with exclusive_lock(paths.lock, progress, title, bytes_done):
        if paths.is_complete:  # another process has done it
            return
        if entry.images_of is not None:
            fetch_half(
                entry.images_of, half, store.benchmark_dir, progress, patience=patience, force=force
            )
        files = ask_half_files(entry, paths, patience, progress)
        _refuse_foreign(paths, files, force)
        assemblies = [Assembly(paths.star, [files.star]), Assembly(paths.info, [files.info])]
        if files.chunks:
            assemblies.insert(0, Assembly(paths.stack, files.chunks))
        _deliver(assemblies, f"{entry.name} half {half}", patience, progress)
        if entry.images_of is not None:
            _share_stack(
                paths, HalfPaths(published_entry(entry.images_of), half, paths.folder.parent)
            )
        fetch_mask(entry, paths, progress, patience)
        check_half(entry, half, store)
        paths.mark_complete()
        _forget_journals(paths)


def _tidy_up(paths: HalfPaths) -> None:
    """Remove what a process left that was killed after it had completed the half."""
    _forget_journals(paths)
    for lock in (paths.lock, paths.mask_lock):
        if lock.exists():
            with exclusive_lock(lock):
                pass  # its end removes the file


def _forget_journals(paths: HalfPaths) -> None:
    for path in (paths.star, paths.info, paths.stack, paths.mask):
        Assembly(path, []).forget_journal()


def _refuse_foreign(paths: HalfPaths, files: HalfFiles, force: bool) -> None:
    """Refuse to replace a star or info file that is not the published one: it may be somebody's."""
    for path, remote in ((paths.star, files.star), (paths.info, files.info)):
        if not path.exists() or md5_of(path) == remote.md5:
            continue
        if not force:
            raise EntryExistsError(
                f"{path} is there, and is not the file of record {paths.record_number}; move it "
                "away, or allow it to be replaced with --force"
            )
        path.unlink()


def _deliver(
    assemblies: list[Assembly], title: str, patience: Patience, progress: Progress
) -> None:
    """Fetch what is missing of some files, then give all of them their names, in their order."""
    check_room(assemblies)
    total = sum(assembly.size_bytes for assembly in assemblies)
    here = sum(assembly.bytes_here for assembly in assemblies)
    with progress.task(f"Fetching {title}", total, in_bytes=True, done=here) as advance:
        for assembly in assemblies:
            fill(assembly, patience, progress, advance)
    for assembly in assemblies:
        assembly.finish()


def _share_stack(paths: HalfPaths, owner: HalfPaths) -> None:
    """Make the stack of another entry that of this one, without copying it."""
    target = Path(os.path.relpath(owner.stack, paths.folder))
    if paths.stack.is_symlink():
        paths.stack.unlink()
    if paths.stack.exists():
        if paths.stack.samefile(owner.stack):
            return
        raise EntryExistsError(
            f"{paths.stack} is there, but this entry uses the images of {owner.folder.name}; move "
            "it away"
        )
    try:
        paths.stack.symlink_to(target)
    except OSError:  # a file system without symbolic links
        try:
            paths.stack.hardlink_to(owner.stack)
        except OSError:
            shutil.copyfile(owner.stack, paths.stack)
