"""Reconstruction by this package's own back-projection: no other program is needed."""

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ..data.table import ParticleTable
from ..physics.backprojection import BackProjector, available_threads
from ..physics.ctf import ctf_half_plane
from ..physics.threads import torch_threads
from ..vocabulary import Backend, CtfCorrection
from .in_process import InProcessReconstructor, SliceSums
from .protocol import ReconstructionOptions

#: Pixels of one batch of images: 17 MB of float32, whatever the number of particles.
_BATCH_PIXELS = 1 << 22


class NativeReconstructor(InProcessReconstructor):
    """The `Reconstructor` that runs everywhere; follows `relion_reconstruct` 3.1.

    All pose sets of a table share one reading, one Fourier transform and one contrast transfer of
    each particle.
    """

    name = Backend.NATIVE

    def _new_sums(self, box: int, n_held: int, options: ReconstructionOptions) -> SliceSums:
        return BackProjector(box, options.padding, _threads(options))

    def _batch_size(self, box: int, n_held: int, options: ReconstructionOptions) -> int:
        return max(1, _BATCH_PIXELS // box**2)

    def _transformed(
        self, images: NDArray[np.float32], table: ParticleTable, options: ReconstructionOptions
    ) -> tuple[Any, Any]:
        threads = _threads(options)
        half_planes = scipy.fft.rfft2(images, workers=threads)
        if not options.ctf:
            return half_planes, None
        with torch_threads(threads):
            ctf = ctf_half_plane(table.require_ctf(), table.image_size, table.pixel_size_angst)
            if table.ctf_correction_done is CtfCorrection.PHASE_FLIP:
                ctf.abs_()
        return half_planes, ctf


def _threads(options: ReconstructionOptions) -> int:
    return options.threads or available_threads()
