"""How sure a model should say that it is: the temperature that makes its confidence come true."""

import dataclasses

import numpy as np
import torch

from ...geometry.symmetry import symmetric_distance_deg
from ...vocabulary import Decoding
from .distribution import PoseDistribution

#: Temperatures that are tried.
_TEMPERATURES = np.geomspace(0.125, 16.0, 43)


@torch.no_grad()
def fitted_temperature(
    found: PoseDistribution, rotations: torch.Tensor, decoding: Decoding | str
) -> float:
    """Return the temperature under which confidences foretell best which predictions are right.

    A prediction is right if the truth lies as near as its confidence says: within
    `found.radius_of_deg`.

    Parameters
    ----------
    found : as the model states them, at temperature 1
    rotations : `(B, 3, 3)` true poses
    decoding : of the predictions

    Notes
    -----
    The mean of -log(confidence) over right predictions and -log(1 - confidence) over wrong ones is
    made least, a proper score. One more wrong one and one more right are counted, shared among all:
    a few hundred right predictions do not prove that none is ever wrong.
    """
    predicted, logits, averaged = found.averages(decoding)
    error_deg = symmetric_distance_deg(
        rotations.double().cpu().numpy(), predicted.double().cpu().numpy(), found.space.group
    )
    right = torch.from_numpy(error_deg < found.radius_of_deg(decoding)).to(logits)
    right = (right * len(right) + 1.0) / (len(right) + 2.0)
    losses = []
    for temperature in _TEMPERATURES:
        stated = dataclasses.replace(found, temperature=float(temperature))
        confidence = stated.share(logits, averaged).clamp(1e-6, 1.0 - 1e-6)
        losses.append(float(torch.nn.functional.binary_cross_entropy(confidence, right)))
    return float(_TEMPERATURES[int(np.argmin(losses))])
