"""Shared memory that a DataLoader's worker uses again and again for the images of its batches.

torch gives every batch of a worker new shared memory. The kernel clears its pages, the worker
touches each for the first time, and all go back when the batch is gone: for images of 128 px that
takes longer than a third of preparing them. Here a worker keeps a few slabs. Each begins with a
byte that says whether the images in it are in use; whoever received them clears it when the last
tensor that looks at them is gone.
"""

from __future__ import annotations

import os
import weakref

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Bytes before the images, so that these stay aligned.
_HEADER_BYTES = 64
#: Slabs kept: a DataLoader asks each worker for two batches ahead, and its user holds one or two.
MOST_SLABS = 4


class SlabPool:
    """The slabs of one worker."""

    def __init__(self) -> None:
        self._slabs: list[Tensor] = []

    def filled(self, images: Tensor) -> Tensor:
        """Return a slab, `(bytes,)` uint8 in shared memory, that holds a copy of `images`.

        It is in use until `images_in` was called for it where it is received, and what that
        returned is gone.
        """
        size = images.numel() * images.element_size()
        slab = self._free_slab(_HEADER_BYTES + size)
        slab[0] = 1
        _view(slab, images.shape, images.dtype).copy_(images)
        return slab

    def _free_slab(self, size: int) -> Tensor:
        for slab in self._slabs:
            if slab.numel() >= size and not slab[0]:
                return slab
        if len(self._slabs) == MOST_SLABS:
            del self._slabs[0]  # too small, or still somebody's, who keeps it alive
        slab = torch.zeros(size, dtype=torch.uint8)
        slab.share_memory_()  # type: ignore[no-untyped-call]
        self._slabs.append(slab)
        return slab


def images_in(slab: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Return the images in a slab without copying; when all views of them are gone it is free."""
    images: NDArray[np.generic] = _view(slab, shape, dtype).numpy().view()
    # the tensor made of an array keeps it alive, and so do all views of that tensor
    release = weakref.finalize(images, _release, slab, os.getpid())
    release.atexit = False
    return torch.from_numpy(images)


def _view(slab: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    size = shape.numel() * dtype.itemsize
    return slab[_HEADER_BYTES : _HEADER_BYTES + size].view(dtype).view(shape)


def _release(slab: Tensor, pid: int) -> None:
    if os.getpid() == pid:  # a process forked meanwhile has a copy, and no say
        slab[0] = 0
