"""The one module that runs the program zenodo-get, which asks zenodo.org what a record holds.

It is run, not imported: its licence (AGPL) is stricter than ours. It transfers nothing here, since
it cannot go on in the middle of a file; it writes the list of checksums and the list of URLs.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cesped.data.download.record import Record, RemoteFile, check_name, md5_digits
from cesped.errors import DownloadError, ProgramNotFoundError, RecordError, ServerBusyError

_HOST = "zenodo.org"
_TIMEOUT_S = 600.0  # its own retries, with the waits that the server asks for, end before
_STATUS = re.compile(r": (\d{3}) - ")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_LAST_ERROR = re.compile(r".*\bERROR\b:?\s*", re.DOTALL)


def look_up_with_zenodo_get(number: int, stall_s: float) -> Record:
    """Return the files of a record of zenodo.org; their sizes are not known yet.

    Parameters
    ----------
    number : of the record
    stall_s : longest time without an answer [s]

    Raises
    ------
    ProgramNotFoundError
        If zenodo-get is not installed.
    ServerBusyError
        If the server cannot be reached, fails or is rate limited.
    DownloadError
        If there is no such record, or the program fails otherwise.
    RecordError
        If its lists do not fit together.
    """
    if importlib.util.find_spec("zenodo_get") is None:
        raise ProgramNotFoundError("zenodo-get is not installed: pip install zenodo-get")
    with tempfile.TemporaryDirectory(prefix="cesped-record-") as folder:
        _run(["--md5"], number, Path(folder), stall_s)
        checksums = (Path(folder) / "md5sums.txt").read_text(encoding="utf-8")
        _run(["--wget", "urls.txt"], number, Path(folder), stall_s)
        urls = (Path(folder) / "urls.txt").read_text(encoding="utf-8").splitlines()
    return _record(number, checksums.splitlines(), urls)


def _run(options: list[str], number: int, folder: Path, stall_s: float) -> None:
    command = [sys.executable, "-m", "zenodo_get", "--record", str(number), *options]
    # its caller has patience of its own
    command += ["--max-http-retries", "1", "--output-dir", str(folder)]
    command += ["--time-out", f"{stall_s:g}"]
    try:
        finished = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServerBusyError(f"zenodo-get had no answer within {_TIMEOUT_S:g} s") from error
    if finished.returncode == 0:
        return
    said = _complaint(finished.stdout)
    status = _STATUS.search(said)
    if status is None:
        # what it says of timeouts and of servers that it cannot reach carries no status
        kind = ServerBusyError if "fetching metadata" in said else DownloadError
        raise kind(f"zenodo-get could not look up record {number} ({said or 'no message'})")
    code = int(status[1])
    if code in (404, 410):
        raise DownloadError(f"{_HOST} has no record {number} ({code})")
    if code == 429 or code >= 500:
        raise ServerBusyError(f"{_HOST} does not tell what record {number} holds for now ({code})")
    raise DownloadError(f"{_HOST} refuses record {number} ({code}): it may be restricted")


def _complaint(output: str) -> str:
    """Return what the program says is wrong: its last error without colours and level names."""
    plain = " ".join(_COLOUR.sub("", output).split())
    return _LAST_ERROR.sub("", plain)[-500:]


def _record(number: int, checksums: list[str], urls: list[str]) -> Record:
    """Join the two lists by file name, since both are about one record but asked for apart."""
    by_name = {}
    for line in checksums:
        digits, separator, name = line.partition("  ")
        if not separator:
            raise RecordError(f"record {number}: zenodo-get lists a checksum as {line!r}")
        check_name(name)
        by_name[name] = md5_digits(digits, f"{name!r} in record {number}")
    if len(by_name) != len(checksums) or len(urls) != len(checksums):
        raise RecordError(
            f"record {number} has {len(checksums)} checksums, {len(by_name)} names and "
            f"{len(urls)} URLs; a file name may be doubled or hold a line break"
        )
    files = [RemoteFile(name, _url_of(name, urls, number), md5) for name, md5 in by_name.items()]
    return Record(number, tuple(files))


def _url_of(name: str, urls: list[str], number: int) -> str:
    for url in urls:
        parts = urlsplit(url)
        trusted = parts.scheme == "https" and parts.hostname == _HOST
        if trusted and name in unquote(parts.path).split("/"):
            return url
    raise RecordError(f"record {number}: zenodo-get lists no URL on {_HOST} for {name!r}")
