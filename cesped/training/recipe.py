"""`TrainingRecipe`: every choice behind a trained model, with the paper's values as defaults.

A recipe file is YAML and holds only what differs from the defaults::

    data: {image_size: 64, batch_size: 64}
    model: {preset: small, l_max: 5}
    optimizer: {lr: 0.002}
    trainer: {max_epochs: 20}
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..vocabulary import Keep, Schedule


@dataclasses.dataclass(frozen=True)
class DataRecipe:
    """Which images a model sees.

    Parameters
    ----------
    image_size : of the preprocessed image [px]
    image_size_factor_for_crop : share of the box that is cut off before resizing
    ctf_correction : `phase_flip`, `ctf_multiply` or `none`
    apply_perImg_normalization : bring the background to mean 0 and deviation 1
    batch_size : images of one optimizer step, over all devices
    train_share : of the half; the rest validates
    split_seed : of that division
    num_data_workers : processes that read images; 0 reads in the training process
    max_memory_gib : preprocessed images are kept in memory if they need no more than this
    cache_dir : folder where preprocessed images are kept for the next run; None keeps none
    """

    image_size: int = 256
    image_size_factor_for_crop: float = 0.15
    ctf_correction: str = "phase_flip"
    apply_perImg_normalization: bool = True
    batch_size: int = 128
    train_share: float = 0.7
    split_seed: int = 113
    num_data_workers: int = 0
    max_memory_gib: float = 4.0
    cache_dir: str | None = None


@dataclasses.dataclass(frozen=True)
class AugmentationRecipe:
    """How training images are changed, their poses with them.

    Parameters
    ----------
    max_turn_deg : in-plane turns are drawn from plus or minus this; 180 is every angle
    max_shift_px : shifts are drawn from plus or minus this, along each axis
    opposite_views : half of the images are mirrored, which makes them projections along the
        opposite direction of the same particle, of the same hand
    noise_std : white noise added, its deviation drawn between 0 and this
    recipe : name or path of a recipe of `cesped.data.augmentation`, which then replaces all of
        the above; `paper` is that of the CESPED paper
    """

    max_turn_deg: float = 180.0
    max_shift_px: float = 0.0
    opposite_views: bool = True
    noise_std: float = 0.0
    recipe: str | None = None


@dataclasses.dataclass(frozen=True)
class ModelRecipe:
    """Which model: a name of the registry, a preset of it, and single options on top."""

    name: str = "image2sphere"
    preset: str | None = "paper"
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class OptimizerRecipe:
    """RAdam with decoupled weight decay, and how its rate changes.

    Parameters
    ----------
    lr : largest learning rate
    weight_decay : share of a weight that is taken off a step, in units of the rate
    schedule : `plateau` halves the rate when the validation loss stalls; `cosine` warms up and
        then falls to zero at the last step; `constant`
    warmup_share : of the steps, for `cosine`
    plateau_patience : epochs without improvement before `plateau` halves
    gradient_clip : largest norm of the gradient; 0 for no limit
    """

    lr: float = 1e-3
    weight_decay: float = 1e-5
    schedule: str = "plateau"
    warmup_share: float = 0.1
    plateau_patience: int = 10
    gradient_clip: float = 5.0


@dataclasses.dataclass(frozen=True)
class TrainerRecipe:
    """How long, on what, and what is kept.

    Parameters
    ----------
    max_epochs : passes over the training particles
    max_steps : optimizer steps, stronger than `max_epochs` if given
    steps_per_round : steps between validations, each with a checkpoint; None: one epoch
    early_stop_patience : rounds without improvement before the end; 0 never stops early
    average_decay : of the running mean of the weights, which is what predicts; 0 for none
    keep : `best` or `last`
    seed : of initial weights, order of particles and augmentation
    accelerator, devices, num_nodes, strategy, precision : as Lightning's Trainer takes them
    """

    max_epochs: int = 400
    max_steps: int | None = None
    steps_per_round: int | None = None
    early_stop_patience: int = 12
    average_decay: float = 0.0
    keep: str = "best"
    seed: int = 0
    accelerator: str = "auto"
    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"


@dataclasses.dataclass(frozen=True)
class TrainingRecipe:
    """All of it; see the sections."""

    data: DataRecipe = dataclasses.field(default_factory=DataRecipe)
    augmentation: AugmentationRecipe = dataclasses.field(default_factory=AugmentationRecipe)
    model: ModelRecipe = dataclasses.field(default_factory=ModelRecipe)
    optimizer: OptimizerRecipe = dataclasses.field(default_factory=OptimizerRecipe)
    trainer: TrainerRecipe = dataclasses.field(default_factory=TrainerRecipe)

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested dictionaries, as a YAML file or a checkpoint holds them.

        `data.cache_dir` is left out: it is a place on this machine, and changes no result.
        """
        values = dataclasses.asdict(self)
        del values["data"]["cache_dir"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "recipe") -> "TrainingRecipe":
        """Build a recipe from nested mappings; what is not given keeps its default.

        Raises
        ------
        OptionError
            For a key that does not exist (the nearest one is named) or a value out of range.
        """
        sections: dict[str, Any] = {}
        for name, content in values.items():
            section = _field_types(cls).get(name)
            if section is None:
                raise OptionError(_unknown(name, [f.name for f in dataclasses.fields(cls)], where))
            if not isinstance(content or {}, Mapping):
                raise OptionError(f"{where}: {name} must hold names and values, found {content!r}")
            sections[name] = _build_section(section, dict(content or {}), f"{where}: {name}")
        recipe = cls(**sections)
        _check_ranges(recipe, where)
        return recipe


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    folder = resources.files(__package__) / "recipes"
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith("yaml"))


