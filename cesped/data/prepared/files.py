"""Where the files of a prepared set are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_CARD = ".prepared.json"
_SOURCE = ".source.star"


@dataclass(frozen=True)
class PreparedFiles:
    """The files of the prepared set `name` in `folder`.

    `name.mrcs` and `name.star` are for every program; `name.prepared.json` is the card, and
    `name.source.star` the star file that the images were made from. Work in progress is hidden.
    """

    folder: Path
    name: str

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Self:
        """Return the files of the set that any one of them, or their common stem, belongs to."""
        given = Path(path).expanduser()
        for ending in (_CARD, _SOURCE, ".star", ".mrcs"):
            if given.name.endswith(ending):
                return cls(given.parent, given.name.removesuffix(ending))
        return cls(given.parent, given.name)

    @property
    def images(self) -> Path:
        """The stack of prepared images."""
        return self.folder / f"{self.name}.mrcs"

    @property
    def star(self) -> Path:
        """The star file of the prepared images, for other programs."""
        return self.folder / f"{self.name}.star"

    @property
    def card(self) -> Path:
        """What was done; written last, so that the set is whole where it is."""
        return self.folder / f"{self.name}{_CARD}"

    @property
    def source_star(self) -> Path:
        """A copy of the star file that the images were made from."""
        return self.folder / f"{self.name}{_SOURCE}"

    @property
    def partial_images(self) -> Path:
        """The stack while it is being written."""
        return self.folder / f".{self.name}.partial.mrcs"

    @property
    def journal(self) -> Path:
        """How far the work has come."""
        return self.folder / f".{self.name}.partial.json"

    @property
    def lock(self) -> Path:
        """Held by the process that writes."""
        return self.folder / f".{self.name}.lock"
