"""Poses of views from their Fourier planar maps (CryoFastAR paper, section 4.3)."""

from typing import NamedTuple

import torch

from ...errors import GeometryError
from ...vocabulary import MapConvention
from .consensus import Ransac, agreeing_pixels
from .kabsch import weighted_kabsch
from .planar_maps import (
    PlanarMaps,
    aligned_confidence,
    nyquist_points,
    plane_points,
    shifts_from_translations,
)


class ViewPoses(NamedTuple):
    """Poses of `N` views of each of `B` samples, in the frame of the reference, view 0.

    Attributes
    ----------
    rotations : `(B, N, 3, 3)`, of `x_reference = R @ x_image`
    shifts_px : `(B, N, 2)` displacement x, y of the content [pixel]; an origin is its negative
    confidence : `(B, N)` mean confidence of the pixels, above 1
    """

    rotations: torch.Tensor
    shifts_px: torch.Tensor
    confidence: torch.Tensor


@torch.no_grad()
def poses_of_maps(
    maps: PlanarMaps,
    convention: MapConvention = MapConvention.PAPER,
    *,
    weighted: bool = True,
    from_reference: bool = False,
    ransac: Ransac | None = None,
) -> ViewPoses:
    """Return the poses that fit planar maps best: paper, Eq. 12 and 13.

    Parameters
    ----------
    maps : of the network, or made of known poses
    convention : what they mean
    weighted : weigh each pixel by the confidence of reference and view, C_1 C_i of Eq. 13; without
        it all pixels count alike, as in the released program
    from_reference : turn the predicted map of the reference onto the views, not the exact plane.
        Eq. 13 has the exact one; errors of a predicted one would enter twice
    ransac : leave out pixels that contradict the others; None: keep all

    Raises
    ------
    GeometryError
        If shapes do not belong together, maps are not finite, or released weights were given
        images that are not square while `weighted`.

    Notes
    -----
    Eq. 12 divides the weighted sum by the number of pixels, not by the sum of weights, which is
    right for a mean confidence of 1 only; here it is divided by the sum. The weighted mean of R X0
    is taken off as well: it is zero only where confidence is symmetric about the origin. Both
    together are the translation of least squares, so exact maps give exact poses whatever the
    confidence.
    """
    _check(maps)
    batch, views, height, width = maps.confidence.shape
    target = nyquist_points(maps.points, convention).flatten(2, 3)
    weights = torch.ones_like(target[..., 0])
    if weighted:
        confidence = aligned_confidence(maps.confidence, convention).flatten(2)
        weights = (confidence[:, :1] * confidence).to(target.dtype)
    if from_reference:
        source = target[:, :1].expand(target.shape)
    else:
        plane = plane_points(height, width, convention, target.device, target.dtype)
        source = plane.flatten(0, 1)
    if ransac is not None:
        sources = source.flatten(0, 1) if from_reference else source
        agree = agreeing_pixels(sources, target.flatten(0, 1), weights.flatten(0, 1), ransac)
        weights = weights * agree.reshape(batch, views, -1)
    rotations, translations = weighted_kabsch(source, target, weights)
    if from_reference:  # the turned points carry the reference's own shift
        plane = plane_points(height, width, convention, target.device, target.dtype).flatten(0, 1)
        translations = _mean(target - plane @ rotations.transpose(-1, -2), weights)
    shifts_px = shifts_from_translations(translations, height, width, convention)
    return ViewPoses(rotations, shifts_px, maps.confidence.mean(dim=(2, 3)))


def _mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (weights[..., None] * values).sum(dim=-2) / weights.sum(dim=-1, keepdim=True)


def _check(maps: PlanarMaps) -> None:
    points, confidence = tuple(maps.points.shape), tuple(maps.confidence.shape)
    if len(points) != 5 or points != (*confidence, 3):
        raise GeometryError(
            f"planar maps have points {points} and confidence {confidence}; expected "
            "(B, N, H, W, 3) and (B, N, H, W)"
        )
