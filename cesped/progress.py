"""How long work reports its progress without knowing who watches.

Library code takes `progress: Progress = SILENT` and opens one task per long step;
`cesped.progress_bars` draws them.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Something that can watch steps of known or unknown length."""

    def task(
        self, description: str, total: int | None, *, in_bytes: bool = False, done: int = 0
    ) -> AbstractContextManager[Advance]:
        """Open a step of `total` units; tell the yielded function how many more are done.

        Units are bytes if `in_bytes` is set, and then their rate is shown. Of a step that goes on
        where an earlier process stopped, `done` units are done already.
        """


def say(advance: Advance, text: str) -> None:
    """Show a few words on how an open step goes, where its watcher has room for them.

    Parameters
    ----------
    advance : what `task` yielded
    text : replaces what was said before
    """
    show = getattr(advance, "say", None)
    if show is not None:
        show(text)


class SilentProgress:
    """A `Progress` that shows nothing: the default of library calls."""

    @contextmanager
    def task(
        self, description: str, total: int | None, *, in_bytes: bool = False, done: int = 0
    ) -> Iterator[Advance]:
        """Yield a function that ignores what it is told."""
        del description, total, in_bytes, done
        yield lambda units: None


SILENT = SilentProgress()
