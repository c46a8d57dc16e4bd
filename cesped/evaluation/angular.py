"""Errors of predicted poses, per particle (paper, II.C, equations 4 and 5)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from cesped.geometry.euler import euler_to_rotation, rotation_to_euler
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import (
    geodesic_distance_deg,
    inplane_distance_deg,
    viewing_directions,
)
from cesped.geometry.symmetry import PointGroup, nearest_mates, symmetric_direction_distance_deg
from cesped.vocabulary import PredictionType

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class PoseErrors:
    """Errors of `P` predicted poses, in float64.

    Parameters
    ----------
    angular_deg : `(P,)` what the prediction is scored by: between viewing directions for S2,
        between rotations otherwise [degrees]
    direction_deg : `(P,)` between viewing directions [degrees]
    shift_angst : `(P,)` length of the difference of the origins [angstrom]
    inplane_deg : `(P,)` the part of the turn that is about the viewing direction [degrees]; NaN
        for S2, where it was not predicted
    """

    angular_deg: FloatArray
    direction_deg: FloatArray
    shift_angst: FloatArray
    inplane_deg: FloatArray

    @classmethod
    def joined(cls, parts: Sequence["PoseErrors"]) -> "PoseErrors":
        """Return the errors of several sets of particles, one after the other."""
        names = [item.name for item in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def pose_errors(
    truth: Poses, predicted: Poses, prediction_type: PredictionType, group: PointGroup
) -> PoseErrors:
    """Return how far each predicted pose is from the truth, up to the symmetry of the particle.

    Parameters
    ----------
    truth, predicted : poses of the same `P` particles, in the same order
    prediction_type : S2 compares viewing directions alone, so a wrong in-plane angle costs nothing
    group : an orientation and its symmetry mates are the same (equation 5); C1 for equation 4
    """
    direction_deg = symmetric_direction_distance_deg(
        viewing_directions(truth.rotations), viewing_directions(predicted.rotations), group
    )
    if prediction_type is PredictionType.S2:
        angular_deg = direction_deg
        inplane_deg = np.full(len(direction_deg), np.nan)
    else:
        mates = nearest_mates(truth.rotations, predicted.rotations, group)
        angular_deg = geodesic_distance_deg(mates, predicted.rotations)
        inplane_deg = inplane_distance_deg(mates, predicted.rotations)
    shift_angst: FloatArray = np.linalg.norm(predicted.origins_angst - truth.origins_angst, axis=1)
    return PoseErrors(angular_deg, direction_deg, shift_angst, inplane_deg)


def completed_poses(truth: Poses, predicted: Poses, prediction_type: PredictionType) -> Poses:
    """Return the poses to reconstruct from: what was not predicted is taken from the truth.

    Parameters
    ----------
    truth, predicted : poses of the same `P` particles, in the same order
    prediction_type : S2 keeps rot and tilt of the prediction and takes psi and shifts from the
        truth; SO3 takes the shifts from the truth; SO3xR2 takes nothing

    Notes
    -----
    The paper's section II.E for the shifts of SO3. For S2 the published program combines Euler
    angles literally, and so does this: psi is measured from the meridian of the *predicted*
    direction, so a direction that is right but lies near a pole, or is a symmetry mate of the
    truth, can come with a wrong in-plane angle. Euler angles are taken with tilt in 0 to 180.
    """
    if prediction_type is PredictionType.SO3XR2:
        return predicted
    rotations = predicted.rotations
    if prediction_type is PredictionType.S2:
        angles_deg = rotation_to_euler(rotations)
        angles_deg[..., 2] = rotation_to_euler(truth.rotations)[..., 2]
        rotations = euler_to_rotation(angles_deg)
    return Poses(rotations, truth.origins_angst, predicted.confidence)
