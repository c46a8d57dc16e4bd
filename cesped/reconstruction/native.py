"""Reconstruction by this package's own back-projection: no other program is needed."""

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from .. import __version__
from ..data.images import ImageSource
from ..data.table import ParticleTable
from ..geometry.symmetry import PointGroup, point_group
from ..physics.backprojection import BackProjector, available_threads
from ..physics.ctf import ctf_half_plane
from ..physics.threads import torch_threads
from ..progress import SILENT, Progress
from ..vocabulary import Backend
from .protocol import HalfMaps, PoseSet, ReconstructionOptions, Volume
from .sampling import check_pose_sets, check_sampled_alike, common_pixel_size_angst

#: Pixels of one batch of images: 33 MB of float32, whatever the number of particles.
_BATCH_PIXELS = 1 << 23


class NativeReconstructor:
    """The `Reconstructor` that runs everywhere; follows `relion_reconstruct` 3.1.

    All pose sets of a table share one reading, one Fourier transform and one contrast transfer of
    each particle.
    """

    name = Backend.NATIVE

    def version(self) -> str:
        """Return the program and version, to stamp results with."""
        return f"cesped {__version__} native"

    def reconstruct(
        self,
        table: ParticleTable,
        pose_sets: Sequence[PoseSet],
        options: ReconstructionOptions,
        progress: Progress = SILENT,
    ) -> list[Volume]:
        """Return one map per pose set; see `Reconstructor.reconstruct`."""
        group = point_group(options.symmetry)
        projectors = self._accumulate(table, pose_sets, options, group, progress)
        volumes = []
        with progress.task("weighting the maps", len(projectors)) as advance:
            while projectors:  # each is let go before the next is weighted
                volumes.append(projectors.pop(0).reconstruct(options.gridding))
                advance(1)
        return volumes

    def reconstruct_halves(
        self,
        tables: tuple[ParticleTable, ParticleTable],
        pose_sets: Sequence[tuple[PoseSet, PoseSet]],
        options: ReconstructionOptions,
        progress: Progress = SILENT,
    ) -> list[HalfMaps]:
        """Return the maps of both halves and of all particles, each particle read once."""
        check_sampled_alike(tables)
        group = point_group(options.symmetry)
        halves = [
            self._accumulate(table, [pair[half] for pair in pose_sets], options, group, progress)
            for half, table in enumerate(tables)
        ]
        maps = []
        with progress.task("weighting the maps", 3 * len(pose_sets)) as advance:
            while halves[0]:
                first, second = halves[0].pop(0), halves[1].pop(0)
                half0 = first.reconstruct(options.gridding)
                advance(1)
                half1 = second.reconstruct(options.gridding)
                advance(1)
                first.merge(second)
                del second  # its memory is needed for the weighting
                maps.append(HalfMaps(half0, half1, first.reconstruct(options.gridding)))
                advance(1)
        return maps

    def _accumulate(
        self,
        table: ParticleTable,
        pose_sets: Sequence[PoseSet],
        options: ReconstructionOptions,
        group: PointGroup,
        progress: Progress,
    ) -> list[BackProjector]:
        """Return one symmetrised back-projector per pose set."""
        pixel_size_angst = common_pixel_size_angst(table)
        check_pose_sets(table, pose_sets)
        ctf = table.require_ctf() if options.ctf else None
        box, threads = table.image_size, options.threads or available_threads()
        source = ImageSource(table)
        # the transforms are about pixel 0: moving the content there from the middle of the box is
        # one more shift, which costs nothing where the origin is shifted anyway
        projectors = [BackProjector(box, options.padding, threads) for _ in pose_sets]
        label = f"back-projecting {table.source}"
        with torch_threads(threads), progress.task(label, len(table)) as advance:
            for rows in _batches(len(table), box):
                half_planes = scipy.fft.rfft2(source.read(rows), workers=threads)
                transfer = None
                if ctf is not None:
                    sizes = table.pixel_size_angst[rows]
                    transfer = ctf_half_plane(ctf.select(rows), box, sizes)
                for projector, pose_set in zip(projectors, pose_sets, strict=True):
                    projector.insert(
                        half_planes,
                        transfer,
                        pose_set.poses.rotations[rows],
                        None if pose_set.weights is None else pose_set.weights[rows],
                        pose_set.poses.origins_angst[rows] / pixel_size_angst - box // 2,
                    )
                advance(len(rows))
        for projector in projectors:
            projector.symmetrise(group)
        return projectors


def _batches(n_particles: int, box: int) -> Iterator[NDArray[np.int64]]:
    """Yield consecutive rows whose images fit a batch."""
    size = max(1, _BATCH_PIXELS // box**2)
    for start in range(0, n_particles, size):
        yield np.arange(start, min(start + size, n_particles))
