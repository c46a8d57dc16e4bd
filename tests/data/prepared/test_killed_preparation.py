"""Killed at any call and called again, a preparation ends with the same bytes."""

import os
import random
import signal
import subprocess
import sys

import killed_at_steps
import pytest
from sets import OPTIONS, make_entry, table_of

from cesped.data.prepared import writer
from cesped.data.prepared.reader import PreparedImages
from cesped.data.prepared.writer import prepare_images
from cesped.errors import MissingFileError

#: A process that prepares a first set, and then forks one that works for each line it reads. It
#: answers with the exit status and, of one that was not killed, the number of its calls.
FORKER = """
import os, sys
from killed_at_steps import watch_calls
from cesped.data.conventions import read_particle_table
from cesped.data.prepared import writer
from cesped.data.preprocessing import PreprocessingOptions
writer.CHUNK, writer.FLUSH_BYTES = 3, 10000
table = read_particle_table(sys.argv[1])
options = PreprocessingOptions(image_size=20)
writer.prepare_images(table, sys.argv[2], options)
for line in sys.stdin:
    kill_at, target = line.rstrip().split(" ", 1)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        seen = watch_calls(int(kill_at))
        writer.prepare_images(table, target, options)
        os.write(writing, str(seen[0]).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        print(os.waitpid(child, 0)[1], int(pipe.read() or 0), flush=True)
"""


class Forker:
    def __init__(self, star, first):
        self.process = subprocess.Popen(
            [sys.executable, "-c", FORKER, str(star), str(first)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=os.path.dirname(killed_at_steps.__file__),
            env={**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
        )

    def work(self, target, kill_at=0):
        """Return the exit status of the work, 0 when done, 9 when killed, and its calls."""
        self.process.stdin.write(f"{kill_at} {target}\n")
        self.process.stdin.flush()
        return tuple(map(int, self.process.stdout.readline().split()))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "n_kills", [12, pytest.param(80, marks=pytest.mark.slow)], ids=["12", "80"]
)
def test_kills_at_random_calls_change_no_byte(tmp_path, n_kills):
    seed = random.randrange(10**6)
    rng, killed = random.Random(seed), 0
    entry = make_entry(tmp_path / "raw", n_particles=40)
    target = tmp_path / "set" / "mine"
    with Forker(entry.star(0), tmp_path / "whole" / "mine") as forker:
        status, n_calls = forker.work(tmp_path / "counted" / "mine")
        assert status == 0
        assert n_calls > 2000
        whole = contents(tmp_path / "whole")
        while killed < n_kills:  # one that begins anew never gets to its end
            status, _ = forker.work(target, rng.randrange(1, n_calls * 3 // 4))
            assert status in (0, signal.SIGKILL), seed
            killed += status == signal.SIGKILL
            if (target.parent / "mine.prepared.json").exists():
                PreparedImages(target).verify()
                for path in target.parent.iterdir():
                    path.unlink()
            else:
                with pytest.raises(MissingFileError):
                    PreparedImages(target)
        assert forker.work(target)[0] == 0
    assert sorted(whole) == ["mine.mrcs", "mine.prepared.json", "mine.source.star", "mine.star"]
    assert contents(target.parent) == whole, seed


class Killed(BaseException):
    """Stands for a kill: nothing of the package catches it."""


#: What the last steps call, each a place to die at.
STEPS = ("_flush_to_disk", "write_prepared_star", "write_as_read", "sha256_of", "write_text_atomic")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_death_at_any_step_of_the_end_is_mended_without_new_work(
    tmp_path, monkeypatch, step, after
):
    entry = make_entry(tmp_path / "raw")
    table = table_of(entry)
    whole = prepare_images(table, tmp_path / "whole" / "mine", OPTIONS)
    original, calls = getattr(writer, step), []

    def die(*args):
        calls.append(args)
        last = step != "write_text_atomic" or str(args[0]).endswith("prepared.json")
        if not last:
            return original(*args)
        if after:
            original(*args)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(writer, step, die)
        with pytest.raises(Killed):
            prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    if step != "_flush_to_disk":  # the images are all there
        monkeypatch.setattr(writer._Work, "_prepare", lambda *_: pytest.fail("prepared again"))
    files = prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    assert files.images.read_bytes() == whole.images.read_bytes()
    assert files.star.read_bytes() == whole.star.read_bytes()
    assert not files.partial_images.exists()
    if step != "write_text_atomic" or not after:
        assert not files.journal.exists()


def test_a_damaged_journal_or_stack_only_costs_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "CHUNK", 2)
    monkeypatch.setattr(writer, "FLUSH_BYTES", 1)
    entry = make_entry(tmp_path / "raw")
    table = table_of(entry)
    whole = prepare_images(table, tmp_path / "whole" / "mine", OPTIONS)
    prepare = writer._Work._prepare

    def stop(self, rows):
        if rows[0] == 8:
            raise Killed
        return prepare(self, rows)

    for damage in ("journal", "cut", "gone"):
        with monkeypatch.context() as patch:
            patch.setattr(writer._Work, "_prepare", stop)
            with pytest.raises(Killed):
                prepare_images(table, tmp_path / damage / "mine", OPTIONS)
        partial = tmp_path / damage / ".mine.partial.mrcs"
        if damage == "journal":
            (tmp_path / damage / ".mine.partial.json").write_text("{")
        elif damage == "cut":
            os.truncate(partial, 3000)
        else:
            partial.unlink()
        files = prepare_images(table, tmp_path / damage / "mine", OPTIONS)
        assert files.images.read_bytes() == whole.images.read_bytes()
