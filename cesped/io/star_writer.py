"""Writing star files that this package, RELION and `starfile` read back to the same values."""

import os
import re
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pandas as pd

from ..errors import EntryExistsError, StarFileError
from ..progress import SILENT, Advance, Progress
from .files import atomic_path
from .star_reader import KEY_VALUE, VERSION

_RELION_31 = 30001
_OPTICS = "optics"  # a file with this table is one of RELION 3.1 or later
_ROWS_AT_A_TIME = 20_000
_LONG = 200_000  # rows; more take seconds
_QUOTED_ANYWHERE = re.compile(r"^$|\s|^[\"'#]")
_QUOTED_FIRST = re.compile(r"^_|^data_|^loop_")  # these begin a line with another meaning


def write_star(
    path: str | os.PathLike[str],
    tables: dict[str, pd.DataFrame],
    overwrite: bool = True,
    progress: Progress = SILENT,
) -> Path:
    """Write `tables` by block name, whole or not at all, and return the path.

    Numbers are written with as many digits as they need to be read back the same; all columns
    are kept, in their order. What `read_star` noted in `DataFrame.attrs` (a block of
    `_name value` lines, a version) is written again.

    Parameters
    ----------
    path : star file to write
    tables : block name to table; the name without `data_`
    overwrite : whether an existing file may be replaced
    progress : told of the rows of a long table

    Raises
    ------
    EntryExistsError
        If the file exists and `overwrite` is false.
    StarFileError
        If a value cannot be written in a star file (line breaks, or both kinds of quotes).
    DiskFullError
        If the disk or the quota is exhausted.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise EntryExistsError(f"{path} exists: name another file or allow it to be overwritten")
    n_rows = sum(map(len, tables.values()))
    watched = progress if n_rows > _LONG else SILENT
    with (
        watched.task(f"Writing {path.name}", n_rows) as advance,
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8") as stream,
    ):
        for name, table in tables.items():
            version = table.attrs.get(VERSION, _RELION_31 if _OPTICS in tables else None)
            if version is not None:
                stream.write(f"# version {version}\n\n")
            stream.write(f"data_{name}\n\n")
            where = f"{path}, table data_{name}"
            if table.attrs.get(KEY_VALUE) and len(table) == 1:
                _write_key_values(stream, table, where)
            else:
                _write_loop(stream, table, where, advance)
            stream.write("\n")
    return path


def _write_key_values(stream: TextIO, table: pd.DataFrame, where: str) -> None:
    for name in table.columns:
        (value,) = _as_text(table[name], where, is_first=False)
        stream.write(f"_{name} {value}\n")


def _write_loop(stream: TextIO, table: pd.DataFrame, where: str, advance: Advance) -> None:
    stream.write("loop_\n")
    for number, name in enumerate(table.columns, start=1):
        stream.write(f"_{name} #{number}\n")
    for start in range(0, len(table), _ROWS_AT_A_TIME):
        rows = table.iloc[start : start + _ROWS_AT_A_TIME]
        columns = [
            _as_text(rows[name], where, is_first=position == 0, row=start)
            for position, name in enumerate(table.columns)
        ]
        stream.write("\n".join(map(" ".join, zip(*columns, strict=True))))
        stream.write("\n")
        advance(len(rows))


def _as_text(column: "pd.Series[Any]", where: str, is_first: bool, row: int = 0) -> list[str]:
    """Return the values of a column as the tokens that stand for them."""
    kind = getattr(column.dtype, "kind", "O")
    if kind == "b":
        return [str(int(value)) for value in column]
    if kind in "iu" and isinstance(column.dtype, np.dtype):
        return list(map(str, column.tolist()))
    if kind == "f" and isinstance(column.dtype, np.dtype):
        # repr of a float32 made a float64 would show digits it never had.
        shortest = str if column.dtype == np.float64 else lambda value: str(np.float32(value))
        return list(map(shortest, column.tolist()))
    return [
        _token(value, is_first, f"{where}, row {row + number}, column _{column.name}")
        for number, value in enumerate(column.tolist(), start=1)
    ]


def _token(value: object, is_first: bool, where: str) -> str:
    if value is None or value is pd.NA or value != value:
        return "nan"
    text = str(value)
    if not (_QUOTED_ANYWHERE.search(text) or (is_first and _QUOTED_FIRST.search(text))):
        return text
    if "\n" in text or "\r" in text or "\0" in text:
        raise StarFileError(f"{where}: {text!r} has a line break, which a star file cannot hold")
    for quote in "\"'":
        if quote not in text:
            return f"{quote}{text}{quote}"
    raise StarFileError(
        f"{where}: {text!r} has spaces and both kinds of quotes, which a star file cannot hold"
    )
