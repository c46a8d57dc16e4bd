"""One file through a server that cuts, stalls, corrupts, refuses, limits and lies."""

import errno
import hashlib
import http.client
import itertools
import os
import random
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
from record_server import Fault

from cesped.data.download import http_requests, retries
from cesped.data.download.assembly import Assembly
from cesped.data.download.http_requests import asked_wait_s, open_from
from cesped.data.download.record import RemoteFile
from cesped.data.download.retries import Patience
from cesped.data.download.transfer import fill
from cesped.errors import ChecksumError, DownloadError, ServerBusyError

RECORD = 7


@pytest.fixture
def chunks(server):
    """Three chunks of random bytes on the server, by name."""
    rng = random.Random(5)
    chunks = {f"s.mrcs.chunk_{i}": rng.randbytes(n) for i, n in enumerate((300_000, 7, 200_000))}
    server.records[RECORD] = chunks
    return chunks


@pytest.fixture
def assembly(server, chunks, tmp_path):
    return Assembly(tmp_path / "s.mrcs", pieces_of(server, chunks))


def pieces_of(server, chunks):
    url = f"{server.url}/{RECORD}/files/{{}}/content"
    return [
        RemoteFile(name, url.format(name), hashlib.md5(content).hexdigest(), len(content))
        for name, content in chunks.items()
    ]


def is_whole(assembly, chunks):
    assembly.finish()
    assert assembly.final.read_bytes() == b"".join(chunks.values())
    assert not assembly.partial.exists()
    return True


class Watcher:
    def __init__(self):
        self.titles = []
        self.done = 0

    @contextmanager
    def task(self, description, total, *, in_bytes=False, done=0):
        self.titles.append(description)
        yield lambda units: None

    def advance(self, count):
        self.done += count


def test_an_honest_server(assembly, chunks, server, patience):
    watcher = Watcher()
    fill(assembly, patience, watcher, watcher.advance)
    assert is_whole(assembly, chunks)
    assert watcher.done == assembly.size_bytes
    assert [(request.name, request.start) for request in server.requests] == [
        (name, 0) for name in chunks
    ]


def test_it_goes_on_at_the_byte_where_the_connection_broke(assembly, chunks, server, patience):
    name = "s.mrcs.chunk_0"
    server.faults[name] = [Fault(cut_after=100_001), Fault(cut_after=1), Fault(cut_after=50_000)]
    watcher = Watcher()
    fill(assembly, patience, watcher, watcher.advance)
    assert is_whole(assembly, chunks)
    starts = [request.start for request in server.requests if request.name == name]
    assert starts == [0, 100_001, 100_002, 150_002]
    assert server.sent_of(name) == 300_000  # not a byte twice
    assert watcher.done == assembly.size_bytes


def test_progress_counts_as_success_however_often_it_breaks(assembly, chunks, server, patience):
    server.faults["s.mrcs.chunk_0"] = [Fault(times=50, cut_after=2000)]
    fill(assembly, patience)
    assert is_whole(assembly, chunks)


def test_a_stall_is_given_up_and_gone_on_with(assembly, chunks, server, patience):
    server.faults["s.mrcs.chunk_2"] = [Fault(stall_after=1234)]
    fill(assembly, replace(patience, stall_s=0.5))
    assert is_whole(assembly, chunks)
    starts = [request.start for request in server.requests if request.name == "s.mrcs.chunk_2"]
    assert starts[:2] == [0, 1234]


def test_a_trickle_counts_as_a_stall(server, monkeypatch):
    server.records[RECORD] = {"a": bytes(100_000)}
    clock = SimpleNamespace(monotonic=itertools.count(0, 30).__next__)
    monkeypatch.setattr(http_requests, "time", clock)  # half a minute a portion
    monkeypatch.setattr(http_requests, "_SLOWEST_BYTES_PER_S", 10**6)
    with (
        open_from(f"{server.url}/{RECORD}/files/a/content", 0, 20) as opened,
        pytest.raises(ServerBusyError, match=r"sent \d+ bytes in 30 s"),
    ):
        list(opened.blocks)


def test_a_wrong_chunk_is_fetched_again(assembly, chunks, server, patience):
    server.faults["s.mrcs.chunk_1"] = [Fault(times=2, corrupt=True)]
    watcher = Watcher()
    fill(assembly, patience, watcher, watcher.advance)
    assert is_whole(assembly, chunks)
    assert watcher.done == assembly.size_bytes  # what was wrong does not count


def test_a_chunk_that_stays_wrong(assembly, chunks, server, patience):
    server.faults["s.mrcs.chunk_2"] = [Fault(times=9, corrupt=True)]
    with pytest.raises(ChecksumError, match="arrived 3 times with MD5"):
        fill(assembly, patience)
    assert assembly.partial.stat().st_size == 300_007  # the others stay
    server.faults.clear()
    before = len(server.requests)
    fill(assembly, patience)
    assert is_whole(assembly, chunks)
    assert [request.name for request in server.requests[before:]] == ["s.mrcs.chunk_2"]


