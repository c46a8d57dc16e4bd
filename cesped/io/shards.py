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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingFileError, ShardError
from .files import full_disk_named

_IF_FULL = "its whole blocks are kept: free some space there and run the same again"

MAGIC = b"CESPED-SHARD 1\n"
_END = "end"
_LARGEST_HEAD = 1 << 24  # a longer one is no head
_LONGEST_END = 1 << 10
_PIECE = 1 << 20
_REMEDY = "delete it and make it again, or copy it again"


@dataclass(frozen=True)
class Block:
    """What belongs together, such as the images of one structure.

    Parameters
    ----------
    name : of the block; names may repeat in other shards
    facts : what JSON can hold
    arrays : by name
    """

    name: str
    facts: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


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
                self._write(_encoded(Block("", {"label": self.label}, {})))
        return self

    def append(self, block: Block) -> None:
        """Write a block.

        Raises
        ------
        ShardError
            If an array has a type that is no number.
        """
        with full_disk_named(self.path, _IF_FULL):
            self._write(_encoded(block))
            self._stream.flush()
        self.n_blocks += 1

    def _write(self, content: bytes) -> None:
        self._stream.write(content)
        self._digest.update(content)

    def _whole_blocks(self) -> int:
        """Count the whole blocks of an interrupted process; return where the last of them ends."""
        stop = 0
        with contextlib.suppress(OSError, ShardError), self.partial.open("rb") as stream:
            for block in _blocks(stream, self.partial):
                if stop == 0 and block.facts.get("label") != self.label:
                    return 0
                if block.name == _END:  # killed before the shard got its name: the end comes again
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
                self._stream.write(_encoded(Block(_END, facts, {})))
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
        for block in _blocks(stream, file, is_begun=start > 0):
            stop = stream.tell()
            if block.name == _END:
                is_whole = start > 0 or block.facts.get("blocks") == count
                if not is_whole or stream.read(1):
                    raise ShardError(f"{file} does not hold what its end says; {_REMEDY}")
                return
            if count >= 0 or start:
                yield PlacedBlock(block, begin, stop)
            count, begin = count + 1, stop
    after = f"after byte {begin}" if start else f"after {max(count, 0)} blocks"
    raise ShardError(f"{file} was cut {after}; {_REMEDY}")


def read_block(path: str | os.PathLike[str], start: int) -> Block:
    """Return the block that begins at byte `start`.

    Raises
    ------
    MissingFileError, ShardError
        As `read_shard`.
    """
    for placed in read_shard_from(path, start):
        return placed.block
    raise ShardError(f"no block begins at byte {start} of {path}; {_REMEDY}")


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
            head = _head(stream, start, file)
            if count < 0:
                label = str(head["facts"].get("label"))
            elif head["name"] == _END:
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
    start = tail.rfind(f'{{"name": "{_END}"'.encode())
    with contextlib.suppress(ValueError, KeyError):
        facts = json.loads(tail[start:-4])["facts"]  # four bytes of CRC follow
        if start > 0 and tail[-4:] == struct.pack("<I", zlib.crc32(tail[start:-4])):
            return int(facts["blocks"]), str(facts["sha256"])
    raise ShardError(f"{file} has no end: it was cut, or is not a shard; {_REMEDY}")


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
        for block in _blocks(stream, file):
            if block.name == _END:
                wanted = block.facts["sha256"]
                break
            start = stream.tell()
        stream.seek(0)
        while start:
            piece = stream.read(min(_PIECE, start))
            digest.update(piece)
            start -= len(piece)
    if digest.hexdigest() != wanted:
        raise ShardError(f"{file} has another checksum than when it was written; {_REMEDY}")
    return count


def _encoded(block: Block) -> bytes:
    arrays, payload = [], []
    for name, values in block.arrays.items():
        given = np.asarray(values)
        if given.dtype.kind not in "biuf":
            raise ShardError(
                f"array {name} of block {block.name} is of {given.dtype}; give numbers"
            )
        stored = np.ascontiguousarray(given, dtype=given.dtype.newbyteorder("<"))
        arrays.append({"name": name, "dtype": stored.dtype.str, "shape": list(stored.shape)})
        payload.append(stored.tobytes())
    content = b"".join(payload)
    head = {
        "name": block.name,
        "facts": block.facts,
        "arrays": arrays,
        "bytes": len(content),
        "crc32": zlib.crc32(content),
    }
    text = json.dumps(head).encode()
    return struct.pack("<I", len(text)) + text + struct.pack("<I", zlib.crc32(text)) + content


def _blocks(stream: BinaryIO, path: Path, is_begun: bool = False) -> Iterator[Block]:
    """Yield blocks until the file ends, or raise where it is torn."""
    if not is_begun and stream.read(len(MAGIC)) != MAGIC:
        raise ShardError(f"{path} is no shard of this version: it does not begin with {MAGIC!r}")
    while start := stream.read(4):
        head = _head(stream, start, path)
        content = stream.read(head["bytes"])
        if len(content) != head["bytes"] or zlib.crc32(content) != head["crc32"]:
            raise ShardError(f"block {head['name']!r} of {path} is torn or damaged; {_REMEDY}")
        yield Block(head["name"], head["facts"], _arrays(head["arrays"], content))


def _head(stream: BinaryIO, start: bytes, path: Path) -> dict[str, Any]:
    if len(start) == 4:
        (length,) = struct.unpack("<I", start)
        if length <= _LARGEST_HEAD:
            text, check = stream.read(length), stream.read(4)
            if check == struct.pack("<I", zlib.crc32(text)):
                head: dict[str, Any] = json.loads(text)
                return head
    raise ShardError(f"the head of a block of {path} is torn or damaged; {_REMEDY}")


def _arrays(described: list[Mapping[str, Any]], content: bytes) -> dict[str, NDArray[Any]]:
    found, start = {}, 0
    for entry in described:
        dtype = np.dtype(entry["dtype"])
        count = int(np.prod(entry["shape"], dtype=np.int64))
        values = np.frombuffer(content, dtype, count, start)
        found[entry["name"]] = values.reshape(entry["shape"])
        start += values.nbytes
    return found
