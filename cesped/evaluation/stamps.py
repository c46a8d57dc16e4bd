"""What a result is stamped with: versions, checksums of its inputs, and the machine."""

import hashlib
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cesped.errors import MissingFileError

_BLOCK = 1 << 20


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
