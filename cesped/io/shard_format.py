"""What the bytes of a shard are: its first line, its blocks, and what tells a torn one.

`cesped.io.shards` says what a shard is for, and writes and reads it.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import ShardError

MAGIC = b"CESPED-SHARD 1\n"
END = "end"
REMEDY = "delete it and make it again, or copy it again"
_LARGEST_HEAD = 1 << 24  # a longer one is no head


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


def encoded(block: Block) -> bytes:
    """Return a block as bytes.

    Raises
    ------
    ShardError
        If an array has a type that is no number.
    """
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


def blocks_in(stream: BinaryIO, path: Path, is_begun: bool = False) -> Iterator[Block]:
    """Yield the blocks of a stream, label and end among them, until it ends.

    Parameters
    ----------
    stream : at its beginning, or where a block begins
    path : of the file, for messages
    is_begun : the stream is not at its beginning

    Raises
    ------
    ShardError
        If it is no shard, or where it is torn.
    """
    if not is_begun and stream.read(len(MAGIC)) != MAGIC:
        raise ShardError(f"{path} is no shard of this version: it does not begin with {MAGIC!r}")
    while start := stream.read(4):
        head = head_after(stream, start, path)
        content = stream.read(head["bytes"])
        if len(content) != head["bytes"] or zlib.crc32(content) != head["crc32"]:
            raise ShardError(f"block {head['name']!r} of {path} is torn or damaged; {REMEDY}")
        yield Block(head["name"], head["facts"], _arrays(head["arrays"], content))


def head_after(stream: BinaryIO, start: bytes, path: Path) -> dict[str, Any]:
    """Return the head of a block whose first four bytes were read.

    Raises
    ------
    ShardError
        If it is torn or damaged.
    """
    if len(start) == 4:
        (length,) = struct.unpack("<I", start)
        if length <= _LARGEST_HEAD:
            text, check = stream.read(length), stream.read(4)
            if check == struct.pack("<I", zlib.crc32(text)):
                head: dict[str, Any] = json.loads(text)
                return head
    raise ShardError(f"the head of a block of {path} is torn or damaged; {REMEDY}")


def _arrays(described: list[Mapping[str, Any]], content: bytes) -> dict[str, NDArray[Any]]:
    found, start = {}, 0
    for entry in described:
        dtype = np.dtype(entry["dtype"])
        count = int(np.prod(entry["shape"], dtype=np.int64))
        values = np.frombuffer(content, dtype, count, start)
        found[entry["name"]] = values.reshape(entry["shape"])
        start += values.nbytes
    return found
