"""`cesped train` and `infer`: learn on one half, predict the other; published flags work too."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import OptionError
from .command import BENCHMARK_DIR_HELP, Command

if TYPE_CHECKING:
    from ..progress import Progress
    from ..training.recipe import TrainingRecipe

Target = Annotated[
    str, typer.Option("--target", "--data.targetName", metavar="NAME", help="Name of the entry.")
]
Halfset = Annotated[
    int, typer.Option("--halfset", "--data.halfset", min=0, max=1, help="Which half: 0 or 1.")
]
BenchmarkDir = Annotated[
    Path | None,
    typer.Option(
        "--benchmarkDir", "--data.benchmarkDir", "-b", metavar="DIR", help=BENCHMARK_DIR_HELP
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="Another model than the recipe's, with settings of its own: image2sphere, cryofastar, "
        "or one that another package offers.",
    ),
]
Preset = Annotated[
    str | None, typer.Option("--preset", metavar="NAME", help="Preset of the model.")
]


def train(
    context: typer.Context,
    target: Target,
    halfset: Halfset,
    outdir: Annotated[
        Path,
        typer.Option(
            "--outdir",
            "--trainer.default_root_dir",
            metavar="DIR",
            help="Folder for checkpoints, logs and predictions.",
        ),
    ],
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
    checkpoint: Annotated[
        Path | None,
        typer.Option("--ckpt_path", metavar="CKPT", help="Begin with this model's weights."),
    ] = None,
    skip_other_half: Annotated[
        bool,
        typer.Option("--skip_other_half_inference", help="Do not predict the other half after."),
    ] = False,
    benchmark_dir: BenchmarkDir = None,
) -> None:
    """Train on one half of an entry and predict the other.

    Run again in the same folder, a stopped training goes on from its last checkpoint. The
    predictions are written to DIR/predictions_H.star, H being the other half.

    Every setting of the recipe can be given as an option by its dotted name, as in
    --optimizer.lr 1e-4 --trainer.max_epochs 50; a wrong name is answered with the nearest one.
    """
    from ..progress import SILENT
    from ..training.ranks import is_main_process
    from ..workflows.learning import read_recipe, train_and_predict
    from .progress_bar import make_progress

    is_main = is_main_process()  # of several processes that train together, one speaks
    chosen = read_recipe(
        recipe, config or (), dotted_options(context.args), model=model, preset=preset
    )
    progress = make_progress() if is_main else SILENT
    warn_of_pixel_size("cesped train", target, halfset, chosen, benchmark_dir, progress)
    outcome = train_and_predict(
        target,
        halfset,
        outdir,
        chosen,
        start_from=checkpoint,
        predict_other_half=not skip_other_half,
        benchmark_dir=benchmark_dir,
        progress=progress,
    )
    if not is_main:
        return
    print(f"Checkpoint:  {outcome.checkpoint}")
    if outcome.predictions is not None:
        print(f"Predictions: {outcome.predictions}")


def warn_of_pixel_size(
    command: str,
    target: str,
    halfset: int,
    recipe: "TrainingRecipe",
    benchmark_dir: Path | None,
    progress: "Progress",
) -> None:
    """Say it, before hours of training, if the recipe's weights do not know the pixel size."""
    from ..training.ranks import is_main_process
    from ..workflows.weights_pixel_size import warning_of_training

    warning = warning_of_training(target, halfset, recipe, benchmark_dir, progress)
    if warning and is_main_process():
        print(f"{command}: warning: {warning}", file=sys.stderr)


def infer(
    target: Target,
    halfset: Halfset,
    checkpoint: Annotated[
        Path,
        typer.Option("--ckpt_path", metavar="CKPT", help="Model that learned on something else."),
    ],
    out: Annotated[
        Path, typer.Option("--outFname", "--out", "-o", metavar="STAR", help="Star file to write.")
    ],
    turns: Annotated[
        int | None,
        typer.Option(
            "--turns",
            min=1,
            help="Turn each image in its plane so many times and average the answers; else as "
            "the model was trained, which is once unless its recipe says more.",
        ),
    ] = None,
    other_symmetry: Annotated[
        bool,
        typer.Option(
            "--other-symmetry", help="Predict although the model has a symmetry the entry has not."
        ),
    ] = False,
    device: Annotated[
        str, typer.Option("--device", help="cpu, cuda, cuda:1, or auto: a GPU if there is one.")
    ] = "auto",
    benchmark_dir: BenchmarkDir = None,
) -> None:
    """Predict the poses of one half with a trained model.

    The star file holds the entry's particles with the predicted angles, and the model's
    confidence as rlnParticleFigureOfMerit.

    The model may come from another entry of the same or a similar particle: the images are then
    brought to the pixel size and the field of view at which it learned, and what was done is
    printed. Its symmetry must be that of the entry, or a part of it.
    """
    from ..inference.predict import predict_half
    from .progress_bar import make_progress

    written = predict_half(
        checkpoint,
        target,
        halfset,
        out,
        benchmark_dir,
        progress=make_progress(),
        device=device,
        turns=turns,
        other_symmetry=other_symmetry,
        tell=lambda note: print(f"Note: {note}"),
    )
    print(f"Wrote {written}")


def dotted_options(words: list[str]) -> dict[str, str]:
    """Return `--section.key value` and `--section.key=value` words as a dictionary.

    Raises
    ------
    OptionError
        If a word is no such option, or its value is missing.
    """
    from ..training.published_names import WHOLE_NAMES

    found: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        dotted = name.removeprefix("--")
        if name == dotted or ("." not in dotted and dotted not in WHOLE_NAMES):
            raise OptionError(
                f"{word!r} is not an option; recipe settings are written --section.key value"
            )
        if not equals:
            following = next(rest, None)
            if following is None or following.startswith("--"):
                raise OptionError(f"{name} has no value; write {name} VALUE")
            value = following
        found[dotted] = value
    return found


COMMANDS = (
    Command(
        train,
        "train",
        """
        cesped train --target DEMO --halfset 0 --outdir runs/half0 --recipe demo
        cesped train --target mine --halfset 0 --outdir runs/mine0 --optimizer.lr 5e-4
        cesped train --target mine --halfset 0 --outdir runs/views0 --model cryofastar
            --model.weights real.safetensors      fine-tunes weights for poses of many views
        python -m cesped.trainEntry --data.targetName mine --data.halfset 0
            --trainer.default_root_dir runs/mine0      is the same command
        """,
        open_options=True,
    ),
    Command(
        infer,
        "infer",
        """
        cesped infer --target DEMO --halfset 1 --ckpt_path runs/half0/model.ckpt --out preds_1.star
        cesped infer --target similar --halfset 0 --ckpt_path runs/half0/model.ckpt --turns 4
            --out similar_0.star      with a model of another entry
        """,
    ),
)
