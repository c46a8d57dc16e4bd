"""Whether a model may predict for a sample, and what there is to know of the result.

What an entry and a model must share is the particle, or one much like it. That cannot be checked;
symmetry and sampling can.
"""

import os
from collections.abc import Sequence

import numpy as np

from ..data.registry import published_entries
from ..data.table import ParticleTable
from ..errors import CheckpointError, SymmetryError
from ..geometry.symmetry import PointGroup, point_group
from ..training.checkpoint import CheckpointCard
from .sampling import SamplingPlan

_SAME_OPERATOR = 1e-6


def check_unseen(
    card: CheckpointCard, path: str | os.PathLike[str], target: str, halfset: int
) -> None:
    """Refuse a model that learned from the very particles it is to predict, now or before.

    Raises
    ------
    CheckpointError
        If it was.
    """
    for name in _entries_of_the_same_images(target):
        if card.knows(name, halfset):
            raise CheckpointError(
                f"{path} was trained on half {halfset} of {name}, so it knows the answers; predict "
                f"that half with the model of half {1 - halfset}"
            )


def _entries_of_the_same_images(target: str) -> list[str]:
    """Return the published entries whose halves hold the images of `target`, itself among them."""
    entries = published_entries()
    if target not in entries:
        return [target]
    origin = entries[target].images_of or target
    return [name for name, entry in entries.items() if (entry.images_of or name) == origin]


def check_symmetry(
    card: CheckpointCard,
    path: str | os.PathLike[str],
    target: str,
    symmetry: str,
    other_symmetry: bool = False,
) -> list[str]:
    """Return what is to be told of the symmetries of model and entry.

    A model of lower symmetry than the entry, around the same axes, predicts one of the poses that
    the entry's symmetry makes equal, and that is as good as any. A model of another or a higher
    symmetry cannot tell poses apart that differ in the entry.

    Parameters
    ----------
    card : of the model
    path : of its checkpoint
    target, symmetry : the entry
    other_symmetry : tell of it only

    Raises
    ------
    SymmetryError
        If the model has an operator that the entry has not, unless `other_symmetry`.
    """
    learned, wanted = point_group(card.symmetry), point_group(symmetry)
    if learned.name == wanted.name:
        return []
    if _contains(wanted, learned):
        return [
            f"the model was trained for symmetry {learned.name}, {target} has {wanted.name}, which "
            "includes it: each pose is one of those that symmetry makes equal"
        ]
    found = f"{path} was trained for symmetry {learned.name}, {target} has {wanted.name}"
    if not other_symmetry:
        raise SymmetryError(
            f"{found}: it cannot tell poses apart that differ here. Train a model on an entry of "
            f"symmetry {wanted.name}, or predict all the same with --other-symmetry"
        )
    return [f"{found}: poses are right at best up to {learned.name}"]


def describe_sampling(
    card: CheckpointCard, target: str, table: ParticleTable, plans: Sequence[SamplingPlan]
) -> list[str]:
    """Return what is to be told of how a sample's images were brought to a model.

    Parameters
    ----------
    card : of the model
    target : name of the entry
    table : its particles
    plans : one for each pixel size among them
    """
    notes = []
    if card.target != target:
        notes.append(
            f"the model learned on {card.target}: predicted poses are in the frame of that map "
            f"(`cesped evaluate-abinitio` scores poses whose frame is not that of {target})"
        )
        if card.pixel_size_angst is None:
            notes.append(
                "the checkpoint does not say at which pixel size it learned, so that of "
                f"{target} is taken to be the same; train again to have it checked"
            )
    sizes = np.unique(np.round(table.pixel_size_angst, 4))
    for plan in plans:
        if plan.is_training_s:
            continue
        shown = plan.options.image_size or plan.image_size
        ending = (
            f", cropped to {plan.image_size} px"
            if shown > plan.image_size
            else f", padded to {plan.image_size} px"
            if shown < plan.image_size
            else ""
        )
        notes.append(
            f"images of {table.image_size} px at {' and '.join(f'{s:g}' for s in sizes)} "
            f"angstrom/px are resampled to {plan.pixel_size_angst:.4g} angstrom/px{ending}: the "
            f"model learned at {card.pixel_size_angst:.4g}"
        )
    return notes


def _contains(group: PointGroup, other: PointGroup) -> bool:
    """Return whether all operators of `other` are among those of `group`, axes included."""
    distance = np.abs(other.operators[:, None] - group.operators[None]).max(axis=(2, 3))
    return bool((distance.min(axis=1) < _SAME_OPERATOR).all())
