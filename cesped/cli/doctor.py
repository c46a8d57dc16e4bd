"""`cesped doctor`: what may be wrong with particles, poses or predictions."""

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..vocabulary import Health
from .command import BenchmarkDir, Command, names_a_file

if TYPE_CHECKING:
    from ..evaluation.diagnosis.findings import Diagnosis

#: Beside 0 for healthy and the codes of errors that all commands share.
EXIT_FAULT, EXIT_UNCLEAR = 3, 4
_WIDTH = 96
_EXIT_CODES = {Health.HEALTHY: 0, Health.FAULT: EXIT_FAULT, Health.UNCLEAR: EXIT_UNCLEAR}


def doctor(
    target: Annotated[
        str, typer.Argument(metavar="ENTRY|STAR", help="Name of an entry, or a star file.")
    ],
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions", metavar="STAR", help="Examine these poses of the entry's particles."
        ),
    ] = None,
    halfset: Annotated[
        int | None,
        typer.Option(
            "--halfset",
            "-p",
            min=0,
            max=1,
            help="Which half of the entry: 0 (the default) or 1; of predictions, the half that "
            "they are of is found by itself.",
        ),
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(
            "--root",
            "-r",
            metavar="DIR",
            help="Folder that the image names of a star file start from; its own if left out.",
        ),
    ] = None,
    symmetry: Annotated[
        str | None,
        typer.Option("--symmetry", "-s", help="Point group of the particles of a star file."),
    ] = None,
    particles: Annotated[
        int, typer.Option("--particles", "-n", help="How many to look at, drawn at random.")
    ] = 1000,
    box: Annotated[
        int, typer.Option("--box", help="Images are shrunk to so many pixels first.")
    ] = 64,
    seed: Annotated[int, typer.Option("--seed", help="Of everything that is drawn.")] = 0,
    readings: Annotated[
        bool, typer.Option("--readings", help="Show how well every reading fits.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the diagnosis as JSON instead.")
    ] = False,
    figure: Annotated[
        Path | None, typer.Option("--figure", metavar="PNG", help="Draw how readings fit.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", "-j", help="Processor cores; all if left out.")
    ] = None,
    benchmark_dir: BenchmarkDir = None,
) -> None:
    """Find out what is wrong with particles or poses.

    Each particle is compared with a map of the other particles, at its pose: as the file says,
    and under every misreading that is common. Transposed, mirrored, turned or shuffled poses,
    wrong shifts, rows that are off by one, inverted contrast, a wrong pixel size, a wrong CTF or
    wrong axes of symmetry make that comparison worse, and undoing them makes it better.
    Predictions are held against the known poses of their entry.

    What no image shows, and so is not told except for predictions: the hand of the map, and how
    it is turned in space.

    Exit codes: 0 nothing wrong was found, 3 something is likely wrong, 4 cannot tell (too few or
    too noisy particles); as for all commands 1 an error, 2 wrong usage.
    """
    from ..evaluation.diagnosis.examination import ExaminationOptions
    from ..workflows.doctor import (
        check_figure,
        diagnose_entry,
        diagnose_particles,
        diagnose_predictions,
        write_figure,
    )
    from .progress_bar import make_progress

    options = ExaminationOptions(particles, box, seed, threads)
    progress = make_progress()
    is_star = names_a_file(target)
    _refuse_misplaced(is_star, predictions, halfset, root, symmetry)
    if figure is not None:
        check_figure(figure)
    if is_star:
        diagnosis = diagnose_particles(target, root, symmetry or "C1", options, progress)
    elif predictions is not None:
        diagnosis = diagnose_predictions(
            predictions, target, halfset, benchmark_dir, options, progress
        )
    else:
        diagnosis = diagnose_entry(target, halfset or 0, benchmark_dir, options, progress)
    if as_json:
        print(json.dumps(diagnosis.as_dict(), indent=2))
    else:
        _print_diagnosis(diagnosis, readings)
    if figure is not None:
        written = write_figure(diagnosis, figure)
        if not as_json:
            print(f"Wrote {written}")
    raise typer.Exit(_EXIT_CODES[diagnosis.health])


def _refuse_misplaced(
    is_star: bool,
    predictions: Path | None,
    halfset: int | None,
    root: Path | None,
    symmetry: str | None,
) -> None:
    if is_star and (predictions is not None or halfset is not None):
        raise typer.BadParameter(
            "--predictions and --halfset go with the name of an entry, not with a star file"
        )
    if not is_star and (root is not None or symmetry is not None):
        raise typer.BadParameter(
            "--root and --symmetry go with a star file; an entry has its own (a star file's name "
            "ends in .star)"
        )


def _print_diagnosis(diagnosis: "Diagnosis", readings: bool) -> None:
    print(
        f"{diagnosis.subject}: {diagnosis.n_particles:,} particles at {diagnosis.box} px of "
        f"{diagnosis.pixel_size_angst:.3g} Å"
    )
    print(f"  {'':<14}{'verdict':<13}{'sure':<10}")
    for found in diagnosis.findings:
        _print_cells(
            f"  {found.suspicion:<14}{found.health:<13}{found.certainty:<10}", found.statement
        )
        if readings:
            for score in found.scores:
                versus = "" if score.z != score.z else f"z {score.z:+.1f}"
                print(f"{'':<19}{score.reading:<32}{score.agreement:>8.3f}  {versus}".rstrip())
    for name, value in diagnosis.facts.items():
        if readings:
            print(f"  {name.replace('_', ' ')}: {value:.4g}")
    print()
    print(textwrap.fill(diagnosis.verdict, _WIDTH))
    for found in diagnosis.findings:
        if found.remedy:
            _print_cells("To do: ", f"{found.remedy[:1].upper()}{found.remedy[1:]}.")


def _print_cells(first: str, text: str) -> None:
    indent = " " * len(first)
    print(textwrap.fill(text, _WIDTH, initial_indent=first, subsequent_indent=indent))


COMMANDS = (
    Command(
        doctor,
        "doctor",
        """
        cesped doctor mine --halfset 1
        cesped doctor run_data.star --root relion_project/ --symmetry D2
        cesped doctor DEMO --predictions predictions_0.star
        cesped doctor run_data.star --particles 300 --readings --figure doctor.png
        """,
    ),
)
