"""Many maps, of which only those in use are on the device: a window that moves through all."""

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from ...physics.torch_projection import TorchProjector

Volume = tuple[NDArray[np.float32], float]

_GIB = 2**30
#: Sets that validate are drawn from so many maps at most, the same every time.
_VALIDATION_MAPS = 16


class MapWindow:
    """Maps to draw from, the device holding as many as a stated memory allows.

    Set number n is drawn from the maps n // sets_per_map and following of an endless shuffled
    sequence, as many as fit. So at each step a few maps are in use, each for the same number of
    sets, and what a set is follows from its number alone: not from what was drawn before.

    Parameters
    ----------
    count : of maps
    read : gives the volume `(N, N, N)` and the pixel size [angstrom] of a map, by its number
    box : of all of them
    device : where to project
    memory_gib : of the device, for maps
    sets_per_map : sets after which the window moves on by one
    seed : of the sequence

    Attributes
    ----------
    width : maps that are drawn from at a time
    reads : how often a map was read
    """

    def __init__(
        self,
        count: int,
        read: Callable[[int], Volume],
        box: int,
        device: torch.device | str = "cpu",
        memory_gib: float = 8.0,
        sets_per_map: int = 64,
        seed: int = 0,
    ) -> None:
        self.count, self.box = count, box
        self._read, self._device = read, torch.device(device)
        fits = int(memory_gib * _GIB // TorchProjector.bytes_of(box))
        self.width = max(1, min(count, fits))
        self._sets_per_map, self._seed = sets_per_map, seed
        self._held: OrderedDict[int, TorchProjector] = OrderedDict()
        self._order = lru_cache(maxsize=2)(self._permutation)
        self.reads = 0

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng([self._seed, epoch]).permutation(self.count)

    def choose(self, number: int, generator: np.random.Generator) -> int:
        """Return which map a set is drawn from.

        Parameters
        ----------
        number : of the set; 0 for all that validate
        generator : random numbers of the set
        """
        if self.width == self.count:
            return int(generator.integers(self.count))
        width = self.width if number else min(self.width, _VALIDATION_MAPS)
        place = number // self._sets_per_map + int(generator.integers(width))
        epoch, within = divmod(place, self.count)
        return int(self._order(epoch)[within])

    def __getitem__(self, index: int) -> TorchProjector:
        """Return a map, ready to project; the one that was used longest ago makes room."""
        if index in self._held:
            self._held.move_to_end(index)
            return self._held[index]
        while len(self._held) >= self.width:
            self._held.popitem(last=False)
        volume, pixel_size_angst = self._read(index)
        self.reads += 1
        self._held[index] = TorchProjector(volume, pixel_size_angst, self._device)
        return self._held[index]

    def __len__(self) -> int:
        return self.count


class HostMaps:
    """Maps in main memory, as far as a stated memory allows; others are read each time.

    Parameters
    ----------
    readers : one for each map
    box : of all of them
    memory_gib : for volumes

    Attributes
    ----------
    most : maps that are kept
    """

    def __init__(
        self, readers: list[Callable[[], Volume]], box: int, memory_gib: float = 4.0
    ) -> None:
        self._readers = readers
        self.most = math.floor(memory_gib * _GIB / (4 * box**3))
        self._held: dict[int, Volume] = {}

    def __len__(self) -> int:
        return len(self._readers)

    def __call__(self, index: int) -> Volume:
        """Return the volume and the pixel size of a map."""
        if index in self._held:
            return self._held[index]
        volume = self._readers[index]()
        if len(self._held) < self.most:
            self._held[index] = volume
        return volume
