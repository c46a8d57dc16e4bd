"""Batches of numpy arrays, for frameworks other than PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from cesped.data.star_dataset import ParticlesRelionStarDataset
from cesped.errors import OptionError


def iterate_batches(
    dataset: ParticlesRelionStarDataset,
    batch_size: int,
    *,
    seed: int | None = None,
    epoch: int = 0,
    shard: int = 0,
    shards: int = 1,
    drop_last: bool = False,
    dtype: DTypeLike = np.float32,
) -> Iterator[dict[str, NDArray[Any]]]:
    """Go through a dataset once, as dictionaries of numpy arrays.

    Parameters
    ----------
    dataset : a `ParticlesDataset`, a `ParticlesRelionStarDataset`, or a `PreparedDataset`; if it
        has an augmenter, images and poses are augmented
    batch_size : particles of a batch
    seed : of the order; that of the star file when None
    epoch : changes the order from one pass to the next
    shard, shards : this process takes each `shards`-th particle, from the one numbered `shard` on.
        All processes must be given the same seed and epoch
    drop_last : leave out the particles at the end that fill no batch. Then all batches are of one
        size and all shards have the same number of them
    dtype : of the images: float16, float32 or float64

    Yields
    ------
    dict of arrays
        images `(B, n, n)`; rotations `(B, 3, 3)` float32, see `cesped.geometry.euler`;
        origins_angst `(B, 2)` float32; confidence `(B,)` float32; pixel_size_angst `(B,)` float32,
        of the images; ids `(B,)` str; rows `(B,)` int64, places in the dataset

    Raises
    ------
    OptionError
        If a size, a shard or a type is out of range.
    ImageValueError, MissingImageError
        If an image is faulty; names it.

    Examples
    --------
    >>> from cesped.data.dataset import ParticlesDataset
    >>> batch = next(iterate_batches(ParticlesDataset("DEMO", 0), 8, seed=1))  # doctest: +SKIP
    >>> batch["images"].shape  # doctest: +SKIP
    (8, 64, 64)
    """
    if batch_size < 1:
        raise OptionError(f"batch_size is {batch_size}; use 1 or more")
    if not 0 <= shard < shards:
        raise OptionError(f"shard is {shard} of {shards}; shards count from 0")
    rows = _order(len(dataset), seed, epoch)[shard::shards]
    if drop_last:
        rows = rows[: len(dataset) // shards // batch_size * batch_size]
    return _batches(dataset, rows, batch_size, _torch_type(dtype))


def _order(count: int, seed: int | None, epoch: int) -> NDArray[np.int64]:
    if seed is None:
        return np.arange(count)
    return np.random.default_rng([seed, epoch]).permutation(count)


def _torch_type(dtype: DTypeLike) -> torch.dtype:
    # torch converts several times as fast as numpy
    known = {"float16": torch.float16, "float32": torch.float32, "float64": torch.float64}
    name = np.dtype(dtype).name
    if name not in known:
        raise OptionError(f"dtype is {name}; use one of {', '.join(known)}")
    return known[name]


def _batches(
    dataset: ParticlesRelionStarDataset,
    rows: NDArray[np.int64],
    batch_size: int,
    dtype: torch.dtype,
) -> Iterator[dict[str, NDArray[Any]]]:
    for start in range(0, len(rows), batch_size):
        chosen = rows[start : start + batch_size]
        batch = dataset.batch(chosen)
        yield {
            "images": batch.images[:, 0].to(dtype).numpy(),
            "rotations": batch.rotations.numpy(),
            "origins_angst": batch.origins_angst.numpy(),
            "confidence": batch.confidence[:, 0].numpy(),
            "pixel_size_angst": batch.pixel_size_angst.numpy().astype(np.float32),
            "ids": dataset.particles.ids[chosen].astype(str),
            "rows": chosen,
        }
