"""The papers' module name of `ParticlesDataset`, and `python -m cesped.particlesDataset`."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .data.dataset import ParticlesDataset

__all__ = ["ParticlesDataset"]


def __getattr__(name: str) -> Any:
    # loaded when asked for, so that the commands' help does not wait for torch
    if name == "ParticlesDataset":
        from .data.dataset import ParticlesDataset

        return ParticlesDataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if __name__ == "__main__":
    from .cli.main import particles_dataset_face

    sys.exit(particles_dataset_face())
