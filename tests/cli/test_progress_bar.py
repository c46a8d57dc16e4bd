"""Progress: lines in a log, bars on a terminal, and a step that fails says so."""

import io

import pytest

from cesped.cli import progress_bar
from cesped.cli.progress_bar import BarProgress, LineProgress, make_progress


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
    monkeypatch.setattr(progress_bar, "REPORT_INTERVAL_S", 0.0)
    log = io.StringIO()
    with LineProgress(log).task("reading", 4) as advance:
        advance(1)
    assert log.getvalue().startswith("reading: 25 % after ")


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
