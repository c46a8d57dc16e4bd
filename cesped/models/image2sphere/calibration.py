"""How sure a distribution should be: the temperature under which known poses are most likely."""

import torch

from .distribution import PoseSpace
from .labels import nearest_nodes

#: Inverse temperatures that are looked at.
_LOWEST, _HIGHEST = 1 / 16, 16.0

#: Halvings of that range, in the logarithm: the temperature is found to 0.1 %.
_HALVINGS = 13

#: Images whose normalisers are found together.
_BATCH = 64


def fitted_temperature(
    coefficients: torch.Tensor, rotations: torch.Tensor, space: PoseSpace
) -> float:
    """Return the temperature that minimises the mean of -log p(node) over known poses.

    Parameters
    ----------
    coefficients : `(coefficients, B)` harmonics of the logits
    rotations : `(B, 3, 3)` true poses, of which the nearest nodes count: between nodes a sharp
        peak would escape the sum that normalises, and no temperature be low enough
    space : the grid

    Notes
    -----
    With b the inverse temperature and s the logit, the mean of log sum exp(b s) - b s(node) is
    convex in b (Guo et al., ICML 2017, for classifiers): its slope, the mean logit under the
    distribution less that of the truth, has one zero, which is found by halving. One more image is
    counted whose pose may be any, as a few hundred right ones do not prove that none is wrong.
    """
    nodes = nearest_nodes(rotations, space.group, space.logits.grid)
    known, anywhere = space.logits.at_nodes(coefficients, nodes), space.logits.mean(coefficients)
    at_truth = (known.mean(dim=1).sum() + anywhere.mean()) / (len(nodes) + 1)
    low, high = _LOWEST, _HIGHEST
    for _ in range(_HALVINGS):
        middle = (low * high) ** 0.5
        if _mean_logit(coefficients, middle, space) > at_truth:
            high = middle
        else:
            low = middle
    return float((low * high) ** -0.5)


def _mean_logit(
    coefficients: torch.Tensor, inverse_temperature: float, space: PoseSpace
) -> torch.Tensor:
    """Return the mean over images of the expected logit at an inverse temperature."""
    total = coefficients.new_zeros(())
    for part in torch.split(coefficients, _BATCH, dim=1):
        with torch.enable_grad():
            scale = torch.tensor(inverse_temperature, device=part.device, requires_grad=True)
            (slope,) = torch.autograd.grad(space.logits.log_normaliser(part * scale).sum(), scale)
        total = total + slope
    return total / coefficients.shape[1]
