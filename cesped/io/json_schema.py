"""Checking JSON values against a schema, in words.

The part of JSON Schema (draft 2020-12) that the schema files of this package use, so that what
strangers send can be checked without one more library. A schema with any other keyword is
refused: a rule that is not understood must not count as kept.
"""

import json
import math
import os
import re
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import MetadataError, MissingFileError, OptionError

_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}
_SILENT = {"$schema", "$id", "$defs", "title", "description", "examples"}
_LONGEST_SHOWN = 60
#: Complaints after which a value is no longer looked into: it is of another kind altogether.
MAX_COMPLAINTS = 20


def load_schema(package: str, name: str) -> dict[str, Any]:
    """Return the schema file `name` of a room of this package."""
    text = resources.files(package).joinpath(name).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def read_json(path: str | os.PathLike[str], max_bytes: int) -> Any:
    """Return the value of a JSON file that may come from anywhere.

    Raises
    ------
    MissingFileError
        If there is no such file.
    MetadataError
        If it is larger than `max_bytes`, is no JSON, is nested too deep, or holds NaN or infinity,
        which JSON does not know.
    """
    file = Path(path)
    try:
        with file.open("rb") as stream:
            content = stream.read(max_bytes + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise MissingFileError(f"{file} is not a file: check the path") from error
    if len(content) > max_bytes:
        raise MetadataError(f"{file} is larger than {max_bytes:,} bytes; no such file needs to be")
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise MetadataError(f"{file} is no JSON ({error}); write it again") from error


def _refuse_constant(word: str) -> None:
    raise ValueError(f"it holds {word}; write null")


def complaints(value: Any, schema: dict[str, Any]) -> list[str]:
    """Return what is wrong with `value`, one sentence each, at most `MAX_COMPLAINTS`.

    Raises
    ------
    OptionError
        If the schema uses a keyword that is not understood here.

    Examples
    --------
    >>> schema = {"type": "object", "required": ["a"], "properties": {"a": {"minimum": 0}}}
    >>> complaints({"a": -1}, schema)
    ['a is -1; the least is 0']
    >>> complaints({}, schema)
    ['the whole lacks "a"']
    """
    found = []
    for complaint in _check(value, schema, schema, ""):
        found.append(complaint)
        if len(found) == MAX_COMPLAINTS:
            break
    return found


def _check(value: Any, schema: dict[str, Any], root: dict[str, Any], where: str) -> Iterator[str]:
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    for keyword in schema.keys() - _RULES.keys() - _SILENT:
        raise OptionError(f"the schema uses {keyword!r}, which this check does not know")
    if "type" in schema:
        wanted = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(_TYPES[name](value) for name in wanted):
            yield f"{_named(where)} is {shown(value)}, not {' or '.join(wanted)}"
            return
    for keyword, rule in schema.items():
        if keyword in _RULES:
            yield from _RULES[keyword](value, rule, root, where)
    if isinstance(value, dict) and "additionalProperties" in schema:
        rule = schema["additionalProperties"]
        for name in value.keys() - schema.get("properties", {}).keys():
            if rule is False:
                yield f"{_named(where)} has {shown(name)}, which is not known"
            elif rule is not True:
                yield from _check(value[name], rule, root, _joined(where, name))


def shown(value: Any) -> str:
    """Return `value` as short printable ASCII."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    text = json.dumps(value)  # escapes whatever a terminal would act on
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."


def _named(where: str) -> str:
    return where or "the whole"


def _joined(where: str, name: str) -> str:
    key = name if re.fullmatch(r"[\w-]{1,60}", name, re.ASCII) else shown(name)
    return f"{where}.{key}" if where else key


_Complaints = Iterator[str]


def _required(value: Any, names: list[str], root: Any, where: str) -> _Complaints:
    if isinstance(value, dict):
        yield from (f'{_named(where)} lacks "{name}"' for name in names if name not in value)


def _properties(value: Any, rules: dict[str, Any], root: Any, where: str) -> _Complaints:
    if isinstance(value, dict):
        for name, rule in rules.items():
            if name in value:
                yield from _check(value[name], rule, root, _joined(where, name))


def _items(value: Any, rule: dict[str, Any], root: Any, where: str) -> _Complaints:
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from _check(item, rule, root, f"{where}[{number}]")


def _enum(value: Any, options: list[Any], root: Any, where: str) -> _Complaints:
    if value not in options:
        yield f"{_named(where)} is {shown(value)}; it must be one of {json.dumps(options)}"


def _minimum(value: Any, least: float, root: Any, where: str) -> _Complaints:
    if _TYPES["number"](value) and not value >= least:
        yield f"{_named(where)} is {shown(value)}; the least is {least:g}"


def _maximum(value: Any, most: float, root: Any, where: str) -> _Complaints:
    if _TYPES["number"](value) and not (value <= most and math.isfinite(value)):
        yield f"{_named(where)} is {shown(value)}; the most is {most:g}"


def _least_items(value: Any, count: int, root: Any, where: str) -> _Complaints:
    if isinstance(value, list) and len(value) < count:
        yield f"{_named(where)} has {len(value)} items; the fewest are {count}"


def _most_items(value: Any, count: int, root: Any, where: str) -> _Complaints:
    if isinstance(value, list) and len(value) > count:
        yield f"{_named(where)} has {len(value)} items; the most are {count}"


def _least_length(value: Any, count: int, root: Any, where: str) -> _Complaints:
    if isinstance(value, str) and len(value) < count:
        yield f"{_named(where)} is empty" if not value else f"{_named(where)} is too short"


def _most_length(value: Any, count: int, root: Any, where: str) -> _Complaints:
    if isinstance(value, str) and len(value) > count:
        yield f"{_named(where)} has {len(value)} characters; the most are {count}"


def _pattern(value: Any, pattern: str, root: Any, where: str) -> _Complaints:
    if isinstance(value, str) and not re.search(pattern, value):
        yield f"{_named(where)} is {shown(value)}, which does not have the form {pattern}"


_RULES: dict[str, Callable[[Any, Any, Any, str], _Complaints]] = {
    "$ref": lambda *_: iter(()),
    "type": lambda *_: iter(()),
    "required": _required,
    "properties": _properties,
    "additionalProperties": lambda *_: iter(()),
    "items": _items,
    "enum": _enum,
    "minimum": _minimum,
    "maximum": _maximum,
    "minItems": _least_items,
    "maxItems": _most_items,
    "minLength": _least_length,
    "maxLength": _most_length,
    "pattern": _pattern,
}
