"""`cesped leaderboard`: the pages that rank submissions."""

from pathlib import Path
from typing import Annotated

import typer

from .command import Command, CommandGroup


def build(
    results: Annotated[
        Path, typer.Option("--results", metavar="DIR", help="Folder of submissions.")
    ] = Path("benchmarks/results"),
    outdir: Annotated[
        Path, typer.Option("--outdir", "-o", metavar="DIR", help="Folder for the pages.")
    ] = Path("benchmarks"),
    reports: Annotated[
        Path | None,
        typer.Option(
            "--reports", metavar="DIR", help="Folder of SUBMISSION/ENTRY/report.html to link to."
        ),
    ] = None,
) -> None:
    """Write leaderboard.md, leaderboard.html and leaderboard.csv.

    Each folder of --results with a manifest.toml is a submission. Its figures come from
    rescored/ENTRY.json where `cesped submit score --record` put one, else from the score that it
    came with, and say which. The paper's Table III stands first, as published. Rows are ranked
    only with rows of the same metric version, particles, mask and symmetry.
    """
    from ..workflows.leaderboard import build_leaderboard

    built = build_leaderboard(results, outdir, reports)
    rows = sum(len(board.rows) for board in built.boards)
    print(f"{rows} rows of {len(built.boards)} entries")
    for item in built.left_out:
        print(f"left out: {item.name}: {item.reason}")
    for path in built.files:
        print(f"Wrote {path}")


COMMANDS = (
    CommandGroup(
        "leaderboard",
        """
        Rank submissions and write the pages that show it.

        The pages are text, one web page that works offline, and a table file.
        """,
        """
        cesped leaderboard build
        """,
        (
            Command(
                build,
                "build",
                """
                cesped leaderboard build
                cesped leaderboard build --results submissions/ --outdir pages/
                """,
            ),
        ),
    ),
)
