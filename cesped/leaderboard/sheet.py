"""The leaderboard as a table file, for programs and spreadsheets."""

import csv
import io
import math
from collections.abc import Iterable

from .columns import COLUMNS
from .plain_text import LONGEST_NAME, for_csv
from .ranking import EntryBoard

_HEADS = ("track", "entry", "entry_kind", "section", "rank", "group", "method", "status")


def leaderboard_csv(boards: Iterable[EntryBoard]) -> str:
    """Return all rows as CSV; texts that a spreadsheet would take for formulas are quoted."""
    known = list(boards)
    columns = {c.metric or c.label: c for board in known for c in COLUMNS[board.track]}
    sheet = io.StringIO()
    writer = csv.writer(sheet, lineterminator="\n")
    writer.writerow([*_HEADS, *columns])
    for board in known:
        for section in board.sections:
            for ranked in section.rows:
                row = ranked.row
                texts = (
                    *(board.track.value, board.entry, board.kind, section.title),
                    *("" if ranked.rank is None else ranked.rank, ranked.group or ""),
                    *(row.method, row.status.value),
                )
                numbers = (column.number(row) / column.scale for column in columns.values())
                writer.writerow(
                    [for_csv(text, LONGEST_NAME) for text in texts]
                    + ["" if math.isnan(number) else f"{number:.6g}" for number in numbers]
                )
    return sheet.getvalue()
