"""Whether particles can share one map: number, pixel size and box; and how many really do."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..data.table import ParticleTable
from ..errors import MetadataError, PixelSizeError
from .protocol import PoseSet

_PIXEL_SIZE_TOLERANCE = 1e-3
#: Views of uneven weight that a map needs for each pixel along its box to be RELION's within 1e-4
#: in `PCC` without a grid of RELION's size (docs/reconstruction.md).
FEWEST_PER_PIXEL = 2.0


def common_pixel_size_angst(table: ParticleTable) -> float:
    """Return the pixel size that all particles share [angstrom/px].

    Raises
    ------
    MetadataError
        If the table is empty.
    PixelSizeError
        If pixel sizes differ by more than 0.1 %.
    """
    if not len(table):
        raise MetadataError(f"{table.source} holds no particles; there is nothing to reconstruct")
    sizes = table.pixel_size_angst
    low, high = int(np.argmin(sizes)), int(np.argmax(sizes))
    if sizes[high] > sizes[low] * (1 + _PIXEL_SIZE_TOLERANCE):
        raise PixelSizeError(
            f"{table.source}: particles of {sizes[low]:g} A/px (row {low + 1}) and of "
            f"{sizes[high]:g} A/px (row {high + 1}) cannot share one map; rescale one optics group "
            "or reconstruct each on its own"
        )
    return float(np.median(sizes))


def check_sampled_alike(tables: Sequence[ParticleTable]) -> float:
    """Return the pixel size that all tables share [angstrom/px].

    Raises
    ------
    MetadataError
        If a table is empty.
    PixelSizeError
        If pixel sizes differ by more than 0.1 %, or boxes differ.
    """
    first, *others = tables
    expected = common_pixel_size_angst(first)
    for table in others:
        found = common_pixel_size_angst(table)
        if abs(found - expected) > _PIXEL_SIZE_TOLERANCE * expected or (
            table.image_size != first.image_size
        ):
            raise PixelSizeError(
                f"{first.source} has {first.image_size} px of {expected:g} A, {table.source} "
                f"{table.image_size} px of {found:g} A; all particles must be sampled alike: "
                "rescale one of them"
            )
    return expected


def check_pose_sets(table: ParticleTable, pose_sets: Sequence[PoseSet]) -> None:
    """Raise unless every pose set has one pose per particle.

    Raises
    ------
    MetadataError
        Naming the first pose set that has not.
    """
    for number, pose_set in enumerate(pose_sets, start=1):
        if len(pose_set.poses) != len(table):
            raise MetadataError(
                f"pose set {number} has {len(pose_set.poses)} poses for the {len(table)} "
                f"particles of {table.source}; give one pose per particle, in the same order"
            )


def effective_number(weights: NDArray[np.float64]) -> float:
    """Return `(sum w)^2 / sum w^2`: how many particles of equal weight scatter a mean as much.

    L. Kish, Survey Sampling (1965).

    Examples
    --------
    >>> effective_number(np.array([1.0, 1.0, 0.0]))
    2.0
    """
    scaled = weights / weights.max()
    return float(scaled.sum() ** 2 / np.square(scaled).sum())


def carried_by_few(pose_sets: Sequence[PoseSet], box: int, n_operators: int) -> bool:
    """Return whether weights leave so few views that a map hangs on what holds hardly any.

    Voxels that only particles of little weight touch are divided by small numbers, ten times over.

    Parameters
    ----------
    pose_sets : together all particles of a map
    box : size of the map [px]
    n_operators : of the point group, each of which makes a view of a particle
    """
    weights = np.concatenate(
        [np.ones(len(one.poses)) if one.weights is None else one.weights for one in pose_sets]
    )
    if not len(weights) or weights.min() == weights.max():
        return False
    return effective_number(weights) * n_operators < FEWEST_PER_PIXEL * box
