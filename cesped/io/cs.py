"""CryoSPARC's `.cs` files: one NumPy structured array, a row for each particle.

What the fields mean is in `cesped.data.interop.cryosparc`. A job writes its results in one file and
what it did not touch in another, the passthrough; both have the column `uid`.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CsFileError, MissingFileError
from .files import atomic_path

UID = "uid"

Records = NDArray[np.void]

_NUMPY_MAGIC = b"\x93NUMPY"
_STREAM_MAGIC = b"\x94CSDAT"  # the compressed form that CryoSPARC sends over its own network
_LONGEST_HEADER = 1_000_000  # characters; NumPy's own limit of 10,000 is 100 fields


def read_cs(path: str | os.PathLike[str]) -> Records:
    """Return the structured array `(P,)` of a `.cs` file; nothing in the file is executed.

    Raises
    ------
    MissingFileError
        If there is no such file.
    CsFileError
        If it is no `.cs` file, truncated, empty, or holds Python objects.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            magic = stream.read(len(_NUMPY_MAGIC))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise MissingFileError(f"{path} is not a file: check the path of the .cs file") from error
    if magic == _STREAM_MAGIC:
        raise CsFileError(
            f"{path} is in CryoSPARC's compressed stream format: save it again as a NumPy .cs file "
            "(`Dataset.load(...).save(...)` of cryosparc-tools), or export the job"
        )
    if magic != _NUMPY_MAGIC:
        raise CsFileError(f"{path} does not start as a .cs file does: is it another format?")
    try:
        # mapped, so that a header which promises terabytes is refused before they are allocated
        mapped = np.lib.format.open_memmap(path, mode="r", max_header_size=_LONGEST_HEADER)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # whatever a damaged header makes of NumPy and its tokenizer
        raise CsFileError(
            f"{path} cannot be read ({error}): it is truncated or damaged, or holds Python "
            "objects, which are never loaded; copy or export it again"
        ) from error
    if mapped.ndim != 1 or mapped.dtype.names is None:
        raise CsFileError(
            f"{path} holds an array of shape {mapped.shape} and type {mapped.dtype}, not rows "
            "with named fields: give a .cs file of particles"
        )
    if not len(mapped):
        raise CsFileError(f"{path} has no particles")
    return np.array(mapped)


def write_cs(path: str | os.PathLike[str], records: Records) -> Path:
    """Write `records` as a `.cs` file, whole or not at all, and return the path.

    Raises
    ------
    CsFileError
        If a field holds Python objects.
    DiskFullError
        If the disk is full.
    """
    if records.dtype.hasobject:
        raise CsFileError(f"{path}: a field holds Python objects; store text as bytes (S)")
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.lib.format.write_array(stream, records, allow_pickle=False)
    return Path(path)


def join_by_uid(records: Records, others: Records, source: str, other_source: str) -> Records:
    """Return `records` with the fields that only `others` has, matched by `uid`.

    Fields that both have are those of `records`; `others` may have more rows, in any order.

    Parameters
    ----------
    records : `(P,)` structured array
    others : `(Q,)` structured array
    source, other_source : where they come from, for messages

    Raises
    ------
    CsFileError
        If either has no `uid`, a `uid` occurs twice, or one of `records` is not in `others`.
    """
    uids = _uids(records, source)
    others_uids = _uids(others, other_source)
    order = np.argsort(others_uids, kind="stable")
    position = np.minimum(np.searchsorted(others_uids[order], uids), len(order) - 1)
    rows = order[position]
    missing = np.flatnonzero(others_uids[rows] != uids)
    if missing.size:
        row = int(missing[0])
        raise CsFileError(
            f"row {row + 1} of {source}: uid {uids[row]} is not in {other_source} ({missing.size} "
            f"of {len(uids)} particles are not): give the passthrough file of the same job"
        )
    new = [name for name in _names(others) if name not in _names(records)]
    fields: list[Any] = [(name, records.dtype[name]) for name in _names(records)]
    fields += [(name, others.dtype[name]) for name in new]
    joined = np.empty(len(records), dtype=fields)
    for name in _names(records):
        joined[name] = records[name]
    for name in new:
        joined[name] = others[name][rows]
    return joined


def _names(records: Records) -> tuple[str, ...]:
    return records.dtype.names or ()


def _uids(records: Records, source: str) -> NDArray[Any]:
    if UID not in _names(records):
        raise CsFileError(f"{source} has no field uid, by which .cs files are joined")
    uids: NDArray[Any] = records[UID]
    ordered, counts = np.unique(uids, return_counts=True)
    if (counts > 1).any():
        doubled = ordered[counts > 1][0]
        first, second = np.flatnonzero(uids == doubled)[:2] + 1
        raise CsFileError(
            f"{source}: uid {doubled} is in rows {first} and {second}; every particle must occur "
            "once: remove the copies"
        )
    return uids
