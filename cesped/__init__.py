"""Benchmark of supervised particle pose estimation in cryo-EM.

Importing this package does nothing: the names below are loaded when first used.

>>> import cesped
>>> cesped.__version__
'1.0...'
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .data.dataset import ParticlesDataset, ParticlesRelionStarDataset

__all__ = ["ParticlesDataset", "ParticlesRelionStarDataset", "__version__"]

_LAZY_NAMES = {
    "ParticlesDataset": "data.dataset",
    "ParticlesRelionStarDataset": "data.dataset",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("cesped")
    if name in _LAZY_NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
