"""Options that every scoring command has, declared once."""

from pathlib import Path
from typing import Annotated

import typer

from ..vocabulary import Backend

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

BackendChoice = Annotated[
    Backend | None,
    typer.Option(
        "--backend",
        help="Program that reconstructs: native (processor), torch (GPU) or relion; native, or "
        "relion if one of its options is given.",
    ),
]

RelionBinDir = Annotated[
    str | None,
    typer.Option("--relionBinDir", metavar="DIR", help="Where RELION's programs are."),
]

Mpirun = Annotated[
    str | None,
    typer.Option("--mpirun", metavar="COMMAND", help="Launcher of RELION's processes."),
]

RelionContainer = Annotated[
    str | None,
    typer.Option("--relionSingularity", metavar="SIF", help="Container image that has RELION."),
]

MapCache = Annotated[
    Path | None,
    typer.Option(
        "--mapCache",
        metavar="DIR",
        help="Keep the maps of the known poses there, for the next evaluation of the entry.",
    ),
]

MapGroups = Annotated[
    int,
    typer.Option(
        "--map_intervals",
        metavar="GROUPS",
        min=0,
        help="Also find 95 % intervals of figures of maps: all maps are made again without each "
        "of so many groups of particles. 10 groups make it about 8 times as long.",
    ),
]
