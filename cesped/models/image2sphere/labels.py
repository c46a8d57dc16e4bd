"""What the distribution over the grid should be for a known pose."""

import numpy as np
import torch

from ...geometry.grids import So3Grid
from ...geometry.symmetry import PointGroup


def nearest_nodes(rotations: torch.Tensor, group: PointGroup, grid: So3Grid) -> torch.Tensor:
    """Return the nodes `(B, G)` nearest to the poses `g R` that symmetry makes equal.

    Parameters
    ----------
    rotations : `(B, 3, 3)` true poses
    group : the `G` operators of the particle's symmetry
    grid : the grid whose nodes are the classes
    """
    # in float64 and made orthonormal again: float32 poses are off by 1e-7
    poses = rotations.detach().to("cpu", torch.float64).numpy()
    equal = np.einsum("gij,bjk->bgik", group.operators, poses)
    nodes = grid.nearest(equal.reshape(-1, 3, 3)).reshape(equal.shape[:2])
    return torch.from_numpy(nodes).to(rotations.device)


def spread_labels(
    rotations: torch.Tensor, group: PointGroup, nodes: torch.Tensor, width_deg: float
) -> torch.Tensor:
    """Return probabilities `(B, N)` that fall off with the distance from the equal poses `g R`.

    Unlike the nearest node, they tell where between the nodes a pose lies, so that a mean over
    the predicted distribution can be finer than the grid.

    Parameters
    ----------
    rotations : `(B, 3, 3)` true poses
    group : the `G` operators of the particle's symmetry
    nodes : `(N, 3, 3)` rotations of the grid
    width_deg : standard deviation about each axis [degrees]

    Notes
    -----
    An isotropic matrix Fisher density, exp(k (cos(angle) - 1)) with k = 1 / width^2.
    """
    concentration = float(np.radians(width_deg)) ** -2
    flat_nodes = nodes.reshape(len(nodes), 9).T
    total = rotations.new_zeros(len(rotations), len(nodes))
    for operator in torch.from_numpy(group.operators.copy()).to(rotations):
        trace = (operator @ rotations).reshape(-1, 9) @ flat_nodes
        density = torch.exp((trace - 3.0) * (concentration / 2.0))
        total += density / density.sum(dim=1, keepdim=True)
    return total / group.order
