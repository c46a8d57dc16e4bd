"""The density of a molecule from its atoms: form factors of their elements on a grid of voxels."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from ..errors import GeometryError, OptionError
from ..vocabulary import Scattering
from .density import density_from_atoms, gaussian_sigma_angst
from .threads import run_in_chunks

#: A Gaussian is cut off at this many standard deviations: 4e-6 of its peak.
_CUT_SIGMAS = 5.0
#: h^2 / (2 pi m e) [volt angstrom^2]: the potential of a unit of electron form factor.
VOLT_ANGST2 = 47.87801
#: Smallest and largest voxel that is chosen for a structure [angstrom] (CryoFastAR, section 5).
VOXEL_RANGE_ANGST = (1.0, 10.0)


def electron_form_factors(
    atomic_numbers: ArrayLike,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the Gaussians that electron form factors of elements are sums of.

    Parameters
    ----------
    atomic_numbers : `(E,)` of neutral atoms, 1 to 98

    Returns
    -------
    a, b : `(E, 5)` each: f(s) = sum of a exp(-b s^2 / 4) [angstrom] at the frequency s
        [1 / angstrom]

    Raises
    ------
    OptionError
        If an element has no form factor.

    Notes
    -----
    International Tables for Crystallography C, table 4.3.2.2 (Peng et al. 1996), as gemmi has it.
    """
    import gemmi

    tables = []
    for number in np.atleast_1d(np.asarray(atomic_numbers)):
        coefficients = gemmi.Element(int(number)).c4322
        if coefficients is None or not np.any(coefficients.get_coefs()):
            raise OptionError(f"no electron form factor of element number {number} is known")
        tables.append(np.array(coefficients.get_coefs(), dtype=np.float64))
    table = np.array(tables).reshape(-1, 10)
    return table[:, :5], table[:, 5:]


def molecule_density(
    positions_angst: ArrayLike,
    atomic_numbers: ArrayLike,
    box: int,
    voxel_size_angst: float,
    resolution_angst: float,
    *,
    scattering: Scattering = Scattering.ELECTRON,
    occupancies: ArrayLike | None = None,
    threads: int | None = None,
) -> NDArray[np.float32]:
    """Return the density of a molecule, low-passed by a Gaussian.

    Parameters
    ----------
    positions_angst : `(A, 3)` x, y, z from the origin voxel `box // 2` [angstrom]. What lies
        outside the box is left out.
    atomic_numbers : `(A,)`
    box : voxels along each axis
    voxel_size_angst : [angstrom]
    resolution_angst : where the low-pass falls to 1/e; at least two voxels [angstrom]
    scattering : what an atom's density is
    occupancies : `(A,)` weights; 1 when None
    threads : most threads to use; `torch.get_num_threads()` when None

    Returns
    -------
    `(box, box, box)` float32 [z, y, x]: electrostatic potential [volt] from electron form factors,
    or electrons per cubic angstrom

    Raises
    ------
    GeometryError
        If positions and elements do not fit each other or are not finite.
    OptionError
        If the resolution is finer than the voxels can carry, a size is not positive, or an element
        has no form factor.

    Notes
    -----
    A term a exp(-b s^2 / 4) of a form factor is a Gaussian of variance b / (8 pi^2) in space, and
    the low-pass adds its own variance (see `gaussian_sigma_angst`). The atoms' B-factors are left
    out: they are the experiment's, and the resolution is chosen here.
    """
    positions = np.ascontiguousarray(positions_angst, dtype=np.float64)
    numbers = np.asarray(atomic_numbers, dtype=np.int64)
    weights = np.ones(len(numbers)) if occupancies is None else np.asarray(occupancies, np.float64)
    if numbers.ndim != 1 or weights.shape != numbers.shape:
        raise GeometryError(
            f"elements {numbers.shape} and occupancies {weights.shape}; (A,) each is needed"
        )
    if scattering is Scattering.ATOMIC_NUMBER:
        return density_from_atoms(
            positions, weights * numbers, box, voxel_size_angst, resolution_angst, threads=threads
        )
    # what is refused there is refused here: sizes, shapes, positions that are not finite
    density_from_atoms(
        positions[:0], weights[:0], box, voxel_size_angst, resolution_angst, threads=1
    )
    if positions.shape != (len(numbers), 3) or not np.isfinite(positions).all():
        raise GeometryError(
            f"positions {positions.shape} of {len(numbers)} atoms; finite (A, 3) are needed"
        )
    elements, kind = np.unique(numbers, return_inverse=True)
    a, b = electron_form_factors(elements)
    variance = gaussian_sigma_angst(resolution_angst) ** 2 + b / (8 * np.pi**2)
    peaks = VOLT_ANGST2 * a * (2 * np.pi * variance) ** -1.5
    sigmas_px = np.sqrt(variance) / voxel_size_angst
    centres_px = positions / voxel_size_angst + box // 2
    volume = np.zeros((box, box, box), np.float32)
    run_in_chunks(
        lambda start, stop: _add_atoms(
            centres_px, weights, kind.reshape(-1), peaks, sigmas_px, start, stop, volume
        ),
        box,
        threads,
    )
    return volume


