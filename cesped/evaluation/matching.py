"""Which predicted pose belongs to which particle: by rlnImageName, never by row order."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cesped.errors import IdMismatchError

_MAX_NAMED = 5


def match_rows(
    truth_ids: Sequence[str] | NDArray[np.object_],
    predicted_ids: Sequence[str] | NDArray[np.object_],
    *,
    truth_source: str,
    predicted_source: str,
    other_half_ids: Sequence[str] | NDArray[np.object_] | None = None,
) -> NDArray[np.int64]:
    """Return, for each true particle, the row (from 0) of its prediction.

    Parameters
    ----------
    truth_ids : `(P,)` ids of the entry's half
    predicted_ids : `(P,)` ids of the prediction, in any order
    truth_source, predicted_source : the two star files, for messages
    other_half_ids : ids of the entry's other half, to tell swapped files from wrong ones

    Raises
    ------
    IdMismatchError
        If a particle has no prediction or several, if a prediction is of no particle of this
        half, or if the entry itself lists a particle twice. The message names up to five of
        each with their files and rows, counted from 1.

    Examples
    --------
    >>> match_rows(["a", "b"], ["b", "a"], truth_source="t.star", predicted_source="p.star")
    array([1, 0])
    """
    source = predicted_source
    truth = pd.Index(np.asarray(truth_ids, dtype=object))
    predicted = pd.Index(np.asarray(predicted_ids, dtype=object))
    faults = [
        _describe("missing from the predictions", truth, ~truth.isin(predicted), truth_source),
        _describe(
            "listed more than once", predicted, predicted.duplicated(False), predicted_source
        ),
        _describe("foreign to this half", predicted, ~predicted.isin(truth), predicted_source),
        _describe("listed more than once", truth, truth.duplicated(keep=False), truth_source),
    ]
    complaints = [fault for fault in faults if fault]
    if complaints:
        raise IdMismatchError(
            f"{source} does not hold one pose for each particle of {truth_source}: "
            f"{'; '.join(complaints)}. {_remedy(truth, predicted, other_half_ids)}"
        )
    return np.asarray(predicted.get_indexer(truth), dtype=np.int64)


def _describe(complaint: str, ids: pd.Index, chosen: NDArray[np.bool_], source: str) -> str:
    """Return `2 particles foreign to this half: 'x' (row 3 of f), ...`; empty if none is chosen."""
    rows_of: dict[str, list[int]] = {}
    for row in np.flatnonzero(chosen).tolist():
        rows_of.setdefault(str(ids[row]), []).append(row + 1)
    if not rows_of:
        return ""
    named = [
        f"{name!r} (row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:_MAX_NAMED]))}"
        f" of {source})"
        for name, rows in list(rows_of.items())[:_MAX_NAMED]
    ]
    rest = len(rows_of) - len(named)
    named += [f"and {rest} more"] if rest else []
    plural = "s" if len(rows_of) > 1 else ""
    return f"{len(rows_of)} particle{plural} {complaint}: {', '.join(named)}"


def _remedy(
    truth: pd.Index, predicted: pd.Index, other_half_ids: Sequence[str] | NDArray[np.object_] | None
) -> str:
    if other_half_ids is not None and len(predicted):
        of_other_half = predicted.isin(list(other_half_ids))
        if of_other_half.all():
            return (
                "These are the particles of the other half: give the two files in the other order."
            )
        if of_other_half.any() and (of_other_half | predicted.isin(truth)).all():
            return "Particles of both halves are in this one file: write those of each half apart."
    renamed = _renamed(truth, predicted)
    if renamed is not None:
        return (
            f"They seem to be the same particles under other names: {renamed[1]!r} for "
            f"{renamed[0]!r}. Keep the rlnImageName of the entry as it stands there."
        )
    return "Predict every particle of this half once, under the rlnImageName of the entry."


def _renamed(truth: pd.Index, predicted: pd.Index) -> tuple[str, str] | None:
    """Return two names of a particle if all agree but for zeros and folders; None otherwise."""
    known, given = ({_core(name): name for name in names} for names in (truth, predicted))
    if len(given) != len(predicted) or known.keys() != given.keys():
        return None
    core = _core(truth[0])
    return str(known[core]), str(given[core])


def _core(name: str) -> tuple[str, str]:
    number, _, stack = str(name).partition("@")
    return number.lstrip("0"), stack.replace("\\", "/").rpartition("/")[2]
