"""A file is whole or absent, whatever happens while it is written."""

import errno
import os

import pytest

from cesped.errors import DiskFullError
from cesped.io.files import atomic_path, write_bytes_atomic, write_text_atomic


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


def test_other_errors_of_the_system_stay_what_they_are(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        write_text_atomic(tmp_path / "file" / "a.txt", "text")
