"""`cesped demo`: the whole job on the embedded entry."""

from pathlib import Path
from typing import Annotated

import typer

from .campaign import print_outcome
from .command import BenchmarkDir, Command


def demo(
    outdir: Annotated[
        Path, typer.Option("--outdir", "-o", metavar="DIR", help="Folder for all results.")
    ] = Path("demo"),
    entry: Annotated[
        str, typer.Option("--entry", help="DEMO (no symmetry) or DEMO-D2 (two-fold axes).")
    ] = "DEMO",
    benchmark_dir: BenchmarkDir = None,
) -> None:
    """Run the whole job on a small embedded entry.

    It takes a few minutes and needs no download. A made-up molecule is projected into two
    halves of noisy particles. A model learns on each half and predicts the poses of the other;
    maps are reconstructed and compared; a report is written. A demo that was stopped goes on
    where it stood when you run it again.
    """
    from ..workflows.demo import run_demo
    from .progress_bar import make_progress

    outcome = run_demo(outdir, benchmark_dir, entry=entry, progress=make_progress())
    print_outcome(outcome)


COMMANDS = (
    Command(
        demo,
        "demo",
        """
        cesped demo
        cesped demo --outdir /tmp/demo --entry DEMO-D2
        """,
    ),
)
