"""The rotation between two frames, from pairs of poses of which most may be wrong.

A pose `R` in the frame of the truth is `A g R` in a frame turned by `A`, `g` being any operator of
the particle's point group. So each particle votes for `B = A^T` with its relative rotation
`B_j = R_j P_j^T`, up to an operator on the left: `B = g B_j`.

The votes are modelled as a mixture. A share `w` of them is right, with rotational noise of standard
deviation `sigma` about each of three axes; the rest is uniform. Relative to uniform rotations (the
Haar measure modulo the group) a vote at angle r from B has the density
`1 - w + w exp(-r^2 / 2 sigma^2) / Z(sigma)`. The sum of its logarithms is maximised: first over the
votes themselves as hypotheses (a consensus), then by expectation-maximisation, whose step for B is
the mean of the votes on the tangent space, weighted by how likely each is right.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cesped.geometry.rotations import axis_angle_rotations, nearest_rotations, rotation_angle_deg
from cesped.geometry.symmetry import PointGroup

FloatArray = NDArray[np.float64]

#: Particles that judge the hypotheses, and particles that each pose one.
_JUDGES = 1000
_HYPOTHESES = 200
#: Noise at which hypotheses are judged [radian], before the limit that the group sets. A vote lies
#: as far from the truth as its particle, so a narrow kernel alone would miss noisy poses.
_VOTE_SPREADS = tuple(np.radians((3.0, 10.0, 30.0)))
_VOTE_SHARE = 0.3
#: No noise is taken to be smaller [radian]: star files carry six decimals.
_LEAST_SPREAD = float(np.radians(1e-4))
_MOST_STEPS = 200
_STEPS_OF_A_SAMPLE = 10
_CHUNK = 4_000_000  # traces at a time


@dataclass(frozen=True)
class FrameFit:
    """The frame in which two sets of poses agree best.

    Parameters
    ----------
    rotation : `(3, 3)` B, which takes the frame of the prediction to that of the truth
    spread_deg : noise of the poses that are right, about each axis [degrees]
    share : fraction of poses that are right, 0 to 1
    evidence : logarithm of the likelihood over that of uniform votes [nats]
    probabilities : `(P,)` that each pose is right
    covariance_deg2 : `(3, 3)` of the estimate of B as a rotation vector about the axes of the
        truth's frame [degrees^2]
    """

    rotation: FloatArray
    spread_deg: float
    share: float
    evidence: float
    probabilities: FloatArray
    covariance_deg2: FloatArray


def relative_rotations(truth: FloatArray, predicted: FloatArray) -> FloatArray:
    """Return the votes `(P, 3, 3)` B_j = R_j P_j^T of poses `(P, 3, 3)`."""
    return np.asarray(truth @ np.swapaxes(predicted, 1, 2))


def fit_frame(votes: FloatArray, group: PointGroup, generator: np.random.Generator) -> FrameFit:
    """Return the frame most votes agree on.

    Parameters
    ----------
    votes : `(P, 3, 3)` relative rotations, at least one
    group : votes are the same up to its operators on the left
    generator : chooses hypotheses and judges where there are many particles
    """
    rotation, spread, share = consensus(votes, group, generator)[:3]
    return _maximise(votes, group, rotation, spread, share, _MOST_STEPS)


def consensus(
    votes: FloatArray, group: PointGroup, generator: np.random.Generator
) -> tuple[FloatArray, float, float, float]:
    """Return a frame that a sample of the votes agrees on: rotation, spread, share, evidence.

    The spread is in radian; the evidence counts the sample alone. Its greatest value over shuffled
    pairs is what a frame found by chance looks like.
    """
    count = len(votes)
    judges = votes[generator.permutation(count)[:_JUDGES]]
    hypotheses = votes[generator.permutation(count)[:_HYPOTHESES]]
    squares = _squared_angles(hypotheses, judges, group)
    best = (-np.inf, judges[0], _VOTE_SPREADS[0])
    for wanted in _VOTE_SPREADS:
        spread = min(wanted, _most_spread(group.order))
        scores = _log_density(squares, spread, _VOTE_SHARE, group.order).sum(axis=1)
        found = int(np.argmax(scores))
        if scores[found] > best[0]:
            best = (float(scores[found]), hypotheses[found], spread)
    fit = _maximise(judges, group, best[1], best[2], _VOTE_SHARE, _STEPS_OF_A_SAMPLE)
    return fit.rotation, float(np.radians(fit.spread_deg)), fit.share, fit.evidence


def residuals(
    votes: FloatArray, rotation: FloatArray, group: PointGroup
) -> tuple[FloatArray, FloatArray]:
    """Return the turns from `rotation` to each vote's nearest mate.

    Returns
    -------
    vectors : `(P, 3)` rotation vectors [radian]; a half turn, whose axis has no sense, counts as 0
    angles : `(P,)` [radian]
    """
    relative = (votes.reshape(-1, 3) @ rotation.T).reshape(-1, 3, 3)
    if group.order > 1:
        # trace(g r) = <g', r>
        traces = relative.reshape(-1, 9) @ group.operators.transpose(0, 2, 1).reshape(-1, 9).T
        relative = group.operators[np.argmax(traces, axis=1)] @ relative
    angles = np.radians(rotation_angle_deg(relative))
    sines = np.stack(
        [
            relative[:, 2, 1] - relative[:, 1, 2],
            relative[:, 0, 2] - relative[:, 2, 0],
            relative[:, 1, 0] - relative[:, 0, 1],
        ],
        axis=1,
    )
    lengths = np.linalg.norm(sines, axis=1)
    scale = np.divide(angles, lengths, out=np.zeros_like(angles), where=lengths > 0)
    return sines * scale[:, None], angles


def _maximise(
    votes: FloatArray,
    group: PointGroup,
    rotation: FloatArray,
    spread: float,
    share: float,
    steps: int,
) -> FrameFit:
    """Return the local maximum of the likelihood, by expectation-maximisation.

    Notes
    -----
    The covariance is the sandwich of an M-estimator with psi = p v, v being the residual vector
    and p the probability that the vote is right: it holds whatever the noise really looks like.
    """
    reached = -np.inf
    for _ in range(steps):
        vectors, angles = residuals(votes, rotation, group)
        squares = angles**2
        log_density = _log_density(squares, spread, share, group.order)
        evidence = float(log_density.sum())
        right = _probabilities(squares, log_density, spread, share, group.order)
        if evidence - reached < 1e-6 * (1.0 + abs(evidence)):
            break
        reached = evidence
        weight = max(float(right.sum()), 1e-12)
        rotation = nearest_rotations(_turn(right @ vectors / weight) @ rotation)
        spread = float(np.sqrt(right @ squares / (3.0 * weight)))
        spread = min(max(spread, _LEAST_SPREAD), _most_spread(group.order))
        share = float(np.clip(right.mean(), 1e-6, 1.0 - 1e-6))
    vectors, angles = residuals(votes, rotation, group)
    log_density = _log_density(angles**2, spread, share, group.order)
    right = _probabilities(angles**2, log_density, spread, share, group.order)
    return FrameFit(
        rotation=rotation,
        spread_deg=float(np.degrees(spread)),
        share=share,
        evidence=float(log_density.sum()),
        probabilities=right,
        covariance_deg2=np.degrees(np.degrees(_covariance(vectors, right, spread))),
    )


def _covariance(vectors: FloatArray, right: FloatArray, spread: float) -> FloatArray:
    """Return the sandwich covariance `(3, 3)` [radian^2] of the mean of the votes."""
    outer = np.einsum("p,pi,pj->ij", right**2, vectors, vectors)
    # p falls with the residual: dp/dv = -p (1 - p) v / sigma^2
    bend = np.einsum("p,pi,pj->ij", right * (1.0 - right), vectors, vectors) / spread**2
    slope = right.sum() * np.eye(3) - bend
    inverse = np.linalg.pinv(slope)
    return np.asarray(inverse @ outer @ inverse.T)


def _squared_angles(
    hypotheses: FloatArray, judges: FloatArray, group: PointGroup
) -> NDArray[np.float32]:
    """Return the squared angles `(H, J)` [radian^2] between votes, the least over the group."""
    # trace(h (g j)') = <g, h j'>
    mates = np.einsum("gab,jbc->gjac", group.operators, judges).astype(np.float32)
    flat = mates.reshape(-1, 9)
    rows = max(1, _CHUNK // len(flat))
    squares = np.empty((len(hypotheses), len(judges)), np.float32)
    for start in range(0, len(hypotheses), rows):
        block = hypotheses[start : start + rows].reshape(-1, 9).astype(np.float32)
        traces = (block @ flat.T).reshape(len(block), group.order, -1).max(axis=1)
        squares[start : start + rows] = np.arccos(np.clip((traces - 1.0) / 2.0, -1.0, 1.0)) ** 2
    return squares


def _log_density(
    squares: NDArray[np.floating], spread: float, share: float, order: int
) -> NDArray[np.floating]:
    """Return the logarithm of the mixture's density relative to uniform votes."""
    peak = share / _normalisation(spread, order)
    return np.asarray(np.log((1.0 - share) + peak * np.exp(squares * (-0.5 / spread**2))))


