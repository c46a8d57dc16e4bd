"""The entries of the benchmark: what each is, and which records hold its files.

The facts are in `benchmark.toml`, read when they are first asked for; those of the embedded
entries follow from their specifications.
"""

from __future__ import annotations

import difflib
import functools
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from typing import Any

from cesped.data.demo_specifications import DEMO_SPECIFICATIONS

HALFSETS = (0, 1)


@dataclass(frozen=True)
class BenchmarkEntry:
    """What is known about a published entry; None is what its paper does not state.

    Parameters
    ----------
    name : of the entry, and of its folder
    records : Zenodo record of each half
    mask_record, mask_file : where its mask is
    images_of : name of the entry whose stacks it shares, if its records hold none
    empiar_id : where the particles come from
    composition : what was imaged
    symmetry : point group, as RELION names it
    box : side of an image [px]
    pixel_size_angst : [angstrom/px]
    n_particles : of both halves together
    resolution_angst, masked_resolution_angst : FSC 0.143 without and with the mask
    poses : how the poses were found
    note : what else to know
    """

    name: str
    records: tuple[int, int]
    mask_record: int
    mask_file: str
    empiar_id: str
    composition: str
    symmetry: str
    box: int
    pixel_size_angst: float
    poses: str
    images_of: str | None = None
    n_particles: int | None = None
    resolution_angst: float | None = None
    masked_resolution_angst: float | None = None
    note: str | None = None

    @property
    def is_at_nyquist(self) -> bool:
        """Whether the masked resolution is the finest that the pixel size can show."""
        finest_angst = 2 * self.pixel_size_angst
        return (self.masked_resolution_angst or 2 * finest_angst) <= finest_angst

    @property
    def stack_bytes(self) -> int | None:
        """Size of both stacks as 4-byte pixels, when the number of particles is known."""
        return None if self.n_particles is None else 4 * self.n_particles * self.box**2


@dataclass(frozen=True)
class BenchmarkSource:
    """The paper that the published entries come from."""

    title: str
    authors: str
    journal: str
    doi: str
    article_licence: str

    @property
    def citation(self) -> str:
        """One line to cite it by."""
        return f"{self.authors}, {self.title}, {self.journal}, doi:{self.doi}"


@functools.cache
def _facts() -> dict[str, Any]:
    text = resources.files("cesped.data").joinpath("benchmark.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@functools.cache
def published_entries() -> dict[str, BenchmarkEntry]:
    """Return the published entries by name, in the order of the benchmark."""
    common = {name: _facts()["benchmark"][name] for name in _COMMON}
    entries = [
        BenchmarkEntry(**{**common, **facts, "records": tuple(facts["records"])})
        for facts in _facts()["entry"]
    ]
    return {entry.name: entry for entry in entries}


_COMMON = ("mask_record", "pixel_size_angst", "poses")


def benchmark_source() -> BenchmarkSource:
    """Return what to cite for the published entries."""
    facts = _facts()["benchmark"]
    return BenchmarkSource(**{k: v for k, v in facts.items() if k not in _COMMON})


def benchmark_entries() -> list[tuple[str, int]]:
    """Return all `(targetName, halfset)`: first those simulated here, then the published ones."""
    names = [*embedded_names(), *published_entries()]
    return [(name, halfset) for name in names for halfset in HALFSETS]


def embedded_names() -> tuple[str, ...]:
    """Return the names of the entries that are simulated on first use."""
    return tuple(DEMO_SPECIFICATIONS)


def nearest_names(name: str, others: Iterable[str] = ()) -> list[str]:
    """Return up to three entry names that somebody who wrote `name` may have meant, nearest first.

    Parameters
    ----------
    name : what was asked for
    others : names of further entries, such as those in the benchmark folder

    Examples
    --------
    >>> nearest_names("EMPIAR-10280")
    ['10280']
    >>> nearest_names("10648_consensus")[0]
    'consensus_10648'
    """
    known = dict.fromkeys([*others, *embedded_names(), *published_entries()])
    words = _words(name)
    # words first: letter by letter, "10648_consensus" is nearest to "10648"
    same_words = sorted(
        (candidate for candidate in known if _words(candidate) & words),
        key=lambda candidate: len(_words(candidate) ^ words),
    )
    by_letters = {candidate.casefold(): candidate for candidate in known}
    alike = difflib.get_close_matches(name.casefold(), by_letters, n=3, cutoff=0.6)
    return list(dict.fromkeys([*same_words, *(by_letters[letters] for letters in alike)]))[:3]


def _words(name: str) -> frozenset[str]:
    for separator in "-+.":
        name = name.replace(separator, "_")
    return frozenset(name.casefold().split("_")) - {"", "empiar"}
