"""Reading shards in training: a stream of structures, with no index and one block in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from cesped.data.shards.plan import shards_in
from cesped.io.shards import Block, read_shard


def iterate_shards(
    paths: list[Path], *, seed: int | None = None, part: int = 0, parts: int = 1
) -> Iterator[Block]:
    """Yield the structures of some shards; those that no image could be made of are passed over.

    Parameters
    ----------
    paths : shards, the same list in every process
    seed : shuffles the shards; in order when None
    part, parts : every `parts`-th shard is read, beginning with this one

    Raises
    ------
    MissingFileError, ShardError
        If a shard is gone, was cut, or is damaged.
    """
    order = np.arange(len(paths))
    if seed is not None:
        order = np.random.default_rng(seed).permutation(len(paths))
    for index in order[part::parts]:
        for block in read_shard(paths[index]):
            if block.arrays:
                yield block


class ShardStream(IterableDataset[dict[str, Any]]):
    """Structures of a folder of shards, each with its images and their poses.

    Ranks of a distributed training and workers of a loader read different shards. A sample is a
    dictionary of `images` (P, N, N) float32, `rotations` (P, 3, 3), `origins_angst` (P, 2), `ctf`
    (P, 9), `pixel_size_angst` and `name`.

    Parameters
    ----------
    folder : of finished shards
    seed : shuffles the shards, otherwise in every epoch; in order when None
    rank, world_size : of this process, in a distributed training

    Raises
    ------
    MissingFileError
        If there are no shards.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        seed: int | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.paths = shards_in(folder)
        self.seed, self.rank, self.world_size = seed, rank, world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Shuffle otherwise from now on."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        number, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
        blocks = iterate_shards(
            self.paths,
            seed=None if self.seed is None else self.seed + self.epoch,
            part=self.rank * count + number,
            parts=self.world_size * count,
        )
        for block in blocks:
            sample: dict[str, Any] = {
                name: torch.from_numpy(values.astype(np.float32))
                for name, values in block.arrays.items()
            }
            sample["pixel_size_angst"] = float(block.facts["pixel_size_angst"])
            sample["name"] = block.name
            yield sample