def load_recipe(
    name_or_path: str | Path, overrides: Mapping[str, object] | None = None
) -> TrainingRecipe:
    """Return a recipe of the package, or one from a YAML file.

    Parameters
    ----------
    name_or_path : `demo`, `small`, `paper`, or the path of a file
    overrides : dotted names and values, such as `{"optimizer.lr": 0.002}`

    Raises
    ------
    OptionError
        If there is no such recipe, the file is not YAML, or a key or value is wrong.

    Examples
    --------
    >>> load_recipe("paper", {"data.batch_size": "64"}).data.batch_size
    64
    """
    values, where = _read_recipe(name_or_path)
    for dotted, value in (overrides or {}).items():
        section, _, key = dotted.partition(".")
        if not key:
            raise OptionError(f"{dotted!r} is no section.option; write for example optimizer.lr=1")
        inner = dict(values.get(section) or {})
        inner[key] = value
        values[section] = inner
    return TrainingRecipe.from_dict(values, where)


def _read_recipe(name_or_path: str | Path) -> tuple[dict[str, Any], str]:
    import yaml

    packaged = resources.files(__package__) / "recipes" / f"{name_or_path}.yaml"
    path = Path(name_or_path).expanduser()
    if packaged.is_file():
        text, where = packaged.read_text(encoding="utf-8"), f"recipe {name_or_path}"
    elif path.is_file():
        text, where = path.read_text(encoding="utf-8"), f"recipe {path}"
    else:
        raise OptionError(
            f"there is no recipe {str(name_or_path)!r}; use {', '.join(recipe_names())}, "
            "or the path of a YAML file"
        )
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise OptionError(f"{where} is not YAML: {error}") from error
    if not isinstance(values, dict):
        raise OptionError(f"{where} must hold sections such as `data:`; found {type(values)}")
    return values, where


def _field_types(section: type) -> dict[str, Any]:
    return typing.get_type_hints(section)


