"""Spherical harmonics and Wigner matrices in the package's axes: the only importer of e3nn.

e3nn's polar axis is its y, and its Euler angles are Y-X-Y. Naming our axes cyclically,
(X, Y, Z) of e3nn = (y, z, x) of ours, turns Rz(rot) Ry(tilt) Rz(psi) of ours into
Ry(rot) Rx(tilt) Ry(psi) of e3nn: our RELION angles are e3nn's (alpha, beta, gamma) as they stand.

Everything here is real and in float64; signals on SO(3) use the orthonormal basis
`sqrt(2 l + 1) D^l_mn`, signals on the sphere one of mean square 1 (e3nn's "component").
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def orders(degree: int) -> torch.Tensor:
    """Return the orders m = -l .. l of one degree, in the order of rows and columns here."""
    return torch.arange(-degree, degree + 1)


def sphere_harmonics(directions: FloatArray, l_max: int) -> torch.Tensor:
    """Return real harmonics `(n, (l_max + 1)^2)` at unit vectors `(n, 3)` (x, y, z).

    The mean over the sphere of the product of two of them is 1 or 0.
    """
    from e3nn import o3

    turned = torch.from_numpy(np.ascontiguousarray(directions[:, [1, 2, 0]]))
    degrees = list(range(l_max + 1))
    values: torch.Tensor = o3.spherical_harmonics(
        degrees, turned, normalize=False, normalization="component"
    )
    return values


def turn_about_z(degree: int, angle_rad: torch.Tensor) -> torch.Tensor:
    """Return D^l of turns about z, `(n, 2l + 1, 2l + 1)`: cosines, and sines across.

    `Z[m, m] = cos(m a)` and `Z[m, -m] = -sin(m a)`.
    """
    m = orders(degree).to(torch.float64)
    phase = angle_rad[:, None].to(torch.float64) * m
    diagonal = torch.diag_embed(torch.cos(phase))
    return diagonal - torch.diag_embed(torch.sin(phase)).flip(-1)


def small_wigner(degree: int, tilt_rad: torch.Tensor) -> torch.Tensor:
    """Return D^l of turns about y, `(n, 2l + 1, 2l + 1)`.

    Entries between a cosine (m >= 0) and a sine (m < 0) vanish.
    """
    from e3nn import o3

    tilt = tilt_rad.to(torch.float64)
    unique, place = torch.unique(tilt, return_inverse=True)
    zero = torch.zeros_like(unique)
    matrices: torch.Tensor = o3.wigner_D(degree, zero, unique, zero)
    return matrices[place]


def wigner_matrices(l_max: int, angles_deg: FloatArray) -> list[torch.Tensor]:
    """Return D^l of `(n, 3)` rot, tilt, psi [degrees], `(n, 2l + 1, 2l + 1)` for l = 0 .. l_max."""
    rot, tilt, psi = torch.from_numpy(np.radians(angles_deg)).T
    return [
        turn_about_z(degree, rot) @ small_wigner(degree, tilt) @ turn_about_z(degree, psi)
        for degree in range(l_max + 1)
    ]


def so3_size(l_max: int) -> int:
    """Return the number of coefficients of one signal on SO(3): the sum of (2 l + 1)^2."""
    return (l_max + 1) * (2 * l_max + 1) * (2 * l_max + 3) // 3


def so3_slices(l_max: int) -> list[slice]:
    """Return where each degree lies among the coefficients of a signal on SO(3)."""
    ends = np.cumsum([0] + [(2 * degree + 1) ** 2 for degree in range(l_max + 1)])
    return [slice(int(a), int(b)) for a, b in pairwise(ends)]


def sphere_slices(l_max: int) -> list[slice]:
    """Return where each degree lies among the coefficients of a signal on the sphere."""
    return [slice(degree**2, (degree + 1) ** 2) for degree in range(l_max + 1)]


def so3_index(degree: int, m: int, n: int) -> int:
    """Return the place of coefficient (l, m, n) among those of a signal on SO(3)."""
    before = so3_size(degree - 1) if degree else 0
    return before + (m + degree) * (2 * degree + 1) + n + degree


def group_means(l_max: int, angles_deg: FloatArray) -> Sequence[torch.Tensor]:
    """Return the mean of D^l over the operators of a group, `(2l + 1, 2l + 1)` per degree.

    It projects onto the harmonics that the group leaves as they are.
    """
    return [matrices.mean(dim=0) for matrices in wigner_matrices(l_max, angles_deg)]
