"""Who comes before whom: only among rows that were scored alike."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..data.registry import embedded_names, published_entries
from ..vocabulary import ScoreStatus, Track
from .particle_errors import FIGURE
from .resemblance import remarks_on_resemblance
from .rows import BoardRow
from .significance import significance_groups

#: What ranks are by; the paper's own criterion for choosing between models.
RANKED_BY = FIGURE


@dataclass(frozen=True)
class RankedRow:
    """A row and its place.

    Parameters
    ----------
    row : of the board
    rank : from 1; None for rows that are not ranked
    group : letter of the rows that cannot be told apart from their first; None if unknown
    """

    row: BoardRow
    rank: int | None
    group: str | None = None


@dataclass(frozen=True)
class Section:
    """Rows of one entry that may be compared with each other.

    Parameters
    ----------
    title : what they have in common
    reason : why they stand apart from the sections before; empty for the first
    rows : best first; published figures are in the paper's order and have no rank
    group_basis : how the groups were found; empty without groups
    remarks : on rows whose predictions resemble each other
    """

    title: str
    reason: str
    rows: tuple[RankedRow, ...]
    group_basis: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class EntryBoard:
    """All rows of one entry in one track.

    Parameters
    ----------
    track, entry : which
    kind : whether its images are real, in words
    composition : what was imaged, where that is known
    sections : published figures first
    """

    track: Track
    entry: str
    kind: str
    composition: str
    sections: tuple[Section, ...]

    @property
    def has_submissions(self) -> bool:
        """Whether there is more than published figures."""
        return any(row.status is not ScoreStatus.PUBLISHED for row in self.rows)

    @property
    def rows(self) -> list[BoardRow]:
        """Return the rows of all sections."""
        return [ranked.row for section in self.sections for ranked in section.rows]


def make_boards(rows: Iterable[BoardRow]) -> list[EntryBoard]:
    """Return a board for each track and entry, in the order of the benchmark.

    Published figures stand apart and are not ranked: their files are not public, so nobody can
    score them again. All others are ranked among those of the same metric version, particles,
    images, mask, symmetry, prediction type and use of confidence; a difference in any of them
    moves a figure more than methods may differ.
    """
    by_place: dict[tuple[Track, str], list[BoardRow]] = {}
    for row in rows:
        by_place.setdefault((row.track, row.entry), []).append(row)
    order = [*published_entries(), *embedded_names()]
    places = sorted(
        by_place,
        key=lambda place: (
            list(Track).index(place[0]),
            order.index(place[1]) if place[1] in order else len(order),
            place[1],
        ),
    )
    return [
        EntryBoard(track, entry, *_what_is(entry), _sections(by_place[track, entry]))
        for track, entry in places
    ]


def published_of(boards: Iterable[EntryBoard], track: Track) -> list[BoardRow]:
    """Return the published rows of a track."""
    return [
        row
        for board in boards
        for row in board.rows
        if board.track is track and row.status is ScoreStatus.PUBLISHED
    ]


def is_simulated(entry: str) -> bool:
    """Return whether the images of an entry are known to be simulated."""
    return entry in embedded_names() or entry.startswith(("simulated", "SIM-"))


def _what_is(entry: str) -> tuple[str, str]:
    """Return whether the images of an entry are real, and what was imaged."""
    if entry in embedded_names():
        return "simulated, embedded in the package", "a made-up molecule"
    known = published_entries().get(entry)
    if known is None:
        images = "simulated images" if is_simulated(entry) else "images unknown here"
        return f"not published: an entry of somebody's own, {images}", ""
    if is_simulated(entry):
        return "simulated images, published", known.composition
    return f"experimental, {known.empiar_id}", known.composition


def _sections(rows: list[BoardRow]) -> tuple[Section, ...]:
    sections = []
    published = [row for row in rows if row.status is ScoreStatus.PUBLISHED]
    if published:
        title = f"{ScoreStatus.PUBLISHED.value.capitalize()}"
        ranked = tuple(RankedRow(row, None) for row in published)
        sections.append(Section(title, "", ranked))
    by_conditions: dict[tuple[tuple[str, str], ...], list[BoardRow]] = {}
    for row in rows:
        if row.status is not ScoreStatus.PUBLISHED:
            by_conditions.setdefault(tuple(row.conditions.items()), []).append(row)
    # the newest metric first, then the most rows
    keys = sorted(by_conditions, key=lambda key: (-_version(key), -len(by_conditions[key]), key))
    for key in keys:
        reason = ""
        if key != keys[0]:
            reason = _difference(dict(keys[0]), dict(key))
        elif published:
            reason = (
                "not ranked with the published figures, which were made by another program from "
                "files that are not public"
            )
        ranked, basis = _ranked(by_conditions[key])
        remarks = remarks_on_resemblance([one.row for one in ranked])
        sections.append(Section(_title(dict(key)), reason, ranked, basis, remarks))
    return tuple(sections)


def _version(key: tuple[tuple[str, str], ...]) -> int:
    return int(dict(key)["metric version"])


def _title(conditions: Mapping[str, str]) -> str:
    mask = "no mask" if conditions["mask"] == "none" else "masked"
    weights = "" if conditions["weights"] != "none" else ", not weighted by confidence"
    return (
        f"Metric version {conditions['metric version']}, {conditions['prediction type']}, "
        f"symmetry {conditions['symmetry']}, {mask}{weights}"
    )


def _difference(first: Mapping[str, str], other: Mapping[str, str]) -> str:
    differing = [
        f"{name} {other[name]} instead of {first[name]}"
        for name in first
        if first[name] != other[name]
    ]
    return "not ranked with the rows above: " + ", ".join(differing)


def _ranked(rows: list[BoardRow]) -> tuple[tuple[RankedRow, ...], str]:
    """Return rows in order, best first, and how their groups were found.

    Equal figures share a rank; NaN has none and comes last.
    """
    ordered = sorted(
        rows,
        key=lambda row: (
            math.isnan(row.value(RANKED_BY)),
            row.value(RANKED_BY),
            row.method,
            row.submission,
        ),
    )
    values = [row.value(RANKED_BY) for row in ordered]
    groups = significance_groups(ordered)
    ranked = tuple(
        RankedRow(row, None if math.isnan(value) else 1 + values.index(value), group)
        for row, value, group in zip(ordered, values, groups.letters, strict=True)
    )
    return ranked, groups.basis
