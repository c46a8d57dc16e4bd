"""How well a network finds the poses of sets of views that it never learned from."""

from collections.abc import Callable

import torch

from ...geometry.rotations import nearest_rotations
from ...models.cryofastar.planar_maps import PlanarMaps
from ...models.cryofastar.poses import poses_of_maps
from ...vocabulary import MapConvention
from ..ranks import gathered
from .sets import VALIDATION, ViewBatch, ViewSource, true_rotations


@torch.no_grad()
def validate(
    maps_of: Callable[[ViewBatch], PlanarMaps],
    source: ViewSource,
    views: int,
    seeds: tuple[int, ...],
    count: int,
    at_a_time: int,
    convention: MapConvention,
    place: tuple[int, int] = (0, 1),
) -> dict[str, float]:
    """Return mean errors over held-out sets: paper, section 5, metrics.

    Parameters
    ----------
    maps_of : the network
    source : of the sets
    views : in each
    seeds : of the stage
    count : of sets
    at_a_time : sets that the network is given at once
    convention : of its maps
    place : which of how many processes this is; they share the sets out, and all get the figures

    Returns
    -------
    `rotation_error` : Frobenius norm of R - R_true, over all views but the references;
    `constant_error` : that of the one rotation that is best for all of them, in place of R;
    `shift_error_px` : length of the error of the shift, over all views;
    `confidence` : mean over all pixels
    """
    found, wanted, shifts, confidence = [], [], [], []
    starts = range(0, count, at_a_time)
    own = starts[place[0] :: place[1]]
    for turn in range(-(-len(starts) // place[1])):
        # a network whose weights are divided wants to be called by all, equally often
        start = own[turn] if turn < len(own) else 0
        numbers = list(range(start, min(start + at_a_time, count)))
        batch = source.draw(numbers, views, (*seeds, VALIDATION))
        maps = maps_of(batch)
        if turn >= len(own):
            continue
        poses = poses_of_maps(
            PlanarMaps(maps.points.float(), maps.confidence.float(), None), convention
        )
        found.append(poses.rotations[:, 1:].flatten(0, 1))
        wanted.append(true_rotations(batch, maps, convention)[:, 1:].flatten(0, 1))
        shifts.append((poses.shifts_px - batch.shifts_px).norm(dim=-1).flatten())
        confidence.append(poses.confidence.flatten())
    truth = _of_all(wanted, (3, 3))
    mean = truth.mean(dim=0).double().cpu().numpy()
    constant = torch.from_numpy(nearest_rotations(mean)).to(truth)
    return {
        "rotation_error": float(_norms(_of_all(found, (3, 3)) - truth).mean()),
        "constant_error": float(_norms(constant - truth).mean()),
        "shift_error_px": float(_of_all(shifts).mean()),
        "confidence": float(_of_all(confidence).mean()),
    }


def _of_all(parts: list[torch.Tensor], shape: tuple[int, ...] = ()) -> torch.Tensor:
    """Return the values of all batches of all processes."""
    own = torch.cat([torch.empty(0, *shape), *(part.cpu() for part in parts)])
    return torch.from_numpy(gathered(own.numpy()))


def _norms(matrices: torch.Tensor) -> torch.Tensor:
    norms: torch.Tensor = torch.linalg.vector_norm(matrices, dim=(1, 2))
    return norms
