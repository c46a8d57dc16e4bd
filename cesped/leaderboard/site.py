"""The leaderboard as one web page: tables to sort, trades of cost and error, curves overlaid.

Everything is inside the file. Names and texts of strangers are escaped, links are web addresses,
and the page's policy lets no script run but its own.
"""

import base64
import hashlib
import math
import os
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from string import Template

from ..vocabulary import Track
from .charts import Line, Point, fsc_chart, pareto_chart
from .columns import COLUMNS, TRACK_TITLES, Column, used_columns
from .plain_text import LONGEST_NAME, for_html, path_link, safe_link
from .ranking import RANKED_BY, EntryBoard, RankedRow, Section, is_simulated, published_of
from .rows import BoardRow, LeftOut

#: Sorts a table by the column whose head was pressed; cells without a figure stay last.
SCRIPT = """"use strict";
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement;
    const table = head.closest("table");
    const heads = [...head.parentElement.children];
    const column = heads.indexOf(head);
    const falling = head.getAttribute("aria-sort") === "ascending";
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const key = row => row.children[column].dataset.key;
    const body = table.tBodies[0];
    const order = (a, b) => {
      if (key(a) === "" || key(b) === "") return (key(a) === "") - (key(b) === "");
      const [x, y] = [Number(key(a)), Number(key(b))];
      const found = isNaN(x) || isNaN(y) ? key(a).localeCompare(key(b)) : x - y;
      return falling ? -found : found;
    };
    for (const row of [...body.rows].sort(order)) body.append(row);
  });
}
"""
_SIMULATED = '<span class="mark">simulated images</span>'
_PARETO_TITLES = ("seconds per 1,000 particles", "wMAnE (degrees)")
_SUBTITLE = (
    "Scores of predicted particle poses, ranked by wMAnE among rows that were scored alike. "
    "Published figures stand first and are not ranked."
)


def leaderboard_page(
    boards: Iterable[EntryBoard],
    left_out: Iterable[LeftOut] = (),
    reports: Mapping[tuple[str, str], str] | None = None,
) -> str:
    """Return the page.

    Parameters
    ----------
    boards : of `make_boards`
    left_out : results that are not on the board
    reports : addresses of reports, relative to the page, by submission and entry
    """
    known = list(boards)
    parts = [_contents(known)]
    for track in Track:
        chosen = [board for board in known if board.track is track]
        if chosen:
            parts.append(f"<h2>{for_html(TRACK_TITLES[track])}</h2>")
            parts.append(_published_html(published_of(known, track)))
            parts += [
                _board_html(board, reports or {}) for board in chosen if board.has_submissions
            ]
    parts.append(_glossary(known))
    items = "".join(f"<li>{for_html(item.name)}: {for_html(item.reason)}</li>" for item in left_out)
    if items:
        parts.append(f"<section><h3>Left out</h3><ul>{items}</ul></section>")
    template = Template(resources.files(__package__).joinpath("page.html").read_text("utf-8"))
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode("utf-8")).digest()).decode("ascii")
    return template.substitute(
        subtitle=for_html(_SUBTITLE),
        body="\n".join(parts),
        script=SCRIPT,
        script_hash=f"sha256-{digest}",
    )


def find_reports(
    rows: Iterable[BoardRow], reports_dir: str | os.PathLike[str] | None, page: Path
) -> dict[tuple[str, str], str]:
    """Return the reports that are there, as `<reports_dir>/<submission>/<entry>/report.html`."""
    if reports_dir is None:
        return {}
    found = {}
    for row in rows:
        path = Path(reports_dir) / row.submission / row.entry / "report.html"
        if row.submission and path.is_file():
            relative = Path(os.path.relpath(path.resolve(), page.parent.resolve())).as_posix()
            found[row.submission, row.entry] = relative
    return found


def _contents(boards: list[EntryBoard]) -> str:
    links = "".join(
        f'<a href="#{_anchor(board)}">{for_html(board.entry)}</a>'
        for board in boards
        if board.has_submissions
    )
    if any(published_of(boards, track) for track in Track):
        links = f'<a href="#published">published</a>{links}'
    return f'<nav aria-label="Entries">{links}</nav>'


