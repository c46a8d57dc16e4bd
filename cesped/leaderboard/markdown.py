"""The leaderboard as Markdown: what a visitor of the repository reads."""

import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from ..vocabulary import ScoreStatus, Track
from .columns import TRACK_TITLES, Column, used_columns
from .plain_text import LONGEST_NAME, for_markdown, path_link, safe_link
from .ranking import EntryBoard, RankedRow, Section, is_simulated, published_of
from .rows import BoardRow, LeftOut

_TABLE_1 = {
    "mean_angular_error_deg": ("MAnE (°)", 1),
    "weighted_mean_angular_error_deg": ("wMAnE (°)", 1),
    "delta_pcc": ("ΔPCC", 3),
    "delta_resolution_05_angst": ("ΔFSCR 0.5 (Å)", 1),
    "delta_resolution_0143_angst": ("ΔFSCR 0.143 (Å)", 1),
}
_HEAD = """# Leaderboard

Written by `cesped leaderboard build` from [results](results/README.md); not to be edited. The
same, to sort and with figures, is in `leaderboard.html`; for programs, in `leaderboard.csv`.
The docs tell [how to submit](../docs/leaderboard.md) and [what a figure means](../docs/metrics.md).

Ranks are by wMAnE, the paper's own criterion, and only among rows that were scored alike: same
metric version, particles, images, mask, symmetry, prediction type and use of confidence. Rows of
the same group letter cannot be told apart; below each table stands by which test. GT is the map
from the known poses, V the one from the predicted ones; figures are masked where the entry has a
mask. Simulated images are marked: a low error there says little about a microscope.
"""


def leaderboard_markdown(
    boards: Iterable[EntryBoard], facts: Mapping[str, Any], left_out: Iterable[LeftOut] = ()
) -> str:
    """Return the text of `leaderboard.md`.

    Parameters
    ----------
    boards : of `make_boards`
    facts : of `published_facts`, for the note on the paper's means
    left_out : results that are not on the board
    """
    known = list(boards)
    parts = [_HEAD]
    for track in Track:
        chosen = [board for board in known if board.track is track]
        if chosen:
            parts.append(f"## {TRACK_TITLES[track]}\n")
            parts += [_published(published_of(known, track))]
            parts += [_board_markdown(board) for board in chosen if board.has_submissions]
    parts.append(_means(known, facts))
    omitted = [f"* {for_markdown(item.name)}: {for_markdown(item.reason)}" for item in left_out]
    if omitted:
        parts.append("## Left out\n\n" + "\n".join(omitted) + "\n")
    return "\n".join(parts)


def _published(rows: list[BoardRow]) -> str:
    """Return all published rows as one table, an entry a row: Table III of the paper."""
    if not rows:
        return ""
    columns = used_columns(rows[0].track, rows)
    lines = [
        "### As published, not re-scored",
        "",
        "Printed in the paper's Table III; made by another program from files that "
        "are not public, so not ranked with anything below.",
        "",
        _line(["entry", "method", *(column.label for column in columns)]),
        _line(["---", "---", *("---:" for _ in columns)]),
    ]
    for row in rows:
        cells = (column.shown(row) for column in columns)
        lines.append(_line([for_markdown(_entry(row)), _method(row), *cells]))
    return "\n".join([*lines, ""])


def _entry(row: BoardRow) -> str:
    return f"{row.entry} (simulated)" if is_simulated(row.entry) else row.entry


def _board_markdown(board: EntryBoard) -> str:
    about = "; ".join(part for part in (board.composition, board.kind) if part)
    lines = [f"### {board.entry}", "", f"{for_markdown(about)}.", ""]
    columns = used_columns(board.track, board.rows)
    for section in board.sections:
        lines += [_section_head(section), "", *_table(section, columns), ""]
    return "\n".join(lines)


def _section_head(section: Section) -> str:
    title = f"**{for_markdown(section.title)}**"
    return f"{title}: {for_markdown(section.reason)}." if section.reason else f"{title}."


def _table(section: Section, columns: list[Column]) -> list[str]:
    has_groups = any(ranked.group for ranked in section.rows)
    heads = ["rank", *(["group"] if has_groups else []), "method", "score"]
    heads += [column.label for column in columns]
    marks = ["---:", *(["---"] if has_groups else []), "---", "---", *("---:" for _ in columns)]
    lines = [_line(heads), _line(marks)]
    for ranked in section.rows:
        row = ranked.row
        cells = ["–" if ranked.rank is None else str(ranked.rank)]
        cells += [ranked.group or "–"] if has_groups else []
        cells += [_method(row), _status(row), *(_cell(column, ranked) for column in columns)]
        lines.append(_line(cells))
    below = [section.group_basis] if has_groups else []
    below += [for_markdown(remark) for remark in section.remarks]
    for text in below:
        lines += ["", f"{text}."]
    return lines


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(column: Column, ranked: RankedRow) -> str:
    interval = column.interval(ranked.row)
    return column.shown(ranked.row) + (f" ({interval})" if interval else "")


def _method(row: BoardRow) -> str:
    links = {"paper": safe_link(row.paper), "code": safe_link(row.code)}
    shown = [f"[{word}]({link})" for word, link in links.items() if link]
    return " ".join([for_markdown(row.method, LONGEST_NAME), *shown])


def _status(row: BoardRow) -> str:
    status = row.status.value
    return f"[{status}](results/{path_link(row.score_path)})" if row.score_path else status


def _means(boards: list[EntryBoard], facts: Mapping[str, Any]) -> str:
    """Return the note on Table I: what it states, and what Table III gives for its entries."""
    table = facts["table_1"]
    chosen = [
        row
        for board in boards
        for row in board.rows
        if row.status is ScoreStatus.PUBLISHED and row.entry in table["entries"]
    ]
    if len(chosen) != table["n_entries"]:
        return ""
    lines = [
        "## The published means",
        "",
        f"Table I of the paper states means over {_word(table['n_entries_stated'])} entries; its "
        f"angular errors are those of all {_word(table['n_entries'])} rows of Table III that are "
        "no version of another entry. Its ΔFSCR do not follow from Table III; the paper's text "
        "says 3.6 Å where its Table I says 3.4.",
        "",
        _line(["mean (standard deviation)", *(label for label, _ in _TABLE_1.values())]),
        _line(["---", *("---:" for _ in _TABLE_1)]),
        _line(
            ["Table I, as printed"]
            + [
                f"{table[metric]['mean']:.{decimals}f} ({table[metric]['std']:.{decimals}f})"
                for metric, (_, decimals) in _TABLE_1.items()
            ]
        ),
        _line([f"Table III, {_word(len(chosen))} rows", *_recomputed(chosen)]),
        "",
    ]
    return "\n".join(lines)


def _recomputed(rows: list[BoardRow]) -> list[str]:
    cells = []
    for metric, (_, decimals) in _TABLE_1.items():
        values = [row.value(metric) for row in rows]
        mean, deviation = statistics.fmean(values), statistics.stdev(values)
        cells.append(f"{mean:.{decimals}f} ({deviation:.{decimals}f})")
    return cells


def _word(count: int) -> str:
    return {7: "seven", 8: "eight"}.get(count, str(count))
