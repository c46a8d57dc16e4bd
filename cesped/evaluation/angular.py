"""Errors of predicted poses, per particle and in summary (paper, II.C, equations 3 to 6)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cesped.geometry.euler import euler_to_rotation, rotation_to_euler
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import viewing_directions
from cesped.geometry.symmetry import (
    PointGroup,
    symmetric_direction_distance_deg,
    symmetric_distance_deg,
)
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
    """

    angular_deg: FloatArray
    direction_deg: FloatArray
    shift_angst: FloatArray


@dataclass(frozen=True)
class AngularSummary:
    """Angular errors of a set of particles in five figures.

    Parameters
    ----------
    mean_deg : MAnE, equation 3 [degrees]
    weighted_mean_deg : wMAnE, equation 6, weights are the confidence in the ground truth [degrees];
        NaN if all weights are zero
    median_deg : the median [degrees]
    share_under_5_deg, share_under_10_deg : fraction of particles with a smaller error
    """

    mean_deg: float
    weighted_mean_deg: float
    median_deg: float
    share_under_5_deg: float
    share_under_10_deg: float


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
    else:
        angular_deg = symmetric_distance_deg(truth.rotations, predicted.rotations, group)
    shift_angst = np.linalg.norm(predicted.origins_angst - truth.origins_angst, axis=1)
    return PoseErrors(angular_deg, direction_deg, np.asarray(shift_angst, dtype=np.float64))


def summarise(errors_deg: ArrayLike, truth_confidence: ArrayLike) -> AngularSummary:
    """Return the summary of angular errors `(P,)` [degrees].

    Parameters
    ----------
    errors_deg : `(P,)` [degrees]
    truth_confidence : `(P,)` how sure the ground truth is of itself, rlnMaxValueProbDistribution

    Examples
    --------
    >>> summarise([1.0, 3.0], [3.0, 1.0]).weighted_mean_deg
    1.5
    """
    errors = np.asarray(errors_deg, dtype=np.float64)
    weights = np.asarray(truth_confidence, dtype=np.float64)
    total = float(weights.sum())
    return AngularSummary(
        mean_deg=float(errors.mean()),
        weighted_mean_deg=float(weights @ errors) / total if total > 0 else float("nan"),
        median_deg=float(np.median(errors)),
        share_under_5_deg=float(np.mean(errors < 5)),
        share_under_10_deg=float(np.mean(errors < 10)),
    )


def shift_rmse_angst(shift_errors_angst: ArrayLike) -> float:
    """Return the root of the mean squared length [angstrom] of shift errors `(P,)`.

    Notes
    -----
    As published: the squared x and y differences of a particle are added, not averaged.

    Examples
    --------
    >>> shift_rmse_angst([3.0, 4.0, 5.0])
    4.08...
    """
    errors = np.asarray(shift_errors_angst, dtype=np.float64)
    return float(np.sqrt(np.mean(errors**2)))


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
