"""Fourier planar maps: what each pixel of a view's transform says about where it lies.

A pose (R, t) is encoded as X = R X0 + h(t) (CryoFastAR paper, Eq. 6): X0 are the pixels of the
Fourier transform on the plane z = 0, in units of the Nyquist frequency, R turns them into the
frame of the reference view, and h(t) is a label of the shift, which is not a place in Fourier
space. R is that of `x_volume = R @ x_image`, so relative to the reference it is R_ref^T R_i. (The
paper's Eq. 10 writes R_i R_1^-1, which is the same for matrices that multiply rows.)

Shifts are displacements of the content of the image, x and y, in pixels: the negative of an origin.

`MapConvention.PAPER`
    Coordinate x runs along columns, y along rows, both from the pixel N//2 in steps of 2/N, as the
    pixels of a transform do. h(t) = (x shift / W, y shift / H, 0).
`MapConvention.RELEASED`
    Both coordinates go from -1 to 1 with both ends included, h(t) = (y shift / H, x shift / W, 0),
    and maps are halved and moved to be about 0.5. The confidence of pixel [r, c] is that of the
    point at [c, r]. The authors' weights were trained so.
"""

from typing import NamedTuple

import torch

from ...errors import GeometryError
from ...vocabulary import MapConvention


class PlanarMaps(NamedTuple):
    """What the network says about `N` views of each of `B` samples; view 0 is the reference.

    Attributes
    ----------
    points : `(B, N, H, W, 3)` in the network's convention
    confidence : `(B, N, H, W)`, above 1
    images : `(B, N, 1, H, W)` the views without noise, or None
    """

    points: torch.Tensor
    confidence: torch.Tensor
    images: torch.Tensor | None


def plane_points(
    height: int,
    width: int,
    convention: MapConvention = MapConvention.PAPER,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Return X0, the points `(H, W, 3)` of the untilted plane.

    Parameters
    ----------
    height, width : of the image [pixel]
    convention : as above
    device, dtype : of the result
    """
    axes = []
    for size in (height, width):
        if convention is MapConvention.RELEASED:
            axes.append(torch.linspace(-1.0, 1.0, size, device=device, dtype=dtype))
        else:
            index = torch.arange(size, device=device, dtype=dtype)
            axes.append((index - size // 2) * (2.0 / size))
    y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([x, y, torch.zeros_like(x)], dim=-1)


def relative_rotations(rotations: torch.Tensor) -> torch.Tensor:
    """Return R_ref^T R_i `(..., N, 3, 3)` of views `(..., N, 3, 3)`, the first the reference."""
    return rotations[..., :1, :, :].transpose(-1, -2) @ rotations


def maps_of_poses(
    rotations: torch.Tensor,
    shifts_px: torch.Tensor,
    height: int,
    width: int,
    convention: MapConvention = MapConvention.PAPER,
) -> torch.Tensor:
    """Return the planar maps `(..., H, W, 3)` of known poses: paper, Eq. 6 and 10.

    Parameters
    ----------
    rotations : `(..., 3, 3)` relative to the reference, see `relative_rotations`
    shifts_px : `(..., 2)` displacement x, y of the content [pixel]
    height, width : of the image [pixel]
    convention : as above
    """
    if rotations.shape[:-2] != shifts_px.shape[:-1] or shifts_px.shape[-1] != 2:
        raise GeometryError(
            f"rotations {tuple(rotations.shape)} and shifts {tuple(shifts_px.shape)} do not "
            "belong together; give (..., 3, 3) and (..., 2)"
        )
    plane = plane_points(height, width, convention, rotations.device, rotations.dtype)
    turned = torch.einsum("...ij,hwj->...hwi", rotations, plane)
    x, y = shifts_px.to(rotations.dtype).unbind(dim=-1)
    shares = torch.stack([x / width, y / height], dim=-1)
    if convention is MapConvention.RELEASED:
        shares = shares.flip(-1)
    points = turned + torch.nn.functional.pad(shares, (0, 1))[..., None, None, :]
    return points / 2 + 0.5 if convention is MapConvention.RELEASED else points


def nyquist_points(points: torch.Tensor, convention: MapConvention) -> torch.Tensor:
    """Return points of either convention in units of the Nyquist frequency, X of Eq. 6."""
    return 2 * points - 1 if convention is MapConvention.RELEASED else points


def aligned_confidence(confidence: torch.Tensor, convention: MapConvention) -> torch.Tensor:
    """Return the confidence `(..., H, W)` of each point, in the order of the points.

    Raises
    ------
    GeometryError
        For images of released weights that are not square: the weights say nothing about those.
    """
    if convention is not MapConvention.RELEASED:
        return confidence
    if confidence.shape[-1] != confidence.shape[-2]:
        raise GeometryError(
            "the confidence of released weights belongs to transposed pixels, which an image of "
            f"{confidence.shape[-2]} x {confidence.shape[-1]} px does not have; give square "
            "images, or find poses with weighted=False"
        )
    return confidence.transpose(-1, -2)


def shifts_from_translations(
    translations: torch.Tensor, height: int, width: int, convention: MapConvention
) -> torch.Tensor:
    """Return shifts x, y `(..., 2)` [pixel] of the translations `(..., 3)` h(t) of Eq. 6."""
    shares = translations[..., :2]
    if convention is MapConvention.RELEASED:
        shares = shares.flip(-1)
    x, y = shares.unbind(dim=-1)
    return torch.stack([x * width, y * height], dim=-1)