def test_a_server_without_ranges(assembly, chunks, server, patience):
    server.faults["s.mrcs.chunk_0"] = [
        Fault(cut_after=150_000),
        Fault(ignore_range=True, cut_after=200_000),
        Fault(ignore_range=True),
    ]
    fill(assembly, patience)
    assert is_whole(assembly, chunks)


def test_a_server_that_says_no_length(assembly, chunks, server, patience):
    faults = [Fault(without_length=True, cut_after=1000), Fault(without_length=True)]
    server.faults["s.mrcs.chunk_0"] = faults
    fill(assembly, patience)
    assert is_whole(assembly, chunks)


@pytest.mark.parametrize("claimed", [299_999, 300_001])
def test_a_lie_about_the_size(assembly, server, patience, claimed):
    server.faults["s.mrcs.chunk_0"] = [Fault(claimed_size=claimed)]
    with pytest.raises(DownloadError, match=f"has {claimed} bytes, but s.mrcs.chunk_0 is listed"):
        fill(assembly, patience)
    assert len(server.requests) == 1


def test_a_login_page_in_its_place(assembly, server, patience):
    server.faults["s.mrcs.chunk_0"] = [Fault(other_content=b"<html>please log in</html>")]
    with pytest.raises(DownloadError, match="something else answers in its place"):
        fill(assembly, patience)


def test_a_file_that_became_shorter(assembly, server, patience):
    server.faults["s.mrcs.chunk_0"] = [Fault(cut_after=200_000), Fault(other_content=bytes(9))]
    with pytest.raises(DownloadError, match=r"holds only 9 bytes, fewer than .* \(416\)"):
        fill(assembly, patience)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, r"there is nothing at .*chunk_0.* \(404\)"),
        (410, r"there is nothing at"),
        (403, r"refuses .* \(403\): it may be restricted"),
        (401, r"refuses"),
        (418, r"answers with 418"),
    ],
)
def test_what_does_not_pass_is_not_tried_again(assembly, server, patience, status, message):
    server.faults["s.mrcs.chunk_0"] = [Fault(times=9, status=status)]
    with pytest.raises(DownloadError, match=message):
        fill(assembly, patience)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
def test_what_may_pass_is_tried_again(assembly, chunks, server, patience, status):
    server.faults["s.mrcs.chunk_0"] = [Fault(times=3, status=status)]
    fill(assembly, patience)
    assert is_whole(assembly, chunks)


def test_what_does_not_pass_in_time_is_explained(assembly, server, patience):
    server.faults["s.mrcs.chunk_2"] = [Fault(times=99, status=503)]
    with pytest.raises(DownloadError, match=r"fails for now \(503 .*given up after 4 attempts: wh"):
        fill(assembly, patience)
    assert assembly.partial.stat().st_size == 300_007


def test_a_rate_limit_is_waited_for(assembly, chunks, server, monkeypatch):
    slept = []
    monkeypatch.setattr(retries.time, "sleep", slept.append)
    server.faults["s.mrcs.chunk_0"] = [
        Fault(status=429, headers={"Retry-After": "7"}),
        Fault(status=429),
        Fault(status=503, headers={"Retry-After": "3"}),
    ]
    watcher = Watcher()
    fill(assembly, Patience(attempts=4, first_pause_s=0.5), watcher)
    assert is_whole(assembly, chunks)
    assert sum(slept) == pytest.approx(7 + 1.0 + 3)
    assert "allows no more requests for now (429)" in watcher.titles[0]


def test_a_rate_limit_that_is_too_long(assembly, server, patience):
    server.faults["s.mrcs.chunk_0"] = [Fault(status=429, headers={"Retry-After": "7200"})]
    with pytest.raises(DownloadError, match="asks to come back in 120 minutes; the same command"):
        fill(assembly, patience)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "-5"}, 0.0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:02:00 GMT"}, 20.0),
        ({"Retry-After": "soon"}, None),
        ({"X-RateLimit-Reset": "160"}, 60.0),
        ({"X-RateLimit-Reset": "later"}, None),
        ({}, None),
    ],
)
def test_how_long_a_server_asks_to_wait(headers, seconds):
    assert asked_wait_s(headers, now=100.0) == seconds


def test_pauses_double_up_to_the_longest(monkeypatch):
    slept = []
    monkeypatch.setattr(retries.time, "sleep", slept.append)
    persistence = retries.Persistence(Patience(attempts=6, first_pause_s=0.5, longest_pause_s=1.7))
    for _ in range(5):
        persistence.pause_after(ServerBusyError("no"))
    assert slept == [0.5, 1.0, 1.7, 1.7, 1.7]
    with pytest.raises(DownloadError, match="given up after 6 attempts"):
        persistence.pause_after(ServerBusyError("no"))


