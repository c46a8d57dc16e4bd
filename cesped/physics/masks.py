"""Soft masks for maps and the background of images."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import GeometryError, OptionError


def soft_sphere(n: int, radius_px: float, edge_px: float) -> NDArray[np.float32]:
    """Return a sphere about the origin voxel with a cosine edge.

    Parameters
    ----------
    n : int
        Box size [voxel].
    radius_px : float
        The mask is 1 up to here [voxel].
    edge_px : float
        Width over which it falls to 0 [voxel]; 0 for a hard sphere.

    Returns
    -------
    `(n, n, n)` float32
    """
    return _cosine_edge(np.sqrt(_squared_radius(n, 3)) - radius_px, edge_px)


def spherical_background(n: int, radius_px: float) -> NDArray[np.bool_]:
    """Return where an image shows background: farther than `radius_px` from the origin pixel.

    Returns
    -------
    `(n, n)` bool

    Raises
    ------
    OptionError
        If no pixel is left outside the radius.
    """
    background = _squared_radius(n, 2) > radius_px**2
    if not background.any():
        raise OptionError(
            f"a radius of {radius_px} pixels leaves no background in a {n} pixel image; "
            f"use less than {n / 2:g}"
        )
    return np.asarray(background)


def corner_background(n: int) -> NDArray[np.bool_]:
    """Return the four corners of an image: the largest squares outside its inscribed circle.

    Returns
    -------
    `(n, n)` bool

    Raises
    ------
    OptionError
        If the image is too small to have such corners.
    """
    circle = spherical_background(n, n // 2)
    # all four must be free: with even n the circle is nearer to the last pixels
    side = int(np.argmin([*(circle[n - 1 - k, n - 1 - k] and circle[k, k] for k in range(n))]))
    if side == 0:
        raise OptionError(f"images of {n} pixels have no corners outside their inscribed circle")
    corners = np.zeros((n, n), dtype=np.bool_)
    for rows in (slice(0, side), slice(n - side, n)):
        corners[rows, :side] = corners[rows, n - side :] = True
    return corners


def mask_from_density(
    volume: ArrayLike,
    *,
    threshold: float | None = None,
    quantile: float = 0.95,
    extend_px: float = 3.0,
    edge_px: float = 5.0,
) -> NDArray[np.float32]:
    """Return a soft mask around the dense part of a map.

    Parameters
    ----------
    volume : `(N, N, N)` real array
    threshold : float, optional
        Density above which a voxel belongs to the particle.
    quantile : float
        Used when there is no threshold: the share of voxels that lie below it.
    extend_px : float
        The mask stays 1 up to this distance from such a voxel [voxel].
    edge_px : float
        Width of the cosine edge outside of that [voxel].

    Returns
    -------
    `(N, N, N)` float32 between 0 and 1

    Raises
    ------
    GeometryError
        If `volume` is not three-dimensional.
    OptionError
        If no voxel, or every voxel, is above the threshold.
    """
    from scipy.ndimage import distance_transform_edt

    density = np.asarray(volume)
    if density.ndim != 3:
        raise GeometryError(f"a map has shape {density.shape}; (N, N, N) is needed")
    level = float(np.quantile(density, quantile)) if threshold is None else float(threshold)
    inside = density > level
    if not inside.any() or inside.all():
        found = "no voxel is" if not inside.any() else "all voxels are"
        raise OptionError(
            f"{found} above the density {level:g}; choose a threshold between "
            f"{density.min():g} and {density.max():g}"
        )
    mask = np.zeros(density.shape, np.float32)
    reach = int(np.ceil(extend_px + edge_px)) + 1
    window = tuple(
        slice(max(0, int(found.min()) - reach), int(found.max()) + reach + 1)
        for found in np.nonzero(inside)
    )  # distances elsewhere do not matter, and cost time
    distance = distance_transform_edt(~inside[window])
    mask[window] = _cosine_edge(distance - extend_px, edge_px)
    return mask


def _squared_radius(n: int, dimensions: int) -> NDArray[np.float64]:
    """Return squared distances from the origin voxel `n // 2`, `(n,) * dimensions`."""
    squares = (np.arange(n, dtype=np.float64) - n // 2) ** 2
    total = squares
    for _ in range(dimensions - 1):
        total = total[..., None] + squares
    return total


def _cosine_edge(excess_px: NDArray[np.float64], edge_px: float) -> NDArray[np.float32]:
    """Return 1 where `excess_px` <= 0, 0 from `edge_px` on, and half a cosine in between."""
    if edge_px < 0:
        raise OptionError(f"an edge of {edge_px} voxels was given; it cannot be negative")
    if edge_px == 0:
        return (excess_px <= 0).astype(np.float32)
    phase = np.clip(excess_px / edge_px, 0.0, 1.0)
    return (0.5 + 0.5 * np.cos(np.pi * phase)).astype(np.float32)
