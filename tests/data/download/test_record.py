"""Records: both spellings, numeric order, and everything that is refused before any fetching."""

import json

import pytest

from cesped.data.download.record import (
    Record,
    RemoteFile,
    half_files,
    read_record,
    record_from_answer,
    with_known_sizes,
    write_record,
)
from cesped.data.download.record_lookup import ask_server, is_offline, look_up_record, with_size
from cesped.errors import DownloadError, RecordError
from cesped.vocabulary import OFFLINE_VARIABLE

MD5 = "0123456789abcdef" * 2


def listed(name, size=5, checksum=f"md5:{MD5}", **more):
    return {"key": name, "size": size, "checksum": checksum, **more}


def parsed(files, **more):
    answer = {"files": files, **more}
    return record_from_answer(answer, 7, lambda name: f"http://h/{name}", "the answer")


def remote(name, size=5):
    return RemoteFile(name, "http://h/x", MD5, size)


def test_both_spellings():
    old = {"filename": "a.star", "filesize": 3, "checksum": MD5.upper()}
    record = parsed([listed("b.json", 4), old])
    assert record.file("a.star") == RemoteFile("a.star", "http://h/a.star", MD5, 3)
    assert record.file("b.json").size_bytes == 4


def test_chunks_follow_each_other_by_number():
    names = [f"p.mrcs.chunk_{number}" for number in (10, 9, 2, 1, 0, 3, 8, 7, 6, 5, 4, 11)]
    files = half_files(Record(7, tuple(map(remote, [*names, "p.star", "i.json", "notes.txt"]))))
    assert [chunk.name for chunk in files.chunks] == [f"p.mrcs.chunk_{n}" for n in range(12)]
    assert (files.star.name, files.info.name) == ("p.star", "i.json")


def test_a_stack_in_one_piece():
    files = half_files(Record(7, tuple(map(remote, ["p.star", "i.json", "p.mrcs"]))))
    assert [chunk.name for chunk in files.chunks] == ["p.mrcs"]


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "a\nb", "a\0b", "x" * 300, "a\x1b[2Jb"],
)
def test_unsafe_names_condemn_the_record(name):
    with pytest.raises(RecordError, match=r"no plain name|has no name"):
        parsed([listed("p.star"), listed(name)])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([], "lists no files"),
        ({"files": {"a": 1}}, "lists no files"),
        ({"message": "gone"}, "lists no files"),
        ({"files": [], "id": 8}, "answers with record 8 instead of 7"),
        ({"files": ["a"]}, "file 1 of the answer is no JSON object"),
        ({"files": [{"size": 3}]}, "file 1 of the answer has no name"),
        ({"files": [{"key": 3}]}, "file 1 of the answer has no name"),
        ({"files": [listed("a", size="5")]}, "states no size of 'a' but '5'"),
        ({"files": [listed("a", size=True)]}, "states no size of 'a' but True"),
        ({"files": [listed("a", size=-1)]}, "a is said to have -1 bytes"),
        ({"files": [listed("a", size=10**18)]}, "is said to have"),
        ({"files": [listed("a", checksum="sha1:12")]}, "'a' in the answer has no MD5"),
        ({"files": [listed("a", checksum=None)]}, "'a' in the answer has no MD5"),
        ({"files": [listed("a"), listed("a")]}, "lists a twice"),
    ],
)
def test_malformed_answers(answer, message):
    with pytest.raises(RecordError, match=message):
        record_from_answer(answer, 7, str, "the answer")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["i.json", "p.mrcs"], "one star file of particles"),
        (["p.star", "q.star", "i.json", "p.mrcs"], "it lists p.star, q.star"),
        (["p.star", "p.mrcs"], "states the symmetry"),
        (["p.star", "i.json"], "holds no image stack"),
        ([], "it lists nothing"),
        (["p.star", "i.json", "p.mrcs", "p.mrcs.chunk_0"], "more than one stack: p.mrcs"),
        (["p.star", "i.json", "p.mrcs.chunk_0", "q.mrcs.chunk_1"], "stack: p.mrcs, q.mrcs"),
        (["p.star", "i.json", "p.mrcs.chunk_0", "p.mrcs.chunk_2"], "lists no chunk 1 of p.mrcs"),
        (["p.star", "i.json", "p.mrcs.chunk_1"], "lists no chunk 0 of p.mrcs"),
        (["p.star", "i.json", "p.mrcs.chunk_0", "p.mrcs.chunk_00"], "lists chunk 0 twice"),
    ],
)
def test_records_that_hold_no_half(names, message):
    with pytest.raises(RecordError, match=message):
        half_files(Record(7, tuple(map(remote, names))))


