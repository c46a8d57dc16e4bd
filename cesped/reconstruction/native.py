"""Reconstruction by this package's own back-projection: no other program is needed."""

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ..data.table import ParticleTable
from ..geometry.symmetry import PointGroup
from ..physics.backprojection import BackProjector, available_threads
from ..physics.ctf import ctf_array
from ..vocabulary import Backend, CtfCorrection
from .in_process import InProcessReconstructor, SliceSums
from .protocol import ReconstructionOptions, Volume

#: Pixels of one batch of images: 17 MB of float32, whatever the number of particles.
_BATCH_PIXELS = 1 << 22
#: Memory beyond their sums that maps weighted side by side may take: two up to a box of 200.
_SIDE_BY_SIDE_BYTES = 1 << 29


class NativeReconstructor(InProcessReconstructor):
    """The `Reconstructor` that runs everywhere; follows `relion_reconstruct` 3.1.

    All pose sets of a table share one reading, one Fourier transform and one contrast transfer of
    each particle.
    """

    name = Backend.NATIVE

    def _new_sums(self, box: int, n_held: int, options: ReconstructionOptions) -> SliceSums:
        return BackProjector(box, options.padding, _threads(options))

    def _side_by_side(self, held: list[SliceSums | None], options: ReconstructionOptions) -> int:
        mine = [sums for sums in held if isinstance(sums, BackProjector)]
        room = _SIDE_BY_SIDE_BYTES // mine[0].weighting_bytes if mine else 1
        return max(1, min(_threads(options), len(mine), room))

    def _finished(
        self, sums: BackProjector, group: PointGroup, options: ReconstructionOptions, at_once: int
    ) -> Volume:
        sums.threads = max(1, _threads(options) // at_once)
        return super()._finished(sums, group, options, at_once)

    def _batch_size(self, box: int, n_held: int, options: ReconstructionOptions) -> int:
        return max(1, _BATCH_PIXELS // box**2)

    def _transformed(
        self, images: NDArray[np.float32], table: ParticleTable, options: ReconstructionOptions
    ) -> tuple[Any, Any]:
        threads = _threads(options)
        half_planes = scipy.fft.rfft2(images, workers=threads)
        if not options.ctf:
            return half_planes, None
        size, pixel_sizes_angst = table.image_size, table.pixel_size_angst
        ctf = ctf_array(table.require_ctf(), size, pixel_sizes_angst, threads)
        if table.ctf_correction_done is CtfCorrection.PHASE_FLIP:
            np.abs(ctf, out=ctf)
        return half_planes, ctf


def _threads(options: ReconstructionOptions) -> int:
    return options.threads or available_threads()
