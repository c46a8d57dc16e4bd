"""Sets of views of one particle each, with their poses, and what a network should say of them."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from ...models.cryofastar.planar_maps import (
    PlanarMaps,
    maps_of_poses,
    nyquist_points,
    plane_points,
    relative_rotations,
)
from ...vocabulary import MapConvention

#: Streams of random numbers: what is learned from, and what validates.
TRAINING, VALIDATION = 0, 1


@dataclass(frozen=True)
class ViewBatch:
    """`B` sets of `N` views each, on one device; view 0 of a set is its reference.

    Parameters
    ----------
    images : `(B, N, 1, n, n)` float32, grey values as they are
    rotations : `(B, N, 3, 3)` float32, `x_volume = R @ x_image`
    shifts_px : `(B, N, 2)` float32, displacement x, y of the content [pixel of `images`]
    clean_images : `(B, N, 1, n, n)` without noise, with shift and CTF; None where nobody knows
    operators : `(G, 3, 3)` float32 rotations that turn the particle into itself, or `(B, G, 3, 3)`
        where those of the sets differ, with some repeated; None if none does
    pixel_sizes_angst : `B` of `images`, one a set; none where nobody knows
    """

    images: Tensor
    rotations: Tensor
    shifts_px: Tensor
    clean_images: Tensor | None = None
    operators: Tensor | None = None
    pixel_sizes_angst: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def part(self, start: int, stop: int) -> "ViewBatch":
        """Return the sets from `start` up to `stop`."""
        clean = None if self.clean_images is None else self.clean_images[start:stop]
        own = self.operators is not None and self.operators.ndim == 4
        return ViewBatch(
            self.images[start:stop],
            self.rotations[start:stop],
            self.shifts_px[start:stop],
            clean,
            self.operators[start:stop] if own and self.operators is not None else self.operators,
            self.pixel_sizes_angst[start:stop],
        )


class ViewSource(Protocol):
    """What sets of views are asked for; the same number is always the same set."""

    def draw(self, numbers: "list[int]", views: int, stream: tuple[int, ...]) -> ViewBatch:
        """Return the sets of these numbers.

        Parameters
        ----------
        numbers : of the sets
        views : in each set
        stream : seeds that come before the number: sets of other streams are other sets
        """


@runtime_checkable
class StreamedSource(ViewSource, Protocol):
    """A source that gives its training sets in order, and can go on from where it was."""

    def expect(self, numbers: "list[int]", views: int, stream: tuple[int, ...]) -> None:
        """Prepare the sets of these numbers, which are drawn next."""

    def state(self) -> dict[int, dict[str, Any]]:
        """Return what `restore` needs, of this process's part, as plain values."""

    def restore(self, state: dict[int, dict[str, Any]]) -> None:
        """Go on from the states of all processes."""

    def close(self) -> None:
        """Leave off."""


def generator_of(stream: tuple[int, ...], number: int) -> np.random.Generator:
    """Return the random numbers of one set."""
    return np.random.default_rng([*stream, number])


def true_rotations(batch: ViewBatch, maps: PlanarMaps, convention: MapConvention) -> Tensor:
    """Return the rotations `(B, N, 3, 3)` to the reference that the images have.

    Of a symmetric particle a view has several, which its image cannot tell apart: the one is taken
    that fits the network's map best, as sum over pixels of X . R X0. The reference is itself.
    """
    relative = relative_rotations(batch.rotations)
    if batch.operators is None or batch.operators.shape[-3] < 2:
        return relative
    operators = batch.operators if batch.operators.ndim == 4 else batch.operators[None]
    operators = operators.expand(len(batch), *operators.shape[1:])
    first, others = batch.rotations[:, :1], batch.rotations[:, 1:]
    # (B, N - 1, G, 3, 3): R_ref^T g R_i
    mates = torch.einsum(
        "bzji,bgjk,bnkl->bngil", first, operators, others
    )  # z has one element, and is summed over
    height, width = batch.images.shape[-2:]
    points = nyquist_points(maps.points.detach().float(), convention)[:, 1:]
    plane = plane_points(height, width, convention, points.device)
    fit = torch.einsum("bnhwi,hwj->bnij", points, plane)
    best = torch.einsum("bngij,bnij->bng", mates, fit).argmax(dim=-1)
    index = best[..., None, None, None].expand(*best.shape, 1, 3, 3)
    return torch.cat([relative[:, :1], mates.gather(2, index)[:, :, 0]], dim=1)


def true_points(batch: ViewBatch, maps: PlanarMaps, convention: MapConvention) -> Tensor:
    """Return the planar maps `(B, N, n, n, 3)` of a batch's poses: paper, Eq. 10."""
    height, width = batch.images.shape[-2:]
    rotations = true_rotations(batch, maps, convention)
    return maps_of_poses(rotations, batch.shifts_px, height, width, convention)
