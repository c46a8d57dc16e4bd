"""Reconstruction inside this process: what the CPU engine and the torch engine have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import __version__
from ..data.images import ImageSource
from ..data.table import ParticleTable
from ..geometry.symmetry import PointGroup, point_group
from ..progress import SILENT, Progress
from ..vocabulary import Backend, CtfCorrection
from .protocol import HalfMaps, PoseSet, ReconstructionOptions, Volume
from .sampling import (
    carried_by_few,
    check_pose_sets,
    check_sampled_alike,
    common_pixel_size_angst,
)
from .sharding import ALONE, Shards

if TYPE_CHECKING:  # takes a second to load, and most maps are made without it
    import torch


class SliceSums(Protocol):
    """Sums on a Fourier grid, and the map made of them: see `BackProjector`."""

    #: whether to weight on a grid of RELION's size: see `BackProjector`
    relions_grid: bool

    @property
    def sums(self) -> torch.Tensor:
        """Return the sums themselves, to be added to those of other processes in place."""

    def insert(
        self,
        half_planes: Any,
        ctf: Any,
        rotations: ArrayLike,
        weights: ArrayLike | None = None,
        origins_px: ArrayLike | None = None,
        premultiplied: bool = False,
    ) -> None:
        """Add a batch of images."""

    def symmetrise(self, group: PointGroup | None = None) -> None:
        """Complete the grid and sum it over a point group."""

    def merge(self, other: Self) -> None:
        """Add other sums."""

    def reconstruct(self, gridding: bool = True) -> Volume:
        """Return the map."""


class InProcessReconstructor(ABC):
    """A `Reconstructor` of this package: all pose sets of a table share one pass over its images.

    Parameters
    ----------
    shards : which part of the particles is this process's, and how to reach the others
    """

    name: Backend

    def __init__(self, shards: Shards = ALONE) -> None:
        self._shards = shards

    def version(self) -> str:
        """Return the program and version, to stamp results with."""
        return f"cesped {__version__} {self.name}"

    @abstractmethod
    def _new_sums(self, box: int, n_held: int, options: ReconstructionOptions) -> SliceSums:
        """Return sums of nothing; there will be `n_held` of them at once."""

    @abstractmethod
    def _batch_size(self, box: int, n_held: int, options: ReconstructionOptions) -> int:
        """Return how many images to take at once beside `n_held` sums."""

    @abstractmethod
    def _transformed(
        self, images: NDArray[np.float32], table: ParticleTable, options: ReconstructionOptions
    ) -> tuple[Any, Any]:
        """Return transforms about pixel 0 and CTFs of the particles of a table; None without."""

    def reconstruct(
        self,
        table: ParticleTable,
        pose_sets: Sequence[PoseSet],
        options: ReconstructionOptions,
        progress: Progress = SILENT,
    ) -> list[Volume]:
        """Return one map per pose set; see `Reconstructor.reconstruct`."""
        group = point_group(options.symmetry)
        shards = self._shards
        with shards.together():
            pending = self._accumulate(table, pose_sets, len(pose_sets), options, progress)
        mine = self._gather(pending)
        with shards.together(), progress.task("weighting the maps", len(pose_sets)) as advance:
            made = self._finished_maps(mine, group, options, advance)
        return self._shared(made, table.image_size)

    def reconstruct_halves(
        self,
        tables: tuple[ParticleTable, ParticleTable],
        pose_sets: Sequence[tuple[PoseSet, PoseSet]],
        options: ReconstructionOptions,
        progress: Progress = SILENT,
    ) -> list[HalfMaps]:
        """Return the maps of both halves and of all particles, each particle read once."""
        group = point_group(options.symmetry)
        shards = self._shards
        with shards.together():
            check_sampled_alike(tables)
            n_held = 2 * len(pose_sets)
            halves = []
            for half, table in enumerate(tables):
                sets = [pair[half] for pair in pose_sets]
                halves.append(self._accumulate(table, sets, n_held, options, progress))
        firsts, seconds = (self._gather(half) for half in halves)
        box = tables[0].image_size
        made: list[list[Volume | None]] = []
        with shards.together(), progress.task("weighting the maps", len(pose_sets)) as advance:
            for pair in pose_sets:
                first, second = firsts.pop(0), seconds.pop(0)
                if first is None or second is None:
                    made.append([None] * 3)
                else:
                    half0 = self._finished(first, group, options, 1)
                    half1 = self._finished(second, group, options, 1)
                    first.merge(second)
                    first.relions_grid = carried_by_few(pair, box, group.order)
                    del second  # its memory is needed for the weighting
                    made.append([half0, half1, first.reconstruct(options.gridding)])
                advance(1)
        columns = [self._shared(list(column), box) for column in zip(*made, strict=True)]
        return [HalfMaps(*maps) for maps in zip(*columns, strict=True)]

    def _finished_maps(
        self,
        held: list[SliceSums | None],
        group: PointGroup,
        options: ReconstructionOptions,
        advance: Callable[[int], object],
    ) -> list[Volume | None]:
        """Return the maps of the sums that this rank has, several side by side; `held` is emptied.

        A map of a thread of its own takes less time than threads that share one.
        """
        at_once = min(self._side_by_side(held, options), len(held)) or 1

        def finish(number: int) -> Volume | None:
            sums, held[number] = held[number], None  # let go as soon as its map is there
            return None if sums is None else self._finished(sums, group, options, at_once)

        made = []
        with ThreadPoolExecutor(at_once) as pool:
            # alone it stays in this thread: other threads do not know the modes that torch is in
            side_by_side = map if at_once == 1 else pool.map
            for volume in side_by_side(finish, range(len(held))):
                made.append(volume)
                advance(1)
        return made

    def _side_by_side(self, held: list[SliceSums | None], options: ReconstructionOptions) -> int:
        """Return how many maps to finish at once: one, where there is memory for no more."""
        return 1

    def _finished(
        self, sums: Any, group: PointGroup, options: ReconstructionOptions, at_once: int
    ) -> Volume:
        """Return the map of sums over this rank's particles and those of the others."""
        sums.symmetrise(group)
        volume: Volume = sums.reconstruct(options.gridding)
        return volume

    def _accumulate(
        self,
        table: ParticleTable,
        pose_sets: Sequence[PoseSet],
        n_held: int,
        options: ReconstructionOptions,
        progress: Progress,
    ) -> list[SliceSums | None]:
        """Return the sums over this rank's particles, one for each pose set."""
        pixel_size_angst = common_pixel_size_angst(table)
        check_pose_sets(table, pose_sets)
        if options.ctf:
            table.require_ctf()
        box = table.image_size
        premultiplied = table.ctf_correction_done is CtfCorrection.CTF_MULTIPLY and options.ctf
        size = self._batch_size(box, n_held, options)  # refuses what does not fit
        all_sums = [self._new_sums(box, n_held, options) for _ in pose_sets]
        order = point_group(options.symmetry).order
        for sums, pose_set in zip(all_sums, pose_sets, strict=True):
            sums.relions_grid = carried_by_few([pose_set], box, order)
        batches = _batches(self._shards.rows(len(table)), size)
        label = f"back-projecting {table.source}"
        with progress.task(label, sum(map(len, batches))) as advance:
            for rows, images in _read_ahead(ImageSource(table), batches):
                planes, ctf = self._transformed(images, table.select(rows), options)
                for sums, pose_set in zip(all_sums, pose_sets, strict=True):
                    # the transforms are about pixel 0: moving the content there from the middle
                    # of the box is one more shift, free where the origin is shifted anyway
                    sums.insert(
                        planes,
                        ctf,
                        pose_set.poses.rotations[rows],
                        None if pose_set.weights is None else pose_set.weights[rows],
                        pose_set.poses.origins_angst[rows] / pixel_size_angst - box // 2,
                        premultiplied,
                    )
                advance(len(rows))
        return list(all_sums)

    def _gather(self, pending: list[SliceSums | None]) -> list[SliceSums | None]:
        """Return the sums of all ranks, where this one owns them; `pending` is used up."""
        if self._shards.size == 1:
            return pending
        gathered: list[SliceSums | None] = []
        while pending:
            sums = pending.pop(0)
            owner = self._shards.owner(len(gathered))
            if sums is not None:
                self._shards.add_up(sums.sums, owner)
            gathered.append(sums if owner == self._shards.rank else None)
        return gathered

    def _shared(self, made: list[Volume | None], box: int) -> list[Volume]:
        """Return the maps of all ranks."""
        shards = self._shards
        return [
            shards.share(volume, box, shards.owner(number)) for number, volume in enumerate(made)
        ]


def _batches(rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Return consecutive rows, `size` at a time."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _read_ahead(
    source: ImageSource, batches: list[NDArray[np.int64]]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield rows and their images; the next batch is read while one is worked on."""
    with ThreadPoolExecutor(1) as reader:
        pending = None
        for number, rows in enumerate(batches):
            images = (pending or reader.submit(source.read, rows)).result()
            more = number + 1 < len(batches)
            pending = reader.submit(source.read, batches[number + 1]) if more else None
            yield rows, images
