"""What a person sees while work goes on: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from .progress import Advance, Progress

if TYPE_CHECKING:
    from rich.progress import TaskID

#: Off a terminal, a step that takes longer says how far it is this often.
REPORT_INTERVAL_S = 30.0
#: Off a terminal, a library call that takes less is not worth a line.
_SHORT_S = 5.0
_NOTEBOOK_INTERVAL_S = 0.5
_BYTE_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def make_progress(stream: TextIO | None = None) -> Progress:
    """Return the watcher that suits `stream` (standard error unless told otherwise)."""
    stream = sys.stderr if stream is None else stream
    return BarProgress(stream) if stream.isatty() else LineProgress(stream)


def library_progress() -> Progress:
    """Return the watcher of a call that asked for none: bars for people, few lines for logs.

    In a notebook it is one line that is written over: bars would need ipywidgets there.
    """
    if sys.stderr.isatty():
        return BarProgress(sys.stderr)
    if "ipykernel" in sys.modules:
        return LineProgress(sys.stderr, interval_s=_NOTEBOOK_INTERVAL_S, writes_over=True)
    return LineProgress(sys.stderr, quiet_below_s=_SHORT_S)


def format_bytes(count: float) -> str:
    """Return a size as a person says it, in powers of 1000.

    Examples
    --------
    >>> format_bytes(512), format_bytes(30_500_000_000)
    ('512 bytes', '30.5 GB')
    """
    exponent = 0
    while abs(count) >= 999.95 and exponent < len(_BYTE_UNITS) - 1:
        count, exponent = count / 1000, exponent + 1
    return f"{count:.0f} bytes" if exponent == 0 else f"{count:.1f} {_BYTE_UNITS[exponent]}"


def format_seconds(seconds: float) -> str:
    """Return a duration in the two units that matter.

    Examples
    --------
    >>> format_seconds(42), format_seconds(190), format_seconds(9000)
    ('42 s', '3 min 10 s', '2 h 30 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class _Step:
    """What a step's work calls: as a function with the units done, and `say` with a few words."""

    def __init__(self, advance: Advance, show: Callable[[str], None]) -> None:
        self._advance, self.say = advance, show

    def __call__(self, units: int) -> None:
        self._advance(units)


class LineProgress:
    """A `Progress` for log files: a line when a step ends, and now and then in a long one.

    Parameters
    ----------
    stream : where to write
    quiet_below_s : a step that ended well in less than this is not mentioned [s]
    interval_s : how often a step says how far it is [s]; REPORT_INTERVAL_S when None
    writes_over : whether what is said of a step replaces what was said before
    """

    def __init__(
        self,
        stream: TextIO,
        quiet_below_s: float = 0.0,
        interval_s: float | None = None,
        writes_over: bool = False,
    ) -> None:
        self._stream = stream
        self._quiet_below_s = quiet_below_s
        self._interval_s = REPORT_INTERVAL_S if interval_s is None else interval_s
        self._writes_over = writes_over
        self._width = 0

    @contextmanager
    def task(
        self, description: str, total: int | None, *, in_bytes: bool = False, done: int = 0
    ) -> Iterator[Advance]:
        """Report one step; the yielded function takes the units done since the last call."""
        started = last_report = time.monotonic()
        here_before = done
        words = ""

        def show(text: str) -> None:
            nonlocal words
            words = f", {text}"

        def advance(units: int) -> None:
            nonlocal done, last_report
            done += units
            now = time.monotonic()
            if now - last_report >= self._interval_s:
                last_report = now
                if in_bytes:
                    rate = (done - here_before) / max(now - started, 1e-9)
                    self._write(f"{description}: {_transferred(done, total, rate)}")
                else:
                    share = f"{100 * done // total} %" if total else f"{done} done"
                    self._write(f"{description}: {share} after {now - started:.0f} s{words}")

        try:
            yield _Step(advance, show)
        except BaseException:
            seconds = time.monotonic() - started
            self._write(f"{description}: stopped after {seconds:.1f} s", is_last=True)
            raise
        seconds = time.monotonic() - started
        if seconds >= self._quiet_below_s:
            size = f"{format_bytes(done)} " if in_bytes else ""
            self._write(f"{description}: {size}done in {seconds:.1f} s{words}", is_last=True)

    def _write(self, line: str, is_last: bool = False) -> None:
        if self._writes_over:
            blanks = " " * (self._width - len(line))  # over what was longer
            self._stream.write("\r" + line + blanks + ("\n" if is_last else ""))
            self._width = 0 if is_last else len(line)
        else:
            self._stream.write(line + "\n")
        self._stream.flush()


def _transferred(done: int, total: int | None, bytes_per_s: float) -> str:
    text = f"{format_bytes(done)} at {format_bytes(bytes_per_s)}/s"
    if not total:
        return text
    left = ""
    if bytes_per_s > 0:
        left = f", {format_seconds((total - done) / bytes_per_s)} left"
    return f"{100 * done // total} %, {format_bytes(done)} of {format_bytes(total)} " + (
        f"at {format_bytes(bytes_per_s)}/s{left}"
    )


class BarProgress:
    """A `Progress` for people: one bar per open step, finished ones stay with their time."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress

        self._bars = RichProgress(
            SpinnerColumn(finished_text="✓"),
            # markup off: a target may be called "[red]"
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            _amount_column(),
            # one line of 80 letters: the time left while there is some, then the time it took
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("{task.fields[words]}", markup=False),
            console=Console(file=stream),
        )
        self._open_steps = 0

    @contextmanager
    def task(
        self, description: str, total: int | None, *, in_bytes: bool = False, done: int = 0
    ) -> Iterator[Advance]:
        """Draw one step; the yielded function takes the units done since the last call."""
        if self._open_steps == 0:
            self._bars.start()
        self._open_steps += 1
        bar = self._bars.add_task(
            description, total=total, completed=done, in_bytes=in_bytes, words=""
        )
        finished = False

        def advance(units: int) -> None:
            self._bars.advance(bar, units)

        def show(text: str) -> None:
            self._bars.update(bar, words=text)

        try:
            yield _Step(advance, show)
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

    def _position(self, bar: TaskID) -> int:
        return list(self._bars.task_ids).index(bar)


def _amount_column() -> Any:
    """Return a column that shows counts as they are, and bytes with their rate."""
    from rich.progress import MofNCompleteColumn, Task
    from rich.table import Column
    from rich.text import Text

    class AmountColumn(MofNCompleteColumn):
        def render(self, task: Task) -> Text:
            if not task.fields.get("in_bytes"):
                return super().render(task)
            text = format_bytes(task.completed)
            if task.total is not None and not task.finished:
                number, unit = text.split()
                whole, whole_unit = format_bytes(task.total).split()
                start = number if unit == whole_unit else text
                text = f"{start}/{whole} {whole_unit}"
            rate = task.finished_speed or task.speed
            return Text(f"{text} {format_bytes(rate)}/s" if rate else text)

    return AmountColumn(table_column=Column(no_wrap=True))