def centre_of_scattering(
    positions_angst: ArrayLike, atomic_numbers: ArrayLike
) -> NDArray[np.float64]:
    """Return the mean position `(3,)` of atoms, weighted by their electrons [angstrom]."""
    weights = np.asarray(atomic_numbers, dtype=np.float64)
    return np.asarray(np.average(np.asarray(positions_angst, np.float64), axis=0, weights=weights))


def voxel_size_for(reach_angst: float, box: int, margin_px: float = 0.0) -> float:
    """Return the voxel size at which a molecule stays inside its box however it is turned.

    Parameters
    ----------
    reach_angst : distance of its farthest matter from the centre [angstrom]
    box : voxels along each axis
    margin_px : voxels kept free on each side, as for shifts

    Returns
    -------
    voxel size, rounded up to hundredths and no smaller than the least of `VOXEL_RANGE_ANGST`

    Raises
    ------
    OptionError
        If that leaves no voxel, or the voxels would be larger than the range allows.

    Examples
    --------
    >>> voxel_size_for(200.0, 128, margin_px=14)
    4.0
    """
    inner = box - 2 * margin_px
    if not inner > 0:
        raise OptionError(f"a margin of {margin_px:g} px leaves nothing of a box of {box}")
    least, most = VOXEL_RANGE_ANGST
    size = max(least, float(np.ceil(round(200 * reach_angst / inner, 6))) / 100)
    if size > most:
        raise OptionError(
            f"a molecule that reaches {reach_angst:.0f} A from its centre needs voxels of "
            f"{size:g} A in a box of {box}; use a larger box, or name the pixel size"
        )
    return size


@njit(nogil=True, cache=True)
def _add_atoms(
    centres_px: np.ndarray,
    weights: np.ndarray,
    kind: np.ndarray,
    peaks: np.ndarray,
    sigmas_px: np.ndarray,
    z_start: int,
    z_stop: int,
    volume: np.ndarray,
) -> None:  # pragma: no cover - compiled
    """Add every atom to the planes `z_start` to `z_stop`, which belong to this caller alone."""
    n = volume.shape[0]
    along_x = np.empty(n, np.float32)
    for atom in range(centres_px.shape[0]):
        x, y, z = centres_px[atom]
        for term in range(peaks.shape[1]):
            sigma = sigmas_px[kind[atom], term]
            reach = _CUT_SIGMAS * sigma
            z_low = max(z_start, int(np.ceil(z - reach)))
            z_high = min(z_stop - 1, int(np.floor(z + reach)))
            if z_low > z_high:
                continue
            factor = -0.5 / (sigma * sigma)
            amount = weights[atom] * peaks[kind[atom], term]
            x_low = max(0, int(np.ceil(x - reach)))
            x_high = min(n - 1, int(np.floor(x + reach)))
            y_low = max(0, int(np.ceil(y - reach)))
            y_high = min(n - 1, int(np.floor(y + reach)))
            for i in range(x_low, x_high + 1):
                along_x[i] = np.exp(factor * (i - x) ** 2)
            for k in range(z_low, z_high + 1):
                along_z = amount * np.exp(factor * (k - z) ** 2)
                for j in range(y_low, y_high + 1):
                    value = np.float32(along_z * np.exp(factor * (j - y) ** 2))
                    for i in range(x_low, x_high + 1):
                        volume[k, j, i] += value * along_x[i]
