"""From a distribution over the grid to one rotation, finer than the grid, and a confidence."""

import numpy as np
import torch

from .grid_nodes import GridNodes

#: Averages taken: the neighbourhood of the second is centred on the first, not on a node.
_PASSES = 2


class PoseDecoder:
    """Decide on the pose with the least expected angular error, then average around it.

    Among the most probable nodes, the one whose mean distance to the others, weighted by their
    probability, is least wins: the Bayes decision for the mean angular error. The rotations near
    it are averaged by probability (projected arithmetic mean), which goes below the spacing of
    the grid.

    Of the poses that symmetry makes equal one is kept, the one that turns least, and distances are
    between classes of equal poses.

    Parameters
    ----------
    nodes : of the grid, with the particle's symmetry
    radius_deg : of the neighbourhood that is averaged [degrees]
    candidates : how many of the most probable nodes are compared
    """

    def __init__(self, nodes: GridNodes, radius_deg: float, candidates: int = 128) -> None:
        self.nodes = nodes
        self.radius_rad = float(np.radians(radius_deg))
        self.candidates = candidates

    def around_the_best(
        self, weights: torch.Tensor, rotations: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rotations `(B, 3, 3)`, and which nodes `(B, M)` they are averages of.

        Parameters
        ----------
        weights : `(B, M)` probabilities of nodes of the fundamental domain
        rotations : `(B, M, 3, 3)` of these nodes
        """
        angles = self._angles(rotations, rotations)  # (B, M, M)
        best = torch.einsum("bij,bj->bi", angles, weights).argmin(dim=1)
        centre = rotations[torch.arange(len(best), device=best.device), best]
        near = torch.ones_like(weights, dtype=torch.bool)
        for _ in range(_PASSES):
            near = self._angles(rotations, centre[:, None]).squeeze(2) < self.radius_rad
            centre = self.mean(weights * near, rotations, centre)
        return centre, near

    def mean(
        self, weights: torch.Tensor, rotations: torch.Tensor, centre: torch.Tensor
    ) -> torch.Tensor:
        """Return the weighted mean `(B, 3, 3)` of `(B, M, 3, 3)` rotations near `(B, 3, 3)` ones.

        Of each class of equal poses the one nearest to the centre is taken. Where all weights are
        0 the mean is the centre.
        """
        mean = torch.einsum("bm,bmij->bij", weights, self._towards(rotations, centre))
        scale = weights.sum(dim=1)[:, None, None].clamp(min=1e-30)
        return _nearest_rotations(mean / scale + 1e-6 * centre)

    def _angles(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Return the angles `(B, M, K)` [radians] between classes of equal poses."""
        flat = right.flatten(2).transpose(1, 2)
        largest = left.flatten(2) @ flat  # the first operator is the identity
        for operator in self.nodes.operators[1:]:
            largest = torch.maximum(largest, (operator @ left).flatten(2) @ flat)
        return torch.arccos(((largest - 1.0) / 2.0).clamp(-1.0, 1.0))

    def _towards(self, rotations: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
        """Return, for each of `(B, M, 3, 3)`, the equal pose nearest to `(B, 3, 3)` centres."""
        if self.nodes.order == 1:
            return rotations
        equal = torch.einsum("gij,bmjk->bmgik", self.nodes.operators, rotations)
        nearest = torch.einsum("bmgij,bij->bmg", equal, centre).argmax(dim=2)
        index = nearest[:, :, None, None, None].expand(-1, -1, 1, 3, 3)
        return equal.gather(2, index).squeeze(2)


def _nearest_rotations(matrices: torch.Tensor) -> torch.Tensor:
    """Return the rotations `(B, 3, 3)` nearest to `matrices`, as `nearest_rotations` does."""
    u, _, vt = torch.linalg.svd(matrices.to(torch.float64))
    sign = torch.ones_like(u[:, 0])
    sign[:, 2] = torch.sign(torch.linalg.det(u @ vt))
    nearest: torch.Tensor = (u * sign[:, None, :]) @ vt
    return nearest.to(matrices.dtype)
