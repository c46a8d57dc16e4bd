"""Where the frame of a reference lies: known poses of some particles against found ones.

A model of many views poses particles relative to a reference. Of anchors both the pose in the
entry's frame and that relative to the reference are known, so each of them says how the one frame
lies in the other; they are averaged robustly.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ..geometry.consensus import robust_mean
from ..geometry.rotations import FloatArray
from ..geometry.symmetry import PointGroup, symmetric_distance_deg

_MIRROR = np.diag([1.0, 1.0, -1.0])
#: The mirrored frames are taken if anchors fit them so much better; projections tell no hand, but
#: weights that learned from poses do, and guesses must not flip it.
_CLEARLY_BETTER = 0.5
#: Of fewer anchors nothing is concluded: few rotations fit each other by chance, or by themselves.
_FEWEST_ANCHORS = 4
#: An error below which no hand is doubted [degrees].
_SMALL_DEG = 1.0
#: Anchors that are further than this from their mean, half of them, know nothing [degrees].
_GUESSES_DEG = 45.0
#: Deviations of a mean that the reference's own pose may be off by before it is doubted.
_DEVIATIONS = 3.0


@dataclass(frozen=True)
class AnchoredFrames:
    """Frames of `K` references.

    Parameters
    ----------
    rotations : `(K, 3, 3)`, from the frame of a reference to that of the entry
    mirrored : whether the poses that the model finds are those of the other hand
    features : `(K, ...)` of the references, as the model encodes them
    residual_deg : median angle between the anchors' known and found poses [degrees]
    """

    rotations: FloatArray
    mirrored: bool
    features: torch.Tensor
    residual_deg: float

    def of_hand(self, rotations: FloatArray) -> FloatArray:
        """Return found relative rotations `(..., 3, 3)` as those of the entry's hand."""
        return _of_other_hand(rotations) if self.mirrored else rotations


def _of_other_hand(rotations: FloatArray) -> FloatArray:
    """Return the poses from which the mirror image of a particle looks the same."""
    turned: FloatArray = _MIRROR @ rotations @ _MIRROR
    return turned


def frames_of_anchors(
    known: FloatArray,
    found: FloatArray,
    confidence: FloatArray,
    group: PointGroup,
    features: torch.Tensor,
) -> AnchoredFrames:
    """Return where the frames of the references lie, and whether the hand is the entry's.

    Parameters
    ----------
    known : `(A, 3, 3)` poses of the anchors, the first `K` being the references
    found : `(K, A, 3, 3)` poses relative to each reference
    confidence : `(K, A)` of these
    group : symmetry of the particle
    features : of the references

    Notes
    -----
    A reference has a known pose, so its frame is known without the other anchors; what they are
    for is the error that a model makes with that one image in all that it poses relative to it.
    Where their mean lies no further from the reference's pose than it is uncertain (three standard
    deviations, from the median of their angles to it), it would add more error than it takes away,
    and the known pose stays; so it does if there are less than four anchors, or half of them are
    45 degrees or more off.
    """
    references = known[: len(found)]
    choices = []
    for turned in (found, _of_other_hand(found)):
        frames = known[None] @ np.swapaxes(turned, -1, -2)
        mean = robust_mean(frames, confidence, group)
        angles = _angles_deg(frames, mean, group)
        choices.append((mean, angles, float(np.median(angles))))
    if len(known) < _FEWEST_ANCHORS:
        return AnchoredFrames(references, False, features, choices[0][2])
    direct_deg, turned_deg = choices[0][2], choices[1][2]
    mirrored = direct_deg > _SMALL_DEG and turned_deg < _CLEARLY_BETTER * direct_deg
    mean, angles, residual_deg = choices[int(mirrored)]
    typical_deg = np.median(angles, axis=1)
    uncertain_deg = _DEVIATIONS * typical_deg / np.sqrt(angles.shape[1])
    stays = symmetric_distance_deg(mean, references, group) <= uncertain_deg
    stays |= typical_deg >= _GUESSES_DEG
    return AnchoredFrames(
        np.where(stays[:, None, None], references, mean), mirrored, features, residual_deg
    )


def _angles_deg(frames: FloatArray, mean: FloatArray, group: PointGroup) -> FloatArray:
    """Return the angles `(K, A)` between frames `(K, A, 3, 3)` and their means `(K, 3, 3)`."""
    means = np.broadcast_to(mean[:, None], frames.shape)
    flat = symmetric_distance_deg(means.reshape(-1, 3, 3), frames.reshape(-1, 3, 3), group)
    return flat.reshape(frames.shape[:2])


def nearest_to_reference(rotations: torch.Tensor, operators: torch.Tensor) -> torch.Tensor:
    """Return of each view the one of its equal poses that is nearest to the reference's.

    Parameters
    ----------
    rotations : `(S, N, 3, 3)`, `x_volume = R @ x_image`; view 0 is the reference
    operators : `(G, 3, 3)` that turn the particle into itself

    Notes
    -----
    An image of a symmetric particle has as many poses as the group has operators, and cannot tell
    them apart; a network asked for the one that happens to stand in the star file would learn
    their mean, which is none of them. The nearest to the reference is a function of the two images
    alone, so it can be learned, and it is the same however the poses were written down. Where two
    are about equally near it jumps; a network is torn there, which its confidence may say.
    """
    if len(operators) == 1:
        return rotations
    mates = torch.einsum("gij,snjk->sngik", operators.to(rotations), rotations)
    fit = torch.einsum("sij,sngij->sng", rotations[:, 0], mates)
    best = fit.argmax(dim=-1)[..., None, None, None].expand(*rotations.shape[:2], 1, 3, 3)
    return mates.gather(2, best)[:, :, 0]
