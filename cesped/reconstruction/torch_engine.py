"""Reconstruction by torch: on a GPU, or wherever else torch computes."""

import os
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .. import __version__
from ..data.table import ParticleTable
from ..errors import OptionError
from ..physics.backprojection import available_threads
from ..physics.ctf import ctf_half_plane
from ..physics.half_ball import HalfBall, ball_radius
from ..physics.torch_backprojection import BYTES_PER_SAMPLE, TorchBackProjector
from ..vocabulary import Backend, CtfCorrection
from .in_process import InProcessReconstructor, SliceSums
from .protocol import ReconstructionOptions
from .sharding import ALONE, Shards

#: Share of a GPU's free memory that is used when no budget is given.
_SHARE_OF_FREE = 0.8
#: Budget on a CPU, when none is given.
_CPU_BUDGET_BYTES = 4_000_000_000
#: More images at once are of no use.
_MOST_AT_ONCE = 512


class TorchReconstructor(InProcessReconstructor):
    """The `Reconstructor` for GPUs; the maps are those of the native one, to rounding.

    Particles are read from disk in batches of what the memory leaves; the sums of all pose sets
    stay on the device.

    Parameters
    ----------
    device : such as `cuda`, the GPU of this process's rank, `cuda:1` or `cpu`; `cuda` if there is
        any GPU, else `cpu`, when None
    memory_gb : the most memory to use on the device; 80 % of what is free there, or 4 GB on a CPU,
        when None
    shards : as for `InProcessReconstructor`

    Raises
    ------
    OptionError
        If there is no such device, or the budget is not positive.
    """

    name = Backend.TORCH

    def __init__(
        self,
        device: str | None = None,
        memory_gb: float | None = None,
        shards: Shards = ALONE,
    ) -> None:
        super().__init__(shards)
        if memory_gb is not None and not memory_gb > 0:
            raise OptionError(f"a memory of {memory_gb} GB was given; it must be positive")
        self.device = _chosen_device(device)
        self._given_bytes = None if memory_gb is None else int(memory_gb * 1e9)

    def version(self) -> str:
        """Return program, version and device, to stamp results with."""
        where = "CPU"
        if self.device.type == "cuda":
            where = torch.cuda.get_device_name(self.device)
        return f"cesped {__version__} torch {torch.__version__} on {where}"

    @cached_property
    def budget_bytes(self) -> int:
        """Return the most memory to use on the device, as found when first asked."""
        if self._given_bytes is not None:
            return self._given_bytes
        if self.device.type != "cuda":
            return _CPU_BUDGET_BYTES
        idle = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return int(_SHARE_OF_FREE * (torch.cuda.mem_get_info(self.device)[0] + idle))

    def _new_sums(self, box: int, n_held: int, options: ReconstructionOptions) -> SliceSums:
        left_bytes = self.budget_bytes - n_held * _sums_bytes(box, options.padding)
        threads = options.threads or available_threads()
        return TorchBackProjector(box, options.padding, self.device, left_bytes, threads)

    def _batch_size(self, box: int, n_held: int, options: ReconstructionOptions) -> int:
        samples = np.pi / 2 * (box / 2) ** 2
        # raw image, transform and its workspace, CTF in float64 with two intermediates
        image_bytes = int(samples * BYTES_PER_SAMPLE + 45 * box**2)
        sums_bytes = _sums_bytes(box, options.padding)
        left_bytes = self.budget_bytes - n_held * sums_bytes
        if left_bytes < max(image_bytes, sums_bytes):  # a copy is needed for the symmetry
            needed_gb = (n_held * sums_bytes + max(image_bytes, sums_bytes)) / 1e9
            raise OptionError(
                f"{n_held} maps of {box} px at once need {needed_gb:.3g} GB on {self.device}, and "
                f"{self.budget_bytes / 1e9:.3g} GB may be used; allow more (--memory-gb), or use "
                "the native backend"
            )
        return min(_MOST_AT_ONCE, left_bytes // image_bytes)

    def _transformed(
        self, images: NDArray[np.float32], table: ParticleTable, options: ReconstructionOptions
    ) -> tuple[Any, Any]:
        half_planes = torch.fft.rfft2(torch.from_numpy(images).to(self.device))
        if not options.ctf:
            return half_planes, None
        ctf = ctf_half_plane(
            table.require_ctf(), table.image_size, table.pixel_size_angst, device=self.device
        )
        if table.ctf_correction_done is CtfCorrection.PHASE_FLIP:
            ctf.abs_()
        return half_planes, ctf


def _sums_bytes(box: int, padding: int) -> int:
    return 12 * HalfBall.of_radius(ball_radius(box, padding)).n_voxels


def _chosen_device(name: str | None) -> torch.device:
    """Return the device of that name, or this rank's GPU, or the CPU."""
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type == "cuda" and device.index is None and torch.cuda.is_available():
            rank = int(os.environ.get("LOCAL_RANK", "0"))
            device = torch.device("cuda", rank % torch.cuda.device_count())
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise OptionError(
            f"torch cannot compute on the device {name!r} ({error}); use cpu, or cuda where there "
            "is an NVIDIA GPU"
        ) from error
    return device
