"""Reading star files strictly.

RELION 3.0 (one table), 3.1 and 5.0 (optics and particles) look the same from here: blocks with
names. Rows that lack a value, or have one too many, are errors that name the row; the `starfile`
library fills or drops them silently, cuts names at `#`, reads the name 001 as the number 1 and
writes six decimals, so it serves as a twin in the tests and not here.

Format: Hall, J. Chem. Inf. Comput. Sci. 31, 326 (1991), as RELION writes it.
"""

import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import MissingFileError, StarFileError
from .files import compression_of

#: Key of `DataFrame.attrs`: true for a block of `_name value` lines rather than a loop.
KEY_VALUE = "star_key_value"
#: Key of `DataFrame.attrs`: number N of a line `# version N` before the block.
VERSION = "star_version"

_FOREIGN = {b"\x93NUMPY": "a CryoSPARC .cs file", b"\x80": "a Python pickle"}
_MISSING_NUMBERS = ["nan", "NaN", "-nan", "<NA>"]
_EXCESS = "\0excess"  # a column for the values a row has beyond its columns
_SAMPLE_BYTES = 65536
_PADDED_NUMBER = re.compile(rb"(?<!\S)[+-]?0\d+(?!\S)")
_DOUBLE_QUOTED = rb"\"(?:[^\"\n]|\"\")*\"(?!\S)"
_TOKEN = re.compile(_DOUBLE_QUOTED + rb"|'[^'\n]*'(?!\S)|\S+")
_VERSION_LINE = re.compile(rb"^#\s*version\s+(\d+)\s*$", re.MULTILINE)
# A quoted value or a comment, both of which begin a token.
_QUOTED_OR_COMMENT = re.compile(rb"(?<!\S)(?:(" + _DOUBLE_QUOTED + rb")|'([^'\n]*)'(?!\S)|#[^\n]*)")
# pandas 3.1 reads floats exactly and deprecates the option that asks for it.
_PANDAS = tuple(int(part) for part in pd.__version__.split(".")[:2])
_EXACT: dict[str, Any] = {} if _PANDAS >= (3, 1) else {"float_precision": "round_trip"}


@dataclass(frozen=True)
class _Block:
    """One data block, as the bytes of its rows."""

    name: str
    columns: list[str]
    is_loop: bool
    body: bytes
    first_line: int
    version: int | None


