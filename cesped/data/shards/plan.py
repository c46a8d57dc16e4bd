"""Which structures and maps become which shards, and what that takes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cesped.data.shards.sources import is_map_file, map_files
from cesped.data.simulation.plan import SimulationPlan, sha256_of_file
from cesped.errors import MissingFileError, OptionError
from cesped.io.atoms import structure_files
from cesped.vocabulary import PixelType, Scattering

#: Raise it when the same plan makes other images.
_VERSION = 2
_PART = re.compile(r"(\d+)/(\d+)")
_SUFFIX = ".shard"
_BYTES_OF = {PixelType.FLOAT16: 2, PixelType.FLOAT32: 4}
_BYTES_PER_IMAGE_BESIDE = 100  # pose and CTF


@dataclass(frozen=True)
class ShardPlan:
    """All that determines a set of shards.

    Parameters
    ----------
    root : folder of the structures
    structures : files of atoms or maps, relative to it, in order; their names, ends included, are
        the names of blocks
    simulation : poses, shifts, optics and noise; `n_particles` is the images of each structure.
        Its seed is mixed with the name of each structure. Of a file of poses each structure gets
        rows of its own choice: those of the first half, as the first half of an entry
    box : of the images [px]
    structures_per_shard : how many follow each other in one file
    stored_as : of the pixels
    scattering : what an atom's density is

    Raises
    ------
    OptionError
        If a number is out of range.
    """

    root: Path
    structures: tuple[str, ...]
    simulation: SimulationPlan
    box: int = 128
    structures_per_shard: int = 100
    stored_as: PixelType = PixelType.FLOAT16
    scattering: Scattering = Scattering.ELECTRON

    def __post_init__(self) -> None:
        if self.structures_per_shard < 1 or self.box < 16:
            raise OptionError(
                f"{self.structures_per_shard} structures a shard and a box of {self.box}; use at "
                "least 1, and 16"
            )
        if self.simulation.n_particles is None:
            raise OptionError("how many images of each structure? Give their number")

    @property
    def n_shards(self) -> int:
        """Number of files."""
        return -(-len(self.structures) // self.structures_per_shard)

    @property
    def n_maps(self) -> int:
        """Number of maps among the structures."""
        return sum(map(is_map_file, self.structures))

    @property
    def images_per_structure(self) -> int:
        """Number of images of each structure."""
        return self.simulation.n_particles or 0

    def shard_name(self, index: int) -> str:
        """Return the file name of a shard."""
        return f"shard-{index:06d}{_SUFFIX}"

    def structures_of(self, index: int) -> tuple[str, ...]:
        """Return the structures of a shard."""
        first = index * self.structures_per_shard
        return self.structures[first : first + self.structures_per_shard]

    def simulation_of(self, name: str) -> SimulationPlan:
        """Return the plan of one structure, whose seed is its own wherever it stands."""
        own = (self.simulation.seed << 32) + zlib.crc32(os.fsencode(name))
        return dataclasses.replace(self.simulation, seed=own)

    def label_of(self, index: int) -> str:
        """Return a name of all that determines a shard; reads every file that it is made of."""
        names = self.structures_of(index)
        options = [
            _VERSION,
            self.simulation.to_dict(),
            self.box,
            self.stored_as.value,
            self.scattering.value,
            names,
            [_checksum(self.root / name) for name in names],
        ]
        return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()

    @property
    def n_bytes(self) -> int:
        """Size of all shards together [bytes]."""
        image = self.box**2 * _BYTES_OF[self.stored_as] + _BYTES_PER_IMAGE_BESIDE
        return len(self.structures) * self.images_per_structure * image


def _checksum(path: Path) -> str | None:
    """Return that of a file; None of one that cannot be read, which its block will tell."""
    try:
        return sha256_of_file(path)
    except (MissingFileError, OSError):
        return None


def structures_in(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the files of atoms and the maps below a folder, sorted, relative to it.

    Raises
    ------
    MissingFileError
        If there are none.
    """
    names = sorted([*structure_files(folder), *map_files(folder)])
    if not names:
        raise MissingFileError(
            f"{folder} holds no mmCIF or PDB files, and no maps (.mrc, .map); curate some "
            "structures first"
        )
    return tuple(names)


def shards_in(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the finished shards of a folder, sorted.

    Raises
    ------
    MissingFileError
        If there are none.
    """
    found = sorted(Path(folder).glob(f"*{_SUFFIX}"))
    if not found:
        raise MissingFileError(f"{folder} holds no finished shards; make some first")
    return found


def parse_part(text: str | None) -> tuple[int, int]:
    """Return which part of the shards is this process's, counted from 0, and of how many.

    Parameters
    ----------
    text : `I/N` with I from 1; when None, that of torchrun (RANK, WORLD_SIZE) or of a SLURM array
        (SLURM_ARRAY_TASK_ID, _MIN and _COUNT), or all

    Raises
    ------
    OptionError
        If it is no part, or the numbers of the array have gaps.

    Examples
    --------
    >>> parse_part("2/8")
    (1, 8)
    """
    environment = os.environ
    if text is None and "SLURM_ARRAY_TASK_COUNT" in environment:
        return _part_of_array(environment)
    if text is None:
        return int(environment.get("RANK", "0")), int(environment.get("WORLD_SIZE", "1"))
    found = _PART.fullmatch(text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise OptionError(f"{text!r} is no part; give I/N with I from 1 to N, such as 2/8")
    return int(found[1]) - 1, int(found[2])


def _part_of_array(environment: Mapping[str, str]) -> tuple[int, int]:
    task, count = (int(environment[f"SLURM_ARRAY_TASK_{name}"]) for name in ("ID", "COUNT"))
    first = int(environment.get("SLURM_ARRAY_TASK_MIN", "0"))
    step = max(1, int(environment.get("SLURM_ARRAY_TASK_STEP", "1")))
    last = int(environment.get("SLURM_ARRAY_TASK_MAX", first + (count - 1) * step))
    if last != first + (count - 1) * step:
        raise OptionError(
            f"the {count} tasks of this SLURM array, from {first} to {last}, do not follow each "
            "other, so which part is whose is not known; give all tasks again (finished shards are "
            "left alone), or say --part"
        )
    return (task - first) // step, count
