"""`TrainingRecipe`: every choice behind a trained model, with the paper's values as defaults.

A recipe file is YAML and holds only what differs from the defaults::

    data: {image_size: 64, batch_size: 64}
    model: {preset: small, l_max: 5}
    optimizer: {lr: 0.002}
    trainer: {max_epochs: 20}
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..vocabulary import Keep, Schedule
from .published_names import WHOLE_NAMES, with_own_names
from .recipe_files import names_in_package, read_recipe_file
from .recipe_values import build_section, field_types, unknown_name
from .sections import (
    AugmentationRecipe,
    DataRecipe,
    ModelRecipe,
    OptimizerRecipe,
    PretrainingRecipe,
    SimulationRecipe,
    TrainerRecipe,
)


@dataclasses.dataclass(frozen=True)
class TrainingRecipe:
    """All of it; see the sections."""

    data: DataRecipe = dataclasses.field(default_factory=DataRecipe)
    augmentation: AugmentationRecipe = dataclasses.field(default_factory=AugmentationRecipe)
    model: ModelRecipe = dataclasses.field(default_factory=ModelRecipe)
    optimizer: OptimizerRecipe = dataclasses.field(default_factory=OptimizerRecipe)
    trainer: TrainerRecipe = dataclasses.field(default_factory=TrainerRecipe)
    pretraining: PretrainingRecipe = dataclasses.field(default_factory=PretrainingRecipe)
    simulation: SimulationRecipe = dataclasses.field(default_factory=SimulationRecipe)

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested dictionaries, as a YAML file or a checkpoint holds them.

        `data.cache_dir` is left out: it is a place on this machine, and changes no result; so are
        sections `pretraining` and `simulation` that ask for nothing, and the folder of a map.
        """
        values = dataclasses.asdict(self)
        del values["data"]["cache_dir"]
        if not self.data.raw_channel:  # as in recipes from before there was one
            del values["data"]["raw_channel"]
        if not self.pretraining.projections:
            del values["pretraining"]
        if self.simulation.map is None:
            del values["simulation"]
        else:
            values["simulation"]["map"] = Path(self.simulation.map).name
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
            section = field_types(cls).get(name)
            if section is None:
                raise OptionError(
                    unknown_name(name, [f.name for f in dataclasses.fields(cls)], where)
                )
            if not isinstance(content or {}, Mapping):
                raise OptionError(f"{where}: {name} must hold names and values, found {content!r}")
            sections[name] = build_section(section, dict(content or {}), f"{where}: {name}")
        recipe = cls(**sections)
        _check_ranges(recipe, where)
        return recipe


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return names_in_package(__package__)


def load_recipe(
    name_or_path: str | Path, *overrides: Mapping[str, object] | None
) -> TrainingRecipe:
    """Return a recipe of the package, or one from a YAML file.

    Parameters
    ----------
    name_or_path : `demo`, `small`, `paper`, or the path of a file
    *overrides : dotted names and values, such as `{"optimizer.lr": 0.002}`; later ones win

    Raises
    ------
    OptionError
        If there is no such recipe, the file is not YAML, or a key or value is wrong.

    Examples
    --------
    >>> load_recipe("paper", {"data.batch_size": "64"}).data.batch_size
    64
    """
    content, where = read_recipe_file(name_or_path, __package__)
    values = with_own_names(content, where)
    for settings in overrides:
        changes = with_own_names(_by_section(settings or {}), where, values)
        for section, inner in changes.items():
            known = values.get(section)
            if not isinstance(known, Mapping) or _is_another_model(section, known, inner):
                known = {}
            values[section] = {**known, **inner}
    return TrainingRecipe.from_dict(values, where)


def _is_another_model(section: str, known: Mapping[str, Any], changes: Mapping[str, Any]) -> bool:
    """Return whether changes name another model, whose presets and options are its own."""
    name = known.get("name", ModelRecipe.name)
    return section == "model" and changes.get("name", name) != name


