"""Scalars in the file format that TensorBoard reads, written without TensorBoard.

The format is TensorFlow's record file of `Event` messages (tensorflow/core/util/event.proto,
summary.proto): each record is its length, a checksum of that, the message and its checksum.
"""

import struct
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from ..io.files import full_disk_named

_PREFIX = "events.out.tfevents"
_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), bits reversed
_MASK_DELTA = 0xA282EAD8


class EventFile:
    """A new file of scalars in `folder`, beside those of earlier processes of the same run."""

    def __init__(self, folder: Path) -> None:
        number = len(event_files(folder))
        self.path = folder / f"{_PREFIX}.{int(time.time()):010d}.{number:03d}.cesped"
        self._records = [_record(_event(0, b"\x1a" + _sized(b"brain.Event:2")))]

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add the values of `step` by their names; written by `flush`."""
        summary = b"".join(_value(name, value) for name, value in values.items())
        self._records.append(_record(_event(step, b"\x2a" + _sized(summary))))

    def flush(self) -> None:
        """Append what was added to the file.

        Raises
        ------
        DiskFullError
            If the disk or the quota is exhausted.
        """
        with full_disk_named(self.path), self.path.open("ab") as file:
            file.write(b"".join(self._records))
        self._records = []


def event_files(folder: Path) -> list[Path]:
    """Return the files of events in `folder`, oldest first."""
    return sorted(Path(folder).glob(f"{_PREFIX}.*.cesped"))


def _event(step: int, content: bytes) -> bytes:
    """Return an `Event`: field 1 the time, 2 the step, and one more."""
    return b"\x09" + struct.pack("<d", time.time()) + b"\x10" + _varint(step) + content


def _value(name: str, value: float) -> bytes:
    """Return a value of a `Summary`: field 1 its name, 2 the number."""
    content = b"\x0a" + _sized(name.encode()) + b"\x15" + struct.pack("<f", value)
    return b"\x0a" + _sized(content)


def _sized(content: bytes) -> bytes:
    return _varint(len(content)) + content


def _varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def _record(message: bytes) -> bytes:
    length = struct.pack("<Q", len(message))
    return length + _masked_crc(length) + message + _masked_crc(message)


def _masked_crc(content: bytes) -> bytes:
    table, crc = _crc_table(), 0xFFFFFFFF
    for byte in content:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF)


@lru_cache(maxsize=1)
def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ _POLYNOMIAL * (value & 1)
        table.append(value)
    return tuple(table)
