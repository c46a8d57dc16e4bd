"""Shards: files of named arrays, block after block, that are written and read as a stream.

A shard is a first line, `CESPED-SHARD 1`, then blocks. A block is

* the length of its head, 4 bytes, little-endian;
* the head, JSON: `name`, `facts`, `arrays` with the name, dtype and shape of each, `bytes` and
  `crc32` of the payload;
* the CRC-32 of the head, 4 bytes;
* the payload: the arrays one after the other, in C order, little-endian.

The first block holds the label that the shard was made under. The last has no arrays; its facts
hold `blocks`, the number between the two, and `sha256`, of all that stands before it. A file
without it was cut.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import MissingFileError, ShardError
from .files import full_disk_named
from .shard_format import END, MAGIC, REMEDY, Block, blocks_in, encoded, head_after

__all__ = [
    "MAGIC",
    "Block",
    "PlacedBlock",
    "ShardWriter",
    "check_shard",
    "label_of",
    "read_block",
    "read_shard",
    "read_shard_from",
    "stated_checksum",
]

_IF_FULL = "its whole blocks are kept: free some space there and run the same again"
_LONGEST_END = 1 << 10
_PIECE = 1 << 20


class ShardWriter:
    """Appends blocks to `path.partial`, which becomes `path` when the context ends well.

    What an interrupted process left is gone on with: its whole blocks count, a torn one is cut off.
    Only one process may write a shard at a time: the caller holds a lock.

    Parameters
    ----------
    path : the shard, in a folder that exists
    label : what determines its blocks; those of another label are not gone on with

    Attributes
    ----------
    n_blocks : blocks that are there

    Raises
    ------
    DiskFullError
        If the disk is full; whole blocks are kept for the next time.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> path = Path(tempfile.mkdtemp()) / "a.shard"
    >>> with ShardWriter(path, "example") as shard:
    ...     shard.append(Block("one", {"scale": 2.0}, {"x": np.zeros(3)}))
    >>> [block.name for block in read_shard(path)]
    ['one']
    """

    def __init__(self, path: str | os.PathLike[str], label: str) -> None:
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + ".partial")
        self.label = label
        self.n_blocks = 0

    def __enter__(self) -> Self:
        with full_disk_named(self.path, _IF_FULL):
            self._digest = hashlib.sha256()
            stop = self._whole_blocks()
            self._stream = self.partial.open("r+b" if stop else "wb")
            self._stream.truncate(stop)
            self._stream.seek(stop)
            if not stop:
                self._write(MAGIC)
                self._write(encoded(Block("", {"label": self.label}, {})))
        return self

    def append(self, block: Block) -> None:
        """Write a block.

        Raises
        ------
        ShardError
            If an array has a type that is no number.
        """
        with full_disk_named(self.path, _IF_FULL):
            self._write(encoded(block))
            self._stream.flush()
        self.n_blocks += 1

    def _write(self, content: bytes) -> None:
        self._stream.write(content)
        self._digest.update(content)

    def _whole_blocks(self) -> int:
        """Count the whole blocks of an interrupted process; return where the last of them ends."""
        stop = 0
        with contextlib.suppress(OSError, ShardError), self.partial.open("rb") as stream:
            for block in blocks_in(stream, self.partial):
                if stop == 0 and block.facts.get("label") != self.label:
                    return 0
                if block.name == END:  # killed before the shard got its name: the end comes again
                    break
                self.n_blocks += stop > 0
                stop = stream.tell()
        if stop:
            with self.partial.open("rb") as stream:
                self._digest.update(stream.read(stop))
        return stop

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stream:
            if error is not None:
                return
            with full_disk_named(self.path, _IF_FULL):
                facts = {"blocks": self.n_blocks, "sha256": self._digest.hexdigest()}
                self._stream.write(encoded(Block(END, facts, {})))
                self._stream.flush()
                os.fsync(self._stream.fileno())
        self.partial.replace(self.path)


def read_shard(path: str | os.PathLike[str]) -> Iterator[Block]:
    """Yield the blocks of a shard, one in memory at a time; each is checked as it is read.

    Raises
    ------
    MissingFileError
        If there is no such file.
    ShardError
        If it is no shard, was cut, or its bytes are not those that were written.
    """
    for placed in read_shard_from(path):
        yield placed.block


@dataclass(frozen=True)
class PlacedBlock:
    """A block and where it lies: from byte `start` up to byte `stop` of its file."""

    block: Block
    start: int
    stop: int


def read_shard_from(path: str | os.PathLike[str], start: int = 0) -> Iterator[PlacedBlock]:
    """Yield the blocks of a shard that begin at byte `start` or later, as `read_shard` does.

    Parameters
    ----------
    path : the shard
    start : where a block begins or ends, as told by a former call; 0 for all

    Raises
    ------
    MissingFileError, ShardError
        As `read_shard`. Whether blocks are missing is only known of all.
    """
    file = _existing(path)
    count = -1  # the label comes first
    with file.open("rb") as stream:
        begin = stream.seek(start)
        for block in blocks_in(stream, file, is_begun=start > 0):
            stop = stream.tell()
            if block.name == END:
                is_whole = start > 0 or block.facts.get("blocks") == count
                if not is_whole or stream.read(1):
                    raise ShardError(f"{file} does not hold what its end says; {REMEDY}")
                return
            if count >= 0 or start:
                yield PlacedBlock(block, begin, stop)
            count, begin = count + 1, stop
    after = f"after byte {begin}" if start else f"after {max(count, 0)} blocks"
    raise ShardError(f"{file} was cut {after}; {REMEDY}")


def read_block(path: str | os.PathLike[str], start: int) -> Block:
    """Return the block that begins at byte `start`.

    Raises
    ------
    MissingFileError, ShardError
        As `read_shard`.
    """
    for placed in read_shard_from(path, start):
        return placed.block
    raise ShardError(f"no block begins at byte {start} of {path}; {REMEDY}")


def _existing(path: str | os.PathLike[str]) -> Path:
    file = Path(path)
    if not file.is_file():
        raise MissingFileError(f"{file} does not exist; make the shard")
    return file


def label_of(path: str | os.PathLike[str]) -> str | None:
    """Return the label of a finished shard; None if the file is none, or was cut.

    Only heads are read; whether payloads are as they were written is for `check_shard` to say.
    """
    file = Path(path)
    with contextlib.suppress(OSError, ShardError), file.open("rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            return None
        label, count, size = None, -1, os.fstat(stream.fileno()).st_size
        while start := stream.read(4):
            head = head_after(stream, start, file)
            if count < 0:
                label = str(head["facts"].get("label"))
            elif head["name"] == END:
                is_whole = head["facts"].get("blocks") == count and stream.tell() == size
                return label if is_whole else None
            stream.seek(head["bytes"], os.SEEK_CUR)
            count += 1
    return None


def stated_checksum(path: str | os.PathLike[str]) -> tuple[int, str]:
    """Return the number of blocks and the checksum that the end of a shard states.

    Nothing else is read, so this takes no time and proves only that the file was not cut.

    Raises
    ------
    MissingFileError, ShardError
        If there is no such file, or it has no end.
    """
    file = _existing(path)
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - _LONGEST_END))
        tail = stream.read()
    start = tail.rfind(f'{{"name": "{END}"'.encode())
    with contextlib.suppress(ValueError, KeyError):
        facts = json.loads(tail[start:-4])["facts"]  # four bytes of CRC follow
        if start > 0 and tail[-4:] == struct.pack("<I", zlib.crc32(tail[start:-4])):
            return int(facts["blocks"]), str(facts["sha256"])
    raise ShardError(f"{file} has no end: it was cut, or is not a shard; {REMEDY}")


def check_shard(
    path: str | os.PathLike[str], tell: Callable[[Block], None] = lambda _: None
) -> int:
    """Read a whole shard, compare it with its checksum, and return the number of its blocks.

    Parameters
    ----------
    path : the shard
    tell : is given every block

    Raises
    ------
    MissingFileError, ShardError
        As `read_shard`.
    """
    file = Path(path)
    count = 0
    for block in read_shard(file):
        tell(block)
        count += 1
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        start = 0
        for block in blocks_in(stream, file):
            if block.name == END:
                wanted = block.facts["sha256"]
                break
            start = stream.tell()
        stream.seek(0)
        while start:
            piece = stream.read(min(_PIECE, start))
            digest.update(piece)
            start -= len(piece)
    if digest.hexdigest() != wanted:
        raise ShardError(f"{file} has another checksum than when it was written; {REMEDY}")
    return count
