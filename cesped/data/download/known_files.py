"""What is known of the files of an entry: asked for, or kept beside it from an earlier look-up."""

from __future__ import annotations

from cesped.data.download.entry_files import HalfPaths
from cesped.data.download.record import (
    HalfFiles,
    Record,
    RemoteFile,
    half_files,
    read_record,
    with_known_sizes,
    write_record,
)
from cesped.data.download.record_lookup import look_up_record, with_size
from cesped.data.download.retries import Patience
from cesped.data.registry import BenchmarkEntry
from cesped.progress import SILENT, Progress


def ask_half_files(
    entry: BenchmarkEntry, paths: HalfPaths, patience: Patience, progress: Progress = SILENT
) -> HalfFiles:
    """Return the files of half an entry with their sizes, and keep them beside it.

    Raises
    ------
    DownloadError
        If no server tells.
    RecordError
        If the record does not list what an entry needs.
    """
    record = look_up_record(paths.record_number, patience, progress)
    with_stack = entry.images_of is None
    files = half_files(record, with_stack=with_stack).all()
    known = with_known_sizes(files, read_record(paths.record, record.number))
    unknown = sum(file.size_bytes is None for file in known)
    if unknown:  # zenodo-get does not tell them
        with progress.task("Asking for the sizes of files", unknown) as advance:
            for index, file in enumerate(known):
                known[index] = with_size(file, patience, progress)
                advance(int(file.size_bytes is None))
    record = Record(record.number, tuple(known))
    checked = half_files(record, with_stack=with_stack)  # again: now it shows which are empty
    _keep(paths, paths.record_number, record)
    return checked


def ask_mask(
    entry: BenchmarkEntry, paths: HalfPaths, patience: Patience, progress: Progress = SILENT
) -> RemoteFile:
    """Return the mask of an entry with its size, and keep that beside it.

    Raises
    ------
    DownloadError, RecordError
        If no server tells, or the record of masks has none for this entry.
    """
    record = look_up_record(entry.mask_record, patience, progress)
    mask = with_size(record.file(entry.mask_file), patience, progress)
    _keep(paths, entry.mask_record, Record(record.number, (mask,)))
    return mask


def kept_half_files(entry: BenchmarkEntry, paths: HalfPaths) -> HalfFiles | None:
    """Return the files of half an entry as an earlier look-up found them, if there was one."""
    record = read_record(paths.record, paths.record_number)
    if record is None or any(file.size_bytes is None for file in record.files):
        return None
    return half_files(record, with_stack=entry.images_of is None)


def kept_mask(entry: BenchmarkEntry, paths: HalfPaths) -> RemoteFile | None:
    """Return the mask of an entry as an earlier look-up found it, if there was one."""
    record = read_record(paths.mask_record, entry.mask_record)
    return None if record is None else record.file(entry.mask_file)


def _keep(paths: HalfPaths, number: int, record: Record) -> None:
    if paths.folder.is_dir():
        path = paths.record if number == paths.record_number else paths.mask_record
        write_record(path, record)
