"""The files of an evaluation: metrics.json, particles.csv, fsc.csv and maps, written and read.

`metrics.json` follows `metrics.schema.json`. It alone is enough for a leaderboard; files of every
earlier format stay readable.
"""

import json
import math
import os
import re
from dataclasses import asdict, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cesped.errors import MetadataError
from cesped.evaluation.results import EvaluationResult, MetricRow
from cesped.io.files import atomic_path, staging_folder, write_text_atomic
from cesped.io.json_schema import complaints, load_schema, read_json
from cesped.io.mrc import write_volume
from cesped.physics.fsc import FscCurve

METRICS_NAME = "metrics.json"
PARTICLES_NAME = "particles.csv"
FSC_NAME = "fsc.csv"
SCHEMA_NAME = "metrics.schema.json"
#: Layout of metrics.json, raised when a reader of the layout before could not read the new one.
#: 1 had no intervals and no curves.
METRICS_FORMAT = 2

#: Our part of metrics.json; beside it stand the keys of the published program.
_SECTION = "cesped"
_FREQUENCY = "frequency_per_angst"
_ON_A_LINE = re.compile(r"\[\n[-\d.eE+,\snul]*\]|\{\n\s*\"poses\"[^{}]*\}")
_LINE_END = re.compile(r"\n\s*")
_CURVE_DECIMALS = 6
_MAX_METRICS_BYTES = 64 << 20


def write_evaluation(
    result: EvaluationResult,
    volumes: dict[str, np.ndarray],
    voxel_size_angst: float,
    outdir: str | os.PathLike[str],
) -> EvaluationResult:
    """Write maps, particles.csv, fsc.csv and metrics.json, all or none of them.

    Parameters
    ----------
    result : what was found
    volumes : `(N, N, N)` maps by name, written as `{target}_{name}.mrc`: the target is in the
        name, so that no other entry is ever taken for this one
    voxel_size_angst : of the maps [angstrom]
    outdir : folder to write to; made if it is missing

    Returns
    -------
    EvaluationResult with `map_paths`

    Raises
    ------
    DiskFullError
        If the disk is full; the folder is left as it was.
    """
    folder = Path(outdir)
    names = {name: f"{result.target}_{name}.mrc" for name in volumes}
    written = replace(result, map_paths={name: folder / file for name, file in names.items()})
    with staging_folder(folder, "evaluating") as staging:
        for name, volume in volumes.items():
            write_volume(staging / names[name], volume, voxel_size_angst)
        _write_csv(result.particles, staging / PARTICLES_NAME)
        _write_csv(_curve_table(result.fsc_curves), staging / FSC_NAME)
        write_text_atomic(staging / METRICS_NAME, result_to_json(written, folder))
        # while metrics.json exists, the files beside it belong to it: it goes first, comes last
        (folder / METRICS_NAME).unlink(missing_ok=True)
        for file in [*names.values(), PARTICLES_NAME, FSC_NAME, METRICS_NAME]:
            (staging / file).replace(folder / file)
    return written


def result_to_json(result: EvaluationResult, folder: Path) -> str:
    """Return metrics.json: the published keys at the top, ours under `cesped`."""
    pixel_sizes = {curve.pixel_size_angst for curve in result.fsc_curves.values()}
    ours = {
        "format": METRICS_FORMAT,
        "target": result.target,
        "prediction_type": result.prediction_type,
        "symmetry": result.symmetry,
        "has_mask": result.has_mask,
        "notes": list(result.notes),
        "rows": [asdict(row) for row in result.rows],
        "reference_rows": [asdict(row) for row in result.reference_rows],
        "stamps": result.stamps,
        "pixel_size_angst": max(pixel_sizes, default=None),
        "maps": {name: os.path.relpath(path, folder) for name, path in result.map_paths.items()},
        "fsc": _curves_as_json(result.fsc_curves),
    }
    document = {**result.published, _SECTION: ours}
    text = json.dumps(_plain(document), indent=2, allow_nan=False)
    # a row and a curve on a line each; no string holds a line end, so none is touched
    return _ON_A_LINE.sub(lambda found: _LINE_END.sub(" ", found[0]), text) + "\n"


