"""Moving, cropping and resizing images by one interpolation.

A pixel of the result shows one position of the raw image, whatever combination of turn, shift,
zoom, mirror, crop and resize leads there, so the image is interpolated once. Interpolation is the
cubic spline through the pixels. It moves nothing; what it costs is at the edge of the band: of
white noise it takes 13 % of the deviation, and none if the image is first made twice as fine by
its Fourier series (`oversampling=2`), which suits small images. Where the result has larger pixels
than the image, frequencies beyond its band are cut first, as
`cesped.physics.resampling.resize_band_limited` cuts them.

Images in float32 on the CPU go through a compiled kernel, all others through the same sums in
torch.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cesped.errors import GeometryError, OptionError
from cesped.geometry.inplane import InPlaneMove
from cesped.physics.spline_kernel import fill_warped
from cesped.physics.threads import run_in_chunks

#: Coefficients that a spline needs beyond the pixel below a position: one before, two behind.
_SUPPORT = 2


def move_images(images: Tensor, move: InPlaneMove, *, oversampling: int = 1) -> Tensor:
    """Return images whose content has been moved by `move`; the box stays.

    Parameters
    ----------
    images : `(B, C, n, n)` float tensor
    move : `B` moves; shifts in pixels of these images
    oversampling : see `warp_images`

    Returns
    -------
    `(B, C, n, n)` tensor. What enters from outside is a reflection, which keeps the statistics
    of the noise.
    """
    count, channels, n = images.shape[:3]
    flat = images.reshape(count * channels, n, n)
    moved = warp_images(flat, _repeated(move, channels), oversampling=oversampling)
    return moved.view(images.shape)


def warp_images(
    images: Tensor,
    move: InPlaneMove,
    *,
    size: int | None = None,
    magnification: float = 1.0,
    oversampling: int = 1,
) -> Tensor:
    """Return images that have been magnified, then moved, then cut or extended to `size`.

    Parameters
    ----------
    images : `(B, n, n)` float tensor
    move : `B` moves; shifts in pixels of the result
    size : pixels of the result; those of the images when None
    magnification : pixels of the result per pixel of the images. The content at p, counted from
        pixel n // 2, goes to move(magnification p), counted from pixel size // 2.
    oversampling : how many times as fine the image is made by its Fourier series before it is
        interpolated. At 1 the spline goes through the pixels themselves. The time that 2 takes
        rises with the cube of n: on one core 0.15 ms for 64 px, 3 ms for 256 px.

    Returns
    -------
    `(B, size, size)` tensor of the same type, on the same device

    Raises
    ------
    GeometryError
        If images and moves differ in number, or images are not square or below 2 pixels.
    OptionError
        If size, magnification or oversampling is not positive.

    Notes
    -----
    Below magnification 1 the frequencies beyond the band of the result are cut; a move of
    `scale` below 1 cuts none, and folds as much of the outermost band as it shrinks the image.
    """
    n = images.shape[-1]
    if images.ndim != 3 or images.shape != (len(move), n, n) or n < 2:
        raise GeometryError(
            f"{len(move)} moves were given for images of shape {tuple(images.shape)}; "
            f"({len(move)}, n, n) is needed"
        )
    size = n if size is None else size
    if size < 1 or not magnification > 0 or oversampling < 1:
        raise OptionError(
            f"size {size}, magnification {magnification} and oversampling {oversampling} "
            "must be above 0"
        )
    if len(move) == 0:
        return images.new_zeros((0, size, size))
    compiled = _kernel_takes(images)
    band = min(magnification, 1.0)
    filtered = band < 1 or oversampling > 1 or not compiled
    if filtered:  # on a grid of the result's pixels where these are larger
        images = _coefficients(images, band, oversampling)
    places = lattice(move, images.shape[-1], size, magnification / band / oversampling)
    margin = _margin(places, images.shape[-1], size)
    places[:, [2, 5]] += margin
    if not compiled:
        return _sampled(images, places, margin, size)
    out = np.empty((len(images), size, size), np.float32)
    source = np.ascontiguousarray(images.detach().numpy())
    run_in_chunks(
        lambda start, stop: fill_warped(source, filtered, places, margin, start, stop, out),
        len(source),
    )
    return torch.from_numpy(out)


def lattice(
    move: InPlaneMove, n: int, size: int, magnification: float = 1.0
) -> NDArray[np.float64]:
    """Return which position of the image each pixel of the result shows.

    Parameters
    ----------
    move : `B` moves
    n, size : pixels of image and result
    magnification : of the image before the move

    Returns
    -------
    `(B, 6)` xx, xy, x0, yx, yy, y0: pixel (x, y), counted from the corner, shows position
    (xx x + xy y + x0, yx x + yy y + y0), counted from the corner of the image.
    """
    inverse = np.linalg.inv(move.matrices()) / magnification
    corner = np.full((len(move), 2), -(size // 2)) - move.shift_px
    start = np.einsum("bij,bj->bi", inverse, corner) + n // 2
    return np.concatenate([inverse, start[:, :, None]], axis=2).reshape(-1, 6)


def _kernel_takes(images: Tensor) -> bool:
    return images.device.type == "cpu" and images.dtype == torch.float32


def _margin(places: NDArray[np.float64], n: int, size: int) -> int:
    """Return by how many pixels an image must be extended for all positions to lie within it."""
    ends = np.array([[x, y, 1] for x in (0, size - 1) for y in (0, size - 1)])
    positions = places.reshape(-1, 2, 3) @ ends.T
    beyond = max(-positions.min(), positions.max() - (n - 1), 0.0)
    return int(np.ceil(beyond)) + _SUPPORT


def _repeated(move: InPlaneMove, channels: int) -> InPlaneMove:
    if channels == 1:
        return move
    return InPlaneMove(
        np.repeat(move.angle_deg, channels),
        np.repeat(move.shift_px, channels, axis=0),
        np.repeat(move.scale, channels),
        np.repeat(move.mirrored, channels),
    )


def _coefficients(images: Tensor, band: float, oversampling: int) -> Tensor:
    """Return the spline coefficients `(B, k, k)` of images, on the grid of `_analysis_matrix`."""
    matrix = _analysis_matrix(images.shape[-1], band, oversampling).to(images)
    # Mixed precision would round images to half floats here.
    with torch.autocast(images.device.type, enabled=False):
        return matrix @ images @ matrix.T


@lru_cache(maxsize=8)
def _analysis_matrix(n: int, band: float, oversampling: int) -> Tensor:
    """Return the `(k, n)` matrix from pixels to spline coefficients along one axis, float64.

    The image is cut to the share `band` of its frequencies, of which one at the very edge counts
    half, and sampled by its Fourier series on a grid that has `band` x `oversampling` points a
    pixel, point k // 2 on pixel n // 2, and k points, as many as fit into the image.
    """
    density = band * oversampling
    k = max(2, int(n * density))
    spline = np.diag(np.full(k, 2 / 3)) + np.diag(np.full(k - 1, 1 / 6), 1)
    spline += np.diag(np.full(k - 1, 1 / 6), -1)
    spline[0, 1] = spline[-1, -2] = 1 / 3  # the point beyond the edge is the one within it
    inverse = np.linalg.inv(spline)
    if density == 1 and band == 1:
        return torch.from_numpy(inverse)
    positions = (np.arange(k) - k // 2) / density + n // 2
    distance = positions[:, None] - np.arange(n)
    highest = n * band / 2
    kernel = np.ones((k, n))
    for wave in range(1, int(highest) + 1):
        share = 1.0 if wave == highest else 2.0
        kernel += share * np.cos(2 * np.pi * wave / n * distance)
    return torch.from_numpy(inverse @ kernel / n)


def _sampled(coefficients: Tensor, places: NDArray[np.float64], margin: int, size: int) -> Tensor:
    """Return the splines `(B, size, size)` at the lattices `places`, which count from the margin.

    The twin of `cesped.physics.spline_kernel.fill_warped`, for every device and type.
    """
    count, n = coefficients.shape[:2]
    device, dtype = coefficients.device, coefficients.dtype
    period = 2 * n - 2
    reflected = torch.arange(-margin, n + margin, device=device).abs() % period
    reflected = torch.where(reflected >= n, period - reflected, reflected)
    flat = coefficients[:, reflected[:, None], reflected].reshape(count, -1)
    stride = len(reflected)
    # Positions in float64: in float32 their fraction would be wrong in the fifth digit.
    parts = torch.from_numpy(places).to(device)[:, :, None, None]
    axis = torch.arange(size, device=device, dtype=torch.float64)
    at_x = (parts[:, 1] * axis[:, None] + parts[:, 2]) + parts[:, 0] * axis
    at_y = (parts[:, 4] * axis[:, None] + parts[:, 5]) + parts[:, 3] * axis
    column, row = at_x.floor(), at_y.floor()
    weights_x = _spline_weights((at_x - column).to(dtype))
    weights_y = _spline_weights((at_y - row).to(dtype))
    corner = ((row - 1) * stride + column - 1).long().reshape(count, -1)
    result = torch.zeros_like(at_x, dtype=dtype)
    for i, weight_x in enumerate(weights_x):
        total = torch.zeros_like(result)
        for j, weight_y in enumerate(weights_y):
            total += weight_y * flat.gather(1, corner + (j * stride + i)).view_as(result)
        result += weight_x * total
    return result


def _spline_weights(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the cubic B-spline at distances 1 + t, t, 1 - t and 2 - t."""
    s = 1 - t
    return s**3 / 6, 2 / 3 + t * t * (t / 2 - 1), 2 / 3 + s * s * (s / 2 - 1), t**3 / 6
