"""Steps that are not done twice: a product is named by all that determines it."""

import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from ..io.files import write_text_atomic

_LOG = logging.getLogger(__name__)


def run_once(
    product: str | os.PathLike[str],
    made_from: Mapping[str, object] | None,
    make: Callable[[], object],
) -> bool:
    """Call `make`, which writes `product`, unless it was already made from the same things.

    What it was made from is kept beside it, in `<product>.made_from.json`, which is written
    after the product: a step that was killed is done again.

    Parameters
    ----------
    product : file that `make` writes whole or not at all.
    made_from : everything that determines the product, JSON values; None to make it anyway.
    make : does the work.

    Returns
    -------
    True if `make` was called.
    """
    target = Path(product)
    if is_made(target, made_from):
        _LOG.info("%s is up to date", target)
        return False
    note = _note_of(target)
    note.unlink(missing_ok=True)
    make()
    if made_from is not None:
        write_text_atomic(note, _as_text(made_from))
    return True


def is_made(product: str | os.PathLike[str], made_from: Mapping[str, object] | None) -> bool:
    """Return whether `run_once` made this product of the very same things before."""
    target = Path(product)
    note = _note_of(target)
    return (
        made_from is not None
        and target.is_file()
        and note.is_file()
        and note.read_text("utf-8") == _as_text(made_from)
    )


def _note_of(target: Path) -> Path:
    return target.with_name(target.name + ".made_from.json")


def _as_text(made_from: Mapping[str, object]) -> str:
    return json.dumps(made_from, sort_keys=True, indent=1, default=str) + "\n"
