"""The folder of a run: whose it is, and what is written into it when the run begins."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.checksums import images_stamp, records_stamp
from ..data.entry_checks import EntryHalf
from ..data.table import ParticleTable
from ..errors import CheckpointError
from ..io.files import write_text_atomic
from .drawn_map import map_stamp
from .event_file import event_files
from .history import CURVE_NAME, LOG_NAME
from .provenance import file_sha256
from .recipe import TrainingRecipe

MODEL_NAME = "model.ckpt"
BEST_NAME = "best.ckpt"
STATE_NAME = "last.ckpt"
IDENTITY_NAME = "run.json"
SPLIT_NAME = "split.csv"
PROVENANCE_NAME = "provenance.json"
_WORK = (MODEL_NAME, BEST_NAME, STATE_NAME)  # what a run has worked for
_NO_RESULT = ("data.num_data_workers", "data.max_memory_gib")  # settings that change no result
_SPLIT_PARTS = ("training", "validation")


def identity_of_run(
    entry: EntryHalf,
    table: ParticleTable,
    recipe: TrainingRecipe,
    start_from: str | os.PathLike[str] | None,
) -> dict[str, Any]:
    """Return what a run is: two runs with the same identity would be the same run."""
    more: dict[str, Any] = {}
    if recipe.simulation.map is not None:
        more["drawn_from"] = map_stamp(recipe.simulation)
    weights = recipe.model.options.get("weights")
    if weights is not None and Path(weights).is_file():
        more["weights_sha256"] = file_sha256(Path(weights))
    identity = {
        **more,
        "target": entry.target,
        "halfset": entry.halfset,
        "symmetry": entry.symmetry,
        "n_particles": len(table),
        "star_sha256": file_sha256(Path(table.source)),
        "start_from_sha256": file_sha256(Path(start_from)) if start_from is not None else None,
        "recipe": recipe.to_dict(),
    }
    # as it will be read from the folder: ranges that are pairs here are lists there
    as_read: dict[str, Any] = json.loads(json.dumps(identity))
    return as_read


def claim_folder(folder: Path, identity: dict[str, Any], resume: bool) -> None:
    """Refuse a folder that holds the work of another run, or empty it if that is not to go on.

    Raises
    ------
    CheckpointError
        If another run is there and it is to be resumed.
    """
    path = folder / IDENTITY_NAME
    if not resume:
        names = (*_WORK, LOG_NAME, CURVE_NAME, SPLIT_NAME, PROVENANCE_NAME)
        for old in (*(folder / name for name in names), *event_files(folder)):
            old.unlink(missing_ok=True)
    elif path.is_file() and any((folder / name).is_file() for name in _WORK):
        found = read_identity(folder)
        different = _differences(found, identity)
        if different:
            raise CheckpointError(
                f"{folder} holds another run: it differs in {', '.join(different)} (see {path}); "
                "use another folder, or start anew without resuming"
            )


def _differences(found: dict[str, Any], identity: dict[str, Any]) -> list[str]:
    """Return what differs, by name; of the recipe only settings that change a result."""
    different = [key for key in identity if key != "recipe" and found.get(key) != identity[key]]
    settings, known = _settings(identity), _settings(found)
    return different + [
        f"recipe: {name}"
        for name in sorted(settings.keys() | known.keys())
        if name not in _NO_RESULT and settings.get(name) != known.get(name)
    ]


def _settings(identity: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of the recipe by their dotted names."""
    recipe = identity.get("recipe")
    sections = recipe.items() if isinstance(recipe, dict) else ()
    return {
        f"{section}.{key}": value
        for section, values in sections
        if isinstance(values, dict)
        for key, value in values.items()
    }


def read_identity(folder: Path) -> dict[str, Any]:
    """Return what `begin_run` wrote down about the run in `folder`.

    Raises
    ------
    CheckpointError
        If the file does not describe a run.
    """
    path = folder / IDENTITY_NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is no JSON ({error}); use another folder") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} does not describe a run; use another folder")
    return found


def inputs_of_run(entry: EntryHalf, table: ParticleTable) -> dict[str, Any]:
    """Return checksums of the stacks that a run learns from.

    Of the published record they come from, if a download or `cesped verify` checked them; else of
    the files, which are read for it.

    Raises
    ------
    MissingFileError
        If a stack is not there.
    """
    records = records_stamp([entry])  # their checksums were verified: no need to read it all
    images = images_stamp(table.stacks) if records else images_stamp(table.stacks, None)
    return {"images": images, "records": records}


def begin_run(
    folder: Path,
    identity: dict[str, Any],
    inputs: dict[str, Any],
    ids: NDArray[np.object_],
    rows: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> None:
    """Write what the run is, its inputs, and which particles train and which validate.

    Parameters
    ----------
    folder : of the run
    identity, inputs : of `identity_of_run` and `inputs_of_run`
    ids : `(P,)` rlnImageName of all particles
    rows : of those that train, and of those that validate
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["rlnImageName", "part"])
    for part, chosen in zip(_SPLIT_PARTS, rows, strict=True):
        writer.writerows((ids[row], part) for row in chosen)
    write_text_atomic(folder / SPLIT_NAME, text.getvalue())
    split_sha256 = file_sha256(folder / SPLIT_NAME)
    facts = {**identity, "inputs": inputs, "split_sha256": split_sha256}
    write_text_atomic(folder / IDENTITY_NAME, json.dumps(facts, indent=2) + "\n")
