"""The loss that CryoFastAR learns by, and the two terms that the released program adds to it."""

from typing import NamedTuple

import torch

from ...errors import GeometryError, OptionError
from ...vocabulary import MapConvention
from .planar_maps import PlanarMaps, aligned_confidence


class PlanarMapLoss(NamedTuple):
    """Parts of a loss, each a scalar; `total` is what is minimised.

    Attributes
    ----------
    total : sum of the others, each with its weight
    points : mean of C |X - X_true|^2, the first term of Eq. 11
    certainty : mean of -log C, times alpha in the total
    grid : mean distance between neighbouring points, minus the true one, in L1
    image : mean squared error of the images
    """

    total: torch.Tensor
    points: torch.Tensor
    certainty: torch.Tensor
    grid: torch.Tensor
    image: torch.Tensor


def planar_map_loss(
    maps: PlanarMaps,
    true_points: torch.Tensor,
    convention: MapConvention = MapConvention.PAPER,
    *,
    alpha: float = 0.3,
    grid_weight: float = 0.0,
    image_weight: float = 0.0,
    true_images: torch.Tensor | None = None,
    view_weights: torch.Tensor | None = None,
) -> PlanarMapLoss:
    """Return C |X - X_true|^2 - alpha log C (CryoFastAR paper, Eq. 11), averaged.

    Parameters
    ----------
    maps : of the network, points `(B, N, H, W, 3)`
    true_points : the same of the true poses, `planar_maps.maps_of_poses`
    convention : of both; says which confidence belongs to which point
    alpha : worth of confidence. The paper does not state it; with errors of points in place of
        their mean over coordinates the released program's is 0.3
    grid_weight : of the grid term; the released program's is 30 on the scale of this loss
    image_weight : of the image term; the released program's is 3 on this scale
    true_images : `(B, N, 1, H, W)` that the image term wants
    view_weights : `(B, N)` worth of each view's label in the first two terms, 1 for all when None

    Raises
    ------
    GeometryError, OptionError
        If shapes do not belong together, or the image term has no images to compare.

    Notes
    -----
    Means are over samples, views and pixels, where the paper sums over views, so that the step
    does not grow with their number. All is computed in float32 at least. The grid term compares
    differences of neighbouring points with those of the true map; the released program takes 1/D
    for the true step, which is 0.8 % short at 128 px.
    """
    points, truth = _precise(maps.points), _precise(true_points)
    if points.shape != truth.shape:
        raise GeometryError(
            f"points {tuple(points.shape)} and true points {tuple(truth.shape)} differ in shape"
        )
    confidence = _precise(aligned_confidence(maps.confidence, convention))
    error = points - truth
    worth = points.new_ones(()) if view_weights is None else _precise(view_weights)[..., None, None]
    point_term = (worth * confidence * error.square().sum(dim=-1)).mean()
    certainty = -(worth * confidence.log()).mean()
    grid = points.new_zeros(())
    if grid_weight:
        grid = error.diff(dim=2).abs().sum(-1).mean() + error.diff(dim=3).abs().sum(-1).mean()
    image = points.new_zeros(())
    if image_weight:
        if maps.images is None or true_images is None:
            raise OptionError("the image term needs maps with images, and true images")
        image = (_precise(maps.images) - _precise(true_images)).square().mean()
    total = point_term + alpha * certainty + grid_weight * grid + image_weight * image
    return PlanarMapLoss(total, point_term, certainty, grid, image)


def _precise(values: torch.Tensor) -> torch.Tensor:
    return values if values.dtype == torch.float64 else values.float()
