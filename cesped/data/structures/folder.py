"""The curation of a folder of structures by several processes, with a table of what became of each.

A journal keeps what is done: killed at any moment, the same call goes on from there.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import hashlib
import io
import json
import multiprocessing
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cesped.data.structures.components import Definitions, read_dictionary
from cesped.data.structures.curation import (
    CurationOptions,
    CurationRecord,
    curate_structure,
)
from cesped.errors import MissingFileError, OptionError
from cesped.io.atoms import structure_files
from cesped.io.files import write_bytes_atomic, write_text_atomic
from cesped.io.locks import exclusive_lock
from cesped.progress import SILENT, Advance, Progress
from cesped.vocabulary import Curated

TABLE_NAME, JOURNAL_NAME = "curation.csv", "curation.jsonl"
#: Raise it when the same options keep other atoms.
_VERSION = 1
_WAITING_PER_JOB = 4

Row = dict[str, Any]


@dataclass(frozen=True)
class CurationSummary:
    """What a folder came to.

    Parameters
    ----------
    table : the CSV file, a row per structure
    counts : structures by outcome
    reasons : rejected and failed ones by reason, the most frequent first
    """

    table: Path
    counts: dict[Curated, int]
    reasons: list[tuple[str, int]]


def curate_folder(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    options: CurationOptions,
    *,
    dictionary: str | os.PathLike[str] | None = None,
    jobs: int = 1,
    progress: Progress = SILENT,
) -> CurationSummary:
    """Curate all mmCIF and PDB files below a folder.

    Parameters
    ----------
    source : folder; files in folders below it are taken too
    out : folder for the curated structures, `NAME.cif.gz` at the same place below it, and for
        `curation.csv`, which says of each file what was removed and why it was not kept
    options : what is kept
    dictionary : CIF file of component definitions (`components.cif`) for residues beyond the
        standard ones
    jobs : processes
    progress : told of every file

    Raises
    ------
    MissingFileError
        If the folder is not there, or holds no structures.
    OptionError
        If two files would be written to one, or `out` is the folder itself.
    UnwritableError, DiskFullError
        If nothing can be written; what is done is kept for the next call.
    """
    root, target = Path(source), Path(out)
    files = _files_of(root, target)
    definitions = None if dictionary is None else read_dictionary(dictionary)
    target.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(target / ".curation.lock", progress):
        journal = _Journal(target / JOURNAL_NAME, _label(options, definitions))
        done = {
            name: row for name, row in journal.rows.items() if _is_current(name, row, root, target)
        }
        todo = [name for name in files if name not in done]
        title = f"Curating {len(files):,} structures"
        with journal, progress.task(title, len(files), done=len(files) - len(todo)) as advance:
            for name, row in _curated(todo, root, target, options, definitions, jobs, advance):
                journal.add(name, row)
                done[name] = row
        rows = [done[name]["record"] for name in files]
        # a name of other bytes than UTF-8 must not cost the table of all others
        write_bytes_atomic(target / TABLE_NAME, _table(rows).encode("utf-8", "backslashreplace"))
    reasons = Counter(_kind_of_reason(row) for row in rows if row["outcome"] != Curated.KEPT)
    counts = Counter(Curated.parse(row["outcome"]) for row in rows)
    return CurationSummary(
        target / TABLE_NAME, {kind: counts[kind] for kind in Curated}, reasons.most_common()
    )


def curate_file(
    name: str, root: Path, target: Path, options: CurationOptions, dictionary: Definitions | None
) -> Row:
    """Curate one file and write what is kept of it; whatever goes wrong is put in its record."""
    path = root / name
    stat = path.stat()
    try:
        curated = curate_structure(path, options, dictionary)
        record = curated.record
        if curated.structure is not None:
            document = curated.structure.make_mmcif_document()
            packed = gzip.compress(document.as_string().encode(), mtime=0)
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            write_bytes_atomic(target / output_name(name), packed)
    except OSError:
        raise  # the disk, not the structure
    except Exception as error:  # one structure of 100,000 must not end the work on the others
        record = CurationRecord(path.name, Curated.FAILED, str(error).partition("\n")[0])
    record.file = name
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "record": record.to_row()}


def output_name(name: str) -> str:
    """Return the name of the curated file.

    Examples
    --------
    >>> output_name("sn/pdb3sn6.ent.gz")
    'sn/pdb3sn6.cif.gz'
    """
    plain = name[: -len(".gz")] if name.lower().endswith(".gz") else name
    return f"{plain.rpartition('.')[0]}.cif.gz"


def _files_of(root: Path, target: Path) -> list[str]:
    found = structure_files(root)
    if target.resolve() == root.resolve():
        raise OptionError(f"{root} would get its own curated files; write to another folder")
    inside = target.resolve()
    names = [name for name in found if inside not in (root / name).resolve().parents]
    if not names:
        raise MissingFileError(f"{root} holds no mmCIF or PDB files (.cif, .pdb, .ent, or .gz)")
    written: dict[str, str] = {}
    for name in names:
        other = written.setdefault(output_name(name), name)
        if other != name:
            raise OptionError(
                f"{other} and {name} in {root} would both become {output_name(name)}; keep one"
            )
    return names


def _label(options: CurationOptions, dictionary: Definitions | None) -> str:
    """Return a name of all that decides what is kept."""
    known = sorted((code, sorted(names)) for code, names in (dictionary or {}).items())
    text = json.dumps([_VERSION, dataclasses.asdict(options), known], default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _is_current(name: str, row: Row, root: Path, target: Path) -> bool:
    """Return whether a file is as it was, and what was kept of it still there."""
    try:
        stat = (root / name).stat()
    except OSError:
        return False
    if (stat.st_size, stat.st_mtime_ns) != (row["size"], row["mtime_ns"]):
        return False
    return row["record"]["outcome"] != Curated.KEPT or (target / output_name(name)).is_file()


def _curated(
    names: list[str],
    root: Path,
    target: Path,
    options: CurationOptions,
    dictionary: Definitions | None,
    jobs: int,
    advance: Advance,
) -> Iterator[tuple[str, Row]]:
    """Yield each file and what became of it, in the order in which they are done."""
    rest = (root, target, options, dictionary)
    if jobs <= 1 or len(names) <= 1:
        for name in names:
            yield name, curate_file(name, *rest)
            advance(1)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(names)), mp_context=context) as pool:
        waiting: dict[Future[Row], str] = {}
        try:
            for name in names:
                waiting[pool.submit(curate_file, name, *rest)] = name
                if len(waiting) >= _WAITING_PER_JOB * jobs:
                    yield from _finished(waiting, advance)
            while waiting:
                yield from _finished(waiting, advance)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _finished(waiting: dict[Future[Row], str], advance: Advance) -> Iterator[tuple[str, Row]]:
    for future in wait(waiting, return_when="FIRST_COMPLETED").done:
        yield waiting.pop(future), future.result()
        advance(1)


class _Journal:
    """A line per file that is done; the first line names the options."""

    def __init__(self, path: Path, label: str) -> None:
        self._path = path
        self._label = label
        self.rows: dict[str, Row] = {}
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        if not lines or _parsed(lines[0]).get("label") != label:
            return
        for line in lines[1:]:
            row = _parsed(line)  # the last line may be torn
            if "name" in row:
                self.rows[row.pop("name")] = row

    def __enter__(self) -> _Journal:
        lines = [json.dumps({"label": self._label})]
        lines += [json.dumps({"name": name, **row}) for name, row in self.rows.items()]
        write_text_atomic(self._path, "\n".join(lines) + "\n")
        self._stream = self._path.open("a", encoding="utf-8")
        return self

    def add(self, name: str, row: Row) -> None:
        self._stream.write(json.dumps({"name": name, **row}) + "\n")
        self._stream.flush()

    def __exit__(self, *_: object) -> None:
        self._stream.close()


def _parsed(line: str) -> Row:
    try:
        content = json.loads(line)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _table(rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(CurationRecord)])
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _kind_of_reason(row: Row) -> str:
    """Return a reason without the values of one file, so that it can be counted."""
    if row["outcome"] == Curated.FAILED:
        return "cannot be read or worked on"
    return str(row["reason"]).partition(":")[0]
