"""Columns of the star file that go with a sample, and with a batch of samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate
from torch.utils.data._utils.collate import default_collate_fn_map

#: Columns of numbers become tensors of these types, as `default_collate` makes them.
_NUMBER_TYPES = {float: np.float64, int: np.int64}


class RowMetadata(dict[str, Any]):
    """The columns of one particle."""


class BatchMetadata(dict[str, Any]):
    """The columns of a batch: tensors of numbers, and lists of words.

    A worker of a DataLoader hands over every tensor through shared memory of its own, which takes
    longer than all else for one of a few numbers. These are sent as plain arrays in one message,
    and are tensors again where they arrive.
    """

    def __reduce__(self) -> tuple[Callable[[dict[str, Any]], BatchMetadata], tuple[dict[str, Any]]]:
        plain = {
            name: value.numpy() if isinstance(value, Tensor) and not value.is_cuda else value
            for name, value in self.items()
        }
        return _received, (plain,)


def _received(plain: dict[str, Any]) -> BatchMetadata:
    return BatchMetadata(
        (name, torch.from_numpy(value) if isinstance(value, np.ndarray) else value)
        for name, value in plain.items()
    )


def collate_metadata(
    rows: Sequence[RowMetadata], *, collate_fn_map: Mapping[Any, Any] | None = None
) -> dict[str, Any]:
    """Return the columns of several particles together, as `torch.utils.data.default_collate` does.

    Parameters
    ----------
    rows : of one batch
    collate_fn_map : as torch passes it; not used

    Raises
    ------
    KeyError
        If one of them lacks a column that the first one has.
    """
    batch = BatchMetadata()
    for name in rows[0]:
        values = [row[name] for row in rows]
        kinds = {type(value) for value in values}
        number_type = _NUMBER_TYPES.get(next(iter(kinds))) if len(kinds) == 1 else None
        if number_type is not None:
            batch[name] = torch.from_numpy(np.array(values, dtype=number_type))
        else:
            batch[name] = default_collate(values)
    return batch


# The place that torch's own documentation of `default_collate` names for types of one's own.
default_collate_fn_map[RowMetadata] = collate_metadata
