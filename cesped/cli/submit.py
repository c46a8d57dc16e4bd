"""`cesped submit`: make, check and score submissions to the leaderboard."""

import textwrap
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..vocabulary import Backend, PoseOrigin, PredictionType, Severity, Track
from .command import BenchmarkDir, Command, CommandGroup
from .score_options import Cpus

if TYPE_CHECKING:
    from ..leaderboard.checks import CheckReport
    from ..leaderboard.manifest import Manifest
    from ..workflows.submission import EntryScore

#: Beside 0 and the codes that all commands share, as `cesped doctor` has them.
EXIT_FAULT = 3
_WIDTH = 96

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The submission.")]


def new(
    folder: Folder,
    target: Annotated[
        str, typer.Option("--targetName", "-t", metavar="NAME", help="Name of the entry.")
    ],
    half0: Annotated[
        Path, typer.Option("--half0PredsFname", metavar="STAR", help="Predicted poses of half 0.")
    ],
    half1: Annotated[
        Path, typer.Option("--half1PredsFname", metavar="STAR", help="Predicted poses of half 1.")
    ],
    result: Annotated[
        Path | None,
        typer.Option("--result", metavar="JSON", help="Their metrics.json, of `cesped evaluate`."),
    ] = None,
    prediction_type: Annotated[
        PredictionType | None, typer.Option("--predictionType", help="What was predicted.")
    ] = None,
    track: Annotated[
        Track | None, typer.Option("--track", help="Whether the models learned from poses.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--method", metavar="NAME", help="Name of the method.")
    ] = None,
    description: Annotated[
        str | None, typer.Option("--description", metavar="TEXT", help="One or two sentences.")
    ] = None,
    paper: Annotated[
        str | None, typer.Option("--paper", metavar="URL|DOI", help="Where it is described.")
    ] = None,
    code: Annotated[
        str | None, typer.Option("--code", metavar="URL|DOI", help="Where its program is.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="TEXT", help="All that its models have ever seen."),
    ] = None,
    hardware: Annotated[
        str | None, typer.Option("--hardware", metavar="TEXT", help="What it was trained on.")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option("--inferenceSeconds", min=0, help="Time to predict both halves."),
    ] = None,
    doi: Annotated[
        str | None,
        typer.Option("--doi", help="The star files are published there and are not copied."),
    ] = None,
    made_by: Annotated[
        str | None,
        typer.Option(
            "--madeBy",
            metavar="COMMAND",
            help="This makes the star files of an embedded entry anew; they are not copied.",
        ),
    ] = None,
    crossed: Annotated[
        bool,
        typer.Option("--crossed", help="I state: each half's model learned on the other half."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace predictions of the same entry.")
    ] = False,
) -> None:
    """Make a submission, or add another entry to it.

    The star files and the score are copied into the folder, and manifest.toml is written. What
    is not told by options is marked FILL IN there: complete it with any editor.
    """
    from ..leaderboard.manifest import TO_FILL_IN, EntrySubmission, manifest_to_toml
    from ..leaderboard.submission import add_predictions, open_or_new

    manifest = _told(open_or_new(folder), prediction_type, track)
    method = _given(name=name, description=description, paper=paper, code=code)
    training = _given(data=data, hardware=hardware)
    manifest = replace(
        manifest,
        method=replace(manifest.method, **method),
        training=replace(manifest.training, **training),
    )
    entry = EntrySubmission(
        name=target,
        checksums=("", ""),
        doi=doi,
        command=made_by,
        learned_on=(1, 0) if crossed else None,
        inference_seconds=seconds,
    )
    path = add_predictions(
        folder,
        manifest,
        entry,
        (half0, half1),
        result,
        replace_entry=force,
        copy_stars=doi is None and made_by is None,
    )
    missing = manifest_to_toml(manifest).count(TO_FILL_IN)
    if missing:
        print(f"Wrote {path}: {missing} texts are to be filled in (look for {TO_FILL_IN})")
    else:
        print(f"Wrote {path}")
    print(f"Next: cesped submit check {folder}")


def _given(**texts: str | None) -> dict[str, Any]:
    return {name: text for name, text in texts.items() if text is not None}


def _told(
    manifest: "Manifest", prediction_type: PredictionType | None, track: Track | None
) -> "Manifest":
    if prediction_type is not None:
        manifest = replace(manifest, prediction_type=prediction_type)
    return manifest if track is None else replace(manifest, track=track)


def check(folder: Folder, benchmark_dir: BenchmarkDir = None) -> None:
    """Say what is wrong with a submission.

    Looks at the manifest, the files, the particle names of both halves, the poses, the score, and
    for signs that a half was predicted by a model that had seen it. Nothing is downloaded, and
    nothing in the folder is run: a submission of strangers may be checked.

    \b
    Exit codes: 0 nothing is wrong, 3 something is; what is suspicious needs eyes, not a code.
    """
    from ..leaderboard.checks import check_submission

    report = check_submission(folder, benchmark_dir)
    _print_report(report)
    if not report.is_acceptable:
        raise typer.Exit(EXIT_FAULT)


def _print_report(report: "CheckReport") -> None:
    from ..leaderboard.plain_text import LONGEST_NAME, plain

    if report.manifest is not None:
        manifest = report.manifest
        entries = ", ".join(entry.name for entry in manifest.entries)
        print(
            f"{plain(manifest.method.name, LONGEST_NAME)}: {manifest.track}, "
            f"{manifest.prediction_type}, {entries}"
        )
    for finding in report.findings:
        head = f"  {finding.severity:<11}{finding.where}: "
        print(
            textwrap.fill(
                head + finding.what, _WIDTH, subsequent_indent=" " * 13, break_on_hyphens=False
            )
        )
    counts = {
        severity: sum(finding.severity is severity for finding in report.findings)
        for severity in (Severity.FAULT, Severity.SUSPICIOUS)
    }
    if not any(counts.values()):
        print("Nothing is wrong.")
    else:
        print(f"{counts[Severity.FAULT]} wrong, {counts[Severity.SUSPICIOUS]} suspicious.")


def score(
    folder: Folder,
    outdir: Annotated[
        Path, typer.Option("--outdir", "-o", metavar="DIR", help="Folder for scores and reports.")
    ] = Path("rescored"),
    entry: Annotated[
        list[str] | None,
        typer.Option("--entry", metavar="NAME", help="Score this entry only; may be repeated."),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions",
            metavar="DIR",
            help="Where the star files are that the submission names by checksum only.",
        ),
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Put the score into the submission as rescored/*.json.")
    ] = False,
    backend: Annotated[
        Backend, typer.Option("--backend", help="Program that reconstructs.")
    ] = Backend.NATIVE,
    n_cpus: Cpus = 2,
    benchmark_dir: BenchmarkDir = None,
) -> None:
    """Evaluate a submission again and compare.

    The submission is checked first. Its predictions are scored, and the figures compared with those
    it came with. They agree if they differ by no more than another backend explains: 0.001 degrees
    or pixels, 0.05 angstrom, 0.002 for pure numbers. Intervals are found again as they were, those
    of maps too, and their ends may differ by a tenth of their width more.

    \b
    Exit codes: 0 all submitted scores are confirmed, 3 one is not.
    """
    from ..workflows.scoring import ScoringOptions
    from ..workflows.submission import score_submission
    from .progress_bar import make_progress

    scores = score_submission(
        folder,
        outdir,
        ScoringOptions(backend=backend, threads=n_cpus),
        entries=entry or (),
        predictions_dir=predictions,
        benchmark_dir=benchmark_dir,
        record=record,
        progress=make_progress(),
    )
    refuted = [found for found in scores if not _print_comparison(found)]
    if refuted:
        raise typer.Exit(EXIT_FAULT)


def _print_comparison(score: "EntryScore") -> bool:
    """Print what one entry came to, and return whether nothing speaks against it."""
    error_deg = score.result.metrics_of("prediction")["mean_angular_error_deg"]
    print(f"{score.entry}: MAnE {error_deg:.3f} degrees; see {score.folder / 'report.html'}")
    comparison = score.comparison
    if comparison is None:
        print("  no score was submitted")
        return True
    if comparison.reason is not None:
        print(f"  not compared: {comparison.reason}")
        return False
    print(f"  {comparison.n_figures_agreeing} of {comparison.n_compared} figures agree")
    more = {
        "intervals": comparison.n_intervals,
        "curves": comparison.n_curves,
        "errors of particles": comparison.n_particles,
    }
    counted = ", ".join(f"{count:,} {what}" for what, count in more.items() if count)
    if counted:
        print(f"  also compared: {counted}")
    for found in comparison.differences:
        kind = "masked" if found.masked else "unmasked"
        kind += "" if found.poses == PoseOrigin.PREDICTION else f", of the poses {found.poses}"
        part = f", {found.part}" if found.part else ""
        print(
            f"  {found.metric}, half {found.half}, {kind}{part}: submitted {found.submitted:.5g}, "
            f"found {found.found:.5g}"
        )
    return comparison.agrees


COMMANDS = (
    CommandGroup(
        "submit",
        """
        Make, check and score submissions to the leaderboard.

        A submission is a folder with the predicted star files of both halves of one or more
        entries, their scores, and manifest.toml, which says how they were made.
        """,
        """
        cesped submit new mine --targetName DEMO --half0PredsFname demo/predictions_0.star
            --half1PredsFname demo/predictions_1.star --result demo/metrics.json
        cesped submit check mine
        cesped submit score mine
        """,
        (
            Command(
                new,
                "new",
                """
                cesped submit new mine --targetName DEMO --half0PredsFname demo/predictions_0.star
                    --half1PredsFname demo/predictions_1.star --result demo/metrics.json --crossed
                """,
            ),
            Command(
                check, "check", "cesped submit check mine\ncesped submit check mine -b entries/"
            ),
            Command(
                score,
                "score",
                """
                cesped submit score mine --outdir rescored
                cesped submit score benchmarks/results/some_method --predictions downloads/
                """,
            ),
        ),
    ),
)