def read_star(path: str | os.PathLike[str]) -> dict[str, pd.DataFrame]:
    """Return the tables of a star file by block name (`data_particles` is `"particles"`).

    Column names are without their underscore. A block of `_name value` lines is a table of one
    row. Columns are numbers where every value is one, except those whose name ends in `Name` and
    those with zero-padded numbers, which stay text.

    Raises
    ------
    MissingFileError
        If there is no such file.
    StarFileError
        If the file is not a star file, or is damaged; the message names the table, the row
        (from 1) and the line.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise MissingFileError(f"{path} is not a file: check the path of the star file") from error
    packed = compression_of(content)
    if packed:
        raise StarFileError(f"{path} is compressed with {packed}: unpack it first")
    foreign = next((name for magic, name in _FOREIGN.items() if content.startswith(magic)), None)
    if foreign:
        raise StarFileError(
            f"{path} is {foreign}, no star file: make one of it with `cesped convert` (its --help "
            "shows how)"
        )
    nul = content.find(b"\0")
    if nul >= 0:
        raise StarFileError(
            f"{path}, line {_line_number(content, nul)}: holds NUL bytes, so it is damaged or no "
            "star file: copy or write it again"
        )
    tables: dict[str, pd.DataFrame] = {}
    for block in _split_blocks(content.removeprefix(b"\xef\xbb\xbf"), path):
        if block.name in tables:
            raise StarFileError(
                f"{path}, line {block.first_line}: a second table data_{block.name}: keep one"
            )
        table = _parse_rows(block, path)
        table.attrs[KEY_VALUE] = not block.is_loop
        if block.version is not None:
            table.attrs[VERSION] = block.version
        tables[block.name] = table
    if not tables:
        raise StarFileError(f"{path} has no data_ block: is it a star file?")
    return tables


def _split_blocks(content: bytes, path: Path) -> Iterator[_Block]:
    starts = list(_block_starts(content))
    before = 0  # where the text before the block begins, which may state a version
    for number, (start, name) in enumerate(starts):
        end = starts[number + 1][0] if number + 1 < len(starts) else len(content)
        versions = _VERSION_LINE.findall(content, before, start)
        yield _read_block(content, start, end, name, int(versions[-1]) if versions else None, path)
        # Only the tail of this block can hold the version line of the next one.
        before = max(start, end - 200)


def _block_starts(content: bytes) -> Iterator[tuple[int, str]]:
    """Yield position and name of each line that is `data_name` and nothing else."""
    position = content.find(b"data_")
    while position >= 0:
        line_start = content.rfind(b"\n", 0, position) + 1
        line_end = content.find(b"\n", position)
        line_end = len(content) if line_end < 0 else line_end
        words = content[line_start:line_end].split()
        alone = len(words) == 1 or words[1].startswith(b"#")
        if words[0].startswith(b"data_") and alone:
            yield line_start, words[0][len(b"data_") :].decode("utf-8", "replace")
        position = content.find(b"data_", line_end)


def _read_block(
    content: bytes, start: int, end: int, name: str, version: int | None, path: Path
) -> _Block:
    columns: list[str] = []
    is_loop = False
    position = _after_line(content, start, end)
    while position < end:
        stop = _after_line(content, position, end)
        words = content[position:stop].split()
        if words and words[0] == b"loop_":
            is_loop = True
        elif words and words[0].startswith(b"_") and is_loop:
            columns.append(words[0][1:].decode("utf-8", "replace"))
        elif words and not words[0].startswith(b"#"):
            break
        position = stop
    line = _line_number(content, position)
    doubled = sorted({column for column in columns if columns.count(column) > 1})
    if doubled:
        raise StarFileError(
            f"{path}, table data_{name}: column _{doubled[0]} is there more than once: remove one"
        )
    body = _without_trailing_comments(content[position:end])
    if is_loop and not body and not content.endswith(b"\n"):
        raise StarFileError(
            f"{path}, line {line}: the file ends within the columns of data_{name}: it is "
            "truncated, write or copy it again"
        )
    if is_loop and not columns:
        raise StarFileError(
            f"{path}, line {line}: the loop of data_{name} has no columns: the file is damaged"
        )
    return _Block(name, columns, is_loop, body, line, version)


def _parse_rows(block: _Block, path: Path) -> pd.DataFrame:
    body = block.body
    if b"#" in body or b"'" in body:
        body = _QUOTED_OR_COMMENT.sub(_as_double_quoted, body)
    if not block.is_loop:
        columns, body = _key_values_as_row(body, block, path)
    else:
        columns = block.columns
    if not body.strip():
        return pd.DataFrame({column: pd.Series(dtype=object) for column in columns})
    text_columns = {column for column in columns if column.endswith("Name")}
    text_columns |= _columns_with_padded_numbers(body, columns)
    table = _parse_table(body, columns, text_columns, block, path)
    # "true" and "false" are words of the file's writer, not ours to respell.
    words = {column for column in columns if table[column].dtype == bool}
    if words:
        table = _parse_table(body, columns, text_columns | words, block, path)
    return table


def _parse_table(
    body: bytes, columns: list[str], text_columns: set[str], block: _Block, path: Path
) -> pd.DataFrame:
    if b'"' in body or len(columns) == 1:
        _check_all_rows(body, columns, block, path)  # pandas reads an open quote across lines
    else:
        _check_row(0, next(_data_lines(body)), columns, block, path)  # pandas takes its width
    try:
        table: pd.DataFrame = pd.read_csv(
            io.BytesIO(body),
            sep=r"\s+",
            header=None,
            names=[*columns, _EXCESS],
            index_col=False,
            dtype=dict.fromkeys(text_columns, str),
            keep_default_na=False,
            na_values={name: _MISSING_NUMBERS for name in columns if name not in text_columns}
            | {_EXCESS: [""]},
            low_memory=False,
            **_EXACT,
        )
    except UnicodeDecodeError as error:
        raise StarFileError(
            f"{path}, table data_{block.name}: text that is not UTF-8 ({error}): convert the file"
        ) from error
    except pd.errors.ParserError as error:
        _check_all_rows(body, columns, block, path)
        raise StarFileError(f"{path}, table data_{block.name}: {error}") from error
    last = table[columns[-1]]
    if table[_EXCESS].notna().any() or last.isna().any() or (last == "").any():
        _check_all_rows(body, columns, block, path)
    return table.drop(columns=_EXCESS)


def _check_all_rows(body: bytes, columns: list[str], block: _Block, path: Path) -> None:
    for row, line in enumerate(_data_lines(body)):
        _check_row(row, line, columns, block, path)


def _check_row(
    row: int, line: tuple[int, bytes], columns: list[str], block: _Block, path: Path
) -> None:
    number, text = line
    values = _TOKEN.findall(text)
    is_closed = all(_is_closed(value) for value in values)
    if len(values) == len(columns) and is_closed and values[0] != b"loop_":
        return
    where = f"{path}, table data_{block.name}, row {row + 1} (line {block.first_line + number})"
    if values[0] == b"loop_":
        raise StarFileError(f"{where}: a second loop in one data block: give it a data_ line")
    if not is_closed:
        raise StarFileError(f"{where}: a quote is opened and not closed: mend the row")
    raise StarFileError(
        f"{where}: {len(values)} values for {len(columns)} columns: the file may be truncated; "
        "write or copy it again, or mend the row"
    )


def _is_closed(value: bytes) -> bool:
    return not value.startswith(b'"') or (len(value) > 1 and value.endswith(b'"'))


def _data_lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield line offset and text of each line that is not blank."""
    for number, line in enumerate(io.BytesIO(body)):
        if line.strip():
            yield number, line


