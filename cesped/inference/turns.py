"""Test-time turns: an image is shown turned in its plane several times, the answers are averaged.

A network is not quite the same function of the turned image. Its answers, turned back, scatter
about the truth where it is right and all over where it guesses, so their agreement sharpens the
pose and says how far it is to be trusted.
"""

import numpy as np
import torch

from ..data.warp import move_images
from ..errors import OptionError
from ..geometry.consensus import best_of_answers
from ..geometry.inplane import InPlaneMove
from ..geometry.rotations import FloatArray
from ..geometry.symmetry import PointGroup, point_group
from ..models.prediction import PosePrediction
from ..models.registry import PoseModel

#: Answers this near to the chosen one are averaged with it [degrees].
_RADIUS_DEG = 15.0
_OVERSAMPLING = 2  # turning loses nothing of the band: see cesped.data.warp


def set_turns(model: PoseModel, turns: int | None) -> int:
    """Return how often images must be turned for `model` to predict from `turns` turns.

    A model that turns images itself, and so averages distributions and not poses, is told.

    Parameters
    ----------
    model : changed if it has an attribute `test_time_turns`
    turns : at least 1; None leaves the model as it was trained

    Raises
    ------
    OptionError
        If there are less than 1.
    """
    if turns is None:
        return 1
    if turns < 1:
        raise OptionError(f"turns is {turns}; use 1 for the image as it is, or more")
    if not hasattr(model, "test_time_turns"):
        return turns
    setattr(model, "test_time_turns", turns)  # noqa: B010 (no attribute of every PoseModel)
    return 1


def predict_turned(model: PoseModel, images: torch.Tensor, turns: int) -> PosePrediction:
    """Return the poses of `(B, 1, n, n)` images, from `turns` turns by equal angles.

    Of the answers, the one with the least distance to the others wins, each weighted by its
    confidence; those within 15 degrees of it are averaged. The confidence is theirs, over the
    number of turns.
    """
    if turns == 1:
        return model.predict(images)
    parts = [_predict_moved(model, images, 360.0 * turn / turns) for turn in range(turns)]
    rotations = np.stack([part[0] for part in parts], axis=1)
    confidence = np.stack([part[1] for part in parts], axis=1)
    shifts = [part[2] for part in parts if part[2] is not None]
    origins = np.stack(shifts, axis=1) if shifts else None
    return _combine(rotations, confidence, origins, point_group(model.symmetry))


def _predict_moved(
    model: PoseModel, images: torch.Tensor, angle_deg: float
) -> tuple[FloatArray, FloatArray, FloatArray | None]:
    count = len(images)
    move = InPlaneMove(np.full(count, angle_deg), np.zeros((count, 2)))
    turned = images if angle_deg == 0 else move_images(images, move, oversampling=_OVERSAMPLING)
    found = model.predict(turned)
    back = InPlaneMove(-move.angle_deg, np.zeros((count, 2)))
    shifts = found.shifts_angst
    return (
        back.apply_to_rotations(found.rotations.double().cpu().numpy()),
        found.confidence.double().cpu().numpy(),
        None if shifts is None else back.apply_to_origins_px(shifts.double().cpu().numpy()),
    )


def _combine(
    rotations: FloatArray, confidence: FloatArray, origins: FloatArray | None, group: PointGroup
) -> PosePrediction:
    """Return one pose an image of `(B, T, 3, 3)` answers, their confidences and origins."""
    mean, near = best_of_answers(rotations, confidence, group, _RADIUS_DEG)
    share = near / near.sum(axis=1, keepdims=True)
    shifts = None if origins is None else np.einsum("bt,bti->bi", share, origins)
    return PosePrediction(
        torch.from_numpy(mean).float(),
        torch.from_numpy(np.clip(near.sum(axis=1) / near.shape[1], 0.0, 1.0)).float(),
        None if shifts is None else torch.from_numpy(shifts).float(),
    )
