"""Checksums of what an entry consists of: star files, stacks, published records."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cesped.data.download.entry_files import HalfPaths
from cesped.data.download.record import read_record
from cesped.data.registry import published_entries
from cesped.data.store import EntryHalf
from cesped.errors import MissingFileError

_BLOCK = 1 << 20
#: Stacks up to this size are summed at each evaluation, which takes a tenth of a second; larger
#: ones are stamped with their size, and with the checksums of their record where it was verified.
_SUMMED_BYTES = 128 << 20


def sha256_of_file(path: str | os.PathLike[str]) -> str:
    """Return `sha256:` and the checksum of a file's bytes.

    Raises
    ------
    MissingFileError
        If there is no such file.
    """
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise MissingFileError(f"{path} is not a file: check the path") from error
    return f"sha256:{digest.hexdigest()}"


def file_stamp(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return the name and the checksum of a file; not its folder, which says nothing elsewhere."""
    return {"name": Path(path).name, "checksum": sha256_of_file(path)}


def images_stamp(
    stacks: Iterable[Path], summed_bytes: int | None = _SUMMED_BYTES
) -> list[dict[str, Any]]:
    """Return name, size and checksum of stacks; null where summing one would take long.

    Parameters
    ----------
    stacks : files; each is named once
    summed_bytes : larger stacks get no checksum; None for all, which reads them

    Raises
    ------
    MissingFileError
        If one is not there.
    """
    stamps = []
    for path in dict.fromkeys(stacks):
        try:
            size = path.stat().st_size
        except OSError as error:
            raise MissingFileError(f"{path} is not a file: check the path") from error
        summed = summed_bytes is None or size <= summed_bytes
        checksum = sha256_of_file(path) if summed else None
        stamps.append({"name": path.name, "bytes": size, "checksum": checksum})
    return stamps


def records_stamp(halves: Iterable[EntryHalf]) -> list[dict[str, Any]]:
    """Return the published records of an entry, with the checksums of all their files.

    Only of halves that a download or `cesped verify` found to be those of the record.
    """
    stamps = []
    for half in halves:
        entry = published_entries().get(half.target)
        if entry is None:
            continue
        paths = HalfPaths(entry, half.halfset, half.star_path.parent.parent)
        record = read_record(paths.record, paths.record_number) if paths.is_complete else None
        if record is not None:
            sums = {file.name: f"md5:{file.md5}" for file in record.files}
            stamps.append({"half": half.halfset, "record": record.number, "checksums": sums})
    return stamps
