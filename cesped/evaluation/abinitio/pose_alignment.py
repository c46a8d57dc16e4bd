"""Poses in a frame and hand of their own, brought to the frame of the truth.

A method that starts from nothing but images cannot know three things about the map, and its poses
are as good whichever it chose:

* the frame. A map turned by A has the poses `A R`.
* the hand. The mirror map V(-x) makes the images of V at the poses `R Z`, `Z = diag(-1, -1, 1)`: a
  point of the image at depth z lies in V at `R (x, y, z)`, and in the mirror map at
  `-R (x, y, z)`, which is `R Z (x, y, -z)`: the same pixel, as depth does not count.
  Any other mirror is this one in another frame. Origins stay as they are.
* the place. A map moved by t moves its image at pose P by the first two components of `P^T t`, and
  the origins of the particles, which undo that, grow by them.

So the predicted `P_j = A g_j R_j` or `A g_j R_j Z`, and its origin is the true one plus
`(P_j^T t)_xy`. The frame is found as `frame_search` says, for both hands; the
better one is taken; then t is found by least squares that leave out what does not fit. The same
search after the pairs of poses were shuffled tells how much agreement chance makes: preferred
orientations alone make some.
"""

from dataclasses import dataclass

import numpy as np

from cesped.errors import GeometryError
from cesped.evaluation.abinitio.frame_search import (
    FloatArray,
    FrameFit,
    consensus,
    fit_frame,
    relative_rotations,
)
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import check_rotations
from cesped.geometry.symmetry import PointGroup
from cesped.progress import SILENT, Progress

#: Half a turn in the image plane, which makes the poses of the other hand.
OTHER_HAND = np.diag([-1.0, -1.0, 1.0])

#: A frame counts as found if chance makes a better one more rarely than this.
SIGNIFICANCE = 1e-3
#: How often pairs are shuffled to see what chance makes.
SHUFFLES = 40
#: A hand counts as known if its likelihood is e^10 times that of the other.
_HAND_NATS = 10.0
#: Poses count as of both hands if more than this share agrees with the other hand alone.
_MIXED_SHARE = 0.05
_LEAST_PARTICLES = 10
_EULER_GAMMA = 0.5772156649015329


@dataclass(frozen=True)
class Frame:
    """Where the map of a prediction lies with respect to that of the truth.

    Parameters
    ----------
    rotation : `(3, 3)` takes vectors of the predicted frame to the frame of the truth
    is_mirrored : whether the prediction is of the other hand
    offset_angst : `(3,)` x, y, z: how far the predicted map lies from the origin, in its own
        frame [angstrom]
    """

    rotation: FloatArray
    is_mirrored: bool
    offset_angst: FloatArray


@dataclass(frozen=True)
class PoseAlignment:
    """The frame of a prediction, and how surely it is known.

    Parameters
    ----------
    frame : what `aligned` undoes
    rotation_error_deg : standard error of the frame's rotation, the root of the mean squared angle
        [degrees]
    offset_error_angst : standard error of the frame's offset [angstrom]
    inlier_share : fraction of poses that agree with the frame, 0 to 1
    spread_deg : noise of those poses about each of three axes [degrees]
    p_value : probability that poses without any relation to the truth agree as well in some frame
        and hand; NaN if it was not asked for
    hand_nats : logarithm of the likelihood of this hand over that of the other
    other_hand_share : fraction of poses that agree with a frame of the other hand and not with
        this one, if chance does not make such a frame; else 0
    """

    frame: Frame
    rotation_error_deg: float
    offset_error_angst: float
    inlier_share: float
    spread_deg: float
    p_value: float
    hand_nats: float
    other_hand_share: float = 0.0

    @property
    def is_of_both_hands(self) -> bool:
        """Return whether a share of the poses is of the other hand, as of results put together."""
        return self.is_found and self.other_hand_share > _MIXED_SHARE

    @property
    def is_found(self) -> bool:
        """Return whether the poses agree with the truth, in this frame, more than by chance."""
        return self.p_value < SIGNIFICANCE

    @property
    def is_hand_known(self) -> bool:
        """Return whether one hand explains the poses better than the other.

        It cannot be known from images that all show one view, of which each is its own mirror.
        """
        return self.is_found and self.hand_nats > _HAND_NATS


