"""`cesped evaluate`: score two star files of predictions; the flags are the published ones."""

from pathlib import Path
from typing import Annotated

import typer

from ..vocabulary import PredictionType
from .command import BenchmarkDir, Command, Device, MemoryGb
from .score_options import (
    BackendChoice,
    Cpus,
    IgnoreSymmetry,
    MapCache,
    MapGroups,
    MaskFile,
    Mpirun,
    RelionBinDir,
    RelionContainer,
    UseGtMask,
    UsePredConfidence,
)


def _print_input_format(asked: bool) -> None:
    if asked:
        from ..evaluation.input_format import expected_input_format

        print(expected_input_format(), end="")
        raise typer.Exit


def evaluate(
    target: Annotated[
        str, typer.Option("--targetName", "-t", metavar="NAME", help="Name of the entry.")
    ],
    half0: Annotated[
        Path,
        typer.Option("--half0PredsFname", metavar="STAR", help="Predicted poses of half 0."),
    ],
    half1: Annotated[
        Path,
        typer.Option("--half1PredsFname", metavar="STAR", help="Predicted poses of half 1."),
    ],
    prediction_type: Annotated[
        PredictionType,
        typer.Option(
            "--predictionType",
            help="What was predicted: viewing directions (S2), orientations (SO3), or "
            "orientations and shifts (SO3xR2). The rest is taken from the known poses.",
        ),
    ],
    outdir: Annotated[
        Path, typer.Option("--outdir", metavar="DIR", help="Folder for score, maps and report.")
    ] = Path("evaluation"),
    use_pred_confidence: UsePredConfidence = True,
    use_gt_mask: UseGtMask = True,
    mask: MaskFile = None,
    ignore_symmetry: IgnoreSymmetry = False,
    n_cpus: Cpus = 2,
    rm_prev_reconstructions: Annotated[
        bool,
        typer.Option(
            "--rm_prev_reconstructions/--NOT_rm_prev_reconstructions",
            help="Compute all again, or keep a score in --outdir made from the very same files.",
        ),
    ] = True,
    backend: BackendChoice = None,
    relion_bin_dir: RelionBinDir = None,
    mpirun: Mpirun = None,
    container: RelionContainer = None,
    device: Device = None,
    memory_gb: MemoryGb = None,
    kept_shares: Annotated[
        str | None,
        typer.Option(
            "--kept_fractions",
            metavar="A,B,...",
            help="Also make maps of these fractions of the most confident particles, such as "
            "0.25,0.5,0.75; each takes as long as the map of all.",
        ),
    ] = None,
    fixed_view_map: Annotated[
        bool,
        typer.Option(
            "--fixed_view_map",
            help="Also make the map of one fixed view: a floor of which half maps agree.",
        ),
    ] = False,
    map_groups: MapGroups = 0,
    map_cache: MapCache = None,
    input_format: Annotated[
        bool,
        typer.Option(
            "--expected_input_format",
            is_eager=True,
            callback=_print_input_format,
            help="Print what the star files must hold, with an example, and end.",
        ),
    ] = False,
    benchmark_dir: BenchmarkDir = None,
) -> None:
    """Score the predicted poses of both halves of an entry.

    Each half's star file must hold the predictions of a model that learned on the other half,
    with the particle names (rlnImageName) of the entry, in any order. Writes metrics.json,
    the maps, and report.html, which explains every figure.

    Started by torchrun, its processes share the particles, on one machine or several; the first
    writes and prints. --n_cpus is then for each.
    """
    from ..workflows.scoring import REPORT_NAME, ScoringOptions, choose_backend, score_predictions
    from .progress_bar import make_progress
    from .score_table import print_score

    options = ScoringOptions(
        prediction_type=prediction_type,
        use_pred_confidence=use_pred_confidence,
        use_mask=use_gt_mask,
        mask=mask,
        ignore_symmetry=ignore_symmetry,
        backend=choose_backend(backend, relion_bin_dir, mpirun, container),
        threads=n_cpus,
        relion_bin_dir=relion_bin_dir,
        mpirun=mpirun,
        container=container,
        device=device,
        memory_gb=memory_gb,
        kept_shares=_shares(kept_shares),
        fixed_view_map=fixed_view_map,
        map_groups=map_groups,
        map_cache=map_cache,
    )
    result = score_predictions(
        target,
        (half0, half1),
        outdir,
        options,
        benchmark_dir=benchmark_dir,
        reuse=not rm_prev_reconstructions,
        progress=make_progress(),
    )
    print_score(result)
    print(f"Report: {(outdir / REPORT_NAME).resolve()}")


def _shares(words: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in words.split(",")) if words else ()
    except ValueError:
        raise typer.BadParameter(
            f"--kept_fractions {words}: give numbers joined by commas, such as 0.25,0.5"
        ) from None


COMMANDS = (
    Command(
        evaluate,
        "evaluate",
        """
        cesped evaluate --predictionType SO3 --targetName DEMO --outdir evaluation/
            --half0PredsFname demo/predictions_0.star --half1PredsFname demo/predictions_1.star
        cesped evaluate --expected_input_format
        python -m cesped.evaluateEntry ...   is the same command
        torchrun --nproc-per-node 4 -m cesped.evaluateEntry ...   on four processes
        """,
    ),
)
