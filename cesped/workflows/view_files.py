"""Single files that views are drawn from: maps, structures, shards, halves of star files."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import GeometryError, MetadataError, MissingFileError
from ..vocabulary import CtfCorrection, Normalization

if TYPE_CHECKING:
    from ..data.table import ParticleTable
    from ..training.views.map_window import Volume
    from ..training.views.sections import ViewDataset

_SUBSET = "rlnRandomSubset"


def plain_images(image_size: int) -> Any:
    """Return how particles are prepared: brought to a size, and otherwise as they are."""
    from ..data.preprocessing import PreprocessingOptions

    return PreprocessingOptions(
        image_size=image_size,
        normalization=Normalization.NONE,
        ctf_correction=CtfCorrection.NONE,
        crop_fraction=0.0,
    )


def rows_of_half(table: "ParticleTable", dataset: "ViewDataset") -> "ParticleTable":
    """Return the particles of the half that a dataset states.

    Raises
    ------
    MetadataError
        If the star file knows two halves and none was stated, or one was and it knows none.
    """
    import numpy as np

    subsets = np.ones(len(table))
    if _SUBSET in table.particles:
        subsets = table.particles[_SUBSET].to_numpy().astype(np.float64)
    kinds = np.unique(subsets)
    if dataset.halfset is None:
        if len(kinds) == 1:
            return table
        raise MetadataError(
            f"{table.source} holds halves {' and '.join(f'{kind:g}' for kind in kinds)} in "
            f"{_SUBSET}; say which is learned from: halfset: 0 or 1"
        )
    rows = np.flatnonzero(subsets == dataset.halfset + 1)
    if _SUBSET not in table.particles or not len(rows):
        raise MetadataError(
            f"{table.source} has no particles with {_SUBSET} {dataset.halfset + 1}, which is "
            f"halfset {dataset.halfset}; leave halfset out to learn from all"
        )
    return table.select(rows)


def shards_stamp(folder: Path) -> dict[str, Any]:
    """Return how many shards of how many structures a folder holds, and a sum of their sums.

    Raises
    ------
    MissingFileError, ShardError
        If there are none, or one was cut.
    """
    import hashlib

    from ..data.shards.plan import shards_in
    from ..io.shards import stated_checksum

    digest, blocks, paths = hashlib.sha256(), 0, shards_in(folder)
    for path in paths:
        count, checksum = stated_checksum(path)
        digest.update(f"{path.name} {checksum}\n".encode())
        blocks += count
    return {"shards": len(paths), "structures": blocks, "sha256": digest.hexdigest()}


def map_of_file(path: Path, box: int) -> "Volume":
    """Return the volume and the pixel size of a map.

    Raises
    ------
    MissingFileError, MrcFileError
        If it cannot be read.
    GeometryError
        If it has not `box` voxels a side.
    """
    from ..io.mrc import read_volume

    volume, pixel_size = read_volume(path)
    if volume.shape != (box, box, box):
        shape = " x ".join(map(str, volume.shape))
        raise GeometryError(
            f"{path} has {shape} voxels, and the recipe's images {box} px; set "
            f"--data.image_size, or resample the map, as with relion_image_handler "
            f"--i {path} --o NEW --new_box {box}"
        )
    return volume, pixel_size


def map_of_structure(path: Path, box: int, largest_shift_px: float) -> "Volume":
    """Return the volume and the pixel size of a map that is made of atoms, as it fits the box.

    Raises
    ------
    StructureFileError, OptionError
        If there are no atoms, or too few.
    """
    from ..data.simulation.structure_map import map_of_atoms
    from ..io.atoms import read_atoms

    volume, pixel_size, _ = map_of_atoms(
        read_atoms(path), path, box, largest_shift_px=largest_shift_px
    )
    return volume, pixel_size


def files_below(given: "Iterable[Path]", suffixes: tuple[str, ...] | None) -> tuple[Path, ...]:
    """Return files, those of folders sorted.

    Parameters
    ----------
    given : files and folders
    suffixes : of files in folders; None for files of atoms

    Raises
    ------
    MissingFileError
        If a folder has none.
    """
    from ..io.atoms import is_structure_file

    found: list[Path] = []
    for path in given:
        if not path.is_dir():
            found.append(path)
            continue
        own = sorted(
            each
            for each in path.iterdir()
            if (is_structure_file(each) if suffixes is None else each.suffix in suffixes)
        )
        if not own:
            kind = "structures" if suffixes is None else "maps"
            raise MissingFileError(f"{path} holds no {kind}; name files, or a folder that has some")
        found += own
    return tuple(found)
