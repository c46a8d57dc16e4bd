"""Options that every scoring command has, declared once."""

from pathlib import Path
from typing import Annotated

import typer

UsePredConfidence = Annotated[
    bool,
    typer.Option(
        "--usePredConfidence/--NOT_usePredConfidence",
        help="Weight particles by rlnParticleFigureOfMerit of the predictions.",
    ),
]

UseGtMask = Annotated[
    bool,
    typer.Option(
        "--use_gt_mask/--NOT_use_gt_mask",
        help="Compare maps inside the mask, where the entry has one.",
    ),
]

MaskFile = Annotated[
    Path | None,
    typer.Option("--maskFname", metavar="MRC", help="Mask to use instead of the entry's."),
]

IgnoreSymmetry = Annotated[
    bool, typer.Option("--ignore_symmetry", help="Score and reconstruct as if there was none.")
]

Cpus = Annotated[int, typer.Option("--n_cpus", min=1, help="Processor cores to use.")]
