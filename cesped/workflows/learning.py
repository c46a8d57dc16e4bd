"""Train on one half of an entry, then predict the poses of the other half."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OptionError
from ..progress import SILENT, Progress
from .pretraining import pretrain
from .steps import run_once

if TYPE_CHECKING:
    from ..training.recipe import TrainingRecipe


@dataclass(frozen=True)
class LearningOutcome:
    """What training one half leaves.

    Attributes
    ----------
    checkpoint : the best model.
    predictions : star file with the predicted poses of the other half; None if not wanted, and
        in processes that only help to train.
    """

    checkpoint: Path
    predictions: Path | None


def train_and_predict(
    target: str,
    halfset: int,
    run_dir: str | os.PathLike[str],
    recipe: "TrainingRecipe",
    *,
    out_star: str | os.PathLike[str] | None = None,
    start_from: str | os.PathLike[str] | None = None,
    predict_other_half: bool = True,
    benchmark_dir: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> LearningOutcome:
    """Train on half `halfset` of an entry and predict its other half.

    Parameters
    ----------
    target : name of the entry.
    halfset : the half to learn from, 0 or 1.
    run_dir : folder of the training; one that was stopped there goes on.
    recipe : how to train.
    out_star : star file of predictions; `predictions_<other half>.star` in `run_dir` when None.
    start_from : checkpoint whose weights are the initial ones.
    predict_other_half : False to train only.
    benchmark_dir : folder of the entries; see `cesped.data.store.default_benchmark_dir`.

    Raises
    ------
    EntryNotFoundError
        If the entry is not there.
    CheckpointError
        If `run_dir` holds a training of something else.
    OptionError
        If the recipe asks for projections of the half's own map although `start_from` is given.
    """
    from ..data.opening import open_entry
    from ..evaluation.stamps import package_version, sha256_of_file
    from ..inference.predict import predict_half
    from ..training.fit import train_half
    from ..training.ranks import is_main_process

    folder = Path(run_dir)
    other = 1 - halfset
    if predict_other_half:  # a missing half is told before hours of training, not after
        predicted = open_entry(target, other, benchmark_dir, progress)
    if recipe.pretraining.projections:
        if start_from is not None:
            raise OptionError(
                f"a model that begins with the weights of {start_from} is not trained on "
                "projections first; leave out the checkpoint, or set pretraining.projections 0"
            )
        start_from = pretrain(
            target, halfset, folder, recipe, benchmark_dir=benchmark_dir, progress=progress
        )
    trained = train_half(
        target, halfset, folder, recipe, benchmark_dir, progress, start_from=start_from
    )
    checkpoint = Path(trained.checkpoint)
    if not predict_other_half or not is_main_process():
        return LearningOutcome(checkpoint, None)
    star = Path(out_star) if out_star is not None else folder / f"predictions_{other}.star"
    run_once(
        star,
        {
            "target": target,
            "half": other,
            "entry": sha256_of_file(predicted.star_path),
            "checkpoint": sha256_of_file(checkpoint),
            "version": package_version(),
        },
        lambda: predict_half(
            checkpoint,
            target,
            other,
            star,
            benchmark_dir,
            progress=progress,
            cache_dir=recipe.data.cache_dir,
        ),
    )
    return LearningOutcome(checkpoint, star)


def read_recipe(
    name_or_path: str | None,
    config_files: Sequence[str | os.PathLike[str]] = (),
    overrides: Mapping[str, Any] | None = None,
    *,
    model: str | None = None,
    preset: str | None = None,
) -> "TrainingRecipe":
    """Return a recipe, changed by YAML files and then by single settings.

    Parameters
    ----------
    name_or_path : `demo`, `small`, `paper`, `strong`, or a YAML file. None: the one that the model
        is trained with unless another is named; `paper` of no stated model.
    config_files : YAML files of sections with settings; later ones win.
    overrides : settings by dotted name, as `{"optimizer.lr": "1e-4"}`; they win over files.
    model : name of a model that takes the place of the recipe's, whose preset and options are
        then left behind.
    preset : of the model; wins over files.

    Raises
    ------
    OptionError
        If a recipe, file, section or setting does not exist or is wrong.
    """
    from ..training.recipe import load_recipe

    files = [_settings_of_file(Path(path)) for path in config_files]
    settings: dict[str, Any] = {} if preset is None else {"model.preset": preset}
    settings |= dict(overrides or {})
    if name_or_path is None:
        name_or_path = _recipe_of_model(settings.get("model.name", model))
    own = load_recipe(name_or_path).model
    if model is None or model == own.name:
        return load_recipe(name_or_path, *files, settings)
    another = {"model.name": model, "model.preset": None}
    recipe = load_recipe(name_or_path, another, *files, settings)
    given = {name for source in (*files, settings) for name in source}
    options = {
        name: value
        for name, value in recipe.model.options.items()
        if name not in own.options or f"model.{name}" in given
    }
    return dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, options=options))


def _recipe_of_model(name: Any) -> str:
    from ..models.registry import PoseModel, model_class

    return PoseModel.default_recipe if name is None else model_class(str(name)).default_recipe


def _settings_of_file(path: Path) -> dict[str, Any]:
    """Return the settings of a YAML file by dotted name."""
    import yaml

    from ..training.published_names import WHOLE_NAMES

    try:
        content = yaml.safe_load(path.expanduser().read_text("utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OptionError(f"{path} cannot be read as YAML: {error}") from error
    whole = {}
    if isinstance(content, dict):
        whole = {name: content.pop(name) for name in WHOLE_NAMES & set(content)}
    if not isinstance(content, dict) or not all(isinstance(c, dict) for c in content.values()):
        raise OptionError(
            f"{path} must hold sections of settings, such as `optimizer: {{lr: 1e-4}}`"
        )
    return whole | {
        f"{section}.{key}": value
        for section, values in content.items()
        for key, value in values.items()
    }
