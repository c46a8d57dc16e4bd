"""The whole job on an entry that the package makes itself, in a few minutes."""

import os
from pathlib import Path

from ..progress import SILENT, Progress
from .campaign import CampaignOutcome, run_campaign
from .scoring import ScoringOptions

DEFAULT_ENTRY = "DEMO"
DEFAULT_OUTDIR = Path("demo")
RECIPE = "demo"


def run_demo(
    outdir: str | os.PathLike[str] = DEFAULT_OUTDIR,
    benchmark_dir: str | os.PathLike[str] | None = None,
    *,
    entry: str = DEFAULT_ENTRY,
    options: ScoringOptions | None = None,
    progress: Progress = SILENT,
) -> CampaignOutcome | None:
    """Make the embedded entry if it is not there, then run a whole campaign on it.

    Parameters
    ----------
    outdir : folder for report, score, maps and predictions.
    benchmark_dir : folder where the entry is made and found again.
    entry : "DEMO" (no symmetry) or "DEMO-D2".
    options : how to score; the defaults when None.

    Raises
    ------
    OptionError
        If there is no such embedded entry.
    DiskFullError
        If the disk is full.
    """
    from ..data.demo_entry import ensure_demo_entry
    from ..data.store import default_benchmark_dir
    from ..training.recipe import load_recipe

    folder = default_benchmark_dir(benchmark_dir)
    ensure_demo_entry(folder, entry, progress=progress)
    return run_campaign(
        entry,
        outdir,
        load_recipe(RECIPE),
        benchmark_dir=folder,
        options=options,
        progress=progress,
    )
