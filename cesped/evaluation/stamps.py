"""What an evaluation is stamped with: versions, checksums of its inputs, and the machine."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cesped.data.checksums import file_stamp, images_stamp, records_stamp, sha256_of_file

__all__ = [
    "file_stamp",
    "hardware",
    "images_stamp",
    "package_version",
    "records_stamp",
    "sha256_of_file",
]


def package_version() -> str:
    """Return the version of this package."""
    return version("cesped")


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
