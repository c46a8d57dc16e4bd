"""From a distribution over the grid to one rotation, finer than the grid, and a confidence."""

from typing import cast

import numpy as np
import torch
from torch import nn

from ...geometry.symmetry import PointGroup

#: Averages taken: the neighbourhood of the second is centred on the first, not on a node.
_PASSES = 2


class PoseDecoder(nn.Module):
    """Decide on the pose with the least expected angular error, then average around it.

    Among the most probable nodes, the one whose mean distance to the others, weighted by their
    probability, is least wins: the Bayes decision for the mean angular error. The rotations near
    it are averaged by probability (projected arithmetic mean), which goes below the spacing of
    the grid. Its confidence is the probability within that neighbourhood.

    Of the poses that symmetry makes equal one is kept, the one that turns least, and distances are
    between classes of equal poses.

    Parameters
    ----------
    nodes : `(N, 3, 3)` rotations of the grid
    group : the particle's symmetry
    radius_deg : of the neighbourhood that is averaged [degrees]
    candidates : how many of the most probable nodes are compared
    """

    def __init__(
        self, nodes: torch.Tensor, group: PointGroup, radius_deg: float, candidates: int = 128
    ) -> None:
        super().__init__()
        self.radius_rad = float(np.radians(radius_deg))
        operators = torch.from_numpy(group.operators.copy())
        traces = torch.einsum("gij,nji->ng", operators, nodes.to(torch.float64))
        domain = torch.nonzero(traces[:, 0] >= traces.amax(dim=1) - 1e-6).flatten()
        self.candidates = min(candidates, len(domain))
        self.order = group.order
        self.register_buffer("domain", domain, persistent=False)
        self.register_buffer("nodes", nodes[domain].to(torch.float32), persistent=False)
        self.register_buffer("operators", operators.to(torch.float32), persistent=False)

    def forward(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rotations `(B, 3, 3)` and confidence `(B,)` of `(B, N)` logits."""
        probabilities = torch.softmax(logits.to(torch.float32), dim=1)
        if self.order > 1:
            probabilities = probabilities[:, cast(torch.Tensor, self.domain)]
        weights, places = probabilities.topk(self.candidates, dim=1)
        rotations = cast(torch.Tensor, self.nodes)[places]  # (B, M, 3, 3)
        angles = self._angles(rotations, rotations)  # (B, M, M)
        best = torch.einsum("bij,bj->bi", angles, weights).argmin(dim=1)
        centre = rotations[torch.arange(len(best), device=best.device), best]
        near = weights
        for _ in range(_PASSES):
            distances = self._angles(rotations, centre[:, None]).squeeze(2)
            near = weights * (distances < self.radius_rad)
            mean = torch.einsum("bm,bmij->bij", near, self._towards(rotations, centre))
            centre = _nearest_rotations(mean + 1e-6 * centre)  # decides if all weights underflow
        return centre, (near.sum(dim=1) * self.order).clamp(0.0, 1.0)

    def _angles(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Return the angles `(B, M, K)` [radians] between classes of equal poses."""
        flat = right.flatten(2).transpose(1, 2)
        largest: torch.Tensor | None = None
        for operator in cast(torch.Tensor, self.operators):
            trace = (operator @ left).flatten(2) @ flat
            largest = trace if largest is None else torch.maximum(largest, trace)
        cosine = (cast(torch.Tensor, largest) - 1.0) / 2.0
        return torch.arccos(cosine.clamp(-1.0, 1.0))

    def _towards(self, rotations: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
        """Return, for each of `(B, M, 3, 3)`, the equal pose nearest to `(B, 3, 3)` centres."""
        if self.order == 1:
            return rotations
        equal = torch.einsum("gij,bmjk->bmgik", cast(torch.Tensor, self.operators), rotations)
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
