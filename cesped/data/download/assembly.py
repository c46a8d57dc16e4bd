"""A file put together from pieces, each of which counts once its checksum is right.

The pieces follow each other in `NAME.partial`, which gets its name when all are there. A journal
beside it lists those that were checked, and is written after the bytes have reached the disk: a
process may be killed, or the power fail, at any byte. What lies behind the last checked piece is
the beginning of the next; it is read again for the checksum before the rest of it is fetched.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cesped.data.download.record import RemoteFile
from cesped.errors import DiskFullError, RecordError
from cesped.io.files import FULL_DISK

_BLOCK_BYTES = 1 << 20


class Assembly:
    """The file `final`, which `pieces` of known size make up in their order.

    Raises
    ------
    RecordError
        If the size of a piece is not known.
    """

    def __init__(self, final: Path, pieces: Sequence[RemoteFile]) -> None:
        self.final = final
        self.pieces = tuple(pieces)
        self.partial = partial_path(final)
        self._journal = final.with_name(f".{final.name}.journal")
        self._sizes = [_known_size(piece) for piece in pieces]
        self._offsets = [sum(self._sizes[:index]) for index in range(len(pieces))]
        self._descriptor = -1
        self._checked: set[int] = set()

    @property
    def size_bytes(self) -> int:
        """Size of the whole file."""
        return sum(self._sizes)

    @property
    def is_done(self) -> bool:
        """Whether the whole file has its name, and every piece of it was checked."""
        if length_of(self.final) != self.size_bytes:
            return False
        return self._read_journal(self.size_bytes) == set(range(len(self.pieces)))

    @property
    def bytes_here(self) -> int:
        """How much of it is on the disk, checked or not."""
        return min(self.size_bytes, max(length_of(self.partial), length_of(self.final)))

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Allow its pieces to be read and written inside the block.

        A file that has the final name already, from a copy by hand or from another program, is
        taken for its beginning, to be checked like everything else.
        """
        if not self.is_done and self.final.exists() and self._is_better(self.final):
            # the journal is about what lay here before
            self._journal.unlink(missing_ok=True)
            self.final.replace(self.partial)
        with disk_full_named(self.partial):
            self._descriptor = os.open(self.partial, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if length_of(self.partial) > self.size_bytes:
                os.ftruncate(self._descriptor, self.size_bytes)
            self._cut_torn_line()
            self._checked = self._read_journal(length_of(self.partial))
            yield
        finally:
            os.close(self._descriptor)
            self._descriptor = -1

    def remaining(self) -> list[int]:
        """Return the numbers of the pieces that were not checked yet, in their order."""
        return [index for index in range(len(self.pieces)) if index not in self._checked]

    def bytes_of(self, index: int) -> int:
        """Return how many bytes of a piece are on the disk."""
        length = os.fstat(self._descriptor).st_size
        return max(0, min(self._sizes[index], length - self._offsets[index]))

    def digest_of(self, index: int, count: int) -> Any:
        """Return the running MD5 of the first `count` bytes of a piece, read from the disk."""
        digest = new_digest()
        position, end = self._offsets[index], self._offsets[index] + count
        while position < end:
            block = os.pread(self._descriptor, min(_BLOCK_BYTES, end - position), position)
            if not block:
                break
            digest.update(block)
            position += len(block)
        return digest

    def write(self, index: int, start: int, block: bytes) -> None:
        """Write `block` at position `start` of a piece.

        Raises
        ------
        DiskFullError
            If the disk is full; what is there stays.
        """
        position = self._offsets[index] + start
        rest = memoryview(block)
        with disk_full_named(self.partial, self.size_bytes - position):
            while rest:
                written = os.pwrite(self._descriptor, rest, position)
                rest, position = rest[written:], position + written

    def confirm(self, index: int) -> None:
        """Note that a piece is whole and its checksum right, once that is on the disk.

        Raises
        ------
        DiskFullError
            If the disk is full.
        """
        line = {"piece": index, "md5": self.pieces[index].md5, "size": self._sizes[index]}
        with disk_full_named(self.partial):
            os.fsync(self._descriptor)
            with self._journal.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            flush_folder(self.final.parent)
        self._checked.add(index)

    def forget(self, index: int) -> None:
        """Give up the bytes of a piece that turned out wrong, if nothing lies behind them."""
        end = self._offsets[index] + self._sizes[index]
        if os.fstat(self._descriptor).st_size <= end:
            os.ftruncate(self._descriptor, self._offsets[index])

    def finish(self) -> None:
        """Give the whole file its name; the journal stays until `forget_journal`."""
        if not self.is_done:
            self.partial.replace(self.final)
        flush_folder(self.final.parent)

    def forget_journal(self) -> None:
        """Remove the journal, once something else says that the file is right."""
        self._journal.unlink(missing_ok=True)

    def _is_better(self, path: Path) -> bool:
        return not self.partial.exists() or length_of(path) == self.size_bytes

    def _read_journal(self, length: int) -> set[int]:
        """Return the pieces that were checked, among those that a file of `length` can hold."""
        checked = set()
        with contextlib.suppress(FileNotFoundError):
            for line in self._journal.read_text(encoding="utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError, IndexError):
                    noted = json.loads(line)
                    index = int(noted["piece"])
                    same = noted["md5"] == self.pieces[index].md5
                    same = same and noted["size"] == self._sizes[index] and index >= 0
                    if same and self._offsets[index] + self._sizes[index] <= length:
                        checked.add(index)
        return checked

    def _cut_torn_line(self) -> None:
        """Remove what a killed process wrote of a line, or the next would be glued to it."""
        with contextlib.suppress(FileNotFoundError), self._journal.open("r+b") as stream:
            content = stream.read()
            stream.truncate(content.rfind(b"\n") + 1)


def partial_path(final: Path) -> Path:
    """Return where a file is while it is put together."""
    return final.with_name(f"{final.name}.partial")


def new_digest() -> Any:
    """Return a running MD5, which guards against accidents and not against attacks."""
    return hashlib.md5(usedforsecurity=False)


def md5_of(path: Path) -> str:
    """Return the MD5 of a file, in hexadecimal digits."""
    digest = new_digest()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return str(digest.hexdigest())


def flush_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power failure, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def disk_full_named(path: Path, missing_bytes: int | None = None) -> Iterator[None]:
    """Turn the system's report of a full disk into one that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL_DISK or isinstance(error, DiskFullError):
            raise
        how_much = "" if missing_bytes is None else f" ({missing_bytes / 1e9:.2f} GB are missing)"
        raise DiskFullError(
            error.errno,
            f"{os.strerror(error.errno)} while writing {path}: free some space there{how_much} and "
            "give the same command again; it goes on from here",
        ) from error


def _known_size(piece: RemoteFile) -> int:
    if piece.size_bytes is None:
        raise RecordError(f"the size of {piece.name} is not known")
    return piece.size_bytes


def length_of(path: Path) -> int:
    """Return the size of a file [bytes], 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
