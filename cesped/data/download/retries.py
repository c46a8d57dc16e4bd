"""How long to go on with a server that fails: pauses that double, and those that it asks for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from cesped.errors import DownloadError, ServerBusyError
from cesped.progress import SILENT, Progress

_Result = TypeVar("_Result")
#: Shorter pauses are not worth telling.
_NOTICEABLE_S = 2.0


@dataclass(frozen=True)
class Patience:
    """How a transfer deals with a server that fails.

    Parameters
    ----------
    attempts : failures in a row, without a byte between them, after which it gives up
    first_pause_s, longest_pause_s : the pause doubles from the one to the other [s]
    longest_wait_s : longest time that a server may ask for [s]
    stall_s : time without a byte that counts as failure [s]
    """

    attempts: int = 8
    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0
    longest_wait_s: float = 900.0
    stall_s: float = 60.0


class Persistence:
    """Counts the failures of one transfer, and pauses between them."""

    def __init__(self, patience: Patience, progress: Progress = SILENT) -> None:
        self._patience = patience
        self._progress = progress
        self._failures = 0

    def went_well(self) -> None:
        """Note that bytes arrived: failures are counted anew."""
        self._failures = 0

    def pause_after(self, error: ServerBusyError) -> None:
        """Pause before the next attempt.

        Raises
        ------
        DownloadError
            If there have been enough, or the server asks to wait for too long.
        """
        self._failures += 1
        patience = self._patience
        if self._failures >= patience.attempts:
            raise DownloadError(
                f"{error}; given up after {self._failures} attempts: what has been fetched is "
                "kept, the same command goes on from there"
            ) from error
        pause_s = min(patience.first_pause_s * 2 ** (self._failures - 1), patience.longest_pause_s)
        if error.wait_s is not None:
            if error.wait_s > patience.longest_wait_s:
                raise DownloadError(
                    f"{error}, and asks to come back in {error.wait_s / 60:.0f} minutes; the same "
                    "command then goes on from here"
                ) from error
            pause_s = max(pause_s, error.wait_s)
        self._sleep(pause_s, str(error))

    def _sleep(self, pause_s: float, reason: str) -> None:
        if pause_s < _NOTICEABLE_S:
            time.sleep(pause_s)
            return
        whole = max(1, round(pause_s))
        with self._progress.task(f"Waiting: {reason}", whole) as advance:
            for _ in range(whole):
                time.sleep(pause_s / whole)
                advance(1)


def persistently(
    action: Callable[[], _Result], patience: Patience, progress: Progress = SILENT
) -> _Result:
    """Return what `action` returns, calling it again while the server is busy.

    Raises
    ------
    DownloadError
        If it stays busy.
    """
    persistence = Persistence(patience, progress)
    while True:
        try:
            return action()
        except ServerBusyError as error:
            persistence.pause_after(error)