def _probabilities(
    squares: FloatArray,
    log_density: NDArray[np.floating],
    spread: float,
    share: float,
    order: int,
) -> FloatArray:
    """Return the probability `(P,)` that each vote is right."""
    peak = share / _normalisation(spread, order)
    return np.asarray(peak * np.exp(squares * (-0.5 / spread**2) - log_density))


def _turn(vector: FloatArray) -> FloatArray:
    """Return the rotation `(3, 3)` of a rotation vector `(3,)` [radian]."""
    angle = float(np.linalg.norm(vector))
    axis = vector / angle if angle > 0 else np.array([0.0, 0.0, 1.0])
    return axis_angle_rotations(axis, np.degrees(angle))


@lru_cache(maxsize=128)
def _reach(order: int) -> float:
    """Return the radius [radian] of the ball that holds one in `order` of all rotations."""
    angles = np.linspace(0.0, np.pi, 4001)
    within = order * (angles - np.sin(angles)) / np.pi
    return float(angles[min(int(np.searchsorted(within, 1.0)), 4000)])


def _most_spread(order: int) -> float:
    """Return the widest noise [radian] that can be told from uniform votes."""
    return _reach(order) / 4.0


def _normalisation(spread: float, order: int) -> float:
    """Return Z(sigma), the mean of exp(-r^2 / 2 sigma^2) over uniform votes.

    Notes
    -----
    A uniform vote lies at r with the density |G| (1 - cos r) / pi, as long as the ball of radius
    r meets none of its mates; the cell of the group is taken for a ball of its volume.
    """
    angles = np.linspace(0.0, min(_reach(order), 10.0 * spread), 501)
    density = order * 2.0 * np.sin(angles / 2.0) ** 2 / np.pi
    return float(np.trapezoid(density * np.exp(-0.5 * (angles / spread) ** 2), angles))