def read_result(outdir: str | os.PathLike[str]) -> EvaluationResult:
    """Read back what `write_evaluation` wrote to a folder.

    Raises
    ------
    MetadataError
        If metrics.json, particles.csv or fsc.csv is missing, or is not of this package.
    """
    folder = Path(outdir)
    path = folder / METRICS_NAME
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        ours = document[_SECTION]
        curves = pd.read_csv(folder / FSC_NAME)
        return replace(
            _from_document(document),
            fsc_curves=_read_curves(curves, ours["pixel_size_angst"]),
            particles=pd.read_csv(folder / PARTICLES_NAME),
            map_paths={name: folder / relative for name, relative in ours["maps"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MetadataError(
            f"{path} and the tables beside it are not the outcome of an evaluation "
            f"({type(error).__name__}: {error}); run the evaluation again"
        ) from error


def read_metrics(path: str | os.PathLike[str]) -> EvaluationResult:
    """Read one metrics.json, without the files that lay beside it: no particles, no maps.

    The file may come from anybody: it is checked against the schema before anything of it is
    used. Curves are there from format 2 on.

    Raises
    ------
    MissingFileError
        If there is no such file.
    MetadataError
        If it is no metrics.json; says what is wrong, and where.
    """
    document = read_json(path, _MAX_METRICS_BYTES)
    found = complaints(document, load_schema(__package__, SCHEMA_NAME))
    if found:
        raise MetadataError(
            f"{path} is no metrics.json of this package: {'; '.join(found)}; give the file as "
            "`cesped evaluate` wrote it"
        )
    return _from_document(document)


def _from_document(document: dict[str, Any]) -> EvaluationResult:
    """Return what metrics.json itself holds."""
    ours = document[_SECTION]
    return EvaluationResult(
        target=ours["target"],
        prediction_type=ours["prediction_type"],
        symmetry=ours["symmetry"],
        has_mask=ours["has_mask"],
        rows=_read_rows(ours["rows"]),
        reference_rows=_read_rows(ours["reference_rows"]),
        published={key: _number(value) for key, value in document.items() if key != _SECTION},
        stamps=ours["stamps"],
        notes=tuple(ours["notes"]),
        fsc_curves=_curves_of_json(ours),
    )


def _plain(value: Any) -> Any:
    """Return `value` as JSON knows it: numpy numbers become Python's, NaN and infinity null."""
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _read_rows(rows: list[dict[str, Any]]) -> tuple[MetricRow, ...]:
    names = [item.name for item in fields(MetricRow) if item.name not in ("value", "interval")]
    return tuple(
        MetricRow(
            **{name: row[name] for name in names},
            value=_number(row["value"]),
            interval=_interval(row.get("interval")),
        )
        for row in rows
    )


def _interval(ends: list[float | None] | None) -> tuple[float, float] | None:
    if ends is None:
        return None
    low, high = ends
    return _number(low), _number(high)


def _curves_as_json(curves: dict[str, FscCurve]) -> dict[str, Any]:
    frequency = next((curve.frequency_per_angst for curve in curves.values()), np.zeros(0))
    rounded = {name: np.round(curve.correlation, _CURVE_DECIMALS) for name, curve in curves.items()}
    return {_FREQUENCY: frequency, "curves": rounded}


def _curves_of_json(ours: dict[str, Any]) -> dict[str, FscCurve]:
    """Return the curves that format 2 holds, all of one length."""
    stored = ours.get("fsc", {})
    frequency = np.array([_number(value) for value in stored.get(_FREQUENCY, ())])
    if stored.get("curves") and not _are_frequencies(frequency):
        raise MetadataError(
            f"the frequencies of the FSC curves of {ours['target']} do not rise from 0; give "
            "metrics.json as `cesped evaluate` wrote it"
        )
    curves = {}
    for name, values in stored.get("curves", {}).items():
        if len(values) != len(frequency):
            raise MetadataError(
                f"the FSC curve {name!r} of {ours['target']} has {len(values)} shells, its "
                f"frequencies {len(frequency)}; give metrics.json as `cesped evaluate` wrote it"
            )
        correlation = np.array([_number(value) for value in values])
        curves[name] = FscCurve(frequency, correlation, _number(ours["pixel_size_angst"]))
    return curves


def _are_frequencies(values: np.ndarray) -> bool:
    """Return whether `(S,)` values can be the shells of a curve: from 0 on, each above the last."""
    return len(values) > 1 and values[0] == 0 and bool(np.all(np.diff(values) > 0))


def _curve_table(curves: dict[str, FscCurve]) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for name, curve in curves.items():
        columns.setdefault(_FREQUENCY, curve.frequency_per_angst)
        columns[name] = curve.correlation
    return pd.DataFrame(columns)


def _read_curves(table: pd.DataFrame, pixel_size_angst: float | None) -> dict[str, FscCurve]:
    return {
        str(name): FscCurve(
            table[_FREQUENCY].to_numpy(dtype=np.float64),
            table[name].to_numpy(dtype=np.float64),
            _number(pixel_size_angst),
        )
        for name in table.columns
        if name != _FREQUENCY
    }


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False)
