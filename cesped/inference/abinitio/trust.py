"""Whether poses found without a reference mean anything: what can be known without known poses.

An image is shown a second time, turned by a quarter in its plane, which moves pixels and changes
none. Whatever the particle is, the pose must follow by just that quarter. A network that does not
look at its images answers the same twice and is 90 degrees off; one that answers by chance is off
by more than 90 in four of five cases. Those that know the pose are off by about as much as the
pose itself. Passing is necessary, not sufficient: a network that knows the in-plane angle only may
pass.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ...data.particle_images import SampleImages
from ...geometry.rotations import axis_angle_rotations, geodesic_distance_deg, nearest_rotations
from ...models.cryofastar.model import CryoFastAR
from ...models.cryofastar.poses import poses_of_maps
from ...models.image2sphere.turns import turned_images
from .features import ViewFeatures, encode_views
from .groups import VIEWS, FramePoses

#: Half of what a network that ignores its images is off by [degrees].
LARGEST_TURN_ERROR_DEG = 45.0
#: Below this all particles are posed so well that there is little for confidence to tell.
_GOOD_TURN_ERROR_DEG = 5.0
#: A confidence that only weights have that were trained.
_SURE = 3.0
#: Groups that are shown turned images: one of 63 missed a confidence that does tell poses apart.
_GROUPS = 4
#: One-sided 5 % point of the normal distribution.
_SIGNIFICANT = 1.645


@dataclass(frozen=True)
class TurnCheck:
    """How the poses of `K` particles followed a quarter turn of their images.

    Parameters
    ----------
    rows : `(K,)` particles, from 0
    error_deg : `(K,)` angle between the pose of the turned image and the turned pose [degrees]
    confidence : `(K,)` of the image as it is, above 1
    """

    rows: NDArray[np.int64]
    error_deg: NDArray[np.float64]
    confidence: NDArray[np.float64]

    @property
    def median_deg(self) -> float:
        """Return the median of the errors [degrees]."""
        return float(np.median(self.error_deg))

    @property
    def rank_correlation(self) -> float:
        """Return Spearman's correlation of error and confidence; -1 would be best, 0 is nothing."""
        if np.ptp(self.confidence) == 0 or np.ptp(self.error_deg) == 0:
            return 0.0
        from scipy.stats import spearmanr

        return float(spearmanr(self.confidence, self.error_deg).statistic)


@dataclass(frozen=True)
class Trust:
    """What the poses and their confidence are worth, as far as it can be known.

    Parameters
    ----------
    poses : whether poses follow their images
    confidence : whether confidence tells good poses from bad ones; never where `poses` is false
    notes : sentences that say what is wrong; empty if nothing is
    """

    poses: bool
    confidence: bool
    notes: tuple[str, ...]


@torch.inference_mode()
def check_quarter_turns(
    model: CryoFastAR,
    views: ViewFeatures,
    images: SampleImages,
    reference: int,
    generator: torch.Generator,
    *,
    views_per_group: int = VIEWS,
    weighted: bool = True,
) -> TurnCheck:
    """Return how poses follow a quarter turn, of as many particles as four groups hold twice.

    Parameters
    ----------
    model : in evaluation mode
    views : features of all particles
    images : the same particles' images, square
    reference : particle that poses are relative to
    generator : draws the particles, on the CPU
    views_per_group : as in `poses_in_one_frame`
    weighted : as in `poses_of_maps`
    """
    order = torch.randperm(len(views), generator=generator)
    in_group = max(1, (views_per_group - 1) // 2)
    rows = order[order != reference][: _GROUPS * in_group]
    checks = [
        _turned_group(model, views, images, reference, rows[first:][:in_group], weighted=weighted)
        for first in range(0, len(rows), in_group)
    ]
    return TurnCheck(
        rows.numpy(),
        np.concatenate([error_deg for error_deg, _ in checks]),
        np.concatenate([confidence for _, confidence in checks]),
    )


def _turned_group(
    model: CryoFastAR,
    views: ViewFeatures,
    images: SampleImages,
    reference: int,
    rows: torch.Tensor,
    *,
    weighted: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return errors [degrees] and confidences of the particles `rows`, posed beside their turns."""
    device = next(model.parameters()).device
    turned = turned_images(images.prepared(rows.numpy())[:, None], math.pi / 2)
    again = encode_views(model, [turned], device, views.features.device)
    one = torch.cat([torch.tensor([reference]), rows]).to(views.features.device)
    features = torch.cat([views.features[one], again.features]).to(device)
    maps = model.decode(features[None], views.rows, views.columns, with_images=False)
    found = poses_of_maps(maps, model.convention, weighted=weighted)
    rotations = nearest_rotations(found.rotations[0, 1:].double().cpu().numpy())
    asis, after = np.split(rotations, 2)
    back = axis_angle_rotations([0.0, 0.0, 1.0], -90.0)
    error_deg = np.asarray(geodesic_distance_deg(after, asis @ back), dtype=np.float64)
    return error_deg, found.confidence[0, 1 : len(rows) + 1].double().cpu().numpy()


def judge(frame: FramePoses, check: TurnCheck) -> Trust:
    """Return what poses and confidence are worth.

    Poses count as followed if half of them are less than 45 degrees off. Confidence counts as
    informative if poses do, if it differs between particles by more than rounding, and if
    particles of higher confidence follow better (Spearman's correlation below zero at 5 %), which
    is not asked where half of all are less than 5 degrees off.
    """
    count, median = len(check.rows), check.median_deg
    mean = float(frame.confidence_of_others.mean())
    if median >= LARGEST_TURN_ERROR_DEG:
        hint = "; 2 is what weights that know nothing say"
        if mean > _SURE:
            hint = ": weights may be sure of images unlike those they learned from, and wrong"
        return Trust(
            False,
            False,
            (
                f"These poses mean nothing: when {count} images were turned by a quarter, half of "
                f"their poses came out more than {median:.0f} degrees from where they had to (90: "
                "the images are ignored). The weights are untrained, or do not know such images.",
                f"Confidence is uninformative (mean {mean:.4g}{hint}): the map is made without it.",
            ),
        )
    if not frame.is_informed:
        return Trust(
            True,
            False,
            (
                f"Confidence is uninformative: it is {mean:.4g} for every particle; the map is "
                "made without it.",
            ),
        )
    significance = check.rank_correlation * math.sqrt(max(0, count - 1))
    if median >= _GOOD_TURN_ERROR_DEG and significance > -_SIGNIFICANT:
        return Trust(
            True,
            False,
            (
                f"Confidence is uninformative: of {count} particles, those of higher confidence "
                f"are posed no better (rank correlation {check.rank_correlation:.2f}); the map is "
                "made without it.",
            ),
        )
    return Trust(True, True, ())
