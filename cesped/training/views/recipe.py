"""`ViewsRecipe`: how a network of many views is trained, in stages of growing difficulty.

A recipe file is YAML. Stages are a list; the other sections hold what differs from the defaults::

    data: {image_size: 32}
    model: {preset: tiny}
    stages:
      - {steps: 2000, views: 2, batch: 32, lr: 5.0e-4}
      - {steps: 2000, views: 8, batch: 8, lr: 2.0e-4, snr: [1, 10], max_shift_px: 2}
      - {steps: 500, views: 8, batch: 8, lr: 1.0e-4, source: particles}
    particles:
      - {target: "10280", halfset: 0, max_particles: 30000}
      - {star: mine.star, root: data/, symmetry: D2, halfset: 0, weight: 0.5}
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import OptionError
from ..recipe_files import names_in_package, read_recipe_file
from ..recipe_values import build_section, unknown_name
from .recipe_checks import check_dataset, check_sections, check_stage
from .sections import ViewDataset, ViewsData, ViewsLoss, ViewsModel, ViewStage, ViewsTrainer

_SECTIONS = {"data": ViewsData, "model": ViewsModel, "loss": ViewsLoss, "trainer": ViewsTrainer}
_LISTS = ("stages", "particles")


@dataclasses.dataclass(frozen=True)
class ViewsRecipe:
    """All of it; see the sections."""

    stages: tuple[ViewStage, ...]
    data: ViewsData = dataclasses.field(default_factory=ViewsData)
    model: ViewsModel = dataclasses.field(default_factory=ViewsModel)
    loss: ViewsLoss = dataclasses.field(default_factory=ViewsLoss)
    trainer: ViewsTrainer = dataclasses.field(default_factory=ViewsTrainer)
    particles: tuple[ViewDataset, ...] = ()

    @property
    def total_steps(self) -> int:
        """Steps of all stages."""
        return sum(stage.steps for stage in self.stages)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return plain nested dictionaries; lists are `stage 1`, `particles 1`, ..."""
        values = {name: dataclasses.asdict(getattr(self, name)) for name in _SECTIONS}
        for number, stage in enumerate(self.stages, start=1):
            values[f"stage {number}"] = {
                key: list(value) if isinstance(value, tuple) else value
                for key, value in dataclasses.asdict(stage).items()
            }
        for number, dataset in enumerate(self.particles, start=1):
            values[f"particles {number}"] = dataclasses.asdict(dataset)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "recipe") -> "ViewsRecipe":
        """Build a recipe from the content of a YAML file.

        Raises
        ------
        OptionError
            For a name that does not exist, a value out of range, or a recipe without stages.
        """
        sections: dict[str, Any] = {}
        for name, content in values.items():
            if name in _LISTS:
                continue
            if name not in _SECTIONS:
                raise OptionError(unknown_name(name, [*_SECTIONS, *_LISTS], where))
            sections[name] = build_section(
                _SECTIONS[name], _mapping(content, f"{where}: {name}"), f"{where}: {name}"
            )
        stages = values.get("stages")
        if not isinstance(stages, list) or not stages:
            raise OptionError(f"{where} has no stages; give a list of at least one")
        built = []
        for number, content in enumerate(stages, start=1):
            place = f"{where}: stage {number}"
            given = _mapping(content, place)
            if "steps" not in given:
                raise OptionError(f"{place} does not say how many steps it has")
            built.append(build_section(ViewStage, given, place))
            check_stage(built[-1], place)
        recipe = cls(tuple(built), **sections, particles=_datasets(values, where))
        check_sections(
            recipe.data, recipe.loss, recipe.trainer, [stage.batch for stage in built], where
        )
        return recipe


def _datasets(values: Mapping[str, Any], where: str) -> tuple[ViewDataset, ...]:
    given = values.get("particles") or []
    if not isinstance(given, list):
        raise OptionError(f"{where}: particles must be a list of datasets, found {given!r}")
    built = []
    for number, content in enumerate(given, start=1):
        place = f"{where}: particles {number}"
        built.append(build_section(ViewDataset, _mapping(content, place), place))
        check_dataset(built[-1], place)
    return tuple(built)


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    return names_in_package(__package__)


def load_views_recipe(
    name_or_path: str | Path, overrides: Mapping[str, object] | None = None
) -> ViewsRecipe:
    """Return a recipe of the package, or one from a YAML file, with single settings changed.

    Parameters
    ----------
    name_or_path : `progressive`, `small`, `cpu`, `demo`, or the path of a file
    overrides : dotted names and values: `trainer.seed`, or `stages.2.steps` of the second stage

    Raises
    ------
    OptionError
        If there is no such recipe, the file is not YAML, or a name or value is wrong.

    Examples
    --------
    >>> recipe = load_views_recipe("demo", {"stages.1.steps": "30"})
    >>> recipe.stages[0].steps, recipe.model.preset
    (30, 'tiny')
    """
    content, where = read_recipe_file(name_or_path, __package__)
    for dotted, value in (overrides or {}).items():
        _override(content, dotted, value)
    return ViewsRecipe.from_dict(content, where)


def _override(content: dict[str, Any], dotted: str, value: object) -> None:
    words = dotted.split(".")
    if words[0] in _LISTS and len(words) == 3:
        listed = content.get(words[0])
        if not isinstance(listed, list):
            raise OptionError(f"{dotted}: the recipe has no list of {words[0]}")
        if not words[1].isdigit() or not 1 <= int(words[1]) <= len(listed):
            raise OptionError(f"{dotted}: the recipe has {words[0]} 1 to {len(listed)}")
        place = int(words[1]) - 1
        listed[place] = {**_mapping(listed[place], dotted), words[2]: value}
    elif len(words) == 2 and words[0] in _SECTIONS:
        content[words[0]] = {**_mapping(content.get(words[0]), dotted), words[1]: value}
    else:
        raise OptionError(
            f"{dotted!r} is no setting of a recipe of stages; write for example "
            "trainer.seed=1 or stages.2.steps=100"
        )


def _mapping(content: Any, where: str) -> dict[str, Any]:
    if not isinstance(content or {}, Mapping):
        raise OptionError(f"{where} must hold names and values, found {content!r}")
    return dict(content or {})
