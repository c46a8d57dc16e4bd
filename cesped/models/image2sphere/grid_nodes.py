"""The nodes of the grid as rotations, and which of them stand for all that symmetry makes equal."""

import numpy as np
import torch
from torch import nn

from ...geometry.euler import euler_to_rotation
from ...geometry.grids import So3Grid
from ...geometry.symmetry import PointGroup

#: Nodes that turn as little as an equal one, up to this in the trace, belong to the domain both.
_TIE = 1e-6

#: Traces held at a time while the domain is found.
_BLOCK = 1 << 21


class GridNodes(nn.Module):
    """Rotations of nodes, made when asked for, and the fundamental domain of a symmetry.

    Parameters
    ----------
    grid : the nodes
    group : of the particle; of the poses g R that it makes equal, those nodes are in the domain
        that turn least
    """

    frames: torch.Tensor
    cosine: torch.Tensor
    sine: torch.Tensor
    domain: torch.Tensor
    operators: torch.Tensor

    def __init__(self, grid: So3Grid, group: PointGroup) -> None:
        super().__init__()
        self.grid = grid
        self.order = group.order
        angles = np.column_stack([grid.direction_angles_deg(), np.zeros(grid.n_directions)])
        frames = euler_to_rotation(angles)
        psi = np.radians(grid.inplane_deg())
        domain = _domain(frames, psi, group.operators)
        self.register_buffer("frames", _single(frames), persistent=False)
        self.register_buffer("cosine", _single(np.cos(psi)), persistent=False)
        self.register_buffer("sine", _single(np.sin(psi)), persistent=False)
        self.register_buffer("domain", torch.from_numpy(domain), persistent=False)
        self.register_buffer("operators", _single(group.operators), persistent=False)

    def rotations(self, nodes: torch.Tensor) -> torch.Tensor:
        """Return the rotations `(..., 3, 3)` of `(...)` nodes."""
        direction = nodes.div(self.grid.n_inplane, rounding_mode="floor")
        inplane = nodes % self.grid.n_inplane
        frames = self.frames[direction]
        cosine = self.cosine[inplane][..., None]
        sine = self.sine[inplane][..., None]
        x, y, z = frames.unbind(dim=-1)
        return torch.stack([x * cosine + y * sine, y * cosine - x * sine, z], dim=-1)


def _domain(frames: np.ndarray, psi_rad: np.ndarray, operators: np.ndarray) -> np.ndarray:
    """Return `(directions, in-plane)` booleans.

    The trace of g' Rz(rot) Ry(tilt) Rz(psi) is a cosine of psi, so no rotation is formed.
    """
    inside = np.ones((len(frames), len(psi_rad)), dtype=bool)
    if len(operators) == 1:
        return inside
    waves = np.stack([np.cos(psi_rad), np.sin(psi_rad), np.ones_like(psi_rad)])
    step = max(1, _BLOCK // len(psi_rad))
    for start in range(0, len(frames), step):
        block = frames[start : start + step]
        own = _trace_waves(block) @ waves + _TIE
        for operator in operators[1:]:
            inside[start : start + step] &= own >= _trace_waves(operator.T @ block) @ waves
    return inside


def _trace_waves(matrices: np.ndarray) -> np.ndarray:
    """Return `(n, 3)`: how the trace of M Rz(psi) goes with cos psi, sin psi, and 1."""
    return np.stack(
        [
            matrices[:, 0, 0] + matrices[:, 1, 1],
            matrices[:, 0, 1] - matrices[:, 1, 0],
            matrices[:, 2, 2],
        ],
        axis=1,
    )


def _single(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
