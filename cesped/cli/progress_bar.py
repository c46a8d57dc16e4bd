"""What a person sees while work goes on: bars on a terminal, one line per step elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from ..progress import Advance, Progress

#: Off a terminal, a step that takes longer says how far it is this often.
REPORT_INTERVAL_S = 30.0


def make_progress(stream: TextIO | None = None) -> Progress:
    """Return the watcher that suits `stream` (standard error unless told otherwise)."""
    stream = sys.stderr if stream is None else stream
    return BarProgress(stream) if stream.isatty() else LineProgress(stream)


class LineProgress:
    """A `Progress` for log files: a line when a step ends, and now and then in a long one."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:
        """Report one step; the yielded function takes the units done since the last call."""
        started = last_report = time.monotonic()
        done = 0

        def advance(units: int) -> None:
            nonlocal done, last_report
            done += units
            now = time.monotonic()
            if now - last_report >= REPORT_INTERVAL_S:
                last_report = now
                share = f"{100 * done // total} %" if total else f"{done} done"
                self._write(f"{description}: {share} after {now - started:.0f} s")

        try:
            yield advance
        except BaseException:
            self._write(f"{description}: stopped after {time.monotonic() - started:.1f} s")
            raise
        self._write(f"{description}: done in {time.monotonic() - started:.1f} s")

    def _write(self, line: str) -> None:
        print(line, file=self._stream, flush=True)


class BarProgress:
    """A `Progress` for terminals: one bar per open step, finished ones stay with their time."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress

        self._bars = RichProgress(
            SpinnerColumn(finished_text="✓"),
            # markup off: a target may be called "[red]"
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(file=stream),
        )
        self._open_steps = 0

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:
        """Draw one step; the yielded function takes the units done since the last call."""
        if self._open_steps == 0:
            self._bars.start()
        self._open_steps += 1
        bar = self._bars.add_task(description, total=total)
        finished = False

        def advance(units: int) -> None:
            self._bars.advance(bar, units)

        try:
            yield advance
            finished = True
        finally:
            if finished:
                reached = self._bars.tasks[self._position(bar)].completed
                size = total if total is not None else max(reached, 1)
                self._bars.update(bar, total=size, completed=size)
            self._open_steps -= 1
            if self._open_steps == 0:
                self._bars.stop()
                for task_id in self._bars.task_ids:  # the next step starts a fresh list below
                    self._bars.remove_task(task_id)

    def _position(self, bar: int) -> int:
        return list(self._bars.task_ids).index(bar)  # type: ignore[arg-type]