def align_poses(
    truth: Poses,
    predicted: Poses,
    group: PointGroup,
    generator: np.random.Generator,
    *,
    with_offset: bool = True,
    shuffles: int = SHUFFLES,
    progress: Progress = SILENT,
) -> PoseAlignment:
    """Return the frame of predicted poses with respect to the true ones.

    Parameters
    ----------
    truth, predicted : poses of the same `P` particles, in the same order
    group : symmetry of the particle in the frame of the truth
    generator : chooses samples of the particles, and the shuffles
    with_offset : whether the origins were predicted; without, the offset is zero
    shuffles : how often pairs are shuffled to see what chance makes; with less than 2 there is no
        p value, and no frame counts as found
    progress : told of the steps

    Returns
    -------
    PoseAlignment; if no frame stands out from chance its `is_found` is False, the rotation is the
    best of those by chance, and the offset is zero.

    Raises
    ------
    GeometryError
        If the two are not of the same particles, are fewer than 10, or hold no rotations.
    """
    _check_pair(truth, predicted)
    hands = (False, True)
    votes = [_votes(truth.rotations, predicted.rotations, mirrored) for mirrored in hands]
    with progress.task("Finding the frame of the poses", 2 + shuffles) as advance:
        fits = []
        for of_hand in votes:
            fits.append(fit_frame(of_hand, group, generator))
            advance(1)
        sampled = [consensus(of_hand, group, generator)[3] for of_hand in votes]
        by_chance = []
        for _ in range(shuffles):
            by_chance.append(_chance_evidence(truth, predicted, group, generator))
            advance(1)
    is_mirrored = fits[1].evidence > fits[0].evidence
    fit, other = (fits[1], fits[0]) if is_mirrored else (fits[0], fits[1])
    p_value = p_other = float("nan")
    if shuffles > 1:
        p_value = _tail_probability(max(sampled), np.asarray(by_chance))
        p_other = _tail_probability(sampled[0 if is_mirrored else 1], np.asarray(by_chance))
    alone = other.probabilities * (1.0 - fit.probabilities)
    offset, offset_error = np.zeros(3), 0.0
    if with_offset and p_value < SIGNIFICANCE:
        offset, offset_error = _fit_offset(truth, predicted, fit)
    return PoseAlignment(
        frame=Frame(fit.rotation, bool(is_mirrored), offset),
        rotation_error_deg=float(np.sqrt(np.trace(fit.covariance_deg2))),
        offset_error_angst=offset_error,
        inlier_share=fit.share,
        spread_deg=fit.spread_deg,
        p_value=p_value,
        hand_nats=fit.evidence - other.evidence,
        other_hand_share=float(alone.mean()) if p_other < SIGNIFICANCE else 0.0,
    )


def aligned(predicted: Poses, frame: Frame) -> Poses:
    """Return predicted poses in the frame, hand and place of the truth.

    Nothing but the frame is used: poses that were wrong relative to each other stay so.
    """
    rotations = frame.rotation @ predicted.rotations
    if frame.is_mirrored:
        rotations = rotations @ OTHER_HAND
    shifts = predicted.rotations[:, :, :2].transpose(0, 2, 1) @ frame.offset_angst
    return Poses(rotations, predicted.origins_angst - shifts, predicted.confidence)


def displaced(poses: Poses, frame: Frame) -> Poses:
    """Return poses as they are in another frame: the inverse of `aligned`."""
    rotations = poses.rotations @ OTHER_HAND if frame.is_mirrored else poses.rotations
    rotations = frame.rotation.T @ rotations
    shifts = rotations[:, :, :2].transpose(0, 2, 1) @ frame.offset_angst
    return Poses(rotations, poses.origins_angst + shifts, poses.confidence)