@pytest.mark.parametrize("empty", ["p.star", "i.json", "p.mrcs.chunk_1"])
def test_empty_files(empty):
    names = ["p.star", "i.json", "p.mrcs.chunk_0", "p.mrcs.chunk_1"]
    files = tuple(remote(name, 0 if name == empty else 5) for name in names)
    with pytest.raises(RecordError, match=f"lists {empty} with 0 bytes"):
        half_files(Record(7, files))


def test_a_record_that_shares_images_needs_none():
    files = half_files(Record(7, tuple(map(remote, ["p.star", "i.json"]))), with_stack=False)
    assert files.chunks == ()


def test_what_was_looked_up_is_kept(tmp_path):
    record = Record(7, (remote("p.star"), RemoteFile("i.json", "http://h/i", MD5)))
    write_record(tmp_path / "r.json", record)
    assert read_record(tmp_path / "r.json", 7) == record
    assert read_record(tmp_path / "r.json", 8) is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"files": 3}', '{"files": [{"key": "../x"}]}'])
def test_a_damaged_note_counts_as_none(tmp_path, text):
    (tmp_path / "r.json").write_text(text)
    assert read_record(tmp_path / "r.json", 7) is None


def test_sizes_are_taken_over_only_for_the_same_content():
    asked = [RemoteFile("a", "http://h/a", MD5), RemoteFile("b", "http://h/b", MD5)]
    known = Record(7, (remote("a", 11), RemoteFile("b", "", "f" * 32, 12)))
    assert [file.size_bytes for file in with_known_sizes(asked, known)] == [11, None]


def test_a_mirror_is_asked_for_its_own_files(server):
    server.records[7] = {"a b.star": b"12345"}
    (file,) = ask_server(server.url + "/", 7, stall_s=5).files
    assert file.url == f"{server.url}/7/files/a%20b.star/content"  # not what the answer links to


def test_a_size_that_is_not_listed_is_asked_for(server, patience):
    server.records[7] = {"a.star": b"12345"}
    unknown = RemoteFile("a.star", f"{server.url}/7/files/a.star/content", MD5)
    assert with_size(unknown, patience).size_bytes == 5
    assert server.sent_of("a.star") == 1


@pytest.mark.parametrize(
    "body", [b"<html>", b"[" * 100_000, json.dumps({"a": 1}).encode(), b"\xff\xfe"]
)
def test_answers_that_are_no_record(server, body):
    server.answers[7] = body
    with pytest.raises(RecordError):
        ask_server(server.url, 7, stall_s=5)


def test_an_address_that_is_none(patience):
    with pytest.raises(DownloadError, match="no address to fetch from"):
        ask_server("file:///etc", 7, stall_s=5)
    with pytest.raises(DownloadError, match="no address"):
        ask_server("zenodo.org", 7, stall_s=5)


def test_downloads_can_be_forbidden(server, patience, monkeypatch):
    server.records[7] = {}
    assert not is_offline()
    monkeypatch.setenv(OFFLINE_VARIABLE, "0")
    assert not is_offline()
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    with pytest.raises(DownloadError, match="CESPED_OFFLINE is set"):
        look_up_record(7, patience)
    assert server.requests == []
