"""Dense twins of what the package does without tables: for tests alone."""

import numpy as np
import torch
from e3nn import o3

from cesped.geometry.euler import rotation_to_euler
from cesped.models.image2sphere.harmonics import so3_slices


def dense_values(coefficients, l_max, alpha, beta, gamma):
    """Values of signals at Euler angles [radians], by e3nn's Wigner matrices alone."""
    total = 0.0
    for degree, part in enumerate(so3_slices(l_max)):
        matrices = o3.wigner_D(degree, alpha, beta, gamma)
        block = coefficients[part].double().view(2 * degree + 1, 2 * degree + 1, -1)
        total = total + (2 * degree + 1) ** 0.5 * torch.einsum("...mn,mnf->...f", matrices, block)
    return total


def dense_logits(coefficients, l_max, rotations):
    """Logits `(B, N)` of `(coefficients, B)` signals at `(N, 3, 3)` rotations, float64."""
    inverse = np.swapaxes(np.asarray(rotations), -1, -2)
    angles = torch.from_numpy(np.radians(rotation_to_euler(inverse)))
    return dense_values(coefficients, l_max, *angles.T).T


def spread_labels(rotations, group, nodes, width_deg):
    """Return probabilities `(B, N)` that fall off with the distance from the equal poses `g R`.

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
