"""Sets of views out of several datasets of particles, each with its own symmetry and pixel size."""

from collections.abc import Sequence

import numpy as np
import torch

from .particles import ParticleViews
from .sets import ViewBatch, generator_of

_WHICH = 3  # the stream of random numbers that datasets are chosen by, beside those of `sets`


class MixedViews:
    """Draws each set from one of several datasets, some more often than others.

    Parameters
    ----------
    sources : of the datasets, images of one size
    weights : how often each is drawn from, relative to the others
    """

    def __init__(self, sources: Sequence[ParticleViews], weights: Sequence[float]) -> None:
        self._sources = list(sources)
        self._shares = np.asarray(weights, np.float64) / np.sum(weights)

    def which(self, number: int, stream: tuple[int, ...]) -> int:
        """Return which dataset a set is of."""
        generator = generator_of((*stream, _WHICH), number)
        return int(generator.choice(len(self._sources), p=self._shares))

    def draw(self, numbers: list[int], views: int, stream: tuple[int, ...]) -> ViewBatch:
        """Return the sets of these numbers; see `ViewSource`.

        Raises
        ------
        MetadataError
            If a dataset has fewer particles than views.
        """
        chosen = [self.which(number, stream) for number in numbers]
        alone = [
            self._sources[which].draw([number], views, stream)
            for which, number in zip(chosen, numbers, strict=True)
        ]
        return ViewBatch(
            torch.cat([batch.images for batch in alone]),
            torch.cat([batch.rotations for batch in alone]),
            torch.cat([batch.shifts_px for batch in alone]),
            None,
            _operators([batch.operators for batch in alone]),
            tuple(size for batch in alone for size in batch.pixel_sizes_angst),
        )


def _operators(groups: list[torch.Tensor | None]) -> torch.Tensor | None:
    """Return `(B, G, 3, 3)`: groups of fewer rotations than the largest repeat their first."""
    orders = [1 if group is None else len(group) for group in groups]
    if max(orders) == 1:
        return None
    largest = next(group for group in groups if group is not None and len(group) == max(orders))
    rows = []
    for group in groups:
        if group is None:
            group = torch.eye(3, device=largest.device)[None]
        padding = group[:1].expand(max(orders) - len(group), 3, 3)
        rows.append(torch.cat([group, padding]))
    return torch.stack(rows)
