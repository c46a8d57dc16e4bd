"""Build the pages of the leaderboard from a folder of submissions."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..leaderboard.ranking import EntryBoard
    from ..leaderboard.rows import LeftOut

MARKDOWN_NAME, PAGE_NAME, SHEET_NAME = "leaderboard.md", "leaderboard.html", "leaderboard.csv"


@dataclass(frozen=True)
class BuiltLeaderboard:
    """What was written.

    Attributes
    ----------
    boards : what the pages show.
    left_out : results that are not on them, and why.
    files : the pages.
    """

    boards: "list[EntryBoard]"
    left_out: "list[LeftOut]"
    files: tuple[Path, ...]


def build_leaderboard(
    results_dir: str | os.PathLike[str],
    outdir: str | os.PathLike[str],
    reports_dir: str | os.PathLike[str] | None = None,
) -> BuiltLeaderboard:
    """Write `leaderboard.md`, `leaderboard.html` and `leaderboard.csv`.

    The same results always make the same files.

    Parameters
    ----------
    results_dir : folder of submissions.
    outdir : folder for the pages, which link to `results/` beside them.
    reports_dir : folder with reports as `SUBMISSION/ENTRY/report.html`, to link to.

    Raises
    ------
    MissingFileError
        If there is no folder of results.
    DiskFullError, UnwritableError
        If a page cannot be written.
    """
    from ..io.files import write_text_atomic
    from ..leaderboard.markdown import leaderboard_markdown
    from ..leaderboard.ranking import make_boards
    from ..leaderboard.rows import published_facts, published_rows, read_rows
    from ..leaderboard.sheet import leaderboard_csv
    from ..leaderboard.site import find_reports, leaderboard_page

    rows, left_out = read_rows(results_dir)
    boards = make_boards([*published_rows(), *rows])
    page = Path(outdir) / PAGE_NAME
    texts = {
        MARKDOWN_NAME: leaderboard_markdown(boards, published_facts(), left_out),
        PAGE_NAME: leaderboard_page(boards, left_out, find_reports(rows, reports_dir, page)),
        SHEET_NAME: leaderboard_csv(boards),
    }
    files = [write_text_atomic(Path(outdir) / name, text) for name, text in texts.items()]
    return BuiltLeaderboard(boards, left_out, tuple(files))
