"""Options of all commands that draw poses of simulated images, declared once."""

from typing import Annotated

import typer

#: Value of `--poses` that is no file.
UNIFORM = "uniform"

Orientations = Annotated[
    str,
    typer.Option(
        "--poses", metavar="uniform|FILE", help="Uniform on SO(3), or of a .star or .cs file."
    ),
]

PreferredViews = Annotated[
    list[str] | None,
    typer.Option(
        "--view",
        metavar="ROT,TILT,SPREAD,SHARE",
        help="Preferred view: this share of the images scatters about it. May be repeated.",
    ),
]
