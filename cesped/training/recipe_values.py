"""What stands in a recipe file or on a command line, made into the values of a section."""

import types
import typing
from difflib import get_close_matches
from typing import Any

from ..errors import OptionError
from .sections import ModelRecipe


def field_types(section: type) -> dict[str, Any]:
    """Return the names of a section's choices and their types."""
    return typing.get_type_hints(section)


def build_section(section: Any, content: dict[str, Any], where: str) -> Any:
    """Return a section with what `content` gives; the rest keeps its default.

    Raises
    ------
    OptionError
        For a name that the section does not have, or a value of another type.
    """
    kinds = field_types(section)
    if section is ModelRecipe:  # what is not the recipe's own is the model's, checked by it
        options = {**(content.pop("options", None) or {})}
        options |= {key: content.pop(key) for key in list(content) if key not in kinds}
        content["options"] = {key: _value_of_text(value) for key, value in options.items()}
        if content.get("name", ModelRecipe.name) != ModelRecipe.name:
            content.setdefault("preset", None)  # the default preset is that of the default model
    for key in content:
        if key not in kinds:
            raise OptionError(unknown_name(key, list(kinds), where))
    return section(
        **{key: _coerce(value, kinds[key], f"{where}.{key}") for key, value in content.items()}
    )


def unknown_name(key: str, known: list[str], where: str) -> str:
    """Return the message about a name that does not exist, with the nearest that does."""
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
    if typing.get_origin(kind) is tuple:
        return _pair(value, where)
    if kind is bool:
        words = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
        if str(value).lower() in words:
            return words[str(value).lower()]
    elif kind is int and not isinstance(value, bool) and _float_or_none(value) is not None:
        if float(value) == int(float(value)):
            return int(float(value))
    elif kind is float and not isinstance(value, bool) and _float_or_none(value) is not None:
        return float(value)
    elif kind is str and isinstance(value, str):
        return value
    raise OptionError(f"{where} is {value!r}; it must be of type {kind.__name__}")


def _pair(value: Any, where: str) -> tuple[float, float]:
    """Return a range `[low, high]`, in YAML or as the text of it."""
    values = _value_of_text(value)
    numbers = [_float_or_none(each) for each in values] if isinstance(values, list | tuple) else []
    if len(numbers) == 2 and numbers[0] is not None and numbers[1] is not None:
        return numbers[0], numbers[1]
    raise OptionError(f"{where} is {value!r}; it must be a range such as [1, 2]")


def _float_or_none(value: Any) -> float | None:
    """Return the number that `value` is or spells, if any (YAML reads 1e-3 as a word)."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _value_of_text(value: Any) -> Any:
    """Return what a word of the command line would be in a YAML file: null, true, [1, 2], 1e-3."""
    if not isinstance(value, str):
        return value
    number = _float_or_none(value)
    if number is not None:
        return int(number) if value.lstrip("+-").isdigit() else number
    import yaml

    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:  # a word with signs that mean something to YAML
        return value
