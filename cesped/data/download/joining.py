"""Joining chunks that somebody copied by hand, with or without their record."""

from __future__ import annotations

from pathlib import Path

from cesped.data.download.assembly import Assembly, md5_of
from cesped.data.download.disk_room import check_room
from cesped.data.download.entry_files import HalfPaths
from cesped.data.download.record import (
    HalfFiles,
    Record,
    RemoteFile,
    chunk_number,
    read_record,
    write_record,
)
from cesped.data.download.retries import Patience
from cesped.data.download.transfer import fill
from cesped.errors import ChecksumError, MissingFileError
from cesped.io.locks import exclusive_lock
from cesped.io.mrc import inspect_mrc
from cesped.progress import SILENT, Progress


def chunks_by_hand(paths: HalfPaths) -> dict[int, Path]:
    """Return the chunks of a stack that lie in the folder of its entry, by their number."""
    found = {}
    for path in paths.folder.glob(f"{paths.stack.name}.chunk_*"):
        if (number := chunk_number(path.name)) is not None:
            found[number] = path
    return dict(sorted(found.items()))


def join_chunks(paths: HalfPaths, files: HalfFiles | None, progress: Progress = SILENT) -> None:
    """Join the chunks of a stack in numeric order; each is removed once it is on the disk as part.

    Nothing is fetched. Whether all are there is known from the record, or else from the header of
    the stack, and asked before any chunk is touched.

    Parameters
    ----------
    paths : of half an entry whose stack is missing
    files : as its record lists them, if that is known
    progress : told of bytes

    Raises
    ------
    MissingFileError
        If chunks are missing.
    ChecksumError
        If a chunk is not the one of the record.
    MrcFileError
        If the chunks together are not the stack that the header of the first announces.
    DiskFullError
        If there is no room for one more chunk.
    """
    with exclusive_lock(paths.lock, progress, f"at work on {paths.stack}"):
        chunks = chunks_by_hand(paths)
        listed = None if files is None else list(files.chunks)
        pieces = listed or _pieces_as_they_are(paths, chunks, progress)
        assembly = Assembly(paths.stack, pieces)
        if listed:
            _check_chunks(assembly, paths, progress)
        check_room([assembly])
        total, here = assembly.size_bytes, assembly.bytes_here
        task = progress.task(f"Joining {paths.stack.name}", total, in_bytes=True, done=here)
        with task as advance:
            fill(assembly, Patience(attempts=1), progress, advance)
        assembly.finish()
        assembly.forget_journal()
        _noted_pieces(paths).unlink(missing_ok=True)


def _pieces_as_they_are(
    paths: HalfPaths, chunks: dict[int, Path], progress: Progress
) -> list[RemoteFile]:
    """Return chunks as pieces whose checksums are what they have: nobody knows better.

    They are noted, since those that are joined are gone when a process that was killed comes back.
    """
    noted = read_record(_noted_pieces(paths), paths.record_number)
    if noted is not None:
        return list(noted.files)
    missing = sorted(set(range(max(chunks, default=0) + 1)) - set(chunks))
    if missing:
        raise MissingFileError(
            f"chunk {missing[0]} of {paths.stack.name} is not in {paths.folder}; copy it there"
        )
    sizes = [path.stat().st_size for path in chunks.values()]
    inspect_mrc(chunks[0], sum(sizes))
    pieces = []
    task = progress.task(f"Reading chunks of {paths.stack.name}", sum(sizes), in_bytes=True)
    with task as advance:
        for path, size in zip(chunks.values(), sizes, strict=True):
            pieces.append(RemoteFile(path.name, "", md5_of(path), size))
            advance(size)
    write_record(_noted_pieces(paths), Record(paths.record_number, tuple(pieces)))
    return pieces


def _noted_pieces(paths: HalfPaths) -> Path:
    return paths.stack.with_name(f".{paths.stack.name}.pieces.json")


def _check_chunks(assembly: Assembly, paths: HalfPaths, progress: Progress) -> None:
    """Check that what is not joined yet lies there as the record lists it."""
    with assembly.opened():
        waiting = [assembly.pieces[index] for index in assembly.remaining()]
    total = sum(piece.size_bytes or 0 for piece in waiting)
    task = progress.task(f"Checking chunks of {paths.stack.name}", total, in_bytes=True)
    with task as advance:
        for piece in waiting:
            path = paths.folder / piece.name
            if not path.is_file():
                raise MissingFileError(f"{piece.name} is not in {paths.folder}; copy it there")
            if md5_of(path) != piece.md5:
                raise ChecksumError(
                    f"{path} has not the MD5 of record {paths.record_number}; copy it again"
                )
            advance(piece.size_bytes or 0)