def _anchor(board: EntryBoard) -> str:
    return for_html(f"{board.track.value}-{board.entry}")


def _published_html(rows: list[BoardRow]) -> str:
    """Return all published rows as one table, and the paper's running times as a chart."""
    if not rows:
        return ""
    columns = used_columns(rows[0].track, rows)
    heads = [("entry", False), ("method", False), *((column.label, True) for column in columns)]
    lines = []
    for row in rows:
        mark = _SIMULATED if is_simulated(row.entry) else ""
        cells = [
            _cell(row.entry, for_html(row.entry) + mark, ""),
            _cell(row.method, _links(row), ""),
        ]
        lines.append(f"<tr>{''.join([*cells, *_number_cells(row, columns)])}</tr>")
    timed = [row for row in rows if row.seconds_per_1000 > 0 and row.value(RANKED_BY) > 0]
    points = [Point(row.entry, row.seconds_per_1000, row.value(RANKED_BY)) for row in timed]
    caption = (
        f"Error against time to predict in the paper (Table IV), by entry, on "
        f"{rows[0].inference_hardware}; lower left is better."
    )
    chart = _figure(pareto_chart(points, *_PARETO_TITLES, joined=False), caption) if points else ""
    return (
        '<section id="published"><h3>As published, not re-scored</h3><p class="about">'
        f"{for_html(rows[0].method)}: {for_html(rows[0].description)} Printed in the paper's "
        "Table III; made by another program from files that are not public, so not ranked with "
        "anything below. The means of its Table I are over eight entries, not seven.</p>"
        f'{_table_html(heads, lines)}<div class="charts">{chart}</div></section>'
    )


def _board_html(board: EntryBoard, reports: Mapping[tuple[str, str], str]) -> str:
    columns = used_columns(board.track, board.rows)
    simulated = _SIMULATED if is_simulated(board.entry) else ""
    about = "; ".join(part for part in (board.composition, board.kind) if part)
    tables = "".join(_section_html(section, columns, reports) for section in board.sections)
    return (
        f'<section id="{_anchor(board)}"><h3>{for_html(board.entry)}{simulated}</h3>'
        f'<p class="about">{for_html(about)}.</p>{tables}</section>'
    )


def _section_html(
    section: Section, columns: list[Column], reports: Mapping[tuple[str, str], str]
) -> str:
    has_groups = any(ranked.group for ranked in section.rows)
    heads = [("rank", True), *([("group", False)] if has_groups else [])]
    heads += [("method", False), ("score", False), *((column.label, True) for column in columns)]
    rows = [_row_html(ranked, columns, has_groups, reports) for ranked in section.rows]
    reason = f'<p class="reason">{for_html(section.reason)}.</p>' if section.reason else ""
    basis = f'<p class="about">{for_html(section.group_basis)}.</p>' if has_groups else ""
    below = "".join(f'<p class="about">{for_html(text)}.</p>' for text in section.remarks)
    title = f"<h4>{for_html(section.title)}</h4>{reason}"
    return f"{title}{_table_html(heads, rows)}{basis}{below}{_charts(section)}"


def _table_html(heads: list[tuple[str, bool]], rows: list[str]) -> str:
    """Return a table that can be sorted; heads are texts, and whether numbers stand below."""
    cells = "".join(
        f'<th scope="col"{" class=n" if is_number else ""}><button>{for_html(text)}</button></th>'
        for text, is_number in heads
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Table, scrolls sideways">'
        f"<table><thead><tr>{cells}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _row_html(
    ranked: RankedRow,
    columns: list[Column],
    has_groups: bool,
    reports: Mapping[tuple[str, str], str],
) -> str:
    row = ranked.row
    rank = "" if ranked.rank is None else str(ranked.rank)
    cells = [_cell(rank, rank or "–", "n")]
    cells += [_cell(ranked.group or "", ranked.group or "–", "")] if has_groups else []
    cells += [
        _cell(row.method, _method_html(row), "word"),
        _cell(row.status, _score(row, reports), "status"),
    ]
    return f"<tr>{''.join([*cells, *_number_cells(row, columns)])}</tr>"


