"""What a result is stamped with: versions, checksums of its inputs, and the machine."""

import hashlib
import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
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


def package_version() -> str:
    """Return the version of this package."""
    return version("cesped")


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


def images_stamp(stacks: Iterable[Path]) -> list[dict[str, Any]]:
    """Return name, size and checksum of stacks; null where summing one would take long.

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
        checksum = sha256_of_file(path) if size <= _SUMMED_BYTES else None
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


def hardware() -> dict[str, Any]:
    """Return what ran the evaluation: system, processor, number of its CPUs, Python."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor_name(),
        "cpus": os.cpu_count() or 1,
        "python": platform.python_version(),
    }


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "unknown"
