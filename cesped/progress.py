"""How long work reports its progress without knowing who watches.

Library code takes `progress: Progress = SILENT` and opens one task per long step;
`cesped.cli` draws the bars.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Something that can watch steps of known or unknown length."""

    def task(self, description: str, total: int | None) -> AbstractContextManager[Advance]:
        """Open a step of `total` units; tell the yielded function how many more are done."""


class SilentProgress:
    """A `Progress` that shows nothing: the default of library calls."""

    @contextmanager
    def task(self, description: str, total: int | None) -> Iterator[Advance]:
        """Yield a function that ignores what it is told."""
        del description, total
        yield lambda units: None


SILENT = SilentProgress()
