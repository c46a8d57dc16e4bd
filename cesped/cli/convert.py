"""`cesped convert`: particles and poses between RELION, CryoSPARC and cryoDRGN."""

from pathlib import Path
from typing import Annotated

import typer

from ..vocabulary import StarForm
from .command import Command


def convert(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN... OUT",
            help="Files to read, and last the file to write: .star, .cs or .pkl.",
            show_default=False,
        ),
    ],
    root: Annotated[
        Path | None,
        typer.Option(
            "--root",
            "-r",
            metavar="DIR",
            help="Folder that image names start from; needed only where a file does not state "
            "the box of its images.",
        ),
    ] = None,
    form: Annotated[
        StarForm, typer.Option("--form", help="Which RELION a star file is written for.")
    ] = StarForm.RELION_31,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the output if it exists.")
    ] = False,
) -> None:
    """Convert between RELION, CryoSPARC and cryoDRGN.

    The suffixes say what is read and written:

    \b
      .star        RELION 3.0, 3.1, 4.0 and 5.0; --form chooses what is written
      .cs          CryoSPARC; give the passthrough file of the job after it
      .pkl         cryoDRGN's poses and CTF; NAME.pkl is written as NAME.poses.pkl
                   and NAME.ctf.pkl. They do not name their images: to read them,
                   give the particle file (.mrcs, .star or .cs) too

    Poses, shifts and CTF change to the other program's conventions. Images are not touched, nor
    their contrast. What the other format cannot hold is listed, never dropped in silence.
    """
    from ..data.interop import convert as run
    from .progress_bar import make_progress

    if len(files) < 2:
        raise typer.BadParameter("name at least one file to read and, last, the file to write")
    *inputs, out = files
    done = run(inputs, out, root=root, form=form, overwrite=force, progress=make_progress())
    print(f"Wrote {done.n_particles:,} particles:")
    for path in done.written:
        print(f"  {path}")
    _print_list("Left out:", done.left_out)
    _print_list("Note:", done.remarks)


def _print_list(title: str, sentences: tuple[str, ...]) -> None:
    if sentences:
        print(title)
    for sentence in sentences:
        print(f"  - {sentence}")


COMMANDS = (
    Command(
        convert,
        "convert",
        """
        cesped convert J42_particles.cs J42_passthrough_particles.cs particles.star
        cesped convert run_data.star particles.cs --root relion_project/
        cesped convert run_data.star cryodrgn.pkl
        cesped convert cryodrgn.poses.pkl cryodrgn.ctf.pkl run_data.star refined.star
        cesped convert poses.pkl ctf.pkl particles.mrcs particles.star
        cesped convert old_relion.star new_relion.star --form 5.0
        """,
    ),
)
