"""Progress: lines in a log, bars on a terminal, and a step that fails says so."""

import io

import pytest

from cesped import progress_bars
from cesped.progress import SILENT, say
from cesped.progress_bars import (
    BarProgress,
    LineProgress,
    format_bytes,
    library_progress,
    make_progress,
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_one_line_per_step():
    log = io.StringIO()
    with make_progress(log).task("reading", 3) as advance:
        for _ in range(3):
            advance(1)
    assert log.getvalue().startswith("reading: done in ")
    assert log.getvalue().count("\n") == 1


def test_a_long_step_says_how_far_it_is(monkeypatch):
    monkeypatch.setattr(progress_bars, "REPORT_INTERVAL_S", 0.0)
    log = io.StringIO()
    with LineProgress(log).task("reading", 4) as advance:
        advance(1)
    assert log.getvalue().startswith("reading: 25 % after ")


def test_words_stand_beside_a_step_where_there_is_room(monkeypatch):
    monkeypatch.setattr(progress_bars, "REPORT_INTERVAL_S", 0.0)
    log = io.StringIO()
    with LineProgress(log).task("learning", 4) as advance:
        say(advance, "12 images/s, loss 0.5")
        advance(1)
    first, last = log.getvalue().splitlines()
    assert first.endswith("s, 12 images/s, loss 0.5")
    assert last.endswith("s, 12 images/s, loss 0.5")
    terminal = Terminal()
    with make_progress(terminal).task("learning", 1) as advance:
        say(advance, "loss [red]")
        advance(1)
    assert "loss [red]" in terminal.getvalue()
    with SILENT.task("learning", 1) as advance:
        say(advance, "nobody hears it")


def test_a_step_that_fails_is_not_called_done():
    log = io.StringIO()
    with pytest.raises(RuntimeError), LineProgress(log).task("reading", None):
        raise RuntimeError
    assert log.getvalue().startswith("reading: stopped after ")


def test_a_terminal_gets_bars_that_stay_when_finished():
    terminal = Terminal()
    progress = make_progress(terminal)
    assert isinstance(progress, BarProgress)
    with progress.task("outer [red]", 2) as outer:
        with progress.task("inner", None) as inner:
            inner(5)
        outer(2)
    with progress.task("next", 1) as advance:
        advance(1)
    text = terminal.getvalue()
    assert "outer [red]" in text
    assert "2/2" in text
    assert "5/5" in text
    assert "next" in text


def test_a_terminal_survives_a_failing_step():
    progress = make_progress(Terminal())
    with pytest.raises(RuntimeError), progress.task("outer", 2), progress.task("inner", 3):
        raise RuntimeError
    with progress.task("again", 1) as advance:
        advance(1)


def test_bytes_are_told_with_their_rate_and_what_is_left(monkeypatch):
    seconds = iter([0.0, 100.0, 101.0])
    monkeypatch.setattr(progress_bars.time, "monotonic", lambda: next(seconds))
    log = io.StringIO()
    watcher = LineProgress(log, interval_s=30)
    with watcher.task("fetching", 10**9, in_bytes=True, done=500_000_000) as advance:
        advance(300_000_000)
    first, last = log.getvalue().splitlines()
    assert first == "fetching: 80 %, 800.0 MB of 1.0 GB at 3.0 MB/s, 1 min 7 s left"
    assert last == "fetching: 800.0 MB done in 101.0 s"


def test_a_bar_of_bytes_begins_where_it_stood():
    terminal = Terminal()
    with make_progress(terminal).task("fetching", 10**9, in_bytes=True, done=2 * 10**8) as advance:
        advance(10**8)
    assert "200.0 MB/1.0 GB" in terminal.getvalue()


def test_sizes():
    assert [format_bytes(n) for n in (0, 999, 999_960, 10**12)] == [
        "0 bytes",
        "999 bytes",
        "1.0 MB",
        "1.0 TB",
    ]


def test_a_library_call_in_a_log_mentions_only_what_took_long(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(progress_bars.sys, "stderr", log)
    with library_progress().task("reading", 3):
        pass
    assert log.getvalue() == ""
    monkeypatch.setattr(progress_bars, "_SHORT_S", 0.0)
    with library_progress().task("reading", 3):
        pass
    assert log.getvalue().startswith("reading: done in ")


def test_a_library_call_on_a_terminal_draws_bars(monkeypatch):
    monkeypatch.setattr(progress_bars.sys, "stderr", Terminal())
    assert isinstance(library_progress(), BarProgress)


def test_a_notebook_gets_one_line_that_is_written_over(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(progress_bars.sys, "stderr", log)
    monkeypatch.setitem(progress_bars.sys.modules, "ipykernel", io)
    monkeypatch.setattr(progress_bars, "_NOTEBOOK_INTERVAL_S", 0.0)
    with library_progress().task("fetching a file", 100) as advance:
        advance(50)
        advance(50)
    first, second, last = log.getvalue().split("\r")[1:]
    assert first == "fetching a file: 50 % after 0 s"
    assert second == "fetching a file: 100 % after 0 s"
    assert last.startswith("fetching a file: done in 0.0 s")
    assert last.endswith("\n")
    assert len(last) > len(second)
