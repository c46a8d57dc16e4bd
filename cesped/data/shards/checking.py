"""Whether a folder of shards is whole: each as written, none missing, none of another run."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from cesped.data.shards.plan import shards_in
from cesped.errors import MissingFileError, ShardError
from cesped.io.shards import Block, check_shard
from cesped.progress import SILENT, Progress

_NUMBERED = re.compile(r"shard-(\d{6})\.shard")


@dataclass(frozen=True)
class ShardsChecked:
    """What was found.

    Parameters
    ----------
    n_shards, n_structures : that were read
    without_images : names of structures that no image could be made of
    faults : what is wrong, a sentence each
    """

    n_shards: int
    n_structures: int
    without_images: list[str]
    faults: list[str]


def check_folder(folder: str | os.PathLike[str], progress: Progress = SILENT) -> ShardsChecked:
    """Read all shards of a folder and compare them with their checksums and with each other.

    One that is faulty does not end the reading of the others.

    Parameters
    ----------
    folder : of shards
    progress : told of every shard

    Raises
    ------
    MissingFileError
        If there are no shards.
    """
    paths = shards_in(folder)
    faults = [*_gaps(paths), *_unfinished(Path(folder))]
    names = _Names()
    with progress.task(f"Checking {len(paths):,} shards", len(paths)) as advance:
        for path in paths:
            names.begin(path.name)
            try:
                check_shard(path, names.add)
            except (ShardError, MissingFileError) as error:
                faults.append(str(error))
            advance(1)
    return ShardsChecked(len(paths), names.count, names.bare, [*faults, *names.faults])


class _Names:
    """The structures of all shards, each of which should be in one."""

    def __init__(self) -> None:
        self.count, self.bare, self.faults = 0, list[str](), list[str]()
        self._owner: dict[str, str] = {}
        self._mixed: set[str] = set()
        self._shard = ""

    def begin(self, shard: str) -> None:
        self._shard = shard

    def add(self, block: Block) -> None:
        self.count += 1
        if not block.arrays:
            self.bare.append(block.name)
        first = self._owner.setdefault(block.name, self._shard)
        if first != self._shard and self._shard not in self._mixed:
            self._mixed.add(self._shard)
            self.faults.append(
                f"{block.name} is in {first} and in {self._shard}: two runs are mixed; delete the "
                "shards of one of them"
            )


def _gaps(paths: list[Path]) -> list[str]:
    """Return which numbers are missing below the largest; how many there should be is not known."""
    numbers = {int(found[1]) for path in paths if (found := _NUMBERED.fullmatch(path.name))}
    missing = sorted(set(range(max(numbers, default=-1) + 1)) - numbers)
    return [f"shard-{number:06d}.shard is missing; make it, or copy it" for number in missing]


def _unfinished(folder: Path) -> list[str]:
    return [
        f"{path.name} is not finished; the same command that began it goes on"
        for path in sorted(folder.glob("*.shard.partial"))
    ]
