"""The bars and lines of commands, which are those of the library."""

from ..progress_bars import make_progress

__all__ = ["make_progress"]