def _build_section(section: Any, content: dict[str, Any], where: str) -> Any:
    kinds = _field_types(section)
    if section is ModelRecipe:  # what is not the recipe's own is the model's, checked by it
        options = {**(content.pop("options", None) or {})}
        options |= {key: content.pop(key) for key in list(content) if key not in kinds}
        content["options"] = {key: _value_of_text(value) for key, value in options.items()}
    for key in content:
        if key not in kinds:
            raise OptionError(_unknown(key, list(kinds), where))
    return section(
        **{key: _coerce(value, kinds[key], f"{where}.{key}") for key, value in content.items()}
    )


def _unknown(key: str, known: list[str], where: str) -> str:
    nearest = get_close_matches(key, known, n=1, cutoff=0.4)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    return f"{where} has no option {key!r}; {hint}options: {', '.join(known)}"


def _coerce(value: Any, kind: Any, where: str) -> Any:
    """Turn a YAML or command-line value into the type of its field."""
    if isinstance(kind, types.UnionType):
        if value is None or value in ("null", "none", "None"):
            return None
        kind = next(member for member in typing.get_args(kind) if member is not type(None))
    if typing.get_origin(kind) is dict:
        return dict(value)
    if kind is bool:
        words = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
        if str(value).lower() in words:
            return words[str(value).lower()]
    elif kind is int and not isinstance(value, bool) and float_or_none(value) is not None:
        if float(value) == int(float(value)):
            return int(float(value))
    elif kind is float and not isinstance(value, bool) and float_or_none(value) is not None:
        return float(value)
    elif kind is str and isinstance(value, str):
        return value
    raise OptionError(f"{where} is {value!r}; it must be of type {kind.__name__}")


def float_or_none(value: Any) -> float | None:
    """Return the number that `value` is or spells, if any (YAML reads 1e-3 as a word)."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _value_of_text(value: Any) -> Any:
    """Return what a word of the command line would be in a YAML file: null, true, [1, 2], 1e-3."""
    if not isinstance(value, str):
        return value
    number = float_or_none(value)
    if number is not None:
        return int(number) if value.lstrip("+-").isdigit() else number
    import yaml

    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:  # a word with signs that mean something to YAML
        return value


def _check_ranges(recipe: TrainingRecipe, where: str) -> None:
    Schedule.parse(recipe.optimizer.schedule)
    Keep.parse(recipe.trainer.keep)
    positive = {
        "data.image_size": recipe.data.image_size,
        "data.batch_size": recipe.data.batch_size,
        "optimizer.lr": recipe.optimizer.lr,
        "trainer.max_epochs": recipe.trainer.max_epochs,
        "trainer.steps_per_round": recipe.trainer.steps_per_round or 1,
        "trainer.max_steps": recipe.trainer.max_steps or 1,
    }
    for name, value in positive.items():
        if value <= 0:
            raise OptionError(f"{where}: {name} is {value}; it must be above 0")
    if not 0 < recipe.data.train_share < 1:
        raise OptionError(
            f"{where}: data.train_share is {recipe.data.train_share}; use a share between 0 and 1"
        )
    if not 0 <= recipe.trainer.average_decay < 1:
        raise OptionError(
            f"{where}: trainer.average_decay is {recipe.trainer.average_decay}; use 0 up to 1"
        )
    _check_augmentation(recipe.augmentation, where)


def _check_augmentation(augmentation: AugmentationRecipe, where: str) -> None:
    if augmentation.recipe is None:
        return
    from ..data.augmentation.recipe import load_plan

    alone = AugmentationRecipe(recipe=augmentation.recipe)
    for field in dataclasses.fields(augmentation):
        if getattr(augmentation, field.name) != getattr(alone, field.name):
            raise OptionError(
                f"{where}: augmentation.{field.name} has no effect beside augmentation.recipe, "
                f"{augmentation.recipe}; leave it out, or set augmentation.recipe to none"
            )
    try:
        load_plan(augmentation.recipe)
    except OptionError as error:
        raise OptionError(f"{where}: augmentation.recipe: {error}") from error