def _check_pair(truth: Poses, predicted: Poses) -> None:
    if len(truth) != len(predicted):
        raise GeometryError(
            f"{len(predicted)} predicted poses and {len(truth)} true ones cannot be aligned; give "
            "those of the same particles in the same order"
        )
    if len(truth) < _LEAST_PARTICLES:
        raise GeometryError(
            f"{len(truth)} particles do not fix a frame; give {_LEAST_PARTICLES} or more"
        )
    check_rotations(truth.rotations, "true poses")
    check_rotations(predicted.rotations, "predicted poses")


def _votes(truth: FloatArray, predicted: FloatArray, is_mirrored: bool) -> FloatArray:
    return relative_rotations(truth, predicted @ OTHER_HAND if is_mirrored else predicted)


def _chance_evidence(
    truth: Poses, predicted: Poses, group: PointGroup, generator: np.random.Generator
) -> float:
    """Return the evidence for the better hand after predictions were dealt out anew."""
    shuffled = predicted.rotations[generator.permutation(len(predicted))]
    return max(
        consensus(_votes(truth.rotations, shuffled, mirrored), group, generator)[3]
        for mirrored in (False, True)
    )


def _tail_probability(found: float, by_chance: FloatArray) -> float:
    """Return the probability of a value of at least `found`.

    Notes
    -----
    Each value by chance is the greatest of many, so a Gumbel distribution is put through them (by
    its moments). Beyond the values themselves it is an extrapolation, as every small p is.
    """
    scale = max(float(by_chance.std(ddof=1)), 1e-9) * np.sqrt(6.0) / np.pi
    location = float(by_chance.mean()) - _EULER_GAMMA * scale
    return float(-np.expm1(-np.exp(-np.clip((found - location) / scale, -50.0, 700.0))))


def _fit_offset(truth: Poses, predicted: Poses, fit: FrameFit) -> tuple[FloatArray, float]:
    """Return the offset `(3,)` of the predicted map and its standard error [angstrom].

    Notes
    -----
    Least squares, each particle weighted by the probability that its rotation is right and by
    Cauchy's 1 / (1 + (r / 2 s)^2), s being the median residual: origins may be wrong where
    rotations are right. Directions that no view shows stay zero.
    """
    design = predicted.rotations[:, :, :2].transpose(0, 2, 1)
    moved = predicted.origins_angst - truth.origins_angst
    offset = np.zeros(3)
    weights = fit.probabilities
    for step in range(100):
        residuals = moved - design @ offset
        lengths = np.linalg.norm(residuals, axis=1)
        scale = _weighted_median(lengths, fit.probabilities) + 1e-9
        # the first step has no idea of the offset yet: lengths count by their inverse (L1)
        cauchy = 1.0 / (1.0 + (lengths / (2.0 * scale)) ** 2)
        weights = fit.probabilities * (cauchy if step >= 10 else 1.0 / (lengths + 0.1 * scale))
        normal = np.einsum("p,pia,pib->ab", weights, design, design)
        pull = np.einsum("p,pia,pi->a", weights, design, moved)
        updated = np.linalg.pinv(normal, rcond=1e-9, hermitian=True) @ pull
        change = float(np.linalg.norm(updated - offset))
        offset = updated
        if step > 10 and change < 1e-9 * (1.0 + np.linalg.norm(offset)):
            break
    residuals = moved - design @ offset
    pulls = np.einsum("p,pia,pi->pa", weights, design, residuals)
    inverse = np.linalg.pinv(normal, rcond=1e-9, hermitian=True)
    covariance = inverse @ (pulls.T @ pulls) @ inverse
    return offset, float(np.sqrt(np.trace(covariance)))


def _weighted_median(values: FloatArray, weights: FloatArray) -> float:
    order = np.argsort(values)
    summed = np.cumsum(weights[order])
    return float(values[order[min(int(np.searchsorted(summed, 0.5 * summed[-1])), len(order) - 1)]])
