"""The map of a structure's atoms, of a size that holds it however it is turned and moved."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cesped.errors import OptionError
from cesped.io.atoms import Atoms
from cesped.physics.atom_density import centre_of_scattering, molecule_density, voxel_size_for
from cesped.vocabulary import Scattering

#: Of a structure's density, in voxels: the low-pass falls to 1/e there.
RESOLUTION_VOXELS = 2.5
#: Voxels kept free on each side beyond the largest shift.
_SPARE_PX = 2.0


def map_of_atoms(
    atoms: Atoms,
    source: str | os.PathLike[str],
    box: int,
    *,
    pixel_size_angst: float | None = None,
    resolution_angst: float | None = None,
    scattering: Scattering = Scattering.ELECTRON,
    largest_shift_px: float = 0.0,
    threads: int | None = None,
) -> tuple[NDArray[np.float32], float, dict[str, Any]]:
    """Return the map of atoms about the centre of their electrons.

    Parameters
    ----------
    atoms : what it is made of
    source : their file, for messages
    box : voxels along each axis
    pixel_size_angst : chosen so that the molecule stays inside the image when None: turned in any
        way, moved by `largest_shift_px`, and with two pixels to spare
    resolution_angst : where the low-pass falls to 1/e; 2.5 voxels when None
    scattering : what an atom's density is
    largest_shift_px : that images will be moved by
    threads : most threads to use; `torch.get_num_threads()` when None

    Returns
    -------
    volume : `(box, box, box)` float32 [z, y, x]
    pixel_size_angst : of it
    description : how it was made, for JSON

    Raises
    ------
    OptionError
        If the molecule does not fit the box, or the resolution is finer than its voxels.
    """
    centre = centre_of_scattering(atoms.positions_angst, atoms.atomic_numbers)
    positions = atoms.positions_angst - centre
    reach_angst = float(np.linalg.norm(positions, axis=1).max())
    if pixel_size_angst is None:
        pixel_size_angst = voxel_size_for(reach_angst, box, largest_shift_px + _SPARE_PX)
    elif 2 * reach_angst > box * pixel_size_angst:
        raise OptionError(
            f"{source} is {2 * reach_angst:.0f} A across and the box {box * pixel_size_angst:.0f}; "
            "use a larger box or pixel size, or leave --pixel-size out"
        )
    resolution = resolution_angst or RESOLUTION_VOXELS * pixel_size_angst
    volume = molecule_density(
        positions,
        atoms.atomic_numbers,
        box,
        pixel_size_angst,
        resolution,
        scattering=scattering,
        occupancies=atoms.occupancies,
        threads=threads,
    )
    description = {
        "file": Path(source).name,
        "atoms": len(atoms),
        "radius_angst": round(reach_angst, 3),
        "resolution_angst": resolution,
        "scattering": scattering.value,
    }
    return volume, pixel_size_angst, description
