"""Poses, shifts, CTFs and symmetry as they are if a file is misread in one of the known ways."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cesped.evaluation.diagnosis.suspects import (
    ANGLE_NEGATED,
    ANGLE_TRANSPOSED,
    ANGLE_TURNED,
    AS_GIVEN,
    DOUBLED,
    EXCHANGED,
    FLIPPED,
    HALVED,
    IGNORED,
    IN_ANGST,
    IN_PIXELS,
    MIRRORED,
    MULTIPLIED,
    NO_CTF,
    ORIENTATION_PARTS,
    OTHER_ROWS,
    PSI_NEGATED,
    QUARTER_TURN,
    RADIANS,
    SHIFT_MATRICES,
    TRANSPOSED,
)
from cesped.geometry.euler import euler_to_rotation, rotation_to_euler
from cesped.geometry.rotations import axis_angle_rotations
from cesped.geometry.symmetry import PointGroup, point_group
from cesped.physics.ctf import CtfParameters, ctf_half_plane

FloatArray = NDArray[np.float64]

_AXES = {name: np.eye(3)[axis] for axis, name in enumerate("xyz")}
_BEHIND = axis_angle_rotations(_AXES["y"], 180.0)
_QUARTER = axis_angle_rotations(_AXES["z"], 90.0)

#: What a reading of the image axes does to poses, on their right.
_IMAGE_AXES: dict[str, FloatArray] = {
    AS_GIVEN: np.eye(3),
    MIRRORED: _BEHIND,
    QUARTER_TURN: _QUARTER,
    EXCHANGED: _BEHIND @ _QUARTER,
}


def reoriented(name: str, rotations: FloatArray) -> FloatArray:
    """Return rotations `(P, 3, 3)` read in the way `name` of `ORIENTATIONS`."""
    if name == RADIANS:
        return euler_to_rotation(np.degrees(rotation_to_euler(rotations)))
    angles, axes = ORIENTATION_PARTS[name]
    if angles == TRANSPOSED:
        rotations = np.swapaxes(rotations, 1, 2)
    elif angles == PSI_NEGATED:
        euler_deg = rotation_to_euler(rotations)
        euler_deg[:, 2] *= -1
        rotations = euler_to_rotation(euler_deg)
    return np.asarray(rotations @ _IMAGE_AXES[axes])


def other_hand(rotations: FloatArray) -> FloatArray:
    """Return the poses `(P, 3, 3)` of the mirrored map that has the same images."""
    return np.asarray(rotations @ _QUARTER @ _QUARTER)


def may_be_radians(rotations: FloatArray) -> bool:
    """Return whether all angles `(P, 3, 3)` are so small that they may have been radians."""
    return bool(np.abs(rotation_to_euler(rotations)).max() <= np.pi + 1e-3)


def reshifted(name: str, origins_px: FloatArray, pixel_size_angst: FloatArray) -> FloatArray:
    """Return origins `(P, 2)` [px of the file] read in the way `name` of `SHIFTS`.

    Parameters
    ----------
    name : key of `SHIFTS`
    origins_px : `(P, 2)`
    pixel_size_angst : `(P,)` of the file
    """
    scale = pixel_size_angst[:, None]
    change: dict[str, Callable[[], FloatArray]] = {
        IGNORED: lambda: np.zeros_like(origins_px),
        IN_PIXELS: lambda: origins_px * scale,
        IN_ANGST: lambda: origins_px / scale,
        DOUBLED: lambda: origins_px * 2,
        HALVED: lambda: origins_px / 2,
    }
    if name in change:
        return change[name]()
    return origins_px @ np.asarray(SHIFT_MATRICES[name], dtype=np.float64).T


def transfer(
    name: str,
    ctf: CtfParameters,
    box: int,
    pixel_size_angst: FloatArray,
    shuffled: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Return the contrast transfer `(P, box, box // 2 + 1)` read in the way `name` of `CTFS`.

    Parameters
    ----------
    name : key of `CTFS`
    ctf : of the `P` particles
    box : of the small images [px]
    pixel_size_angst : `(P,)` of the small images
    shuffled : `(P,)` rows in another order, for the CTFs of other particles
    """
    if name == NO_CTF:
        return np.ones((len(ctf), box, box // 2 + 1), np.float32)
    if name == ANGLE_TRANSPOSED:
        ctf = replace(ctf, defocus_angle_deg=90.0 - ctf.defocus_angle_deg)
    elif name == ANGLE_NEGATED:
        ctf = replace(ctf, defocus_angle_deg=-ctf.defocus_angle_deg)
    elif name == ANGLE_TURNED:
        ctf = replace(ctf, defocus_angle_deg=90.0 + ctf.defocus_angle_deg)
    elif name == OTHER_ROWS:
        ctf = ctf.select(shuffled)
    values = ctf_half_plane(ctf, box, pixel_size_angst)
    if name == FLIPPED:
        values = values.abs()
    elif name == MULTIPLIED:
        values = values**2
    result: NDArray[np.float32] = values.numpy()
    return result


def symmetries(name: str) -> dict[str, PointGroup]:
    """Return the groups to try for particles said to have symmetry `name`, that one first.

    Other axes of the same group are turned groups: programs put the axes of a group elsewhere.
    """
    stated = point_group(name)
    found = {AS_GIVEN: stated}
    if stated.order == 1:
        return found
    found["C1"] = point_group("C1")
    kind = stated.name[0]
    if kind == "I":
        for other in ("I1", "I2", "I3", "I4"):
            found[other] = point_group(other)
    else:
        turns = {
            "axes along x": axis_angle_rotations(_AXES["y"], 90.0),
            "axes along y": axis_angle_rotations(_AXES["x"], 90.0),
        }
        if kind == "D":
            fold = int(stated.name[1:])
            turns["two-folds turned"] = axis_angle_rotations(_AXES["z"], 90.0 / fold)
        elif kind == "T":  # two-folds on x, y and z, as mathematicians put it
            upright = axis_angle_rotations(_AXES["x"], float(np.degrees(np.arccos(3**-0.5))))
            turns = {"two-folds on x, y, z": axis_angle_rotations(_AXES["z"], 45.0) @ upright}
        for label, turn in turns.items():
            found[f"{stated.name}, {label}"] = PointGroup(
                stated.name, turn @ stated.operators @ turn.T
            )
    return {label: group for label, group in found.items() if _is_new(label, group, found)}


def _is_new(label: str, group: PointGroup, found: dict[str, PointGroup]) -> bool:
    """Return whether no earlier entry of `found` has the same operators."""
    for earlier, other in found.items():
        if earlier == label:
            return True
        if other.order == group.order:
            gaps = np.abs(group.operators[:, None] - other.operators[None]).max(axis=(2, 3))
            if gaps.min(axis=1).max() < 1e-6:
                return False
    return True
