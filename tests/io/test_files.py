"""A file is whole or absent, whatever happens while it is written."""

import errno
import os

import pytest

from cesped.errors import DiskFullError, UnwritableError
from cesped.io.files import (
    atomic_path,
    check_writable,
    staging_folder,
    write_bytes_atomic,
    write_text_atomic,
)


def test_text_and_bytes_arrive_and_folders_are_made(tmp_path):
    path = write_text_atomic(tmp_path / "new" / "folder" / "a.txt", "Å\n")
    assert path.read_bytes() == b"\xc3\x85\n"
    assert write_bytes_atomic(path, b"\0").read_bytes() == b"\0"
    assert list(path.parent.iterdir()) == [path]


def test_the_file_has_the_mode_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    path = write_text_atomic(tmp_path / "a.txt", "")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_old_content_stays_until_the_block_ends(tmp_path):
    path = write_text_atomic(tmp_path / "a.txt", "old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == path.parent
        assert temporary.suffix == ".txt"
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_interruption_leaves_the_old_content_alone(tmp_path, error):
    path = write_text_atomic(tmp_path / "a.txt", "old")

    def interrupted():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "open"])
def test_full_disk_and_spent_quota_name_the_file(tmp_path, monkeypatch, number, call):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(DiskFullError, match=r"while writing .*a\.txt; nothing was left") as caught:
        write_text_atomic(tmp_path / "a.txt", "text")
    monkeypatch.undo()
    assert caught.value.errno == number
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_outgrows_its_disk(tmp_path, full_disk):
    with full_disk(limit_bytes=100), pytest.raises(DiskFullError):
        write_bytes_atomic(tmp_path / "a.bin", bytes(1000))
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    below_a_file = tmp_path / "file" / "folder" / "a.txt"
    cases = [
        (tmp_path, "is a folder; name a file"),
        (below_a_file, r"a\.txt cannot be written: .*file is a file"),
        (tmp_path / "pipe", "is a device"),
        (tmp_path / ("x" * 300), "cannot be written: File name too long; name another place"),
    ]
    for path, message in cases:
        with pytest.raises(UnwritableError, match=message):
            write_text_atomic(path, "text")
    with pytest.raises(UnwritableError, match="is a file"):
        check_writable(below_a_file)
    check_writable(tmp_path / "new" / "folder" / "a.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "pipe"]


def test_other_errors_of_the_system_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "a.txt"):
        (tmp_path / "missing").read_bytes()
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "a.txt"
    link.symlink_to(tmp_path / "disk" / "a.txt")
    write_text_atomic(link, "text")
    assert link.is_symlink()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["a.txt"]
    assert link.read_text() == "text"


@pytest.mark.parametrize("name", ["é" * 120 + ".star", "no suffix", "a." + "b" * 100, "[a]*.mrc"])
def test_long_and_odd_names(tmp_path, name):
    path = write_text_atomic(tmp_path / name, "text")
    assert list(tmp_path.iterdir()) == [path]


def test_staging_is_removed_and_what_left_it_stays(tmp_path):
    with staging_folder(tmp_path / "new", "making") as staging:
        (staging / "a").write_text("")
        (staging / "b").write_text("")
        (staging / "a").rename(tmp_path / "new" / "a")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a"]
    with staging_folder(tmp_path, "making") as staging:
        staging.rename(tmp_path / "kept")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "new"]


def test_what_a_dead_process_left_is_removed_and_what_a_living_one_makes_stays(tmp_path):
    with atomic_path(tmp_path / "a.mrc") as first, staging_folder(tmp_path, "making") as staging:
        dead = [path.with_name(path.name.replace("-", "-0")) for path in (first, staging)]
        dead[0].write_bytes(bytes(10))
        dead[1].mkdir()
        (dead[1] / "half").write_text("")
        foreign = first.with_name(f".a.{'0' * 8}-1.mrc")  # of another machine
        foreign.write_text("")
        with atomic_path(tmp_path / "a.mrc"), staging_folder(tmp_path, "making"):
            assert first.exists()
            assert staging.exists()
            assert foreign.exists()
            assert not any(path.exists() for path in dead)
    assert sorted(path.name for path in tmp_path.iterdir()) == [foreign.name, "a.mrc"]
