"""Convolutions on the sphere and on SO(3), with filters given by values at points.

A signal on the sphere convolved with a filter on the sphere is a signal on SO(3); in harmonics it
is an outer product per degree, and on SO(3) a matrix product per degree (Cohen et al., ICLR 2018).
Signals on SO(3) are laid out as `(coefficients, batch x features)`; turning the image acts on the
first order m of a coefficient (l, m, n), and the filters on the second, n: they commute.
"""

from typing import cast

import numpy as np
import torch
from torch import nn

from .harmonics import FloatArray, so3_slices, sphere_harmonics, sphere_slices, wigner_matrices


class SphereConvolution(nn.Module):
    """From signals on the sphere to signals on SO(3), with filters on the whole sphere.

    Parameters
    ----------
    features_in, features_out : number of signals
    l_max : highest degree
    support : `(n, 3)` unit vectors at which the filters have their values
    """

    def __init__(
        self, features_in: int, features_out: int, l_max: int, support: FloatArray
    ) -> None:
        super().__init__()
        self.l_max = l_max
        self.features_out = features_out
        self.weight = nn.Parameter(torch.randn(features_in, features_out, len(support)))
        basis = sphere_harmonics(support, l_max) / len(support) ** 0.5
        self.register_buffer("basis", basis.to(torch.float32), persistent=False)
        self.scale = (features_in * (l_max + 1)) ** -0.5

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        """Return `(coefficients, B x features_out)` from `(B, features_in, (l_max + 1)^2)`."""
        batch = signals.shape[0]
        filters = self.weight @ (cast(torch.Tensor, self.basis) * self.scale)  # (i, o, l n)
        outputs = []
        for degree, part in enumerate(sphere_slices(self.l_max)):
            width = 2 * degree + 1
            kernel = filters[:, :, part].transpose(1, 2).reshape(filters.shape[0], -1)  # (i, n o)
            rows = signals[:, :, part].permute(2, 0, 1) @ kernel  # (m, B, n o)
            rows = rows.view(width, batch, width, self.features_out).transpose(1, 2)
            outputs.append(rows.reshape(width * width, -1))
        return torch.cat(outputs)


class So3Convolution(nn.Module):
    """From signals on SO(3) to signals on SO(3), with filters near the identity.

    Parameters
    ----------
    features_in, features_out : number of signals
    l_max : highest degree
    support_deg : `(n, 3)` rot, tilt, psi [degrees] at which the filters have their values
    """

    def __init__(
        self, features_in: int, features_out: int, l_max: int, support_deg: FloatArray
    ) -> None:
        super().__init__()
        self.l_max = l_max
        self.features_in = features_in
        self.features_out = features_out
        self.weight = nn.Parameter(torch.randn(features_in, features_out, len(support_deg)))
        basis = torch.cat(
            [
                matrices.flatten(1) * (2 * degree + 1) ** 0.5
                for degree, matrices in enumerate(wigner_matrices(l_max, support_deg))
            ],
            dim=1,
        )
        basis /= len(support_deg) ** 0.5
        self.register_buffer("basis", basis.to(torch.float32), persistent=False)
        self.scale = features_in**-0.5

    def forward(self, signals: torch.Tensor) -> torch.Tensor:
        """Return `(coefficients, B x features_out)` from `(coefficients, B x features_in)`."""
        filters = self.weight @ (cast(torch.Tensor, self.basis) * self.scale)  # (i, o, l k n)
        outputs = []
        for degree, part in enumerate(so3_slices(self.l_max)):
            width = 2 * degree + 1
            kernel = filters[:, :, part].view(self.features_in, self.features_out, width, width)
            kernel = kernel.permute(2, 0, 3, 1).reshape(width * self.features_in, -1)  # (k i, n o)
            kernel = kernel * width**-0.5
            rows = signals[part].view(width, width, -1, self.features_in).transpose(1, 2)
            rows = rows.reshape(-1, width * self.features_in) @ kernel  # (m B, n o)
            rows = rows.view(width, -1, width, self.features_out).transpose(1, 2)
            outputs.append(rows.reshape(width * width, -1))
        return torch.cat(outputs)


def near_identity_deg(
    max_tilt_deg: float = 22.5, n_rot: int = 8, n_tilt: int = 3, n_inplane: int = 8
) -> FloatArray:
    """Return `(n, 3)` Euler angles [degrees] of rotations that tilt little and turn freely.

    The defaults are the paper's local support (max_beta pi/8, max_gamma 2 pi, 8 and 3 steps). The
    third angle is counted from minus the first, so that all turns start from the identity.
    """
    rot = np.arange(n_rot) * (360.0 / n_rot)
    tilt = np.arange(1, n_tilt + 1) * (max_tilt_deg / n_tilt)
    turn = np.arange(n_inplane) * (360.0 / n_inplane)
    rots, tilts, turns = np.meshgrid(rot, tilt, turn, indexing="ij")
    angles = np.stack([rots, tilts, turns - rots], axis=-1)
    return angles.reshape(-1, 3)
