"""Figures drawn in processes of their own, beside the work of this one.

Drawing holds the interpreter's lock, and loading what draws takes as long as a map; neither is in
the way of anything in another process. An artist is started before there is anything to draw, and
loads meanwhile. If one fails, whatever the reason, its work is done here: it is no new way to fail.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

#: What an artist runs, with the search path of this process.
_PROGRAM = "import sys; sys.path[:] = {path!r}; from cesped.report.artists import serve; serve()"


class Artist:
    """One process that calls functions of this package."""

    def __init__(self) -> None:
        program = _PROGRAM.format(path=sys.path)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except (OSError, TypeError):  # no processes, or no interpreter, to be had
            return

    def ask(self, draw: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Callable[[], R]:
        """Let a function of a module be called there; what is returned waits for its answer.

        One question at a time: its answer must be fetched before the next one is asked.

        Raises, when the answer is fetched, what `draw` raises.
        """
        asked = self._send((draw, args, kwargs))

        def answer() -> R:
            found = self._receive() if asked else None
            # what failed there fails here again, and tells why, or does not
            return draw(*args, **kwargs) if found is None else found[0]

        return answer

    def _send(self, question: object) -> bool:
        stream = self._process.stdin if self._process else None
        if stream is None:
            return False
        try:
            pickle.dump(question, stream)
            stream.flush()
        except (OSError, ValueError, pickle.PicklingError, TypeError, AttributeError):
            self.dismiss()
            return False
        return True

    def _receive(self) -> tuple[Any] | None:
        stream = self._process.stdout if self._process else None
        if stream is None:
            return None
        try:
            answer: tuple[Any] | None = pickle.load(stream)
        except Exception:  # it ended, or what it says is no answer
            self.dismiss()
            return None
        return answer

    def dismiss(self) -> None:
        """End the process: it keeps nothing, so it may be stopped at whatever it does."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with suppress(OSError):  # what it did not read is still to be flushed
            process.communicate()


@contextmanager
def artist_beside(threads: int | None) -> Iterator[Artist | None]:
    """Lend an artist, who is sent away at the end of the block; None where one would be no help.

    That is where there is one thread to work on, other processes work as well (torchrun), or what
    draws is loaded here already.

    Parameters
    ----------
    threads : processor cores to use; as many as there are when None
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    is_shared = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if min(threads or 2, cores or 1) < 2 or is_shared or "matplotlib.figure" in sys.modules:
        yield None
        return
    artist = Artist()
    try:
        yield artist
    finally:
        artist.dismiss()


def serve() -> None:
    """Call what is asked on standard input and write the answers to standard output."""
    questions = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    try:
        _load()
        while True:
            draw, args, kwargs = pickle.load(questions)
            try:
                answer = (draw(*args, **kwargs),)
            except Exception:  # the asking process does it again, and sees why
                answer = None
            pickle.dump(answer, answers)
            answers.flush()
    except (EOFError, BrokenPipeError):
        return


def _load() -> None:
    """Load what draws, and draw something: fonts are looked for at the first letter."""
    from . import html  # noqa: F401 - so that it is there
    from .canvas import new_figure, png_element, svg_element

    figure = new_figure(2, 2)
    figure.subplots().set(title="Å°", xlabel="x", ylabel="y")
    svg_element(figure, "")
    png_element(figure, "")
