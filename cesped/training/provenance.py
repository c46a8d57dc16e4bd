"""Where a trained model comes from: versions, machine, particles, recipe, cost."""

import hashlib
import importlib.metadata
import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from ..io.files import write_text_atomic

_LIBRARIES = ("lightning", "e3nn", "healpy", "numpy")


def describe_program() -> dict[str, Any]:
    """Return versions of the package and of the libraries that its numbers depend on."""
    versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {
        "cesped": importlib.metadata.version("cesped"),
        "python": sys.version.split()[0],
        "torch": torch.__version__,  # with the build, such as +cu130, which its metadata may lack
        **versions,
    }


def describe_model(model: object) -> dict[str, Any]:
    """Return where the code of a model comes from: module, file, and the package that offers it."""
    kind = type(model)
    module = sys.modules.get(kind.__module__)
    source = getattr(module, "__file__", None)
    found = importlib.metadata.packages_distributions().get(kind.__module__.partition(".")[0], [])
    return {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "file_sha256": file_sha256(Path(source)) if source else None,
        "packages": {name: importlib.metadata.version(name) for name in sorted(set(found))},
    }


def describe_machine() -> dict[str, Any]:
    """Return what the run had to compute with."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "platform": platform.platform(),
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "gpus": gpus,
    }


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_provenance(path: Path, facts: dict[str, Any]) -> None:
    """Write `facts`, the program, the machine and the time as JSON."""
    content = {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "program": describe_program(),
        "machine": describe_machine(),
        **facts,
    }
    write_text_atomic(path, json.dumps(content, indent=2) + "\n")
