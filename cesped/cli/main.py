"""The console program `cesped`: finds the command, runs it, turns errors into exit codes."""

import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import Annotated

import typer

from ..errors import CespedError
from . import (
    abinitio,
    alignment,
    campaign,
    comparison,
    convert,
    demo,
    doctor,
    download,
    entries,
    leaderboard,
    learning,
    maps,
    preprocess,
    published,
    scoring,
    shards,
    simulation,
    structures,
    submit,
    view_training,
    weights,
)
from .command import Command, CommandGroup, new_app

EXIT_OK, EXIT_ERROR, EXIT_INTERRUPTED = 0, 1, 130

INTRODUCTION = """
Benchmark of supervised particle pose estimation in cryo-EM.

A benchmark entry is a set of particle images with known poses, in two halves. A model learns
on one half and predicts the poses of the other, and the converse; the maps reconstructed from
the predicted poses are then compared with the maps from the known ones.

\b
Start here:
  cesped demo      the whole job on a small embedded entry
  cesped list      the entries of the benchmark, and those on this machine
  cesped download  a published entry
  cesped add       make an entry of your own particles
  cesped doctor    find out what is wrong with particles or poses
"""

EPILOG = """
Entries live in the folder named by --benchmarkDir, else by the environment variable
CESPED_BENCHMARK_DIR, else in your user data folder. `cesped COMMAND --help` shows examples.

Exit codes: 0 done, 1 an error that the message explains, 2 wrong usage, 130 interrupted.
"""

COMMANDS: tuple[Command | CommandGroup, ...] = (
    *demo.COMMANDS,
    *entries.COMMANDS,
    *download.COMMANDS,
    *simulation.COMMANDS,
    *structures.COMMANDS,
    *shards.COMMANDS,
    *preprocess.COMMANDS,
    *learning.COMMANDS,
    *view_training.COMMANDS,
    *campaign.COMMANDS,
    *scoring.COMMANDS,
    *comparison.COMMANDS,
    *maps.COMMANDS,
    *abinitio.COMMANDS,
    *alignment.COMMANDS,
    *convert.COMMANDS,
    *doctor.COMMANDS,
    *submit.COMMANDS,
    *leaderboard.COMMANDS,
    *weights.COMMANDS,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("cesped"))
        raise typer.Exit


def _common_options(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of errors; may stand anywhere.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and stop."
        ),
    ] = False,
) -> None:
    del debug, version  # both are acted on before this is called


app = new_app(name="cesped", no_args_is_help=True)
app.callback(help=INTRODUCTION, epilog=EPILOG)(_common_options)
for _command in COMMANDS:
    _command.add_to(app)


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line of `cesped` and return its exit code.

    Parameters
    ----------
    args : the words after the program's name; those of this process if None.

    Returns
    -------
    0 when done, 1 after an error of `cesped.errors` (its message is on standard error),
    2 after wrong usage, 130 when interrupted.
    """
    return _run_app(app, "cesped", args)


def face(program: str, name: str, args: Sequence[str] | None = None) -> int:
    """Run the command `name` as `python -m <program>`, one of the papers' module names."""
    single = new_app()
    next(command for command in COMMANDS if command.name == name).add_to(single)
    return _run_app(single, f"python -m {program}", args)


def particles_dataset_face(args: Sequence[str] | None = None) -> int:
    """Run `python -m cesped.particlesDataset`, whose commands have names of their own."""
    return _run_app(published.app, "python -m cesped.particlesDataset", args)


def run() -> None:
    """Entry point of the console script."""
    sys.exit(main())


def _run_app(program: typer.Typer, name: str, args: Sequence[str] | None) -> int:
    if args is None:  # this process is ours
        # torch's threads would spin while they wait for each other: on cores that are shared with
        # anything else, training takes 2 to 10 times as long
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if args is None and _is_another_rank():  # torchrun's first process speaks for all
        with open(os.devnull, "w") as silence, redirect_stdout(silence), redirect_stderr(silence):
            return _run_app(program, name, sys.argv[1:])
    given = list(sys.argv[1:] if args is None else args)
    words = [word for word in given if word != "--debug"]
    try:
        typer.main.get_command(program).main(args=words, prog_name=name)
    except SystemExit as stop:  # how click and typer of every version report the exit code
        code = stop.code if isinstance(stop.code, int) else EXIT_ERROR
        if code == EXIT_INTERRUPTED:
            print(f"{name}: interrupted", file=sys.stderr)
        return code
    except (CespedError, OSError, MemoryError, RuntimeError) as error:
        if len(words) < len(given) or not _is_explained(error):
            raise
        print(f"{name}: error: {_explain(error)}", file=sys.stderr)
        return EXIT_ERROR
    return EXIT_OK


def _is_another_rank() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("RANK", "0") != "0"


def _is_explained(error: Exception) -> bool:
    """Return whether an error is one of the user's world; all others keep their traceback."""
    if isinstance(error, CespedError | OSError):
        return True
    return _lacks_memory(error)


#: What asks for less of a GPU, command by command.
_OF_A_GPU = (
    "a GPU is full: lower --memory-gb (--backend torch), double "
    "trainer.accumulate_grad_batches (train) or trainer.parts (train-views), lower --views "
    "(abinitio), end what else runs there, or take --device cpu"
)


def _lacks_memory(error: Exception) -> bool:
    # torch has no type for it on the processor, and one of its own on a GPU
    signs = ("out of memory", "allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in signs)


def _explain(error: Exception) -> str:
    """Return the message of an error; what the system refused is told with the file it is about."""
    if not isinstance(error, CespedError | OSError):
        first_line = (str(error).splitlines() or ["no details"])[0]
        remedy = _OF_A_GPU if "CUDA" in first_line else "use smaller images, maps or batches"
        return f"not enough memory ({first_line}); {remedy}"
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    if isinstance(error, CespedError):
        return error.strerror  # without the number of the error, which str() puts before it
    about = "" if error.filename is None else f": {error.filename}"
    return f"{error.strerror}{about} (--debug shows where)"
