"""The particles of the training half that a model of many views poses others relative to."""

import numpy as np
import torch
from numpy.typing import NDArray

from ..models.multi_view import MultiViewModel
from ..models.registry import PoseModel
from .batches import split_rows
from .prepared import PreparedParticles
from .recipe import TrainingRecipe

_STREAM = 0x616E6368  # of random numbers, apart from those of any epoch


def give_anchors(model: PoseModel, particles: PreparedParticles, recipe: TrainingRecipe) -> None:
    """Let a model of many views keep its anchors; any other model is left as it is.

    Parameters
    ----------
    model : which states how many it wants
    particles : of the half that it learns from
    recipe : whose seed draws them, among the particles that train

    Raises
    ------
    MissingImageError, ImageValueError, MetadataError
        If one of their images cannot be read or used; names the row.
    """
    if not isinstance(model, MultiViewModel):
        return
    rows = anchor_rows(len(particles), model.anchors, recipe)
    poses = particles.table.require_poses()
    shifts_px = -poses.origins_angst[rows] / particles.pixel_size_angst
    model.take_anchors(
        particles.read(rows),
        torch.from_numpy(np.array(poses.rotations[rows])),
        torch.from_numpy(np.array(shifts_px)),
    )


def anchor_rows(count: int, anchors: int, recipe: TrainingRecipe) -> NDArray[np.int64]:
    """Return the rows of the anchors of a half of `count` particles, in the order they are kept."""
    rows, _ = split_rows(count, recipe.data.train_share, recipe.data.split_seed)
    order = np.random.default_rng([recipe.trainer.seed, _STREAM]).permutation(len(rows))
    return rows[order[:anchors]]
