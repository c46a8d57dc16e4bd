"""The rotation and translation that best take points to points, for many sets at once."""

import torch

from ...errors import GeometryError
from .precision import without_autocast


def weighted_kabsch(
    source: torch.Tensor, target: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rotations `(..., 3, 3)` and translations `(..., 3)` of least weighted squares.

    Minimises sum_p w_p |target_p - (R source_p + t)|^2 over proper rotations (Kabsch, 1976 and
    1978): R from the singular vectors of the weighted covariance of points about their weighted
    means, t from the means.

    Parameters
    ----------
    source, target : `(..., P, 3)`, broadcast against each other
    weights : `(..., P)`, at least 0, their sum above 0

    Raises
    ------
    GeometryError
        If points or weights are not finite, or the weights of a set sum to nothing.

    Notes
    -----
    Sums over points are in the points' type, in float32 about as exact as their digits; the 3 x 3
    matrices are decomposed in float64. Points on a plane leave one singular value zero, and what
    its vectors are is left to the library and the device: the third one of either frame is taken as
    the product of the other two, which is what makes the rotation proper. Autocast has no say.
    """
    with without_autocast(target):
        total = weights.sum(dim=-1, keepdim=True)
        share = (weights / total)[..., None]  # (..., P, 1)
        source_mean = (share * source).sum(dim=-2, keepdim=True)
        target_mean = (share * target).sum(dim=-2, keepdim=True)
        weighted = share * (source - source_mean)
        covariance = weighted.transpose(-1, -2).double() @ (target - target_mean).double()
    if not bool(torch.isfinite(covariance).all()):
        raise GeometryError(
            "points or weights of a planar map are not finite, or a view has no weight at all; "
            "the model that made them has diverged, or its input was not finite"
        )
    left, _, right = torch.linalg.svd(covariance)  # covariance = left S right
    rotations = _right_handed(right.transpose(-1, -2)) @ _right_handed(left).transpose(-1, -2)
    turned = (rotations @ source_mean.double().transpose(-1, -2)).squeeze(-1)
    translations = target_mean.double().squeeze(-2) - turned
    return rotations.to(target.dtype), translations.to(target.dtype)


def _right_handed(frames: torch.Tensor) -> torch.Tensor:
    """Return `(..., 3, 3)` frames with the third column the cross product of the first two."""
    first, second = frames[..., 0], frames[..., 1]
    third = torch.linalg.cross(first, second)
    return torch.stack([first, second, third], dim=-1)
