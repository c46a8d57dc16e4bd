"""Streams of structures out of shards, in random order, that can be gone on with anywhere.

A lane has its own share of the shards, anew in every epoch, and a buffer of structures that are
drawn from. What a lane gives follows from the seed, the number of lanes and its own number alone:
not from the process that reads it, nor from how often that one was killed. Nothing is known of a
shard before it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cesped.errors import MetadataError, OptionError
from cesped.io.shards import Block, PlacedBlock, read_block, read_shard_from

_ORDER, _DRAW = 0, 1  # streams of random numbers


@dataclass
class _Kept:
    """A structure of the buffer: where it is, and how often it is still used."""

    shard: int
    start: int
    uses: int
    block: Block


@dataclass(frozen=True)
class Drawn:
    """A structure that a lane gave.

    Parameters
    ----------
    block : its images
    path : the shard that it is of
    generator : random numbers of this drawing
    """

    block: Block
    path: Path
    generator: np.random.Generator


class ShardLane:
    """One of several streams that share some shards out among them.

    Parameters
    ----------
    paths : all shards, the same list for every lane
    lane, lanes : which of how many this is
    seeds : of all that is drawn
    buffer : structures that are drawn from
    uses : how often a structure is drawn before another takes its place

    Raises
    ------
    OptionError
        If there are fewer shards than lanes.

    Examples
    --------
    A lane that goes on from `state` gives what the first would have given::

        lane = ShardLane(paths, 0, 8, seeds=(3,))
        lane.draw()
        same = ShardLane(paths, 0, 8, seeds=(3,), state=lane.state)
    """

    def __init__(
        self,
        paths: Sequence[Path],
        lane: int,
        lanes: int,
        seeds: tuple[int, ...],
        buffer: int = 8,
        uses: int = 1,
        state: dict[str, Any] | None = None,
    ) -> None:
        if len(paths) < lanes:
            raise OptionError(
                f"{len(paths)} shards cannot be read as {lanes} lanes; make more shards of fewer "
                f"structures, or set data.shard_lanes to {len(paths)} or less"
            )
        self._paths, self._lane, self._lanes = list(paths), lane, lanes
        self._seeds, self._size, self._uses = seeds, buffer, uses
        self.count = 0
        self._epoch, self._place, self._offset = 0, 0, 0
        self._kept: list[_Kept] = []
        if state is not None:
            self._take(state)
        self._reading = self._blocks()

    @property
    def state(self) -> dict[str, Any]:
        """What a lane needs to go on from here: a few numbers, no images."""
        return {
            "count": self.count,
            "epoch": self._epoch,
            "place": self._place,
            "offset": self._offset,
            "kept": [[kept.shard, kept.start, kept.uses] for kept in self._kept],
        }

    def _take(self, state: dict[str, Any]) -> None:
        self.count = state["count"]
        self._epoch, self._place = state["epoch"], state["place"]
        self._offset = state["offset"]
        self._kept = [
            _Kept(shard, start, uses, read_block(self._paths[shard], start))
            for shard, start, uses in state["kept"]
        ]

    def draw(self) -> Drawn:
        """Return the next structure.

        Raises
        ------
        MissingFileError, ShardError
            If a shard is gone, was cut, or is damaged; the message names it.
        MetadataError
            If no structure of the lane's shards has images.
        """
        while len(self._kept) < self._size:
            self._kept.append(next(self._reading))
        generator = np.random.default_rng([*self._seeds, _DRAW, self._lane, self.count])
        index = int(generator.integers(len(self._kept)))
        kept = self._kept[index]
        kept.uses -= 1
        if kept.uses == 0:
            self._kept[index] = self._kept[-1]
            self._kept.pop()
        self.count += 1
        return Drawn(kept.block, self._paths[kept.shard], generator)

    def _own(self) -> list[int]:
        """Return which shards are this lane's in the present epoch, in their order."""
        generator = np.random.default_rng([*self._seeds, _ORDER, self._epoch])
        order = generator.permutation(len(self._paths))
        return [int(index) for index in order[self._lane :: self._lanes]]

    def _blocks(self) -> Iterator[_Kept]:
        """Yield structures without end, from where reading is."""
        found = True
        while True:
            own = self._own()
            if self._place == 0 and self._offset == 0:
                if not found:
                    names = ", ".join(str(self._paths[shard]) for shard in own)
                    raise MetadataError(f"no structure has images in {names}; make others")
                found = False
            while self._place < len(own):
                shard = own[self._place]
                for placed in self._rest_of(shard):
                    found = True
                    yield _Kept(shard, placed.start, self._uses, placed.block)
                self._place, self._offset = self._place + 1, 0
            self._epoch, self._place = self._epoch + 1, 0

    def _rest_of(self, shard: int) -> Iterator[PlacedBlock]:
        for placed in read_shard_from(self._paths[shard], self._offset):
            self._offset = placed.stop
            if placed.block.arrays:
                yield placed
