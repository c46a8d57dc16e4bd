"""Projections by RELION's own program, as a second opinion on our own."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.simulation.images import CleanImages
from ..data.simulation.plan import SimulatedHalf
from ..data.simulation.stack import simulated_tables
from ..io.mrc import write_volume
from ..io.stack import StackReader
from ..io.star_writer import write_star
from .programs import find_program, run_program

_REMEDY = (
    "install RELION 3.1 (Debian and Ubuntu: apt-get install relion), or use the native simulator, "
    "which needs no RELION"
)


class RelionImages:
    """Images of one half that `relion_project --ctf` has written to a stack."""

    def __init__(self, stack: Path) -> None:
        self._stack = stack
        self._reader = StackReader()

    def images(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return the images `(B, N, N)` of some particles."""
        return torch.from_numpy(self._reader.read(self._stack, rows))


def relion_images(
    volume: NDArray[np.float32],
    pixel_size_angst: float,
    halves: tuple[SimulatedHalf, SimulatedHalf],
    folder: Path,
) -> tuple[CleanImages, CleanImages]:
    """Return the images of both halves that RELION projects; they lie in `folder` meanwhile.

    Raises
    ------
    ProgramNotFoundError, ProgramError
        If RELION is not installed, or fails.
    """
    program = find_program("relion_project", None, _REMEDY)
    work = folder / "relion"
    work.mkdir(exist_ok=True)
    write_volume(work / "map.mrc", volume, pixel_size_angst)
    made = []
    for halfset, half in enumerate(halves):
        name = f"clean_{halfset}"
        tables = simulated_tables(
            f"{name}.mrcs", volume.shape[0], pixel_size_angst, half.poses, half.ctf
        )
        write_star(work / f"poses_{halfset}.star", tables)
        command = [program, "--i", "map.mrc", "--o", name, "--ang", f"poses_{halfset}.star"]
        run_program([*command, "--ctf", "--angpix", repr(pixel_size_angst)], work)
        made.append(RelionImages(work / f"{name}.mrcs"))
    return made[0], made[1]
