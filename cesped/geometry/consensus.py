"""What several answers on one pose say together, of a particle whose symmetry makes poses equal."""

import numpy as np
from numpy.typing import ArrayLike

from ..errors import GeometryError
from .rotations import FloatArray, geodesic_distance_deg, nearest_rotations
from .symmetry import PointGroup, nearest_mates, symmetric_distance_deg

_ROUNDS = 20
#: Answers nearer than this count alike in a robust mean [degrees]: no division by nothing.
_ALIKE_DEG = 1e-3


def best_of_answers(
    answers: ArrayLike, weights: ArrayLike, group: PointGroup, radius_deg: float
) -> tuple[FloatArray, FloatArray]:
    """Return one rotation for `T` answers on each of `B` poses, and the weights it was made of.

    The answer of least distance to the others wins, each weighted; those near it are averaged.

    Parameters
    ----------
    answers : `(B, T, 3, 3)` rotations
    weights : `(B, T)`, at least 0
    group : answers that differ by an operator of it are equal
    radius_deg : answers this near to the chosen one are averaged with it [degrees]

    Returns
    -------
    `(B, 3, 3)` rotations, and `(B, T)` the weights of the answers near them, zero for the others.
    """
    rotations, given = _checked(answers, weights)
    distances = _distances_deg(rotations, group)
    usable = np.maximum(given, 1e-12)
    cost = np.einsum("bij,bj->bi", distances, usable) - 1e-9 * usable  # ties: the surer one
    best = cost.argmin(axis=1)
    rows = np.arange(len(rotations))
    centre = rotations[rows, best]
    near = usable * (distances[rows, best] < radius_deg)
    share = near / near.sum(axis=1, keepdims=True)
    mean = nearest_rotations(np.einsum("bt,btij->bij", share, _towards(rotations, centre, group)))
    # the average of a set on two sides of a symmetry axis may be none of them: keep the answer
    lost = geodesic_distance_deg(mean, centre) > radius_deg
    mean[lost] = centre[lost]
    return mean, near


def robust_mean(answers: ArrayLike, weights: ArrayLike, group: PointGroup) -> FloatArray:
    """Return the rotations `(B, 3, 3)` of least weighted sum of angles to `T` answers each.

    Wrong answers, less than half of the weight, move it little wherever they are.

    Parameters
    ----------
    answers, weights, group : as in `best_of_answers`

    Notes
    -----
    Weiszfeld's iteration in the embedding of rotations: each answer is weighted by the inverse of
    its angle to the last mean, and taken as the one of its equals that is nearest to that. It
    begins with the answer of least distance to the others.
    """
    rotations, given = _checked(answers, weights)
    usable = np.maximum(given, 1e-12)
    cost = np.einsum("bij,bj->bi", _distances_deg(rotations, group), usable)
    mean: FloatArray = rotations[np.arange(len(rotations)), cost.argmin(axis=1)]
    for _ in range(_ROUNDS):
        mates = _towards(rotations, mean, group)
        angles = geodesic_distance_deg(mates, mean[:, None])
        pull = usable / np.maximum(angles, _ALIKE_DEG)
        pull /= pull.sum(axis=1, keepdims=True)
        mean = nearest_rotations(np.einsum("bt,btij->bij", pull, mates))
    return mean


def _checked(answers: ArrayLike, weights: ArrayLike) -> tuple[FloatArray, FloatArray]:
    rotations = np.asarray(answers, dtype=np.float64)
    given = np.asarray(weights, dtype=np.float64)
    if rotations.ndim != 4 or rotations.shape[2:] != (3, 3) or given.shape != rotations.shape[:2]:
        raise GeometryError(
            f"answers have shape {rotations.shape} and weights {given.shape}; give (B, T, 3, 3) "
            "and (B, T)"
        )
    return rotations, given


def _distances_deg(rotations: FloatArray, group: PointGroup) -> FloatArray:
    """Return the angles `(B, T, T)` between all answers on a pose [degrees]."""
    count, answers = rotations.shape[:2]
    one = np.broadcast_to(rotations[:, :, None], (count, answers, answers, 3, 3))
    other = np.broadcast_to(rotations[:, None], one.shape)
    flat = symmetric_distance_deg(one.reshape(-1, 3, 3), other.reshape(-1, 3, 3), group)
    distances: FloatArray = flat.reshape(count, answers, answers)
    return distances


def _towards(rotations: FloatArray, centre: FloatArray, group: PointGroup) -> FloatArray:
    """Return of each answer the equal that is nearest to its centre, `(B, T, 3, 3)`."""
    centres = np.broadcast_to(centre[:, None], rotations.shape)
    mates = nearest_mates(rotations.reshape(-1, 3, 3), centres.reshape(-1, 3, 3), group)
    return mates.reshape(rotations.shape)