def _by_section(settings: Mapping[str, object]) -> dict[str, Any]:
    """Return settings with dotted names as sections."""
    values: dict[str, Any] = {}
    for dotted, value in settings.items():
        section, _, key = dotted.partition(".")
        if dotted in WHOLE_NAMES:
            values[dotted] = value
        elif key:
            values.setdefault(section, {})[key] = value
        else:
            raise OptionError(f"{dotted!r} is no section.option; write for example optimizer.lr=1")
    return values


def _check_ranges(recipe: TrainingRecipe, where: str) -> None:
    Schedule.parse(recipe.optimizer.schedule)
    Keep.parse(recipe.trainer.keep)
    ahead = recipe.pretraining
    if ahead.projections < 0 or ahead.projections == 1:  # one to train and one to validate
        raise OptionError(
            f"{where}: pretraining.projections is {ahead.projections}; use 0 for none, or at "
            "least 2"
        )
    positive = {
        "pretraining.max_steps": _given(ahead.max_steps),
        "pretraining.lr": _given(ahead.lr),
        "data.image_size": recipe.data.image_size,
        "data.batch_size": recipe.data.batch_size,
        "optimizer.lr": recipe.optimizer.lr,
        "trainer.max_epochs": recipe.trainer.max_epochs,
        "trainer.steps_per_round": _given(recipe.trainer.steps_per_round),
        "trainer.max_steps": _given(recipe.trainer.max_steps),
        "trainer.accumulate_grad_batches": recipe.trainer.accumulate_grad_batches,
        "trainer.devices": _given(recipe.trainer.devices),
        "trainer.num_nodes": recipe.trainer.num_nodes,
        "augmentation.copies": recipe.augmentation.copies,
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
    _check_parts(recipe, where)
    _check_simulation(recipe.simulation, where)
    if recipe.simulation.map is not None and ahead.projections:
        raise OptionError(
            f"{where}: pretraining.projections come before a training on particles, and "
            "simulation.map takes their place; leave one out"
        )
    _check_augmentation(recipe.augmentation, where)


def _given(value: float | None) -> float:
    """Return a value that may be left out; one that is right where it was."""
    return 1.0 if value is None else value


def _check_parts(recipe: TrainingRecipe, where: str) -> None:
    copies, parts = recipe.augmentation.copies, recipe.trainer.accumulate_grad_batches
    if recipe.data.batch_size % (copies * parts):
        raise OptionError(
            f"{where}: data.batch_size is {recipe.data.batch_size}; it must be a multiple of "
            f"{copies * parts}: augmentation.copies {copies} times "
            f"trainer.accumulate_grad_batches {parts}"
        )


def _check_simulation(simulation: SimulationRecipe, where: str) -> None:
    values, untouched = (dataclasses.asdict(each) for each in (simulation, SimulationRecipe()))
    unused = [name for name, value in values.items() if value != untouched[name]]
    if simulation.map is None and unused:
        raise OptionError(
            f"{where}: simulation.{unused[0]} has no effect without simulation.map; name the map "
            "that images are drawn from, or leave it out"
        )
    for name in ("snr", "epoch_images"):
        value = values[name]
        if value is not None and not (math.isfinite(value) and value > 0):
            raise OptionError(f"{where}: simulation.{name} is {value}; it must be above 0")
    given = [name for name in ("max_shift_px", "shift_sigma_px") if values[name] is not None]
    if len(given) == 2:
        raise OptionError(f"{where}: give simulation.max_shift_px or shift_sigma_px, not both")
    for name in given:
        if not (math.isfinite(values[name]) and values[name] >= 0):
            raise OptionError(f"{where}: simulation.{name} is {values[name]}; it must be 0 or more")
    if simulation.defocus_angst is not None:
        low, high = simulation.defocus_angst
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise OptionError(
                f"{where}: simulation.defocus_angst is [{low:g}, {high:g}]; give the lower first"
            )


def _check_augmentation(augmentation: AugmentationRecipe, where: str) -> None:
    if augmentation.recipe is None:
        return
    from ..data.augmentation.recipe import load_plan

    alone = AugmentationRecipe(recipe=augmentation.recipe, copies=augmentation.copies)
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
