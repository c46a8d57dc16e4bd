"""The manifest of a submission: what was done, with what, and which files say so.

A TOML file, `manifest.toml`, for people to write; docs/leaderboard.md explains every field.
"""

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import MissingFileError, SubmissionError
from ..io.files import write_text_atomic
from ..io.json_schema import complaints, load_schema
from ..vocabulary import PredictionType, Track

MANIFEST_NAME = "manifest.toml"
MANIFEST_FORMAT = 1
#: What `cesped submit new` writes where only the author knows.
TO_FILL_IN = "FILL IN"
_SCHEMA_NAME = "manifest.schema.json"
_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Method:
    """What makes the poses.

    Parameters
    ----------
    name : as the leaderboard shows it
    description : one or two sentences
    paper, code : web address or DOI; None where there is none
    parameters : number of trained parameters
    seeds : of the training
    """

    name: str
    description: str
    seeds: tuple[int, ...] = ()
    paper: str | None = None
    code: str | None = None
    parameters: int | None = None


@dataclass(frozen=True)
class Training:
    """What the models learned from, in words.

    Parameters
    ----------
    data : all that any model behind the predictions has seen, pretraining included
    hardware : what it ran on
    hours : of all models together, on that hardware
    """

    data: str
    hardware: str
    hours: float | None = None


@dataclass(frozen=True)
class EntrySubmission:
    """The predictions of one entry; pairs are of half 0 and of half 1.

    Parameters
    ----------
    name : of the entry
    checksums : of the two star files of predictions
    predictions : the star files, relative to the folder; None if they are elsewhere
    doi, command : where they are then, or what makes these very files
    learned_on : which half the model of each half learned on: 1 and 0
    learned_from : checksums of the star files that they learned from
    learned_ids : files with the particles that they learned from, one rlnImageName a line
    inference_seconds, inference_hardware : time of both halves together, preparation included
    result : the metrics.json, relative to the folder
    """

    name: str
    checksums: tuple[str, str]
    predictions: tuple[str, str] | None = None
    doi: str | None = None
    command: str | None = None
    learned_on: tuple[int, int] | None = None
    learned_from: tuple[str, str] | None = None
    learned_ids: tuple[str, str] | None = None
    inference_seconds: float | None = None
    inference_hardware: str | None = None
    result: str | None = None


@dataclass(frozen=True)
class Manifest:
    """All that a submission says of itself.

    Parameters
    ----------
    track : what the method was given
    prediction_type : which part of the poses it predicts
    method, training : what was done
    entries : what was predicted
    contact : how to reach the authors, if they wish
    """

    track: Track
    prediction_type: PredictionType
    method: Method
    training: Training
    entries: tuple[EntrySubmission, ...]
    contact: str | None = None

    def with_entry(self, entry: EntrySubmission) -> "Manifest":
        """Return this manifest with `entry` added, in place of one of the same name."""
        others = [known for known in self.entries if known.name != entry.name]
        return replace(self, entries=(*others, entry))


def read_manifest(folder: str | os.PathLike[str]) -> Manifest:
    """Return the manifest of the submission in `folder`.

    Raises
    ------
    MissingFileError
        If there is none.
    SubmissionError
        If it is too large, no TOML, or not as `manifest.schema.json` wants it; says why.
    """
    path = Path(folder) / MANIFEST_NAME
    if path.is_symlink() or not path.is_file():
        raise MissingFileError(
            f"{path} is not a file; `cesped submit new` makes a submission with a manifest"
        )
    with path.open("rb") as stream:
        content = stream.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise SubmissionError(f"{path} is larger than {_MAX_BYTES:,} bytes; shorten its texts")
    try:
        document = tomllib.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise SubmissionError(f"{path} is no TOML: {error}") from error
    document = _as_json(document)  # what was checked is what is used: dates are texts from here on
    found = complaints(document, load_schema(__package__, _SCHEMA_NAME))
    found += _doubled_names(document)
    if found:
        raise SubmissionError(f"{path}: {'; '.join(found)}")
    return _manifest_of(document)


def write_manifest(folder: str | os.PathLike[str], manifest: Manifest) -> Path:
    """Write the manifest of the submission in `folder` and return its path.

    Raises
    ------
    SubmissionError
        If a text cannot be written as UTF-8.
    DiskFullError
        If the disk is full.
    """
    try:
        return write_text_atomic(Path(folder) / MANIFEST_NAME, manifest_to_toml(manifest))
    except UnicodeEncodeError as error:
        raise SubmissionError(f"a text of the manifest is no Unicode text: {error}") from error


def manifest_to_toml(manifest: Manifest) -> str:
    """Return the text of `manifest.toml`; what may be left out and is, stands as a comment."""
    method, training = manifest.method, manifest.training
    blocks = [
        "# A submission to the cesped leaderboard; docs/leaderboard.md explains every field.\n"
        + _lines(
            format=MANIFEST_FORMAT,
            track=manifest.track.value,
            prediction_type=manifest.prediction_type.value,
            contact=manifest.contact,
        ),
        "[method]\n"
        + _lines(
            name=method.name,
            description=method.description,
            paper=method.paper,
            code=method.code,
            parameters=method.parameters,
            seeds=method.seeds,
        ),
        "[training]\n"
        + _lines(data=training.data, hardware=training.hardware, hours=training.hours),
    ]
    blocks += [
        "[[entry]]\n"
        + _lines(
            name=entry.name,
            predictions=entry.predictions,
            checksums=entry.checksums,
            doi=entry.doi,
            command=entry.command,
            learned_on=entry.learned_on,
            learned_from=entry.learned_from,
            learned_ids=entry.learned_ids,
            inference_seconds=entry.inference_seconds,
            inference_hardware=entry.inference_hardware,
            result=entry.result,
        )
        for entry in manifest.entries
    ]
    return "\n".join(blocks)


def _lines(**values: Any) -> str:
    return "".join(
        f"# {name} =\n" if value is None else f"{name} = {_toml(value)}\n"
        for name, value in values.items()
    )


def _toml(value: Any) -> str:
    """Return a string, number or list as TOML; its strings escape as JSON's do, and DEL."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Sequence):
        items = [_toml(item) for item in value]
        wide = sum(map(len, items)) > 80
        return "[\n  " + ",\n  ".join(items) + ",\n]" if wide else f"[{', '.join(items)}]"
    return repr(value)


def _as_json(value: Any) -> Any:
    """Return TOML's values as JSON's: its dates become text, infinity and NaN too."""
    if isinstance(value, dict):
        return {name: _as_json(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    is_number = isinstance(value, bool | int | float) and value == value
    return value if is_number and abs(value) != float("inf") else str(value)


def _doubled_names(document: Mapping[str, Any]) -> list[str]:
    entries = document.get("entry")
    listed = entries if isinstance(entries, list) else []
    names = [str(entry.get("name")) for entry in listed if isinstance(entry, dict)]
    return [
        f'entry "{name}" is there twice' for name in sorted(set(names)) if names.count(name) > 1
    ]


def _manifest_of(document: Mapping[str, Any]) -> Manifest:
    return Manifest(
        track=Track.parse(document["track"]),
        prediction_type=PredictionType.parse(document["prediction_type"]),
        method=Method(**_with_tuples(document["method"])),
        training=Training(**document["training"]),
        entries=tuple(EntrySubmission(**_with_tuples(entry)) for entry in document["entry"]),
        contact=document.get("contact"),
    )


def _with_tuples(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in table.items()
    }
