"""One request for the bytes of a file from some position on, and what its failures mean.

What may pass with time is a `ServerBusyError`, everything else a `DownloadError`.
"""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from cesped.errors import DownloadError, ServerBusyError

_BLOCK_BYTES = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_BUSY = {408, 425, 500, 502, 503, 504}
#: Slower than this over the whole stall time is as good as nothing.
_SLOWEST_BYTES_PER_S = 100


@dataclass(frozen=True)
class Opened:
    """A response whose bytes can be read.

    Parameters
    ----------
    start : position of its first byte in the file
    total : size of the whole file [bytes], None if the server does not say
    blocks : its bytes, which raise `ServerBusyError` when they stop early or stall
    """

    start: int
    total: int | None
    blocks: Iterator[bytes]


@contextlib.contextmanager
def open_from(url: str, start: int, stall_s: float, last: int | None = None) -> Iterator[Opened]:
    """Ask for the bytes of `url` from position `start` on.

    Parameters
    ----------
    url : http or https; redirections are followed, but never from https to http
    start : position of the first byte wanted; a server may begin at 0 all the same
    stall_s : longest time without a byte [s]
    last : position of the last byte wanted, the file's last when None

    Raises
    ------
    ServerBusyError
        If the server cannot be reached, stalls, fails (5xx) or is rate limited (429).
    DownloadError
        If it has no such file (404), refuses it (401, 403), holds no byte at `start` (416), or
        answers with something else.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"{url!r} is no address to fetch from; http and https are")
    headers = {"User-Agent": f"cesped/{version('cesped')}", "Accept-Encoding": "identity"}
    if start or last is not None:
        headers["Range"] = f"bytes={start}-{'' if last is None else last}"
    with _failures_named(url, stall_s):
        request = urllib.request.Request(url, headers=headers)
        # made anew: proxies and certificates are those that the environment names now
        response = _new_opener().open(request, timeout=stall_s)
    with response:
        begins, total = _extent(response, start, url)
        yield Opened(begins, total, _read(response, url, stall_s))


def read_all(url: str, stall_s: float, limit_bytes: int) -> bytes:
    """Return what is at `url`, which is small.

    Raises
    ------
    DownloadError, ServerBusyError
        As `open_from`; also if there are more than `limit_bytes`.
    """
    content = bytearray()
    with open_from(url, 0, stall_s) as opened:
        for block in opened.blocks:
            content += block
            if len(content) > limit_bytes:
                raise DownloadError(f"{url} is longer than {limit_bytes} bytes")
        if opened.total is not None and len(content) != opened.total:
            raise ServerBusyError(f"{url} broke off after {len(content)} of {opened.total} bytes")
    return bytes(content)


def asked_wait_s(headers: Mapping[str, str], now: float) -> float | None:
    """Return how long a server asks to wait [s]: Retry-After, or when a rate limit ends.

    Parameters
    ----------
    headers : of its answer
    now : seconds since 1970

    Examples
    --------
    >>> asked_wait_s({"Retry-After": "7"}, now=0.0)
    7.0
    >>> asked_wait_s({"X-RateLimit-Reset": "130"}, now=100.0)
    30.0
    """
    later = headers.get("Retry-After")
    if later is not None:
        try:
            return max(0.0, float(later))
        except ValueError:
            moment = _http_date(later)
            return None if moment is None else max(0.0, moment - now)
    try:
        return max(0.0, float(headers["X-RateLimit-Reset"]) - now)
    except (KeyError, ValueError, TypeError):
        return None


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but not from an encrypted connection to an open one."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise DownloadError(f"{req.full_url} leads to {newurl}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _new_opener() -> urllib.request.OpenerDirector:
    """Return what opens http and https alone: no files, no FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
        _NoDowngrade(),
    ):
        opener.add_handler(handler)
    return opener


def _extent(response: Any, start: int, url: str) -> tuple[int, int | None]:
    """Return where the response begins, and the size of the whole file."""
    if response.status == 206:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if match is None or match[1] is None or int(match[1]) != start:
            found = response.headers.get("Content-Range")
            raise ServerBusyError(f"{url} was asked for bytes from {start} on, sent {found!r}")
        return start, None if match[3] == "*" else int(match[3])
    if response.status != 200:
        raise DownloadError(f"{url} answers with status {response.status}")
    length = response.headers.get("Content-Length")
    return 0, int(length) if length is not None and length.isdigit() else None


def _read(response: Any, url: str, stall_s: float) -> Iterator[bytes]:
    since, received = time.monotonic(), 0
    while True:
        with _failures_named(url, stall_s):
            block = response.read1(_BLOCK_BYTES)
        if not block:
            return
        yield block
        received += len(block)
        waited = time.monotonic() - since
        if waited > stall_s:
            if received < _SLOWEST_BYTES_PER_S * stall_s:
                raise ServerBusyError(f"{url} sent {received} bytes in {waited:.0f} s")
            since, received = time.monotonic(), 0


@contextlib.contextmanager
def _failures_named(url: str, stall_s: float) -> Iterator[None]:
    """Turn what the network libraries raise into errors that say whether trying again helps."""
    host = urlsplit(url).netloc
    try:
        yield
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(error, url) from None
    except TimeoutError as error:
        raise ServerBusyError(f"{host} sent nothing for {stall_s:g} s") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise DownloadError(
                f"{host} shows a certificate that is not trusted here "
                f"({error.reason.verify_message}); behind a proxy, let SSL_CERT_FILE name its "
                "certificate"
            ) from error
        if isinstance(error.reason, TimeoutError):
            raise ServerBusyError(f"{host} did not answer for {stall_s:g} s") from error
        raise ServerBusyError(f"{host} cannot be reached ({error.reason})") from error
    except (http.client.HTTPException, OSError) as error:
        # also a route or an interface that went away: OSErrors of no class of their own
        if isinstance(error, DownloadError):
            raise
        reason = str(error) or type(error).__name__
        raise ServerBusyError(f"the connection to {host} broke ({reason})") from error
    except ValueError as error:
        raise DownloadError(f"{url} is no address to fetch from ({error})") from error


def _refusal(error: urllib.error.HTTPError, url: str) -> DownloadError:
    headers = dict(error.headers.items()) if error.headers is not None else {}
    wait_s = asked_wait_s(headers, time.time())
    host = urlsplit(url).netloc
    if error.code == 429:
        return ServerBusyError(f"{host} allows no more requests for now (429)", wait_s)
    if error.code in _BUSY:
        return ServerBusyError(f"{host} fails for now ({error.code} {error.reason})", wait_s)
    if error.code in (404, 410):
        return DownloadError(f"there is nothing at {url} ({error.code})")
    if error.code in (401, 403):
        return DownloadError(
            f"{host} refuses {url} ({error.code}): it may be restricted, or this address blocked"
        )
    if error.code == 416:
        match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        held = f"only {match[3]} bytes," if match and match[3] != "*" else ""
        return DownloadError(f"{url} holds {held} fewer than were asked for (416)")
    return DownloadError(f"{url} answers with {error.code} {error.reason}")


def _http_date(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError):
        return None
