"""A density from atoms: one Gaussian for each, as wide as the resolution asks for."""

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from ..errors import GeometryError, OptionError
from .threads import run_in_chunks

#: A Gaussian is cut off at this many standard deviations: 4e-6 of its peak.
_CUT_SIGMAS = 5.0


def gaussian_sigma_angst(resolution_angst: float) -> float:
    """Return the standard deviation of the Gaussian that stands for an atom [angstrom].

    Its transform falls to 1/e at the frequency 1 / resolution, which is sigma =
    resolution / (pi sqrt 2).

    Examples
    --------
    >>> round(gaussian_sigma_angst(8.0), 4)
    1.8006
    """
    return float(resolution_angst / (np.pi * np.sqrt(2.0)))


def density_from_atoms(
    positions_angst: ArrayLike,
    weights: ArrayLike,
    box: int,
    voxel_size_angst: float,
    resolution_angst: float,
    *,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Return the density of atoms on a grid of voxels.

    Parameters
    ----------
    positions_angst : `(A, 3)` [angstrom]
        x, y, z relative to the origin voxel `box // 2`. What lies outside the box is left out.
    weights : `(A,)`
        Integral of each atom's density, for instance its number of electrons.
    box : int
        Voxels along each axis.
    voxel_size_angst : float [angstrom]
    resolution_angst : float [angstrom]
        At least two voxels: see `gaussian_sigma_angst`.
    threads : int, optional
        Most threads to use; `torch.get_num_threads()` when not given.

    Returns
    -------
    `(box, box, box)` float32, `[z, y, x]`, weight per cubic angstrom

    Raises
    ------
    GeometryError
        If positions and weights do not fit each other or are not finite.
    OptionError
        If the resolution is finer than the voxels can carry, or a size is not positive.
    """
    positions = np.ascontiguousarray(positions_angst, dtype=np.float64)
    amounts = np.ascontiguousarray(weights, dtype=np.float64)
    if positions.ndim != 2 or positions.shape[1] != 3 or amounts.shape != positions.shape[:1]:
        raise GeometryError(
            f"positions {positions.shape} and weights {amounts.shape}; (A, 3) and (A,) are needed"
        )
    bad = ~(np.isfinite(positions).all(axis=1) & np.isfinite(amounts))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise GeometryError(f"atom {row + 1} of {len(bad)} has a position or weight not finite")
    if box < 1 or not voxel_size_angst > 0:
        raise OptionError(f"box {box} of {voxel_size_angst} A voxels; both must be positive")
    if not resolution_angst >= 2 * voxel_size_angst:
        raise OptionError(
            f"resolution {resolution_angst} A on voxels of {voxel_size_angst} A; "
            f"use at least {2 * voxel_size_angst} A, or smaller voxels"
        )
    sigma_px = gaussian_sigma_angst(resolution_angst) / voxel_size_angst
    amounts = amounts / ((2 * np.pi) ** 1.5 * (sigma_px * voxel_size_angst) ** 3)
    centres_px = positions / voxel_size_angst + box // 2
    volume = np.zeros((box, box, box), np.float32)
    run_in_chunks(
        lambda start, stop: _add_gaussians(centres_px, amounts, sigma_px, start, stop, volume),
        box,
        threads,
    )
    return volume


@njit(nogil=True, cache=True)
def _add_gaussians(
    centres_px: np.ndarray,
    amounts: np.ndarray,
    sigma_px: float,
    z_start: int,
    z_stop: int,
    volume: np.ndarray,
) -> None:  # pragma: no cover - compiled
    """Add every atom to the planes `z_start` to `z_stop`, which belong to this caller alone."""
    n = volume.shape[0]
    reach = _CUT_SIGMAS * sigma_px
    factor = -0.5 / (sigma_px * sigma_px)
    along_x = np.empty(n, np.float32)
    for atom in range(centres_px.shape[0]):
        x, y, z = centres_px[atom]
        z_low = max(z_start, int(np.ceil(z - reach)))
        z_high = min(z_stop - 1, int(np.floor(z + reach)))
        if z_low > z_high:
            continue
        x_low = max(0, int(np.ceil(x - reach)))
        x_high = min(n - 1, int(np.floor(x + reach)))
        y_low = max(0, int(np.ceil(y - reach)))
        y_high = min(n - 1, int(np.floor(y + reach)))
        for i in range(x_low, x_high + 1):
            along_x[i] = np.exp(factor * (i - x) ** 2)
        for k in range(z_low, z_high + 1):
            along_z = amounts[atom] * np.exp(factor * (k - z) ** 2)
            for j in range(y_low, y_high + 1):
                plane_value = np.float32(along_z * np.exp(factor * (j - y) ** 2))
                for i in range(x_low, x_high + 1):
                    volume[k, j, i] += plane_value * along_x[i]
