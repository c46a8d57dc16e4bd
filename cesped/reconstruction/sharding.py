"""Particles shared among the processes that `torchrun` started, on one machine or several.

Each process (rank) inserts its own particles; the sums are added up, and each map is finished by
one of them and given to all. An error of one rank is told to all, so that none waits for ever.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import RankError
from .protocol import Volume

if TYPE_CHECKING:  # loaded where it is used: most processes are alone
    import torch

#: A rank may have much more to read than another.
_PATIENCE = timedelta(hours=12)
#: Values that are added up at once: what another rank sent needs room beside them.
_CHUNK_VALUES = 1 << 24


class Shards(Protocol):
    """What a process does of the work that several share."""

    rank: int
    size: int

    def rows(self, count: int) -> NDArray[np.int64]:
        """Return which of `count` particles are this rank's."""

    def owner(self, number: int) -> int:
        """Return the rank that finishes map `number`."""

    def add_up(self, values: torch.Tensor, owner: int) -> None:
        """Add the values of all ranks up in those of `owner`, in place."""

    def share(self, volume: Volume | None, box: int, owner: int) -> Volume:
        """Return the map that rank `owner` has made."""

    def told(self, decision: bool) -> bool:
        """Return what rank 0 decided."""

    def together(self) -> AbstractContextManager[None]:
        """Wait at the end of a block for all ranks, and raise in all what was raised in one."""


class Alone:
    """One process that does everything."""

    rank, size = 0, 1

    def rows(self, count: int) -> NDArray[np.int64]:
        """Return all rows."""
        return np.arange(count)

    def owner(self, number: int) -> int:
        """Return this rank."""
        del number
        return 0

    def add_up(self, values: torch.Tensor, owner: int) -> None:
        """Leave the values as they are."""

    def share(self, volume: Volume | None, box: int, owner: int) -> Volume:
        """Return the map that was made here."""
        del box, owner
        if volume is None:
            raise RankError("the only rank made no map; this is a mistake of the program")
        return volume

    def told(self, decision: bool) -> bool:
        """Return the decision."""
        return decision

    @contextmanager
    def together(self) -> Iterator[None]:
        """Do nothing."""
        yield


ALONE = Alone()


class TorchrunShards:
    """The ranks of a process group of `torch.distributed`.

    Parameters
    ----------
    rank : this process
    size : how many there are
    """

    def __init__(self, rank: int, size: int) -> None:
        import torch.distributed

        self.rank, self.size = rank, size
        self._group = torch.distributed
        # tensors of a GPU travel by NCCL, which wants one for each rank; all else by gloo
        self._for_gpus = (
            torch.distributed.new_group(backend="nccl", timeout=_PATIENCE)
            if _ranks_on_this_machine(size) <= torch.cuda.device_count()
            else None
        )
        self._told: BaseException | None = None

    def rows(self, count: int) -> NDArray[np.int64]:
        """Return the rows of this rank, which follow each other on disk."""
        return np.array_split(np.arange(count), self.size)[self.rank]

    def owner(self, number: int) -> int:
        """Return the rank that finishes map `number`: they take turns."""
        return number % self.size

    def add_up(self, values: torch.Tensor, owner: int) -> None:
        """Add the values of all ranks up in those of `owner`; other ranks' are of no more use."""
        here = values.device.type == "cpu"
        flat = values.view(-1)
        for start in range(0, len(flat), _CHUNK_VALUES):
            chunk = flat[start : start + _CHUNK_VALUES]
            if here or self._for_gpus is not None:
                self._group.reduce(chunk, dst=owner, group=None if here else self._for_gpus)
                continue
            moved = chunk.cpu()  # gloo adds up what is in main memory
            self._group.reduce(moved, dst=owner)
            if owner == self.rank:
                chunk.copy_(moved)

    def share(self, volume: Volume | None, box: int, owner: int) -> Volume:
        """Return the map that rank `owner` has made."""
        import torch

        shared = np.empty((box, box, box), np.float32) if volume is None else volume
        self._group.broadcast(torch.from_numpy(shared), src=owner)
        return shared

    def told(self, decision: bool) -> bool:
        """Return what rank 0 decided."""
        decisions: list[bool] = [False] * self.size
        self._group.all_gather_object(decisions, decision)
        return decisions[0]

    @contextmanager
    def together(self) -> Iterator[None]:
        """Wait at the end of a block for all ranks, and raise in all what was raised in one.

        May be nested: what was told once is not told again.

        Raises
        ------
        RankError
            If another rank failed; the first of them is named.
        """
        try:
            yield
        except BaseException as error:
            if error is not self._told:
                self._told = error
                self._messages(str(error) or type(error).__name__)
            raise
        messages = self._messages(None)
        for rank, message in enumerate(messages):
            if message is not None:
                self._told = RankError(f"rank {rank} of {self.size} failed: {message}")
                raise self._told

    def _messages(self, mine: str | None) -> list[str | None]:
        messages: list[str | None] = [None] * self.size
        self._group.all_gather_object(messages, mine)
        return messages


def _ranks_on_this_machine(size: int) -> int:
    """Return how many of `size` ranks share the GPUs of this machine, as torchrun says."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", size))


@cache
def join_shards() -> Shards:
    """Return what `torchrun` made this process a part of; `ALONE` without it.

    Ask where all ranks do: each waits for the others.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "MASTER_ADDR" not in os.environ:
        return ALONE
    import torch.distributed

    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo", timeout=_PATIENCE)
        atexit.register(torch.distributed.destroy_process_group)
    return TorchrunShards(torch.distributed.get_rank(), torch.distributed.get_world_size())
