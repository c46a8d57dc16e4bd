"""The map that training images are drawn from, and what the half says of its images.

Shifts, contrast transfer, strength and noise of drawn images are those of the half that is learned
from, as far as a recipe does not say otherwise. Nothing of the other half is opened. What no
program can see is what went into the map itself, so a map is taken in two cases: the entry is
simulated, and both halves are projections of one map anyway; or somebody states that nothing of
the other half is in it, as is so of the half's own reconstruction.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.checksums import file_stamp
from ..data.entry_checks import EntryHalf
from ..data.images import ImageSource
from ..data.registry import embedded_names
from ..data.simulation.symmetry_check import check_symmetry
from ..data.store import info_path
from ..data.table import ParticleTable
from ..errors import (
    GeometryError,
    MetadataError,
    MissingFileError,
    OptionError,
    PixelSizeError,
)
from ..geometry.rotations import random_rotations
from ..geometry.symmetry import point_group
from ..io.mrc import read_volume
from ..physics.batch_projection import BatchProjector
from ..physics.noise_spectrum import NoiseSpectrum
from ..reconstruction.own_map import strength_in_images
from .sections import SimulationRecipe

_SAME_PIXEL_SIZE = 1e-3  # relative
#: Names that entries of simulated images have on leaderboards.
_SIMULATED_NAMES = ("simulated", "SIM-")
_COMPARED, _COMPARED_IN_FRAMES = 256, 32  # images that the map is looked for in
_LEAST_Z = 3.0  # standard errors by which true poses must fit better than wrong ones
_BETTER = 1.1  # times as well as in its own frame a map must fit in another to be refused


@dataclass(frozen=True)
class DrawnMap:
    """What images are drawn from.

    Parameters
    ----------
    volume : `(N, N, N)` float32 [z, y, x], in the grey values of the half's images
    pixel_size_angst : of map and images [angstrom]
    snr : variance of the CTF-modulated signal over the full frame over that of the noise
    noise : its spectrum; None for white noise
    facts : where the map comes from and how strong it is, for the provenance of a run
    """

    volume: NDArray[np.float32]
    pixel_size_angst: float
    snr: float
    noise: NoiseSpectrum | None
    facts: dict[str, Any]


def map_stamp(recipe: SimulationRecipe) -> dict[str, Any]:
    """Return name and checksum of a recipe's map.

    Raises
    ------
    MissingFileError
        If there is no such file.
    """
    path = Path(recipe.map or "").expanduser()
    if not path.is_file():
        raise MissingFileError(
            f"simulation.map: {path} does not exist; give the MRC map that training images are "
            "drawn from"
        )
    return file_stamp(path)


def read_drawn_map(recipe: SimulationRecipe, entry: EntryHalf, table: ParticleTable) -> DrawnMap:
    """Read the map of a recipe and find out how the half's images show it.

    Parameters
    ----------
    recipe : with a map
    entry : the half that is learned from
    table : its particles, with poses and CTF

    Raises
    ------
    OptionError
        If the entry is not simulated and nobody states what is in the map.
    MissingFileError, MrcFileError
        If the map cannot be read.
    GeometryError, PixelSizeError
        If it has not the box or the pixel size of the images.
    SymmetryError
        If it has not the symmetry of the entry.
    MetadataError
        If the particles have no CTF, or do not show the map in their poses.
    """
    stamp = map_stamp(recipe)
    path = Path(recipe.map or "").expanduser()
    simulated = is_simulated(entry)
    if not (simulated or recipe.free_of_other_half):
        raise OptionError(
            f"simulation.map: {path} may hold particles of half {1 - entry.halfset} of "
            f"{entry.target}, which the model is to predict; set pretraining.on_the_fly to learn "
            "from the half's own map, or, if nothing of the other half is in this one, "
            "simulation.free_of_other_half true"
        )
    table.require_ctf()
    volume, pixel_size_angst = read_volume(path)
    _check_sampling(path, volume, pixel_size_angst, table)
    check_symmetry(volume, entry.symmetry)
    check_shown(path, volume, table)
    scale, snr, noise = strength_in_images(volume, table, table.sampling_rate)
    facts = {
        "map": stamp,
        "entry_is_simulated": simulated,
        "stated_free_of_other_half": recipe.free_of_other_half,
        "snr_of_half": snr,
        "snr": recipe.snr or snr,
        "noise": "as in the half" if recipe.coloured_noise else "white",
    }
    return DrawnMap(
        (scale * volume).astype(np.float32),
        table.sampling_rate,
        recipe.snr or snr,
        noise if recipe.coloured_noise else None,
        facts,
    )


def is_simulated(entry: EntryHalf) -> bool:
    """Return whether the images of an entry are known to be simulated."""
    if entry.target in embedded_names() or entry.target.startswith(_SIMULATED_NAMES):
        return True
    try:
        info = json.loads(info_path(entry.star_path.parent, entry.halfset).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(info, dict) and "simulated" in info


def _check_sampling(
    path: Path,
    volume: NDArray[np.float32],
    pixel_size_angst: float,
    table: ParticleTable,
) -> None:
    box, wanted_angst = table.image_size, table.sampling_rate
    if volume.shape != (box, box, box):
        shape = " x ".join(map(str, volume.shape))
        raise GeometryError(
            f"simulation.map: {path} has {shape} voxels, and the images of {table.source} "
            f"{box} px; bring the map to their box"
        )
    if abs(pixel_size_angst - wanted_angst) > _SAME_PIXEL_SIZE * wanted_angst:
        raise PixelSizeError(
            f"simulation.map: {path} has {pixel_size_angst:.5g} A per voxel, and the images of "
            f"{table.source} {wanted_angst:.5g}; bring the map to their pixel size, or correct "
            "the header that is wrong"
        )


def check_shown(path: Path, volume: NDArray[np.float32], table: ParticleTable) -> None:
    """Raise unless images look like projections in their poses, and more so than in other frames.

    A map that is turned, mirrored, inverted or of another particle teaches poses that are not
    those of the entry. Frames that swap or turn the axes by quarters are tried, of both hands; the
    three twofold axes of D2, for one, may be named in any order.

    Raises
    ------
    MetadataError
        If they do not.
    """
    rows = np.linspace(0, len(table) - 1, min(len(table), _COMPARED)).astype(np.int64)
    sample = table.select(rows)
    images, rotations = _normal(ImageSource(table).read(rows)), sample.require_poses().rotations
    projector = BatchProjector(volume, table.sampling_rate)
    elsewhere = random_rotations(len(rows), np.random.default_rng(0))
    right = _fits(projector, sample, images, rotations)
    if not _is_above(right - _fits(projector, sample, images, elsewhere)):
        raise MetadataError(
            f"the particles of {table.source} do not look like projections of {path} in their "
            "poses: it is turned, inverted, or another particle's; give a map in the frame of the "
            "poses (`cesped reconstruct` makes one of them)"
        )
    few = np.arange(0, len(rows), max(1, len(rows) // _COMPARED_IN_FRAMES))
    fewer, right = sample.select(few), right[few]
    mirrored = BatchProjector(mirror_hand(volume), table.sampling_rate)
    for hand, density in (("", projector), (" and mirrored", mirrored)):
        for turn in np.asarray(point_group("O").operators):
            found = _fits(density, fewer, images[few], turn @ rotations[few])
            if _is_above(found - _BETTER * right):
                raise MetadataError(
                    f"the particles of {table.source} look more like projections of {path} "
                    f"turned{hand} than of the map as it is; give a map in the frame of the poses "
                    "(`cesped reconstruct` makes one of them)"
                )


def mirror_hand(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a map of the other hand: x to -x about the origin voxel."""
    flipped = volume[:, :, ::-1]
    return np.roll(flipped, 1, axis=2) if volume.shape[2] % 2 == 0 else flipped


def _is_above(differences: NDArray[np.float64]) -> bool:
    error = differences.std() / np.sqrt(len(differences))
    return bool(differences.mean() > _LEAST_Z * error)


def _fits(
    projector: BatchProjector,
    table: ParticleTable,
    images: NDArray[np.float64],
    rotations: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return how images correlate with projections that have their shifts and CTFs, `(B,)`."""
    origins_angst, ctf = table.require_poses().origins_angst, table.require_ctf()
    made = projector.project(rotations, origins_angst, ctf).numpy()
    correlations: NDArray[np.float64] = (images * _normal(made)).mean(axis=1)
    return correlations


def _normal(images: NDArray[np.float32]) -> NDArray[np.float64]:
    flat = images.reshape(len(images), -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    deviation = flat.std(axis=1, keepdims=True)
    normal: NDArray[np.float64] = flat / np.where(deviation > 0, deviation, 1.0)
    return normal
