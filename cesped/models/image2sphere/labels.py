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
