"""Killed with SIGKILL at any time, byte and step: nothing is lost, nothing is wrong."""

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from published_copies import contents, publish

from cesped.data.download.assembly import Assembly
from cesped.data.download.entry_files import HalfPaths
from cesped.data.download.entry_state import Completeness, half_state
from cesped.data.download.known_files import kept_half_files
from cesped.data.registry import published_entries
from cesped.data.store import EntryStore

ENTRY = published_entries()["10280"]
PARTS = ("particles_0.star", "info_0.json", "particles_0.mrcs", "mask.mrc")
STACK_CHUNKS = 5


class Fetchers:
    """Starts and awaits the children of `forked_fetchers.py`, which ask one server."""

    def __init__(self, process, url, folder):
        self.process, self.url, self.folder, self.n_started = process, url, folder, 0

    def start(self, bench, half=0, **job):
        self.n_started += 1
        log = self.folder / f"log_{self.n_started}"
        job |= {"url": self.url, "bench": str(bench), "half": half, "log": str(log)}
        return self._ask(job), log

    def wait(self, pid):
        return os.waitstatus_to_exitcode(self._ask({"wait": pid}))

    def finish(self, bench, **job):
        pid, log = self.start(bench, **job)
        assert self.wait(pid) == 0, log.read_text()
        return log.read_text()

    def _ask(self, job):
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def forking_program():
    """The program whose children fetch: one import for all of them."""
    program = Path(__file__).with_name("forked_fetchers.py")
    with subprocess.Popen(
        [sys.executable, str(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def fetchers(forking_program, server, tmp_path):
    return Fetchers(forking_program, server.url, tmp_path)


@pytest.fixture
def made(server, tmp_path):
    return publish(server, tmp_path / "published", n_chunks=STACK_CHUNKS)


def assert_complete(bench, made):
    """Every file is that of the record, and nothing is left beside them."""
    folder = bench / "10280"
    got = contents(folder)
    assert {name: got.get(name) for name in PARTS} == {
        name: (made.folder / name).read_bytes() for name in PARTS
    }
    assert half_state(ENTRY, 0, EntryStore(bench)).completeness is Completeness.COMPLETE
    names = sorted(name for name in os.listdir(folder) if name not in PARTS)
    assert names == [
        "SUCCESSFUL_DOWNLOAD_8353722.txt",
        "record_11092291.json",
        "record_8353722.json",
    ]


def assert_nothing_is_wrong(bench, made):
    """What has a name is right, and what is half-done is the beginning of it."""
    folder = bench / "10280"
    for name, content in (contents(folder) if folder.is_dir() else {}).items():
        right = (made.folder / name.removesuffix(".partial")).exists()
        whole = (made.folder / name.removesuffix(".partial")).read_bytes() if right else content
        expected = whole[: len(content)] if name.endswith(".partial") else whole
        assert content == expected, name
    if (folder / "SUCCESSFUL_DOWNLOAD_8353722.txt").exists():
        assert HalfPaths(ENTRY, 0, bench).is_complete


def stack_state(bench):
    """Return the size of the stack so far, and how many of its pieces are known to be right."""
    paths = HalfPaths(ENTRY, 0, bench)
    files = kept_half_files(ENTRY, paths)
    if files is None:
        return 0, 0
    assembly = Assembly(paths.stack, files.chunks)
    checked = assembly._read_journal(assembly.bytes_here)
    return assembly.bytes_here, STACK_CHUNKS if paths.is_complete else len(checked)


def kill_at_step(fetchers, bench, made, step):
    """Return the bytes of the stack after the kill; None if the fetch had fewer steps this time.

    Bytes arrive in other portions each time, so the number of writes varies by a few.
    """
    pid, log = fetchers.start(bench, kill_before=step)
    status = fetchers.wait(pid)
    if status == 0:
        return None
    assert status == -signal.SIGKILL, log.read_text()
    assert_nothing_is_wrong(bench, made)
    bytes_here, _ = stack_state(bench)
    return bytes_here


def steps_of_a_fetch(fetchers, bench):
    return int(fetchers.finish(bench).split("steps ")[1])


@pytest.mark.parametrize("share", [pytest.param(0.4, marks=pytest.mark.slow), 0.1])
def test_killed_at_steps(fetchers, server, made, tmp_path, share):
    """Before each thing that is done to a file: opening, writing, flushing, naming, removing."""
    n_steps = steps_of_a_fetch(fetchers, tmp_path / "undisturbed")
    assert n_steps > 60
    rng = random.Random(n_steps)
    steps = sorted(rng.sample(range(1, n_steps + 1), round(share * n_steps)))
    not_reached = 0
    for step in steps:
        bench = tmp_path / f"step_{step}"
        here = kill_at_step(fetchers, bench, made, step)
        if here is None:
            not_reached += 1
            assert_complete(bench, made)
            continue
        server.requests.clear()
        fetchers.finish(bench)
        fetchers.finish(bench)  # a process killed at its end leaves its traces to the next
        assert_complete(bench, made)
        stack = (made.folder / "particles_0.mrcs").stat().st_size
        assert server.sent_of("particles_0.mrcs") == stack - here  # no byte is fetched again
    assert not_reached <= 0.1 * len(steps)


def test_killed_again_and_again_at_the_next_step(fetchers, made, tmp_path):
    """One download that never gets far: each process is killed after a few steps more."""
    bench = tmp_path / "bench"
    before, killed = 0, 0
    for step in itertools.count(8, 8):
        pid, log = fetchers.start(bench, kill_before=step)
        status = fetchers.wait(pid)
        assert status in (0, -signal.SIGKILL), log.read_text()
        if status == 0:
            break
        assert_nothing_is_wrong(bench, made)
        here = stack_state(bench)[0]
        assert here >= before
        before, killed = here, killed + 1
    assert killed > 3
    fetchers.finish(bench)
    assert_complete(bench, made)


def random_kills(fetchers, server, made, tmp_path, n_kills, rng):
    """Kill at random moments and bytes, the same download until it is complete; then another."""
    kills = downloads = 0
    size = (made.folder / "particles_0.mrcs").stat().st_size
    while kills < n_kills:
        downloads += 1
        bench = tmp_path / f"random_{downloads}"
        before = (0, 0)
        while True:
            pid, log = fetchers.start(bench)
            if rng.random() < 0.5:
                killed = kill_after(pid, rng.uniform(0.0, 0.25))
            else:
                killed = kill_at_byte(server, pid, rng.randrange(size))
            status = fetchers.wait(pid)
            killed.set()
            assert status in (0, -signal.SIGKILL), log.read_text()
            assert_nothing_is_wrong(bench, made)
            here = stack_state(bench)
            assert here[0] >= before[0], "bytes were lost"
            assert here[1] >= before[1], "checked pieces were lost"
            before = here
            if status == 0:
                break
            kills += 1
        fetchers.finish(bench)
        assert_complete(bench, made)
        sent = server.sent_of("particles_0.mrcs")
        server.requests.clear()
        assert sent >= size
    return kills, downloads


def kill_after(pid, seconds):
    """Kill a process after some time, unless the returned event is set before."""
    over = threading.Event()

    def wait():
        if not over.wait(seconds):
            kill(pid)

    threading.Thread(target=wait, daemon=True).start()
    return over


def kill_at_byte(server, pid, byte):
    """Kill a process when the server has sent it so many bytes, unless the event is set before."""
    over, sent = threading.Event(), [0]

    def on_sent(name, position):
        sent[0] += 1024
        if sent[0] > byte and not over.is_set():
            kill(pid)

    server.on_sent = on_sent
    return over


def kill(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("n_kills", [pytest.param(60, marks=pytest.mark.slow), 15])
def test_random_kills_lose_nothing(fetchers, server, made, tmp_path, n_kills):
    server.bytes_per_s = 600_000
    rng = random.Random(int(os.environ.get("CESPED_KILL_SEED", "8353722")))
    kills, downloads = random_kills(fetchers, server, made, tmp_path, n_kills, rng)
    assert kills >= n_kills
    assert downloads < kills  # most of them were killed more than once on their way


WAITING = "Waiting: another process is fetching 10280 half 0"


def until(holds):
    """Wait for something that is certain to come; minutes later it counts as lost."""
    for _ in range(12_000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("waited for two minutes")


def hold_the_stack(server):
    """Send no more of any piece than its beginning until the event that is returned is set."""
    let_go = threading.Event()
    server.bytes_per_s = 100_000  # in portions of 1000 bytes
    server.on_sent = lambda name, position: "particles" in name and let_go.wait(120)
    return let_go


def test_a_second_process_waits_for_the_first(fetchers, server, made, tmp_path):
    let_go = hold_the_stack(server)
    bench = tmp_path / "bench"
    pair = [fetchers.start(bench) for _ in range(2)]
    until(lambda: any(log.exists() and WAITING in log.read_text() for _, log in pair))
    server.bytes_per_s = None
    let_go.set()
    assert [fetchers.wait(pid) for pid, _ in pair] == [0, 0]
    said = [log.read_text() for _, log in pair]
    waiting = [text for text in said if WAITING in text]
    assert len(waiting) == 1
    assert_complete(bench, made)
    stack = (made.folder / "particles_0.mrcs").stat().st_size
    assert server.sent_of("particles_0.mrcs") == stack  # nothing was fetched by both
    assert sum(request.name == "8353722" for request in server.requests) == 1


def test_the_second_goes_on_when_the_first_is_killed(fetchers, server, made, tmp_path):
    let_go = hold_the_stack(server)
    bench = tmp_path / "bench"
    first, _ = fetchers.start(bench)
    partial = bench / "10280" / "particles_0.mrcs.partial"
    until(lambda: partial.exists() and partial.stat().st_size > 0)
    second, log = fetchers.start(bench)
    until(lambda: log.exists() and WAITING in log.read_text())
    kill(first)
    let_go.set()
    assert fetchers.wait(first) == -signal.SIGKILL
    assert fetchers.wait(second) == 0, log.read_text()
    assert_complete(bench, made)
