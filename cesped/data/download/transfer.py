"""Filling an assembly: every piece from the disk, from files beside it, and from its server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cesped.data.download.assembly import Assembly, new_digest
from cesped.data.download.http_requests import open_from
from cesped.data.download.record import RemoteFile
from cesped.data.download.retries import Patience, Persistence
from cesped.errors import ChecksumError, DownloadError, ServerBusyError
from cesped.progress import SILENT, Advance, Progress

_BLOCK_BYTES = 1 << 20
#: A piece that arrives wrong is fetched again from its beginning, so often in all.
_ATTEMPTS = 3
#: More than this to be read from the disk is worth a bar.
LONG_CHECK_BYTES = 200_000_000


def fill(
    assembly: Assembly,
    patience: Patience,
    progress: Progress = SILENT,
    advance: Advance = lambda count: None,
) -> None:
    """Put the pieces of `assembly` together that are missing, and check every one.

    Chunks that lie beside the file, copied there by hand, are used instead of their server; each
    is removed once it is checked and on the disk as part of the file.

    Parameters
    ----------
    assembly : the file; it keeps its partial name
    patience : with the server
    progress : told of pauses, and of long checks
    advance : told of bytes; a negative number takes back those that turned out wrong

    Raises
    ------
    DownloadError
        If a server cannot be reached, has not what the record lists, or stays busy.
    ChecksumError
        If a piece arrives with a wrong checksum again and again.
    DiskFullError
        If the disk is full. In all cases what was fetched is kept.
    """
    if assembly.is_done:
        return
    with assembly.opened():
        _check_what_is_here(assembly, progress, advance)
        for index in assembly.remaining():
            _complete(assembly, index, Persistence(patience, progress), patience, advance)
        for piece in assembly.pieces:
            if (chunk := local_chunk(assembly.final.parent, piece, assembly.final)) is not None:
                chunk.unlink()


def local_chunk(folder: Path, piece: RemoteFile, final: Path) -> Path | None:
    """Return the file of a piece that somebody copied into `folder`, if there is one."""
    path = folder / piece.name
    return path if path != final and path.is_file() else None


def _check_what_is_here(assembly: Assembly, progress: Progress, advance: Advance) -> None:
    """Check pieces that are whole but not in the journal, as of a file that was copied here."""
    whole = [
        (index, size)
        for index in assembly.remaining()
        if assembly.bytes_of(index) == (size := assembly.pieces[index].size_bytes or 0)
    ]
    total = sum(size for _, size in whole)
    watcher = progress if total > LONG_CHECK_BYTES else SILENT
    with watcher.task(f"Checking {assembly.final.name}", total, in_bytes=True) as checked:
        for index, size in whole:
            if assembly.digest_of(index, size).hexdigest() == assembly.pieces[index].md5:
                assembly.confirm(index)
            else:
                advance(-size)
            checked(size)
        for index, _ in reversed(whole):
            if index in assembly.remaining():
                assembly.forget(index)


def _complete(
    assembly: Assembly, index: int, persistence: Persistence, patience: Patience, advance: Advance
) -> None:
    """Fetch what is missing of one piece, and check it."""
    piece = assembly.pieces[index]
    size = piece.size_bytes or 0
    # a whole piece that is still unchecked was found wrong: it is written anew from its beginning
    here = assembly.bytes_of(index) if assembly.bytes_of(index) < size else 0
    digest = assembly.digest_of(index, here)
    chunk = local_chunk(assembly.final.parent, piece, assembly.final)
    attempt = 0
    while True:
        if chunk is not None:
            here = _copy_chunk(assembly, index, chunk, here, digest, advance)
        else:
            attempt += 1
        if here < size:
            _fetch(assembly, index, here, digest, persistence, patience, advance)
        if digest.hexdigest() == piece.md5:
            assembly.confirm(index)
            if chunk is not None:
                chunk.unlink()
            return
        assembly.forget(index)
        advance(-size)
        if attempt == _ATTEMPTS:
            raise ChecksumError(
                f"{piece.url} arrived {attempt} times with MD5 {digest.hexdigest()} instead of "
                f"{piece.md5}: the file there is damaged, or something between changes it; try "
                "again later or from another network"
            )
        here, digest, chunk = 0, new_digest(), None


def _copy_chunk(
    assembly: Assembly, index: int, chunk: Path, start: int, digest: Any, advance: Advance
) -> int:
    """Copy a chunk from position `start` on, and return how many bytes of the piece are there."""
    size = assembly.pieces[index].size_bytes or 0
    with chunk.open("rb") as stream:
        stream.seek(start)
        while start < size and (block := stream.read(min(_BLOCK_BYTES, size - start))):
            assembly.write(index, start, block)
            digest.update(block)
            start += len(block)
            advance(len(block))
    return start


def _fetch(
    assembly: Assembly,
    index: int,
    start: int,
    digest: Any,
    persistence: Persistence,
    patience: Patience,
    advance: Advance,
) -> None:
    """Fetch a piece from position `start` to its end, through whatever interruptions."""
    piece = assembly.pieces[index]
    size = piece.size_bytes or 0
    while start < size:
        try:
            with open_from(piece.url, start, patience.stall_s) as opened:
                _refuse_other_size(piece, opened.total)
                unwanted = start - opened.start  # of a server that does not know ranges
                for received in opened.blocks:
                    block = received[unwanted:][: size - start]
                    unwanted = max(0, unwanted - len(received))
                    if not block:
                        continue
                    assembly.write(index, start, block)
                    digest.update(block)
                    start += len(block)
                    advance(len(block))
                    persistence.went_well()
                    if start == size:
                        break
            if start < size:
                raise ServerBusyError(f"{piece.url} broke off at {start} of {size} bytes")
        except ServerBusyError as error:
            persistence.pause_after(error)


def _refuse_other_size(piece: RemoteFile, total: int | None) -> None:
    if total is not None and total != piece.size_bytes:
        raise DownloadError(
            f"{piece.url} has {total} bytes, but {piece.name} is listed with {piece.size_bytes}: "
            "it was changed, or something else answers in its place (a login page of the network?)"
        )
