"""Cross-entropy between a distribution over an SO(3) grid and symmetric, uncertain labels.

`weighted_cross_entropy` is the definition, for models that have the logits of all nodes in memory;
Image2Sphere reaches the same figure without them.
"""

import torch


def weighted_cross_entropy(
    logits: torch.Tensor,
    target: torch.Tensor,
    confidence: torch.Tensor,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the mean over the batch of confidence times cross-entropy: CESPED paper, Eq. 11.

    Parameters
    ----------
    logits : `(B, N)`, one per node of the grid
    target : `(B, G)` integers, the nodes nearest to the `G` poses that symmetry makes equal, each
        with probability 1 / G; or `(B, N)` floats, the wanted probabilities themselves
    confidence : `(B,)`, the weight of each image
    label_smoothing : share of the probability that is spread evenly over the grid
    """
    normaliser = torch.logsumexp(logits, dim=1)
    if target.is_floating_point():
        wanted = (target * logits).sum(dim=1)
    else:
        wanted = logits.gather(1, target).mean(dim=1)
    if label_smoothing:
        wanted = (1.0 - label_smoothing) * wanted + label_smoothing * logits.mean(dim=1)
    return confidence_weighted(normaliser - wanted, confidence)


def confidence_weighted(losses: torch.Tensor, confidence: torch.Tensor) -> torch.Tensor:
    """Return the mean over the batch of confidence times loss, both `(B,)`: paper, Eq. 11."""
    return (confidence * losses).mean()
