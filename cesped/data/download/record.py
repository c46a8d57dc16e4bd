"""What a record lists: names, sizes and checksums, checked before anything is fetched.

A record is written by others. Its names never become paths here: files are recognised by their
role, and a name that could lead out of a folder condemns the whole record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cesped.errors import RecordError
from cesped.io.files import write_text_atomic

_MD5 = re.compile(r"(?:md5:)?([0-9a-f]{32})", re.IGNORECASE)
_CHUNK = re.compile(r"(.+\.mrcs)\.chunk_([0-9]{1,6})")
_LARGEST = 10**15  # bytes; no server holds more


@dataclass(frozen=True)
class RemoteFile:
    """One file of a record.

    Parameters
    ----------
    name : in the record
    url : where it is fetched from
    md5 : 32 hexadecimal digits
    size_bytes : None while it is not known
    """

    name: str
    url: str
    md5: str
    size_bytes: int | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.size_bytes is not None and not 0 <= self.size_bytes < _LARGEST:
            raise RecordError(f"{self.name} is said to have {self.size_bytes} bytes")


@dataclass(frozen=True)
class Record:
    """A published record: its number and its files, whose names are safe and distinct."""

    number: int
    files: tuple[RemoteFile, ...]

    def __post_init__(self) -> None:
        names = [file.name for file in self.files]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise RecordError(f"record {self.number} lists {', '.join(doubled)} twice")

    def file(self, name: str) -> RemoteFile:
        """Return the file called `name`.

        Raises
        ------
        RecordError
            If there is none.
        """
        for file in self.files:
            if file.name == name:
                return file
        listed = ", ".join(file.name for file in self.files) or "nothing"
        raise RecordError(f"record {self.number} holds no {name}; it lists {listed}")


@dataclass(frozen=True)
class HalfFiles:
    """The files of half an entry: its particles, its symmetry, and the chunks of its stack."""

    star: RemoteFile
    info: RemoteFile
    chunks: tuple[RemoteFile, ...]

    def all(self) -> tuple[RemoteFile, ...]:
        """Return every file."""
        return (self.star, self.info, *self.chunks)


def half_files(record: Record, *, with_stack: bool = True) -> HalfFiles:
    """Return the files of half an entry by their role; whatever else the record lists is ignored.

    Parameters
    ----------
    record : as looked up
    with_stack : whether it must hold the stack; False for an entry that shares another's

    Raises
    ------
    RecordError
        If star file, info or stack are missing or ambiguous, chunks are missing, doubled or empty.
    """
    star = _only(record, ".star", "star file of particles")
    info = _only(record, ".json", "file that states the symmetry")
    chunks = _chunks_in_order(record)
    if with_stack and not chunks:
        raise RecordError(f"record {record.number} holds no image stack (.mrcs)")
    files = HalfFiles(star, info, tuple(chunks) if with_stack else ())
    for file in files.all():
        if file.size_bytes == 0:
            raise RecordError(
                f"record {record.number} lists {file.name} with 0 bytes; its upload must have "
                "failed, tell the authors of the record"
            )
    return files


def chunk_number(name: str) -> int | None:
    """Return which chunk of a stack a file is, None if it is none.

    Examples
    --------
    >>> chunk_number("particles_0.mrcs.chunk_12"), chunk_number("particles_0.mrcs")
    (12, None)
    """
    match = _CHUNK.fullmatch(name)
    return int(match[2]) if match else None


def record_from_answer(
    answer: Any, number: int, url_of: Callable[[str], str], source: str
) -> Record:
    """Return the record that a server described in the JSON of Zenodo's records.

    Parameters
    ----------
    answer : parsed JSON
    number : of the record that was asked for
    url_of : gives the URL of a file by its name
    source : where the answer is from, for messages

    Raises
    ------
    RecordError
        If it is no such description, is about another record, or lists what is unsafe.
    """
    if not isinstance(answer, dict) or not isinstance(answer.get("files"), list):
        raise RecordError(f"{source} lists no files; is that the address of a record?")
    about = answer.get("id", number)
    if str(about) != str(number):
        raise RecordError(f"{source} answers with record {about} instead of {number}")
    files = []
    for position, listed in enumerate(answer["files"], start=1):
        if not isinstance(listed, dict):
            raise RecordError(f"file {position} of {source} is no JSON object")
        # the server has used both spellings
        name = listed.get("key", listed.get("filename"))
        size = listed.get("size", listed.get("filesize"))
        if not isinstance(name, str):
            raise RecordError(f"file {position} of {source} has no name (key or filename)")
        if size is not None and (not isinstance(size, int) or isinstance(size, bool)):
            raise RecordError(f"{source} states no size of {name!r} but {size!r}")
        check_name(name)
        md5 = md5_digits(listed.get("checksum"), f"{name!r} in {source}")
        files.append(RemoteFile(name, url_of(name), md5, size))
    return Record(number, tuple(files))


def md5_digits(checksum: object, where: str) -> str:
    """Return the digits of `md5:...`, in lower case.

    Raises
    ------
    RecordError
        If it is no MD5.
    """
    match = _MD5.fullmatch(checksum) if isinstance(checksum, str) else None
    if match is None:
        raise RecordError(f"{where} has no MD5 checksum but {checksum!r}")
    return match[1].lower()


def write_record(path: Path, record: Record) -> None:
    """Keep what was looked up, so that files can be checked later without a network.

    Raises
    ------
    DiskFullError, UnwritableError
        If it cannot be written.
    """
    files = [
        {"key": file.name, "size": file.size_bytes, "checksum": f"md5:{file.md5}", "url": file.url}
        for file in record.files
    ]
    write_text_atomic(path, json.dumps({"id": record.number, "files": files}, indent=1) + "\n")


def read_record(path: Path, number: int) -> Record | None:
    """Return the record kept at `path`; None if there is none, or it is damaged."""
    try:
        answer = json.loads(path.read_text(encoding="utf-8"))
        urls = {file["key"]: str(file.get("url", "")) for file in answer["files"]}
        return record_from_answer(answer, number, urls.__getitem__, str(path))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def with_known_sizes(files: Iterable[RemoteFile], known: Record | None) -> list[RemoteFile]:
    """Return `files` with the sizes that an earlier look-up of the same content found out."""
    sizes = {(file.name, file.md5): file.size_bytes for file in known.files} if known else {}
    return [
        replace(file, size_bytes=sizes.get((file.name, file.md5)))
        if file.size_bytes is None
        else file
        for file in files
    ]


def check_name(name: str) -> None:
    """Refuse a file name that is none, or could lead out of a folder.

    Raises
    ------
    RecordError
        If it holds a separator or what cannot be printed, or is empty, too long, `.` or `..`.
    """
    unsafe = not name or name in (".", "..") or any(c in "/\\" or not c.isprintable() for c in name)
    if unsafe or len(name.encode()) > 255:
        raise RecordError(
            f"a record lists a file called {name!r}, which is no plain name; nothing of it is "
            "fetched, tell the authors of the record"
        )


def _only(record: Record, suffix: str, what: str) -> RemoteFile:
    found = [file for file in record.files if file.name.endswith(suffix)]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(file.name for file in found or record.files) or "nothing"
    raise RecordError(
        f"record {record.number} should hold one {what} ({suffix}), it lists {listed}"
    )


def _chunks_in_order(record: Record) -> list[RemoteFile]:
    """Return the pieces of the stack as they follow each other: by number, not by name."""
    numbered: dict[int, RemoteFile] = {}
    stacks = set()
    for file in record.files:
        match = _CHUNK.fullmatch(file.name)
        if match is None:
            continue
        if int(match[2]) in numbered:
            raise RecordError(f"record {record.number} lists chunk {int(match[2])} twice")
        numbered[int(match[2])] = file
        stacks.add(match[1])
    whole = [file for file in record.files if file.name.endswith(".mrcs")]
    if len(stacks) + len(whole) > 1:
        names = ", ".join(sorted(stacks | {file.name for file in whole}))
        raise RecordError(f"record {record.number} holds more than one stack: {names}")
    missing = sorted(set(range(len(numbered))) - set(numbered))
    if missing:
        raise RecordError(f"record {record.number} lists no chunk {missing[0]} of {stacks.pop()}")
    return whole or [numbered[number] for number in sorted(numbered)]
