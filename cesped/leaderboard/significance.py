"""Which rows can be told apart: letters beside the ranks."""

from collections.abc import Sequence
from dataclasses import dataclass

from .particle_errors import FIGURE, difference_p_value
from .rows import BoardRow

#: Chance that any two rows of a table which are equally good get different letters.
LEVEL = 0.05
_LETTERS = "abcdefghijklmnopqrstuvwxyz"

_PAIRED, _INTERVALS = "paired", "intervals"
_SENTENCES = {
    frozenset([_PAIRED]): (
        "Rows of one group are not told apart from its first by the paired test of wMAnE on the "
        "same particles (5 % for the whole table)"
    ),
    frozenset([_INTERVALS]): (
        "Rows of one group have 95 % intervals of wMAnE that overlap that of its first: a blunt "
        "test, for want of the errors of single particles"
    ),
    frozenset([_PAIRED, _INTERVALS]): (
        "Rows of one group are not told apart from its first: by the paired test of wMAnE where "
        "the errors of single particles of both are here (5 % for the whole table), else because "
        "95 % intervals overlap"
    ),
}


@dataclass(frozen=True)
class Groups:
    """Letters of several rows.

    Parameters
    ----------
    letters : one for each row; None where a row cannot be compared
    basis : how they were found, a sentence without its point; empty if there are none
    """

    letters: tuple[str | None, ...]
    basis: str = ""


def significance_groups(rows: Sequence[BoardRow]) -> Groups:
    """Return the groups of rows, best first, that were scored alike.

    A row has the letter of the group before it if it is not told apart from that group's first
    row, else it begins the next group. Two rows whose errors of single particles are at hand are
    told apart by the paired permutation test, at 5 % divided by the number of pairs of rows
    (C. Bonferroni, 1936; of pairs, not of comparisons, since the first row of a group is there for
    being the best), so that with 5 % at most any equally good rows get different letters. Others
    are told apart if their intervals do not overlap, at a level well under 5 % each.
    """
    letters: list[str | None] = []
    used: set[str] = set()
    level = LEVEL / max(1, len(rows) * (len(rows) - 1) // 2)
    leader, group = None, 0
    for row in rows:
        if leader is None:
            letters.append(_LETTERS[0] if _has_spread(row) else None)
            leader = row if _has_spread(row) else None
            continue
        apart, how = _told_apart(leader, row, level)
        if apart is None:
            letters.append(None)
            continue
        used.add(how)
        if apart:
            leader, group = row, group + 1
        letters.append(_LETTERS[min(group, len(_LETTERS) - 1)])
    if not used:  # nothing was compared
        return Groups((None,) * len(rows))
    return Groups(tuple(letters), _SENTENCES[frozenset(used)])


def _has_spread(row: BoardRow) -> bool:
    return row.errors is not None or _interval(row) is not None


def _told_apart(leader: BoardRow, row: BoardRow, level: float) -> tuple[bool | None, str]:
    """Return whether a row is surely worse than the leader, None if unknown; and by what."""
    if leader.errors is not None and row.errors is not None:
        p_value = difference_p_value(leader.errors, row.errors, level)
        if p_value is not None:
            return p_value <= level, _PAIRED
    best, other = _interval(leader), _interval(row)
    if best is None or other is None:
        return None, ""
    return other[0] > best[1], _INTERVALS


def _interval(row: BoardRow) -> tuple[float, float] | None:
    figure = row.figures.get(FIGURE)
    return None if figure is None else figure.interval
