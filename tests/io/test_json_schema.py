"""The small schema check: each rule can fail, unknown rules are refused, files are read warily."""

import json

import pytest

from cesped.errors import MetadataError, MissingFileError, OptionError
from cesped.io.json_schema import MAX_COMPLAINTS, complaints, read_json

RULES = [
    ({"type": "integer"}, 3, True),
    ({"type": "integer"}, 3.5, "not integer"),
    ({"type": "number"}, True, "not number"),
    ({"type": ["number", "null"]}, None, True),
    ({"type": "string"}, None, "not string"),
    ({"enum": ["S2", "SO3"]}, "SO4", "must be one of"),
    ({"minimum": 0}, -1, "the least is 0"),
    ({"minimum": 0}, float("nan"), "the least is 0"),
    ({"maximum": 1}, float("inf"), "the most is 1"),
    ({"minItems": 2}, [1], "the fewest are 2"),
    ({"maxItems": 1}, [1, 2], "the most are 1"),
    ({"minLength": 1}, "", "is empty"),
    ({"maxLength": 2}, "abc", "has 3 characters"),
    ({"pattern": "^sha256:"}, "md5:0", "does not have the form"),
    ({"items": {"type": "string"}}, ["a", 1], "[1] is 1"),
    ({"required": ["a"]}, {"b": 1}, 'lacks "a"'),
    ({"properties": {"a": {"type": "string"}}}, {"a": 1}, "a is 1"),
    ({"properties": {"a": {}}, "additionalProperties": False}, {"b": 1}, "not known"),
    ({"additionalProperties": {"type": "number"}}, {"b": "x"}, "not number"),
    ({"$ref": "#/$defs/x", "$defs": {"x": {"type": "null"}}}, 1, "not null"),
]


@pytest.mark.parametrize(("schema", "value", "expected"), RULES)
def test_each_rule(schema, value, expected):
    found = complaints(value, schema)
    assert (found == []) if expected is True else (len(found) == 1 and expected in found[0])


def test_a_rule_that_is_not_known_is_never_taken_as_kept():
    with pytest.raises(OptionError, match="multipleOf"):
        complaints(3, {"multipleOf": 2})


def test_a_value_of_another_kind_does_not_fill_the_screen():
    schema = {"items": {"type": "string"}}
    assert len(complaints(list(range(1000)), schema)) == MAX_COMPLAINTS


def test_what_is_shown_cannot_act_on_a_terminal():
    (found,) = complaints("\x1b[2Jx\u202e" + "y" * 500, {"enum": ["a"]})
    assert found.isascii()
    assert found.isprintable()
    assert len(found) < 200


def test_files_from_anywhere_are_read_warily(tmp_path):
    path = tmp_path / "a.json"
    for text in ('{"a": NaN}', "{", "[" * 100_000, "\xff"):
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(MetadataError, match=r"a\.json is no JSON"):
            read_json(path, 1 << 20)
    path.write_text(json.dumps("x" * 100))
    with pytest.raises(MetadataError, match="larger than 50 bytes"):
        read_json(path, 50)
    with pytest.raises(MissingFileError):
        read_json(tmp_path / "none.json", 50)
    path.write_text("[1]")
    assert read_json(path, 50) == [1]