@pytest.mark.parametrize("code", [errno.EHOSTUNREACH, errno.ENETDOWN, errno.ECONNRESET])
def test_a_network_that_goes_away_is_gone_on_with(
    assembly, chunks, server, patience, monkeypatch, code
):
    left = [code]
    read1 = http.client.HTTPResponse.read1

    def read_until_it_is_gone(response, n=-1):
        if response.status == 200 and left:
            raise OSError(left.pop(), os.strerror(code))
        return read1(response, n)

    monkeypatch.setattr(http.client.HTTPResponse, "read1", read_until_it_is_gone)
    fill(assembly, patience)
    assert not left
    assert is_whole(assembly, chunks)


def test_nobody_listens(assembly, patience, server):
    pieces = [RemoteFile("a", "http://127.0.0.1:9/a", "0" * 32, 5)]
    with pytest.raises(DownloadError, match=r"127.0.0.1:9 cannot be reached .*Connection refused"):
        fill(Assembly(assembly.final, pieces), patience)


def test_an_encrypted_address_never_leads_to_an_open_one():
    import urllib.request

    handler = http_requests._NoDowngrade()
    request = urllib.request.Request("https://zenodo.org/a")
    with pytest.raises(DownloadError, match="not encrypted"):
        handler.redirect_request(request, None, 302, "Found", {}, "http://zenodo.org/a")
    assert handler.redirect_request(request, None, 302, "Found", {}, "https://cdn.org/a").full_url


def test_chunks_that_lie_there_are_used_and_removed(assembly, chunks, server, patience):
    folder = assembly.final.parent
    (folder / "s.mrcs.chunk_0").write_bytes(chunks["s.mrcs.chunk_0"])
    (folder / "s.mrcs.chunk_2").write_bytes(chunks["s.mrcs.chunk_2"][:150_000])  # cut short
    (folder / "s.mrcs.chunk_1").write_bytes(b"wrong!!")
    fill(assembly, patience)
    assert is_whole(assembly, chunks)
    assert server.sent_of("s.mrcs.chunk_0") == 0
    assert server.sent_of("s.mrcs.chunk_2") == 50_000
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == ["s.mrcs"]


def test_a_file_that_has_its_name_already_is_checked_and_mended(assembly, chunks, server, patience):
    whole = bytearray(b"".join(chunks.values()))
    whole[300_003] ^= 1  # in the second chunk
    assembly.final.write_bytes(whole + b"too long")
    fill(assembly, patience)
    assert is_whole(assembly, chunks)
    assert [request.name for request in server.requests] == ["s.mrcs.chunk_1"]


def test_a_file_cut_short_by_another_program_is_gone_on_with(assembly, chunks, server, patience):
    assembly.final.write_bytes(b"".join(chunks.values())[:250_000])
    fill(assembly, patience)
    assert is_whole(assembly, chunks)
    assert server.requests[0].start == 250_000


def test_bytes_that_a_power_failure_garbled_are_fetched_again(assembly, chunks, server, patience):
    server.faults["s.mrcs.chunk_2"] = [Fault(times=9, cut_after=1000)]
    with pytest.raises(DownloadError):
        fill(assembly, Patience(attempts=1))
    with assembly.partial.open("r+b") as stream:
        stream.seek(300_007)
        stream.write(bytes(1000))  # the length survived, the content did not
    with assembly._journal.open("a") as stream:
        stream.write('{"piece": 2, "md5": "ab')  # torn
    server.faults.clear()
    fill(assembly, patience)
    assert is_whole(assembly, chunks)
    fill(assembly, patience)
    assert assembly.is_done


def test_a_journal_about_other_content_is_not_believed(assembly, chunks, server, patience):
    fill(assembly, patience)
    chunks["s.mrcs.chunk_1"] = b"changed"  # another version of the record, of the same sizes
    server.records[RECORD] = chunks
    newer = Assembly(assembly.final, pieces_of(server, chunks))
    fill(newer, patience)
    assert is_whole(newer, chunks)


def test_a_piece_without_a_size_is_refused(tmp_path):
    from cesped.errors import RecordError

    with pytest.raises(RecordError, match="size of a is not known"):
        Assembly(tmp_path / "x", [RemoteFile("a", "http://h/a", "0" * 32)])


def test_redirections_are_followed_with_the_range(assembly, chunks, server, patience):
    name = "s.mrcs.chunk_0"
    server.records[RECORD]["elsewhere"] = chunks[name]
    there = {"Location": f"{server.url}/{RECORD}/files/elsewhere/content"}
    server.faults[name] = [Fault(times=2, status=302, headers=there)]
    server.faults["elsewhere"] = [Fault(cut_after=100_000)]
    fill(assembly, patience)
    del chunks["elsewhere"]
    assert is_whole(assembly, chunks)
    assert [r.start for r in server.requests if r.name == "elsewhere"] == [0, 100_000]


def test_a_piece_does_not_count_before_it_is_on_the_disk(assembly, patience, monkeypatch):
    """What the system could not write to the disk must not be in the journal."""
    import os

    def fails(descriptor):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="Input/output error"):
        fill(assembly, patience)
    assert assembly._read_journal(assembly.bytes_here) == set()
