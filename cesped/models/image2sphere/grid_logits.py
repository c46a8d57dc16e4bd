"""Logits on the SO(3) grid from harmonics: a series per direction, then the in-plane turn.

The grid is a product of directions and in-plane angles, so its (coefficients x rotations) table
never exists: at order 4 and l_max 8 it would have 286 million entries, these have 12 million,
and 35 times fewer multiplications are done.
"""

from typing import cast

import numpy as np
import torch
from torch import nn

from ...geometry.grids import So3Grid
from .harmonics import orders, small_wigner, so3_index, turn_about_z


class GridLogits(nn.Module):
    """Values at all nodes of a grid of the signal sum of sqrt(2 l + 1) F^l_mn D^l_mn(R^-1).

    The inverse is there because a network sees the particle turned towards the camera: turning
    the image by A takes R to R A^-1, hence R^-1 to A R^-1, and F to D(A) F.

    Parameters
    ----------
    l_max : highest degree
    grid : `So3Grid`; its node (direction, in-plane) is Rz(rot) Ry(tilt) Rz(psi)
    """

    def __init__(self, l_max: int, grid: So3Grid) -> None:
        super().__init__()
        self.l_max = l_max
        angles = torch.from_numpy(np.radians(grid.direction_angles_deg()))
        tables = _direction_tables(l_max, angles[:, 0], angles[:, 1])
        for m, (index, table) in enumerate(tables):
            self.register_buffer(f"index_{m}", index, persistent=False)
            self.register_buffer(f"table_{m}", table.to(torch.float32), persistent=False)
        psi = torch.from_numpy(np.radians(grid.inplane_deg()))
        phase = torch.arange(l_max + 1)[:, None] * psi
        waves = torch.cat([torch.cos(phase), torch.sin(phase)])
        self.register_buffer("waves", waves.to(torch.float32), persistent=False)

    def forward(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Return `(B, directions, in-plane angles)` logits of `(coefficients, B)` signals."""
        parts = [
            coefficients.index_select(0, cast(torch.Tensor, getattr(self, f"index_{m}"))).T
            @ cast(torch.Tensor, getattr(self, f"table_{m}"))
            for m in range(self.l_max + 1)
        ]
        series = torch.stack(parts, dim=1)  # (B, m, 2 directions): cosines, then sines
        batch = series.shape[0]
        series = series.view(batch, self.l_max + 1, 2, -1).permute(0, 3, 2, 1)
        series = series.reshape(batch, -1, 2 * (self.l_max + 1))
        return series @ cast(torch.Tensor, self.waves)


def _direction_tables(
    l_max: int, rot_rad: torch.Tensor, tilt_rad: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return for each order m >= 0 the coefficients used and their `(terms, 2 directions)` table.

    D^l_mn(R^-1) = D^l_nm(R), and with W = D(rot, tilt, 0) that is
    W_nm cos(m psi) + W_n-m sin(m psi), for negative m as well.
    """
    indices: list[list[int]] = [[] for _ in range(l_max + 1)]
    columns: list[list[torch.Tensor]] = [[] for _ in range(l_max + 1)]
    for degree in range(l_max + 1):
        w = turn_about_z(degree, rot_rad) @ small_wigner(degree, tilt_rad)
        w = w * (2 * degree + 1) ** 0.5
        for m in orders(degree).tolist():
            sign = 1.0 if m >= 0 else -1.0
            for n in orders(degree).tolist():
                indices[abs(m)].append(so3_index(degree, m, n))
                cosine = w[:, n + degree, m + degree]
                sine = sign * w[:, n + degree, -m + degree]
                columns[abs(m)].append(torch.cat([cosine, sine]))
    return [
        (torch.tensor(index), torch.stack(column))
        for index, column in zip(indices, columns, strict=True)
    ]
