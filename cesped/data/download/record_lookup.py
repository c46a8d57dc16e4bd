"""Where a record is looked up: at zenodo.org by zenodo-get, or at a mirror of its records."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import replace
from urllib.parse import quote

from cesped.data.download.http_requests import open_from, read_all
from cesped.data.download.record import Record, RemoteFile, record_from_answer
from cesped.data.download.retries import Patience, persistently
from cesped.data.download.zenodo_get import look_up_with_zenodo_get
from cesped.errors import DownloadError, ProgramNotFoundError, RecordError
from cesped.progress import SILENT, Progress
from cesped.vocabulary import OFFLINE_VARIABLE, RECORDS_URL_VARIABLE

ZENODO_RECORDS_URL = "https://zenodo.org/api/records"
#: Fewer than for a transfer: nothing is under way yet, and somebody without a network is waiting.
_ATTEMPTS = 3
_LARGEST_ANSWER = 1 << 24  # bytes; that of a record with 100 files is 50 kB

_log = logging.getLogger(__name__)


def is_offline() -> bool:
    """Return whether the environment forbids downloads (CESPED_OFFLINE)."""
    return os.environ.get(OFFLINE_VARIABLE, "0") not in ("", "0")


def look_up_record(number: int, patience: Patience, progress: Progress = SILENT) -> Record:
    """Return what a record holds.

    It is asked for at the mirror that CESPED_RECORDS_URL names, else at zenodo.org through
    zenodo-get; where that is not installed, zenodo.org is asked directly.

    Raises
    ------
    DownloadError
        If downloads are forbidden, there is no such record, or no server that answers.
    RecordError
        If the answer is no record, or lists what is unsafe.
    """
    if is_offline():
        raise DownloadError(
            f"record {number} is not looked up, since {OFFLINE_VARIABLE} is set: unset it to "
            "download"
        )

    def ask() -> Record:
        mirror = os.environ.get(RECORDS_URL_VARIABLE)
        if mirror:
            return ask_server(mirror, number, patience.stall_s)
        try:
            return look_up_with_zenodo_get(number, patience.stall_s)
        except ProgramNotFoundError as error:
            _log.warning("%s; asking %s directly", error, ZENODO_RECORDS_URL)
            return ask_server(ZENODO_RECORDS_URL, number, patience.stall_s)

    return persistently(ask, replace(patience, attempts=_ATTEMPTS), progress)


def ask_server(records_url: str, number: int, stall_s: float) -> Record:
    """Return record `number` as the server of `records_url` describes it.

    The URLs of its files are made from `records_url`, not taken from the answer: a mirror that
    repeats zenodo.org's answers would otherwise lead back there.

    Raises
    ------
    DownloadError, ServerBusyError
        If the server has no such record, or cannot be asked.
    RecordError
        If it answers with something else.
    """
    url = f"{records_url.rstrip('/')}/{number}"
    content = read_all(url, stall_s, _LARGEST_ANSWER)
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as error:
        start = content[:60].decode("utf-8", "replace")
        raise RecordError(f"{url} answers with no JSON but {start!r}") from error
    return record_from_answer(
        answer, number, lambda name: f"{url}/files/{quote(name)}/content", url
    )


def with_size(file: RemoteFile, patience: Patience, progress: Progress = SILENT) -> RemoteFile:
    """Return `file` with its size, which its server is asked for if it is not known.

    Raises
    ------
    DownloadError
        If the server does not tell.
    """
    if file.size_bytes is not None:
        return file

    def ask() -> int | None:
        with open_from(file.url, 0, patience.stall_s, last=0) as opened:
            return opened.total

    size = persistently(ask, patience, progress)
    if size is None:
        raise DownloadError(f"{file.url} does not state how large {file.name} is")
    return replace(file, size_bytes=size)