def _key_values_as_row(body: bytes, block: _Block, path: Path) -> tuple[list[str], bytes]:
    columns, values = [], []
    for row, (number, line) in enumerate(_data_lines(body)):
        tokens = _TOKEN.findall(line)
        if len(tokens) != 2 or not tokens[0].startswith(b"_"):
            raise StarFileError(
                f"{path}, table data_{block.name}, row {row + 1} (line "
                f"{block.first_line + number}): expected `_name value`, or `loop_` before a table"
            )
        columns.append(tokens[0][1:].decode("utf-8", "replace"))
        values.append(tokens[1])
    return columns, b" ".join(values)


def _columns_with_padded_numbers(body: bytes, columns: list[str]) -> set[str]:
    """Return columns with values such as 001 among the first rows: names, not numbers."""
    sample = body[:_SAMPLE_BYTES]
    if not _PADDED_NUMBER.search(sample):
        return set()
    rows = (_TOKEN.findall(line) for _, line in _data_lines(sample))
    return {
        column
        for row in rows
        for column, value in zip(columns, row, strict=False)
        if _PADDED_NUMBER.fullmatch(value)
    }


def _as_double_quoted(match: re.Match[bytes]) -> bytes:
    double, single = match.groups()
    if double is not None:
        return bytes(double)
    return b"" if single is None else b'"' + single.replace(b'"', b'""') + b'"'


def _without_trailing_comments(body: bytes) -> bytes:
    # The "# version" line of the next block must not send the whole body to the comment filter.
    while True:
        body = body.rstrip()
        last_line = body.rfind(b"\n") + 1
        if not body[last_line:].lstrip().startswith(b"#"):
            return body
        body = body[:last_line]


def _after_line(content: bytes, position: int, end: int) -> int:
    newline = content.find(b"\n", position, end)
    return end if newline < 0 else newline + 1


def _line_number(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) + 1