def _number_cells(row: BoardRow, columns: list[Column]) -> list[str]:
    cells = []
    for column in columns:
        number = column.number(row)
        interval = column.interval(row)
        small = f"<small>{for_html(interval)}</small>" if interval else ""
        key = "" if math.isnan(number) else f"{number:.6g}"
        cells.append(_cell(key, for_html(column.shown(row)) + small, "n"))
    return cells


def _cell(key: str, content: str, kind: str) -> str:
    """Return a table cell; `content` is HTML, `key` is what the column is sorted by."""
    return f'<td class="{kind}" data-key="{for_html(key)}">{content}</td>'


def _links(row: BoardRow) -> str:
    """Return the name of a method and the links that it gives."""
    links = "".join(
        f' <a href="{for_html(link)}" rel="noopener noreferrer nofollow">{word}</a>'
        for word, address in (("paper", row.paper), ("code", row.code))
        if (link := safe_link(address))
    )
    return for_html(row.method, LONGEST_NAME) + links


def _method_html(row: BoardRow) -> str:
    details = [row.description]
    if row.parameters is not None:
        details.append(f"{row.parameters:,} parameters")
    if row.inference_seconds is not None and row.inference_hardware:
        details.append(f"predicted on {row.inference_hardware}")
    small = "".join(f"<small>{for_html(text)}</small>" for text in details if text)
    return _links(row) + small


def _score(row: BoardRow, reports: Mapping[tuple[str, str], str]) -> str:
    status = for_html(row.status.value)
    if row.score_path:
        status = f'<a href="results/{path_link(row.score_path)}">{status}</a>'
    report = reports.get((row.submission, row.entry))
    return status + (f' <a href="{path_link(report)}">report</a>' if report else "")


def _charts(section: Section) -> str:
    """Return the charts of rows that may be compared; figures of other sections are not in them."""
    rows = [ranked.row for ranked in section.rows if ranked.rank is not None]
    timed = [row for row in rows if row.seconds_per_1000 > 0]
    figures = []
    if timed:
        points = [Point(row.method, row.seconds_per_1000, row.value(RANKED_BY)) for row in timed]
        chart = pareto_chart(points, *_PARETO_TITLES)
        caption = (
            "Error against time to predict, as stated, each on its own hardware; lower left is "
            "better."
        )
        figures.append(_figure(chart, caption))
    lines = _fsc_lines(rows)
    if lines:
        caption = (
            "How far the map from predicted poses agrees with the one from known poses, which it "
            "shares its noise with; in the mask where there is one."
        )
        figures.append(_figure(fsc_chart(lines), caption))
    return f'<div class="charts">{"".join(figures)}</div>' if figures else ""


def _figure(chart: str, caption: str) -> str:
    return f"<figure>{chart}<figcaption>{for_html(caption)}</figcaption></figure>"


def _fsc_lines(rows: list[BoardRow]) -> list[Line]:
    """Return the curves of every row that has them, and the known poses' own of the first."""
    lines: list[Line] = []
    for row in rows:
        for name, label, is_reference in (
            ("prediction_to_truth", row.method, False),
            ("truth_halves", "known poses, half against half", True),
        ):
            curve = row.curves.get(f"{name}_masked") or row.curves.get(name)
            if curve is None or (is_reference and any(line.is_reference for line in lines)):
                continue
            x, y = curve.frequency_per_angst[1:].tolist(), curve.correlation[1:].tolist()
            if x:
                lines.append(Line(label, x, y, is_reference))
    return sorted(lines, key=lambda line: line.is_reference)


def _glossary(boards: list[EntryBoard]) -> str:
    tracks = [track for track in Track if any(board.track is track for board in boards)]
    columns = {column.label: column.meaning for track in tracks for column in COLUMNS[track]}
    terms = "".join(
        f"<dt>{for_html(label)}</dt><dd>{for_html(meaning)}</dd>"
        for label, meaning in columns.items()
    )
    rest = (
        "<dt>group</dt><dd>Rows of one letter cannot be told apart from the first of them; below "
        "each table stands by which test.</dd><dt>score</dt><dd>Who computed the figures: the "
        "paper, the authors of the submission, or this package from the predictions.</dd>"
    )
    return f"<section><h3>What the columns mean</h3><dl>{terms}{rest}</dl></section>"
