"""RANSAC: which pixels of planar maps agree on one pose (Fischler and Bolles, 1981)."""

from dataclasses import dataclass

import torch

from .kabsch import weighted_kabsch

_VIEWS_AT_ONCE = 32
_SCORED_PIXELS = 1024


@dataclass(frozen=True)
class Ransac:
    """How pixels that contradict the others are found and left out.

    Parameters
    ----------
    generator : draws the samples; on the device of the maps
    hypotheses : samples per view
    sample_px : pixels of a sample
    tolerance : how far a pixel of the map may be from its place [Nyquist frequencies]
    """

    generator: torch.Generator
    hypotheses: int = 64
    sample_px: int = 8
    tolerance: float = 0.1


def agreeing_pixels(
    source: torch.Tensor, target: torch.Tensor, weights: torch.Tensor, options: Ransac
) -> torch.Tensor:
    """Return which pixels `(V, P)` lie within the tolerance of the best hypothesis of their view.

    Parameters
    ----------
    source : `(P, 3)` or `(V, P, 3)`
    target, weights : `(V, P, 3)` and `(V, P)`; pixels are drawn in proportion to their weight
    options : as above

    Notes
    -----
    Hypotheses are judged by the weight of the pixels that agree, on at most 1,024 evenly spread
    ones. A view in which fewer pixels agree than make a sample keeps them all.
    """
    sources = source.expand(target.shape)
    parts = []
    for start in range(0, len(target), _VIEWS_AT_ONCE):
        part = slice(start, start + _VIEWS_AT_ONCE)
        parts.append(_agreeing(sources[part], target[part], weights[part], options))
    return torch.cat(parts)


def _agreeing(
    source: torch.Tensor, target: torch.Tensor, weights: torch.Tensor, options: Ransac
) -> torch.Tensor:
    views, pixels = weights.shape
    drawn = torch.multinomial(
        weights, options.hypotheses * options.sample_px, True, generator=options.generator
    )
    index = drawn.view(views, options.hypotheses, options.sample_px)
    first = torch.arange(views, device=index.device)[:, None, None]
    samples = source[first, index], target[first, index]
    rotations, translations = weighted_kabsch(*samples, torch.ones_like(samples[0][..., 0]))
    scored = slice(None, None, max(1, pixels // _SCORED_PIXELS))
    distances = _distances(
        source[:, None, scored], target[:, None, scored], rotations, translations
    )
    support = (weights[:, None, scored] * (distances < options.tolerance)).sum(dim=-1)
    best = support.argmax(dim=1)
    chosen = torch.arange(views, device=best.device), best
    distances = _distances(source, target, rotations[chosen], translations[chosen])
    agree = distances < options.tolerance
    enough = agree.sum(dim=1, keepdim=True) >= options.sample_px
    return agree | ~enough


def _distances(
    source: torch.Tensor, target: torch.Tensor, rotations: torch.Tensor, shifts: torch.Tensor
) -> torch.Tensor:
    moved = source @ rotations.transpose(-1, -2) + shifts[..., None, :]
    distances: torch.Tensor = torch.linalg.vector_norm(target - moved, dim=-1)
    return distances
