"""Signals on SO(3) at any rotation, on no grid: the sum over harmonics itself."""

from typing import cast

import numpy as np
import torch
from torch import nn

from .harmonics import so3_slices, wigner_matrices

#: Rz(90) Ry(90): it takes z to y, so that a turn about y is a turn about z seen from elsewhere.
_Z_TO_Y_DEG = np.array([[90.0, 90.0, 0.0]])


class RotationSeries(nn.Module):
    """The signal sum of sqrt(2 l + 1) F^l_mn D^l_mn(R^-1) at rotations R of one's choice.

    Parameters
    ----------
    l_max : highest degree
    """

    def __init__(self, l_max: int) -> None:
        super().__init__()
        self.l_max = l_max
        for degree, (matrix,) in enumerate(wigner_matrices(l_max, _Z_TO_Y_DEG)):
            self.register_buffer(f"tilt_{degree}", matrix.to(torch.float32), persistent=False)

    def forward(
        self,
        coefficients: torch.Tensor,
        rotations: torch.Tensor,
        factors: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the values `(B, K)` of `(coefficients, B)` signals at `(B, K, 3, 3)` rotations.

        Parameters
        ----------
        coefficients : of the signals
        rotations : those of each signal
        factors : `(l_max + 1,)`, of each degree; all one if not given
        """
        rot, tilt, psi = euler_angles_rad(rotations.to(coefficients.dtype))
        total = coefficients.new_zeros(rotations.shape[:2])
        for degree, part in enumerate(so3_slices(self.l_max)):
            width = 2 * degree + 1
            block = coefficients[part].view(width, width, -1)
            wigner = self._wigner(degree, rot, tilt, psi)  # (B, K, n, m)
            scale = width**0.5 * (1.0 if factors is None else factors[degree])
            total = total + scale * torch.einsum("mnb,bknm->bk", block, wigner)
        return total

    def _wigner(
        self, degree: int, rot: torch.Tensor, tilt: torch.Tensor, psi: torch.Tensor
    ) -> torch.Tensor:
        """Return D^l, `(..., 2l + 1, 2l + 1)`, of turns with the angles `(...)` [radians].

        A turn about z multiplies by cosines, and by sines what has the opposite order.
        """
        matrix = cast(torch.Tensor, getattr(self, f"tilt_{degree}")).to(rot.dtype)
        m = _orders(degree, rot)
        phases = tilt[..., None, None] * m
        middle = (matrix * torch.cos(phases)) @ matrix.T
        middle = middle - (matrix * torch.sin(phases)) @ matrix.T.flip(0)
        phases = rot[..., None, None] * m[:, None]
        middle = torch.cos(phases) * middle - torch.sin(phases) * middle.flip(-2)
        phases = psi[..., None, None] * m
        return torch.cos(phases) * middle + torch.sin(phases) * middle.flip(-1)


def turned_about_z(coefficients: torch.Tensor, l_max: int, angle_rad: float) -> torch.Tensor:
    """Return D(Rz(angle)) F, what becomes of `(coefficients, B)` if the image turns by Rz(angle).

    The poses that the signal speaks of go from R to R Rz(-angle).
    """
    parts = []
    for degree, part in enumerate(so3_slices(l_max)):
        width = 2 * degree + 1
        block = coefficients[part].view(width, -1)
        phase = (_orders(degree, coefficients) * angle_rad)[:, None]
        turned = torch.cos(phase) * block - torch.sin(phase) * block.flip(0)
        parts.append(turned.view(width * width, -1))
    return torch.cat(parts)


def _orders(degree: int, like: torch.Tensor) -> torch.Tensor:
    return torch.arange(-degree, degree + 1, dtype=like.dtype, device=like.device)


def euler_angles_rad(
    rotations: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return rot, tilt, psi `(...)` [radians] of `(..., 3, 3)` rotations Rz(rot) Ry(tilt) Rz(psi).

    Exact at the poles as well, where only the sum of rot and psi, or their difference, means
    something.
    """
    rot = torch.atan2(rotations[..., 1, 2], rotations[..., 0, 2])
    sine = torch.hypot(rotations[..., 0, 2], rotations[..., 1, 2])
    tilt = torch.atan2(sine, rotations[..., 2, 2])
    middle_row = torch.cos(rot)[..., None] * rotations[..., 1, :2]
    middle_row = middle_row - torch.sin(rot)[..., None] * rotations[..., 0, :2]
    psi = torch.atan2(middle_row[..., 0], middle_row[..., 1])
    return rot, tilt, psi


def label_factors(width_deg: float, l_max: int) -> torch.Tensor:
    """Return by how much each degree shrinks, `(l_max + 1,)`, in a mean around a rotation.

    The mean is weighted by an isotropic matrix Fisher density exp(k (cos(angle) - 1)) with
    k = 1 / width^2, whose standard deviation about each axis is `width_deg` [degrees]: the density
    of a soft label. The mean of a signal around R is then the signal with these factors, at R, and
    no node of any grid needs to be visited.

    Notes
    -----
    A density of the angle alone multiplies degree l by the mean of its character over 2 l + 1,
    sin((2 l + 1) angle / 2) / sin(angle / 2), with (1 - cos(angle)) / pi as the measure.
    """
    width_rad = np.radians(width_deg)
    reach_rad = min(np.pi, 12.0 * width_rad)
    angle = (np.arange(4096) + 0.5) * (reach_rad / 4096)
    density = np.exp((np.cos(angle) - 1.0) / width_rad**2) * (1.0 - np.cos(angle))
    density /= density.sum()
    characters = [
        np.sin((2 * degree + 1) * angle / 2) / ((2 * degree + 1) * np.sin(angle / 2))
        for degree in range(l_max + 1)
    ]
    return torch.tensor(np.array(characters) @ density, dtype=torch.float32)
