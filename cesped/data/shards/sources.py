"""What shards are projected from: files of atoms and maps, brought to the box of the images."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cesped.data.simulation.structure_map import map_of_atoms
from cesped.errors import (
    CespedError,
    GeometryError,
    ImageValueError,
    MrcFileError,
    OptionError,
    StructureFileError,
)
from cesped.io.atoms import is_structure_file, read_atoms
from cesped.io.mrc import read_volume

if TYPE_CHECKING:
    from cesped.data.shards.plan import ShardPlan

#: Ends of names of maps. Packed ones are not read, but named: else nobody would miss them.
MAP_SUFFIXES = (".mrc", ".map")
_PACKED = (".gz", ".bz2")
_SMALLEST_MAP_PX = 16

Volume = NDArray[np.float32]


def is_map_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is a map, by the end of its name."""
    name = os.fspath(path).lower()
    for packing in _PACKED:
        name = name.removesuffix(packing)
    return name.endswith(MAP_SUFFIXES)


def map_files(folder: str | os.PathLike[str]) -> list[str]:
    """Return the maps below a folder, sorted, relative to it; links to folders are left."""
    found = []
    for place, _, names in os.walk(folder):
        paths = (Path(place, name) for name in names if is_map_file(name))
        found += [path.relative_to(folder).as_posix() for path in paths if path.is_file()]
    return sorted(found)


def volume_of(plan: ShardPlan, name: str) -> tuple[Volume, float, dict[str, Any]]:
    """Return the map of a structure, or a map resampled, in the box of a plan.

    Returns
    -------
    volume : `(box, box, box)` float32 [z, y, x]
    pixel_size_angst : of it
    description : how it was made, for JSON

    Raises
    ------
    StructureFileError, OptionError
        If there are no atoms, or they make no density, or do not fit the box.
    MrcFileError, PixelSizeError, ImageValueError, GeometryError
        If a map cannot be read, states no pixel size, is constant, or no cube.
    """
    path = plan.root / name
    simulation = plan.simulation
    largest_shift_px = simulation.max_shift_px or 3 * (simulation.shift_sigma_px or 0.0)
    if not is_structure_file(name):
        if largest_shift_px >= plan.box / 2:
            raise OptionError(
                f"shifts of {largest_shift_px:g} px move {path} out of images of {plan.box} px; "
                "use smaller ones"
            )
        return map_in_box(path, plan.box)
    volume, pixel_size_angst, description = map_of_atoms(
        read_atoms(path),
        path,
        plan.box,
        scattering=plan.scattering,
        largest_shift_px=largest_shift_px,
        threads=1,
    )
    if not volume.any():
        raise StructureFileError(f"the atoms of {path} make no density: no occupancy")
    return volume, pixel_size_angst, description


def map_in_box(path: Path, box: int) -> tuple[Volume, float, dict[str, Any]]:
    """Return a map, its pixel size and where it comes from, resampled to `box` voxels a side.

    What the box holds [angstrom] stays, so the pixel size is the header's times its side over
    `box`. A map of `box` voxels is as it is.

    Raises
    ------
    MrcFileError, PixelSizeError, ImageValueError, GeometryError
        If it cannot be read, states no pixel size, is constant, or no cube, or a very small one.
    """
    try:
        volume, pixel_size_angst = read_volume(path)
    except CespedError:
        raise
    except OSError as error:  # the others of the folder can still be made
        raise MrcFileError(f"{path} cannot be read: {error.strerror}; open or copy it") from error
    side = volume.shape[0]
    if len(set(volume.shape)) > 1 or side < _SMALLEST_MAP_PX:
        shape = " x ".join(map(str, volume.shape))
        raise GeometryError(
            f"map {path} has {shape} voxels; give a cube of {_SMALLEST_MAP_PX} or more a side"
        )
    if (volume == volume.flat[0]).all():
        raise ImageValueError(f"map {path} is constant; give the map that was meant")
    description = {
        "file": path.name,
        "map_box": side,
        "map_pixel_size_angst": pixel_size_angst,
    }
    return resampled(volume, box), pixel_size_angst * side / box, description


def resampled(volume: Volume, size: int) -> Volume:
    """Return a cube resampled to `size` voxels with the same extent.

    Frequencies that do not fit are cut, those that are new are zero; voxel n // 2 goes to
    size // 2, the mean stays. The three-dimensional counterpart of
    `cesped.physics.resampling.resize_band_limited`.

    Parameters
    ----------
    volume : `(n, n, n)` float32
    size : voxels along each axis of the result
    """
    if volume.shape[0] == size:
        return volume
    result: NDArray[np.floating[Any]] = volume
    for axis in (2, 1, 0):
        result = _resampled_axis(np.moveaxis(result, axis, -1), size)
        result = np.moveaxis(result, -1, axis)
    return np.ascontiguousarray(result, dtype=np.float32)


def _resampled_axis(values: NDArray[np.floating[Any]], size: int) -> NDArray[np.float32]:
    """Return `(A, B, n)` samples resampled to `(A, B, size)`, about the centre n // 2."""
    n = values.shape[-1]
    kept = min(n, size)
    frequency = np.arange(kept // 2 + 1)
    factor = np.exp(2j * np.pi * frequency * ((n // 2) / n - (size // 2) / size)) * (size / n)
    if kept % 2 == 0:
        # a frequency at the edge of the smaller band is one sample of the smaller grid, and two of
        # the larger one, which get half of it each
        factor[-1] *= 0.5 if size > n else 1.0
    out = np.empty((*values.shape[:2], size), dtype=np.float32)
    for row in range(len(values)):  # plane by plane, in double precision: the memory stays small
        band = np.fft.rfft(values[row].astype(np.float64), axis=-1)[:, : kept // 2 + 1] * factor
        out[row] = np.fft.irfft(band, n=size, axis=-1)
    return out
