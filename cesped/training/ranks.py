"""Processes that train one model together: which one this is, and what they tell each other."""

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

_LAUNCHER_VARIABLES = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE")


def is_main_process() -> bool:
    """Return whether this process is the one that writes files and speaks to the user.

    Before the processes have met, the environment says so that their launcher made: torchrun's,
    SLURM's (`srun`) or Lightning's.
    """
    if _have_met():
        return dist.get_rank() == 0
    if "RANK" in os.environ:
        return int(os.environ["RANK"]) == 0
    if "LOCAL_RANK" in os.environ:
        return int(os.environ["LOCAL_RANK"]) == 0 and int(os.environ.get("NODE_RANK", "0")) == 0
    return int(os.environ.get("SLURM_PROCID", "0")) == 0


def gathered(values: NDArray[Any]) -> NDArray[Any]:
    """Return the rows of all processes, one process after the other; the same on each."""
    if not _have_met():
        return values
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, values)
    return np.concatenate(parts)


def is_true_everywhere(value: bool) -> bool:
    """Return whether `value` holds in every process, so that all stop when one has to."""
    return bool(gathered(np.array([value])).all())


def take_from_first(tensors: Iterable[torch.Tensor]) -> None:
    """Replace tensors, in place, by those of the first process."""
    if not _have_met():
        return
    for tensor in tensors:
        dist.broadcast(tensor, src=0)


def work_alone() -> None:
    """Leave the other processes, in the main one, for work that it does by itself.

    What asks later whether it shares its work with others, as an evaluation does, is told no.
    """
    if _have_met():
        dist.destroy_process_group()
    for name in _LAUNCHER_VARIABLES:
        os.environ.pop(name, None)


def _have_met() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
