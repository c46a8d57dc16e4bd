"""The files of an evaluation: metrics.json, particles.csv, fsc.csv and maps, written and read."""

import json
import math
import os
from dataclasses import asdict, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cesped.errors import MetadataError
from cesped.evaluation.results import EvaluationResult, MetricRow
from cesped.io.files import atomic_path, staging_folder, write_text_atomic
from cesped.io.mrc import write_volume
from cesped.physics.fsc import FscCurve

METRICS_NAME = "metrics.json"
PARTICLES_NAME = "particles.csv"
FSC_NAME = "fsc.csv"

#: Our part of metrics.json; beside it stand the keys of the published program.
_SECTION = "cesped"
_FREQUENCY = "frequency_per_angst"


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
    }
    document = {**result.published, _SECTION: ours}
    return json.dumps(_plain(document), indent=2, allow_nan=False) + "\n"


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
        ours = document.pop(_SECTION)
        particles = pd.read_csv(folder / PARTICLES_NAME)
        curves = pd.read_csv(folder / FSC_NAME)
        return EvaluationResult(
            target=ours["target"],
            prediction_type=ours["prediction_type"],
            symmetry=ours["symmetry"],
            has_mask=ours["has_mask"],
            rows=_read_rows(ours["rows"]),
            reference_rows=_read_rows(ours["reference_rows"]),
            published={key: _number(value) for key, value in document.items()},
            stamps=ours["stamps"],
            notes=tuple(ours["notes"]),
            fsc_curves=_read_curves(curves, ours["pixel_size_angst"]),
            particles=particles,
            map_paths={name: folder / relative for name, relative in ours["maps"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MetadataError(
            f"{path} and the tables beside it are not the outcome of an evaluation "
            f"({type(error).__name__}: {error}); run the evaluation again"
        ) from error


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
    names = [item.name for item in fields(MetricRow)]
    return tuple(
        MetricRow(**{name: row[name] for name in names} | {"value": _number(row["value"])})
        for row in rows
    )


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
