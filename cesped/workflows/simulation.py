"""From a map or a structure to an entry of simulated images."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import PixelSizeError
from ..progress import SILENT, Progress
from ..vocabulary import Scattering, Simulator

if TYPE_CHECKING:
    from ..data.simulation.entry import SimulatedEntry, SimulatedMap
    from ..data.simulation.plan import SimulationPlan


def map_to_simulate(
    path: str | os.PathLike[str],
    mask: str | os.PathLike[str] | None = None,
    pixel_size_angst: float | None = None,
) -> "SimulatedMap":
    """Return a map from a file, with a mask around its dense part or one of the user's own.

    Parameters
    ----------
    path : MRC map, a cube
    mask : mask for comparing maps; made from the map when None
    pixel_size_angst : in place of the header's, where it states none

    Raises
    ------
    PixelSizeError
        If the header states no pixel size and none is given, or another one.
    GeometryError, ImageValueError, MrcFileError, OptionError
        If the map or the mask cannot be used.
    """
    from ..data.simulation.entry import SimulatedMap
    from ..data.simulation.plan import sha256_of_file
    from ..io.mrc import inspect_mrc
    from ..physics.masks import mask_from_density
    from .maps import read_map

    stated = inspect_mrc(path).voxel_size_angst if Path(path).is_file() else None
    if pixel_size_angst is not None and stated and abs(stated - pixel_size_angst) > 1e-3 * stated:
        raise PixelSizeError(
            f"map {path} states {stated:.5g} A per voxel and --pixel-size is {pixel_size_angst:g}; "
            "leave --pixel-size out, or correct the header"
        )
    if stated is None and pixel_size_angst is not None:
        volume, voxel_angst = read_map(path, is_mask=True)[0], pixel_size_angst
    else:
        volume, voxel_angst = read_map(path)
    own_mask = None if mask is None else read_map(mask, volume.shape, path, is_mask=True)[0]
    density = np.ascontiguousarray(volume, dtype=np.float32)
    return SimulatedMap(
        volume=density,
        pixel_size_angst=voxel_angst,
        mask=mask_from_density(density) if own_mask is None else own_mask,
        description={"file": Path(path).name, "sha256": sha256_of_file(Path(path))},
    )


def structure_to_simulate(
    path: str | os.PathLike[str],
    box: int,
    *,
    pixel_size_angst: float | None = None,
    resolution_angst: float | None = None,
    scattering: Scattering = Scattering.ELECTRON,
    assembly: str | None = None,
    largest_shift_px: float = 0.0,
) -> "SimulatedMap":
    """Return the map of the atoms of a file, about the centre of their electrons.

    Parameters
    ----------
    path : mmCIF, PDB or npz file of atoms
    box : voxels along each axis
    pixel_size_angst : chosen so that the molecule stays inside the image when None: turned in any
        way, moved by `largest_shift_px`, and with two pixels to spare
    resolution_angst : where the low-pass falls to 1/e; 2.5 voxels when None
    scattering : what an atom's density is
    assembly : biological assembly of the file; its coordinates as they stand when None
    largest_shift_px : that images will be moved by

    Raises
    ------
    MissingFileError, StructureFileError, OptionError
        If the file cannot be used, or the molecule does not fit the box.
    """
    from ..data.simulation.entry import SimulatedMap
    from ..data.simulation.plan import sha256_of_file
    from ..data.simulation.structure_map import map_of_atoms
    from ..io.atoms import read_atoms
    from ..physics.masks import mask_from_density

    volume, pixel_size, description = map_of_atoms(
        read_atoms(path, assembly),
        path,
        box,
        pixel_size_angst=pixel_size_angst,
        resolution_angst=resolution_angst,
        scattering=scattering,
        largest_shift_px=largest_shift_px,
    )
    checksum = sha256_of_file(Path(path))
    return SimulatedMap(
        volume=volume,
        pixel_size_angst=pixel_size,
        mask=mask_from_density(volume),
        description={**description, "sha256": checksum, "assembly": assembly},
    )


def simulate(
    plan: "SimulationPlan",
    source: "SimulatedMap",
    name: str,
    benchmark_dir: str | os.PathLike[str] | None = None,
    *,
    threads: int | None = None,
    replace: bool = False,
    progress: Progress = SILENT,
) -> "SimulatedEntry":
    """Make the entry `name`; see `cesped.data.simulation.entry.simulate_entry`.

    Raises
    ------
    ProgramNotFoundError, ProgramError
        If the plan's simulator is RELION, and it is not installed or fails.
    """
    from ..data.simulation.entry import native_images, simulate_entry
    from ..reconstruction.relion_projection import relion_images

    return simulate_entry(
        plan,
        source,
        name,
        benchmark_dir,
        threads=threads or os.cpu_count() or 1,
        replace=replace,
        simulating=relion_images if plan.simulator is Simulator.RELION else native_images,
        progress=progress,
    )
