"""`cesped campaign`: train on each half, predict the other, score, report, submission."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..vocabulary import PredictionType
from .command import BenchmarkDir, Command, Device, MemoryGb
from .learning import ModelName, Preset, dotted_options, warn_of_pixel_size
from .score_options import (
    BackendChoice,
    Cpus,
    MapCache,
    Mpirun,
    RelionBinDir,
    RelionContainer,
    UsePredConfidence,
)

if TYPE_CHECKING:
    from ..workflows.campaign import CampaignOutcome


def campaign(
    context: typer.Context,
    target: Annotated[
        str, typer.Option("--target", "-t", metavar="NAME", help="Name of the entry.")
    ],
    outdir: Annotated[
        Path | None,
        typer.Option(
            "--outdir",
            "-o",
            metavar="DIR",
            help="Folder for everything; campaigns/NAME if not said.",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="NAME|YAML",
            help="paper, strong, cryofastar (need a GPU), small, demo, cryofastar_demo (run on a "
            "CPU), or a YAML file; if not said, that of the model: paper, or cryofastar.",
        ),
    ] = None,
    model: ModelName = None,
    preset: Preset = None,
    config: Annotated[
        list[Path] | None,
        typer.Option("--config", metavar="YAML", help="Settings that differ from the recipe."),
    ] = None,
    prediction_type: Annotated[
        PredictionType,
        typer.Option(
            "--predictionType",
            help="What is scored: SO3xR2 for a model that predicts shifts too.",
        ),
    ] = PredictionType.SO3,
    use_pred_confidence: UsePredConfidence = True,
    backend: BackendChoice = None,
    n_cpus: Cpus = 2,
    relion_bin_dir: RelionBinDir = None,
    mpirun: Mpirun = None,
    container: RelionContainer = None,
    device: Device = None,
    memory_gb: MemoryGb = None,
    map_cache: MapCache = None,
    benchmark_dir: BenchmarkDir = None,
) -> None:
    """Train on each half, predict the other, score both.

    The whole job on one entry: a model learns on half 0 and predicts half 1, another learns on
    half 1 and predicts half 0; the predictions are scored, a report is written, and a submission
    folder made.

    Stopped or killed, a campaign goes on where it stood when the same command is given again:
    training from its last checkpoint, every other step unless it was finished. Run it with other
    settings in another folder.

    Every setting of the recipe can be given as an option by its dotted name, as in
    --optimizer.lr 1e-4 --model.l_max 10; a wrong name is answered with the nearest one.
    """
    from ..workflows.campaign import run_campaign
    from ..workflows.learning import read_recipe
    from ..workflows.scoring import ScoringOptions, choose_backend
    from .progress_bar import make_progress

    chosen = read_recipe(
        recipe, config or (), dotted_options(context.args), model=model, preset=preset
    )
    progress = make_progress()
    warn_of_pixel_size("cesped campaign", target, 0, chosen, benchmark_dir, progress)
    outcome = run_campaign(
        target,
        Path("campaigns") / target if outdir is None else outdir,
        chosen,
        benchmark_dir=benchmark_dir,
        options=ScoringOptions(
            prediction_type=prediction_type,
            use_pred_confidence=use_pred_confidence,
            backend=choose_backend(backend, relion_bin_dir, mpirun, container),
            threads=n_cpus,
            relion_bin_dir=relion_bin_dir,
            mpirun=mpirun,
            container=container,
            device=device,
            memory_gb=memory_gb,
            map_cache=map_cache,
        ),
        progress=progress,
    )
    print_outcome(outcome)


def print_outcome(outcome: "CampaignOutcome | None") -> None:
    """Print the score of a campaign and where its products are; nothing in a helping process."""
    from .score_table import print_score

    if outcome is None:
        return
    print_score(outcome.result)
    print(f"Report:      {outcome.report.resolve()}")
    print(f"Score:       {outcome.metrics}")
    print(f"Predictions: {outcome.predictions[0]}  {outcome.predictions[1]}")
    print(f"Submission:  {outcome.submission}")


COMMANDS = (
    Command(
        campaign,
        "campaign",
        """
        cesped campaign --target DEMO --recipe demo
        cesped campaign --target 10648 --model image2sphere --outdir /data/runs/10648
        cesped campaign --target 10648 --recipe strong --outdir /data/runs/10648_strong
        cesped campaign --target 10648 --model cryofastar --model.weights real.safetensors
            --predictionType SO3xR2 --outdir /data/runs/10648_views
        cesped campaign --target DEMO --recipe demo --model mine --model.width 64
        """,
        open_options=True,
    ),
)
