"""`cesped train-views`: CryoFastAR, trained on sets of views."""

from pathlib import Path
from typing import Annotated

import typer

from .command import BenchmarkDir, Command


def train_views(
    context: typer.Context,
    outdir: Annotated[
        Path, typer.Option("--outdir", metavar="DIR", help="Folder for weights, state and log.")
    ],
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe",
            metavar="NAME|YAML",
            help="progressive, small (need GPUs), cpu, demo (run on a CPU), or a YAML file of "
            "stages.",
        ),
    ],
    maps: Annotated[
        list[Path] | None,
        typer.Option(
            "--map", "-m", metavar="MRC|DIR", help="Map, or folder of maps. May be repeated."
        ),
    ] = None,
    structures: Annotated[
        list[Path] | None,
        typer.Option(
            "--structure", metavar="FILE|DIR", help="Atoms to make maps of. May be repeated."
        ),
    ] = None,
    symmetry: Annotated[
        str, typer.Option("--symmetry", "-s", help="Point group of all maps and structures.")
    ] = "C1",
    shards: Annotated[
        Path | None,
        typer.Option(
            "--shards", metavar="DIR", help="Shards for stages on them: see cesped shards make."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", metavar="NAME", help="Entry for stages on real particles."),
    ] = None,
    halfset: Annotated[
        int | None,
        typer.Option("--halfset", "-p", min=0, max=1, help="Which half of it: 0 or 1."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FILE", help="Begin with these weights."),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", help="cpu, cuda, cuda:1, or auto: a GPU if there is one.")
    ] = "auto",
    anew: Annotated[
        bool, typer.Option("--anew", help="Do not go on with what is in the folder.")
    ] = False,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Only say what the stages are and how long they will take."),
    ] = False,
    tflops: Annotated[
        float | None,
        typer.Option(
            "--tflops", help="With --plan: what a device computes [TFLOP/s]; else it is measured."
        ),
    ] = None,
    benchmark_dir: BenchmarkDir = None,
) -> None:
    """Train CryoFastAR on sets of views, in stages.

    Images are drawn while it learns, from maps, with exact poses and shifts; or are read from
    shards; or they are particles of stated halves of entries and star files, with their poses. A
    recipe says what each stage draws: how many views, how much noise, which shifts and CTFs. The
    weights are for `cesped abinitio`.

    Run again in the same folder, a stopped training goes on from its last round. Several GPUs or
    machines: --trainer.devices, --trainer.num_nodes, under torchrun or SLURM or alone.

    Every setting of the recipe can be given as an option by its dotted name, stages counted from
    1, as in --trainer.seed 1 --stages.2.steps 4000; a wrong name is answered with the nearest one.
    """
    from ..progress import SILENT
    from ..training.ranks import is_main_process
    from ..training.views.recipe import load_views_recipe
    from ..workflows.view_files import files_below
    from ..workflows.view_plan import plan_lines
    from ..workflows.view_sources import ViewInputs
    from ..workflows.view_training import train_on_views
    from .learning import dotted_options
    from .progress_bar import make_progress

    chosen = load_views_recipe(recipe, dotted_options(context.args))
    if plan:
        for line in plan_lines(chosen, device, tflops):
            print(line)
        return
    is_main = is_main_process()  # of several processes that train together, one speaks
    outcome = train_on_views(
        outdir,
        chosen,
        ViewInputs(
            files_below(maps or (), (".mrc", ".map")),
            files_below(structures or (), None),
            symmetry,
            target,
            halfset,
            benchmark_dir,
            shards,
        ),
        device=device,
        start_from=weights,
        resume=not anew,
        progress=make_progress() if is_main else SILENT,
    )
    if not is_main:
        return
    if outcome.rows:
        last = outcome.rows[-1]
        print(
            f"Held-out sets of the last stage: rotation error {last.rotation_error:.3f} (the best "
            f"constant {last.constant_error:.3f}), shift error {last.shift_error_px:.2f} px"
        )
    print(f"Weights: {outcome.weights}")


COMMANDS = (
    Command(
        train_views,
        "train-views",
        """
        cesped train-views --recipe demo --map map.mrc --outdir runs/views
        cesped train-views --recipe small --structure 5nrl.cif --outdir runs/5nrl --trainer.seed 1
        cesped train-views --recipe progressive --outdir runs/all --plan
        torchrun --nproc-per-node 8 -m cesped train-views --recipe progressive --structure 1xvi.cif
            --shards shards/ --outdir runs/all --trainer.devices 8
        cesped train-views --recipe stages.yaml --map a.mrc --map b.mrc --target mine --halfset 0
            --weights runs/5nrl/weights.safetensors --outdir runs/mine0
        """,
        open_options=True,
    ),
)
