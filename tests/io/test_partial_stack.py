"""A stack that is written in several goes is the stack that one go writes."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from cesped.errors import DiskFullError, ImageValueError, MrcFileError
from cesped.io import partial_stack
from cesped.io.partial_stack import PartialStack
from cesped.io.stack import StackReader

IMAGES = np.random.default_rng(0).normal(size=(7, 6, 6)).astype(np.float32)


def opened(path, label="a", n=7):
    return PartialStack(path, n, 6, 1.5, label)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s.mrcs"


def test_in_one_go(path):
    with opened(path) as stack:
        stack.append(IMAGES[:3])
        assert not path.exists()
        stack.append(IMAGES[3:])
    reader = StackReader()
    np.testing.assert_array_equal(reader.read(path, range(7)), IMAGES)
    assert reader.info(path).voxel_size_angst == pytest.approx(1.5)
    assert opened(path).is_whole


def fail_after_three(path, label="a"):
    stack = opened(path, label)
    with pytest.raises(MrcFileError, match="got 3 of its 7"), stack:
        stack.append(IMAGES[:3])


def test_goes_on_after_an_error(path):
    fail_after_three(path)
    with opened(path) as stack:
        assert stack.done == 3
        stack.append(IMAGES[3:])
    np.testing.assert_array_equal(StackReader().read(path, range(7)), IMAGES)


def test_another_label_begins_anew(path):
    fail_after_three(path)
    assert opened(path, "b").done == 0
    assert opened(path, "a", n=8).done == 0


def test_what_lies_beyond_the_journal_is_cut_off(path):
    fail_after_three(path)
    with opened(path).partial.open("ab") as stream:
        stream.write(b"torn")
    with opened(path) as stack:
        stack.append(IMAGES[3:])
    np.testing.assert_array_equal(StackReader().read(path, range(7)), IMAGES)


@pytest.mark.parametrize("content", ["", "{", '{"done": 3}', '{"label": 1, "done": "x"}'])
def test_a_broken_journal_begins_anew(path, content):
    fail_after_three(path)
    opened(path).journal.write_text(content)
    assert opened(path).done == 0


def test_a_stack_shorter_than_its_journal_says_begins_anew(path):
    fail_after_three(path)
    os.truncate(opened(path).partial, 1100)
    assert opened(path).done == 0


def test_faults(path):
    with pytest.raises(MrcFileError, match="6 x 6"), opened(path) as stack:
        stack.append(np.zeros((1, 5, 5)))
    with pytest.raises(MrcFileError, match="not more"), opened(path) as stack:
        stack.append(np.zeros((8, 6, 6)))
    with pytest.raises(ImageValueError, match="not finite"), opened(path) as stack:
        stack.append(np.full((1, 6, 6), np.inf))
    with pytest.raises(MrcFileError, match="got 2 of its 7"), opened(path) as stack:
        stack.append(IMAGES[:2])
    assert opened(path).done == 2


def test_a_full_disk_is_named_and_what_is_done_is_kept(path, monkeypatch):
    fail_after_three(path)

    def no_room(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(partial_stack.os, "fsync", no_room)
    monkeypatch.setattr(partial_stack, "_FLUSH_BYTES", 1)
    stack = opened(path)
    with pytest.raises(DiskFullError, match="are kept"), stack:
        stack.append(IMAGES[3:5])
    monkeypatch.undo()
    assert opened(path).done == 3


def test_killed_in_the_middle(path):
    code = (
        "import os, signal, sys, numpy as np\n"
        "from cesped.io import partial_stack\n"
        "partial_stack._FLUSH_BYTES = 1\n"
        "images = np.load(sys.argv[2])\n"
        "with partial_stack.PartialStack(sys.argv[1], 7, 6, 1.5, 'a') as stack:\n"
        "    stack.append(images[:4])\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    np.save(path.with_suffix(".npy"), IMAGES)
    killed = subprocess.run(
        [sys.executable, "-c", code, path, path.with_suffix(".npy")], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    with opened(path) as stack:
        assert stack.done == 4
        stack.append(IMAGES[4:])
    np.testing.assert_array_equal(StackReader().read(path, range(7)), IMAGES)
