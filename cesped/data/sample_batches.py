"""Samples of a particle dataset, how a DataLoader joins them, and how its workers hand them over.

What a user gets is what `torch.utils.data.default_collate` makes of a tuple of id, image, pose and
metadata; only the way there is shorter. Samples that were prepared together are views of one batch
and need not be copied to be one again, and a worker sends a batch as one message and one slab of
shared memory instead of a new one for each tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate, get_worker_info
from torch.utils.data._utils.collate import default_collate_fn_map

from cesped.data.row_metadata import RowMetadata, collate_metadata
from cesped.data.samples import ParticleBatch
from cesped.data.shared_slabs import SlabPool, images_in

Pose = tuple[Tensor, Tensor, Tensor]

_SLABS = SlabPool()


class ParticleSample(tuple[str, Tensor, Pose, dict[str, Any]]):
    """Id, `(1, n, n)` image, pose and metadata of one particle.

    Attributes
    ----------
    batch : what the sample is a part of; None for a sample that was sent or copied
    place : of the sample in `batch`
    """

    batch: ParticleBatch | None = None
    place: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return ParticleSample, (tuple(self),)


class SampleBatch(list[Any]):
    """Ids, `(B, 1, n, n)` images, poses and metadata of several particles."""


def samples_of(
    ids: Sequence[str], batch: ParticleBatch, metadata: Sequence[RowMetadata]
) -> list[ParticleSample]:
    """Return the samples of a batch; their tensors are views of it."""
    poses = zip(batch.rotations, batch.origins_angst, batch.confidence, strict=True)
    samples = []
    for place, parts in enumerate(zip(ids, batch.images, poses, metadata, strict=True)):
        sample = ParticleSample(parts)
        sample.batch, sample.place = batch, place
        samples.append(sample)
    return samples


def collate_samples(
    samples: Sequence[ParticleSample], *, collate_fn_map: Mapping[Any, Any] | None = None
) -> SampleBatch:
    """Return several samples as one batch, as `torch.utils.data.default_collate` does.

    Parameters
    ----------
    samples : of one dataset, or of several with equal image sizes and columns
    collate_fn_map : as torch passes it; not used

    Raises
    ------
    RuntimeError, KeyError
        If images differ in size, or metadata in columns.
    """
    ids, images, poses, metadata = zip(*samples, strict=True)
    batch = samples[0].batch
    whole = (
        batch is not None
        and len(batch.images) == len(samples)
        and all(s.batch is batch and s.place == place for place, s in enumerate(samples))
    )
    if batch is not None and whole:
        joined = [batch.images, [batch.rotations, batch.origins_angst, batch.confidence]]
    else:
        joined = [default_collate(images), default_collate(poses)]
    return SampleBatch([ids, *joined, collate_metadata(metadata)])


def _sent(batch: SampleBatch) -> tuple[Callable[..., SampleBatch], tuple[Any, ...]]:
    """Say how a batch goes to another process; what was changed in shape goes as torch sends it."""
    is_whole = len(batch) == 4 and isinstance(batch[1], Tensor) and isinstance(batch[2], list)
    if get_worker_info() is None or not is_whole or batch[1].device.type != "cpu":
        return SampleBatch, (list(batch),)
    ids, images, poses, metadata = batch
    arrays = [np.ascontiguousarray(tensor.numpy()) for tensor in poses]
    return _received, (ids, _SLABS.filled(images), images.shape, images.dtype, arrays, metadata)


def _received(
    ids: Sequence[str],
    slab: Tensor,
    shape: torch.Size,
    dtype: torch.dtype,
    poses: Sequence[np.ndarray],
    metadata: dict[str, Any],
) -> SampleBatch:
    tensors = [torch.from_numpy(array) for array in poses]
    return SampleBatch([ids, images_in(slab, shape, dtype), tensors, metadata])


# The place that torch's own documentation of `default_collate` names for types of one's own.
default_collate_fn_map[ParticleSample] = collate_samples
ForkingPickler.register(SampleBatch, _sent)
