"""Point groups on RELION's own axes, and pose distances that know them.

Symmetry acts on the left: the poses `R` and `g @ R` make the same image for every `g` of the group.
scipy's and Heymann's axes agree with RELION's for C, D and O, but not for T and I.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from ..errors import GeometryError, SymmetryError
from .rotations import (
    FloatArray,
    axis_angle_rotations,
    direction_distance_deg,
    geodesic_distance_deg,
    nearest_rotations,
)

_GOLDEN = (1.0 + np.sqrt(5.0)) / 2.0
#: Angle [degrees] between a two-fold axis of the icosahedron and the nearest five-fold one.
_TWO_TO_FIVE_DEG = float(np.degrees(np.arctan2(1.0, _GOLDEN)))

_VALID = "C1 to C99, D1 to D99, T, O, I (= I2), I1, I2, I3, I4"
_CHUNK = 65536  # poses at a time: with 60 operators, 31 MB of traces


@dataclass(frozen=True)
class PointGroup:
    """A point group of rotations.

    Parameters
    ----------
    name : RELION's name, upper case
    operators : `(G, 3, 3)` float64 rotations, read-only, the identity first
    """

    name: str
    operators: FloatArray

    @property
    def order(self) -> int:
        """The number of operators."""
        return int(self.operators.shape[0])


def point_group(name: str) -> PointGroup:
    """Return the point group that RELION calls `name` (in any case).

    Parameters
    ----------
    name : C1 to C99, D1 to D99, T, O, I, I1, I2, I3 or I4

    Raises
    ------
    SymmetryError
        If the name is none of them. I5 is refused too: RELION knows the word but has never
        defined its axes, and a guessed frame would give wrong scores without a sign.

    Notes
    -----
    Axes: the n-fold of C and D is z, the two-fold of D is x. T has a three-fold on z and a
    two-fold in the yz plane; O has its four-folds on x, y, z. I1 and I2 have two-folds on x, y, z;
    the five-folds next to z lie in the yz plane for I1 and in the xz plane for I2. I3 and I4
    have a five-fold on z and a two-fold on y; they are I2 turned about y either way.
    All are tested against `relion_refine --print_symmetry_ops`.

    Examples
    --------
    >>> point_group("d7").order
    14
    """
    return _point_group(str(name).strip().upper())


def nearest_mates(truth: ArrayLike, predicted: ArrayLike, group: PointGroup) -> FloatArray:
    """Return, of all poses `g @ truth`, the one nearest to `predicted`: `(B, 3, 3)`.

    Parameters
    ----------
    truth, predicted : `(B, 3, 3)` rotations
    group : the symmetry of the particle

    Raises
    ------
    GeometryError
        If the two do not have the same shape `(B, 3, 3)`.

    Notes
    -----
    The nearest operator is the one of largest trace, found for a block of poses by one matrix
    product.
    """
    a, b = _pair(truth, predicted, (3, 3))
    mates = np.empty_like(a)
    weights = group.operators.reshape(group.order, 9).T
    for start in range(0, a.shape[0], _CHUNK):
        rows = slice(start, start + _CHUNK)
        # trace((g a)' b) = <g, b a'>
        relative = b[rows] @ np.swapaxes(a[rows], 1, 2)
        nearest = np.argmax(relative.reshape(-1, 9) @ weights, axis=1)
        mates[rows] = group.operators[nearest] @ a[rows]
    return mates


def symmetric_distance_deg(truth: ArrayLike, predicted: ArrayLike, group: PointGroup) -> FloatArray:
    """Return the smallest angle `(B,)` [degrees] between `g @ truth` and `predicted` over `g`.

    The angle is that of `geodesic_distance_deg`, exact at 0.

    Parameters
    ----------
    truth, predicted : `(B, 3, 3)` rotations
    group : the symmetry of the particle

    Raises
    ------
    GeometryError
        If the two do not have the same shape `(B, 3, 3)`.
    """
    return geodesic_distance_deg(nearest_mates(truth, predicted, group), predicted)


def symmetric_direction_distance_deg(
    truth: ArrayLike, predicted: ArrayLike, group: PointGroup
) -> FloatArray:
    """Return the smallest angle `(B,)` [degrees] between directions `g @ truth` and `predicted`.

    Parameters
    ----------
    truth, predicted : `(B, 3)` unit vectors
    group : the symmetry of the particle

    Raises
    ------
    GeometryError
        If the two do not have the same shape `(B, 3)`.
    """
    a, b = _pair(truth, predicted, (3,))
    distances = np.empty(a.shape[0])
    weights = group.operators.reshape(group.order, 9).T
    for start in range(0, a.shape[0], _CHUNK):
        rows = slice(start, start + _CHUNK)
        # b' g a = <g, b a'>
        outer = b[rows, :, None] * a[rows, None, :]
        nearest = np.argmax(outer.reshape(-1, 9) @ weights, axis=1)
        turned = np.einsum("bij,bj->bi", group.operators[nearest], a[rows])
        distances[rows] = direction_distance_deg(turned, b[rows])
    return distances


def _pair(
    truth: ArrayLike, predicted: ArrayLike, tail: tuple[int, ...]
) -> tuple[FloatArray, FloatArray]:
    a = np.asarray(truth, dtype=np.float64)
    b = np.asarray(predicted, dtype=np.float64)
    if a.shape != b.shape or a.shape[1:] != tail or a.ndim != len(tail) + 1:
        expected = ", ".join(["B", *map(str, tail)])
        raise GeometryError(
            f"truth and predicted: expected two arrays ({expected}), "
            f"found shapes {a.shape} and {b.shape}"
        )
    return a, b


@lru_cache(maxsize=128)
def _point_group(name: str) -> PointGroup:
    operators = _closure(_generators(name))
    operators.setflags(write=False)
    return PointGroup(name, operators)


def _generators(name: str) -> list[FloatArray]:
    """Return rotations that generate the group `name`."""
    cyclic = re.fullmatch(r"([CD])([1-9][0-9]?)", name)
    if cyclic:
        turn = _turn((0.0, 0.0, 1.0), int(cyclic[2]))
        return [turn] if cyclic[1] == "C" else [turn, _turn((1.0, 0.0, 0.0), 2)]
    if name == "T":
        # three-folds of a tetrahedron that stands on z; the two-fold halves the angle between
        # two of them, so its polar angle is arccos(sqrt(1/3))
        return [_turn((0.0, 0.0, 1.0), 3), _turn((0.0, np.sqrt(2.0), 1.0), 2)]
    if name == "O":
        return [_turn((0.0, 0.0, 1.0), 4), _turn((1.0, 1.0, 1.0), 3)]
    if name == "I1":
        return [_turn((0.0, 0.0, 1.0), 2), _turn((0.0, 1.0, _GOLDEN), 5)]
    if name in ("I", "I2", "I3", "I4"):
        # a two-fold and a five-fold that are neither equal nor at right angles make all of I
        generators = [_turn((0.0, 0.0, 1.0), 2), _turn((1.0, 0.0, _GOLDEN), 5)]
        degrees = {"I3": -_TWO_TO_FIVE_DEG, "I4": _TWO_TO_FIVE_DEG}.get(name, 0.0)
        frame = axis_angle_rotations((0.0, 1.0, 0.0), degrees)
        return [frame @ g @ frame.T for g in generators]
    if name == "I5":
        raise SymmetryError(
            "symmetry 'I5': RELION reserves this name but defines no axes for it; "
            "turn the map to another setting and use I1, I2, I3 or I4"
        )
    raise SymmetryError(f"symmetry {name!r} is not a point group; use one of: {_VALID}")


def _turn(axis: tuple[float, float, float], fold: int) -> FloatArray:
    vector = np.asarray(axis, dtype=np.float64)
    return axis_angle_rotations(vector / np.linalg.norm(vector), 360.0 / fold)


def _closure(generators: list[FloatArray]) -> FloatArray:
    """Return all products `(G, 3, 3)` of `generators`, the identity first, in a fixed order."""
    found = [np.eye(3)]
    for element in found:  # grows while it is walked: each new element meets each generator
        for generator in generators:
            product = nearest_rotations(element @ generator)
            if np.abs(np.asarray(found) - product).max(axis=(1, 2)).min() > 1e-6:
                found.append(product)
    return np.asarray(found)
