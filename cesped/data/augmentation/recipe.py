"""Recipes of augmentation: which operations, how likely each, in the published YAML layout::

min_n_augm_per_img: 1
max_n_augm_per_img: 1
operations:
  inPlaneRotations: {p: 0.5, kwargs: {maxDegrees: 20}}
  randomGaussNoise:
    p: 0.0
    kwargs: {scale: 0.5}
    probScheduler: {type: linear_up, kwargs: {max_prob: 0.4, scheduler_steps: 100000}}
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from cesped.data.augmentation.operation import (
    GeometricOperation,
    GreyOperation,
    Operation,
    build_operation,
)
from cesped.data.augmentation.schedules import Probability, parse_probability
from cesped.errors import OptionError

#: The recipe that is meant when none is named.
DEFAULT_PLAN = "paper"

_PLAN_KEYS = ("min_n_augm_per_img", "max_n_augm_per_img", "operations")
_OPERATION_KEYS = ("p", "kwargs", "probScheduler", "operation")


@dataclass(frozen=True)
class PlannedOperation:
    """An operation of a recipe, with its name there and how likely it is."""

    name: str
    operation: Operation
    probability: Probability


@dataclass(frozen=True)
class AugmentationPlan:
    """A recipe that has been read and checked.

    Parameters
    ----------
    operations : in the order of the recipe
    min_rounds, max_rounds : how often the operations are gone through for one image; drawn for
        each image, both included
    """

    operations: tuple[PlannedOperation, ...]
    min_rounds: int = 1
    max_rounds: int = 1

    @property
    def geometric(self) -> list[tuple[str, GeometricOperation, Probability]]:
        """The operations that move images, in order."""
        return [
            (one.name, one.operation, one.probability)
            for one in self.operations
            if isinstance(one.operation, GeometricOperation)
        ]

    @property
    def grey(self) -> list[tuple[str, GreyOperation, Probability]]:
        """The operations that change grey values, in order."""
        return [
            (one.name, one.operation, one.probability)
            for one in self.operations
            if isinstance(one.operation, GreyOperation)
        ]


def plan_names() -> list[str]:
    """Return the names of the recipes that come with the package."""
    folder = resources.files(__package__) / "recipes"
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith("yaml"))


def load_plan(
    recipe: str | os.PathLike[str] | Mapping[str, Any] | AugmentationPlan | None,
) -> AugmentationPlan:
    """Return a recipe, read and checked.

    Parameters
    ----------
    recipe : a name of `plan_names()`, the path of a YAML file, what such a file holds, or a plan;
        the paper's when None. In a mapping, `operation` may hold an object in place of `kwargs`.

    Raises
    ------
    OptionError
        If there is no such recipe, it is not YAML, or a name or a value in it is wrong.

    Examples
    --------
    >>> plan = load_plan({"operations": {"inPlaneRotations90": {"p": 1}}})
    >>> [one.name for one in plan.operations]
    ['inPlaneRotations90']
    """
    if isinstance(recipe, AugmentationPlan):
        return recipe
    if isinstance(recipe, Mapping):
        return _parse(recipe, "augmentation recipe")
    return _parse(*_read(DEFAULT_PLAN if recipe is None else recipe))


def _read(name_or_path: str | os.PathLike[str]) -> tuple[Any, str]:
    import yaml

    packaged = resources.files(__package__) / "recipes" / f"{os.fspath(name_or_path)}.yaml"
    path = Path(name_or_path).expanduser()
    if os.fspath(name_or_path) in plan_names():
        text, where = packaged.read_text(encoding="utf-8"), f"augmentation recipe {name_or_path}"
    elif path.is_file():
        try:
            text, where = path.read_text(encoding="utf-8"), f"augmentation recipe {path}"
        except UnicodeDecodeError as error:
            raise OptionError(f"augmentation recipe {path} is not text: {error}") from error
    else:
        raise OptionError(
            f"there is no augmentation recipe {str(name_or_path)!r}; use "
            f"{', '.join(plan_names())}, or the path of a YAML file"
        )
    try:
        return yaml.safe_load(text), where
    except yaml.YAMLError as error:
        raise OptionError(f"{where} is not YAML: {error}") from error


def _parse(values: Any, where: str) -> AugmentationPlan:
    _refuse_unknown(values, _PLAN_KEYS, where)
    operations = values.get("operations")
    if not isinstance(operations, Mapping):
        raise OptionError(f"{where} must hold `operations` with their names, found {operations!r}")
    fewest = _rounds(values, "min_n_augm_per_img", where)
    most = _rounds(values, "max_n_augm_per_img", where)
    if fewest > most:
        raise OptionError(
            f"{where}: min_n_augm_per_img is {fewest}, above max_n_augm_per_img, {most}"
        )
    planned = tuple(
        _parse_operation(str(name), content, where) for name, content in operations.items()
    )
    return AugmentationPlan(planned, fewest, most)


def _parse_operation(name: str, content: Any, where: str) -> PlannedOperation:
    here = f"{where}: {name}"
    _refuse_unknown(content, _OPERATION_KEYS, here)
    if "p" not in content:
        raise OptionError(f"{here} has no p; give its probability, 0 to 1")
    probability = parse_probability(content["p"], content.get("probScheduler"), here)
    operation = content.get("operation")
    kwargs = content.get("kwargs") or {}
    if operation is None:
        if not isinstance(kwargs, Mapping):
            raise OptionError(f"{here}: kwargs must hold names and values, found {kwargs!r}")
        return PlannedOperation(name, build_operation(name, dict(kwargs), where), probability)
    if kwargs or not isinstance(operation, (GeometricOperation, GreyOperation)):
        raise OptionError(
            f"{here}: `operation` must be an object of a GeometricOperation or GreyOperation, "
            f"without kwargs; found {operation!r} and {kwargs!r}"
        )
    return PlannedOperation(name, operation, probability)


def _rounds(values: Mapping[str, Any], key: str, where: str) -> int:
    number = values.get(key, 1)
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise OptionError(f"{where}: {key} is {number!r}; use a whole number that is not negative")
    return number


def _refuse_unknown(values: Any, known: tuple[str, ...], where: str) -> None:
    if not isinstance(values, Mapping):
        raise OptionError(f"{where} must hold names and values, found {values!r}")
    for key in values:
        if key not in known:
            nearest = get_close_matches(str(key), known, n=1, cutoff=0.4)
            hint = f"did you mean {nearest[0]!r}? " if nearest else ""
            raise OptionError(f"{where} has no {key!r}; {hint}it may have: {', '.join(known)}")
