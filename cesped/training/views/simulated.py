"""Sets of views drawn from maps on the device that learns: nothing is stored, poses are exact."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.simulation_optics import OpticsRanges
from ...data.simulation_poses import drawn_origins_px
from ...errors import OptionError
from ...geometry.rotations import random_rotations
from ...geometry.symmetry import PointGroup
from ...physics.ctf import CtfParameters
from ...physics.torch_projection import TorchProjector
from .sets import ViewBatch, generator_of


@dataclass(frozen=True)
class _Plan:
    """What one set is made with."""

    which_map: int
    rotations: NDArray[np.float64]
    origins_px: NDArray[np.float64]
    ctf: CtfParameters | None
    snr: float | None
    noise_seed: int


@dataclass(frozen=True)
class SimulatedViews:
    """Draws sets of views, each of one map (CryoFastAR paper, sections 4.2, B.1 and E).

    Orientations are uniform on SO(3). Shifts and CTF are applied to the transform of a projection,
    so they are exact; then white noise is added.

    Parameters
    ----------
    projectors : of the maps, of one box, on one device
    snr : range of the variance of the CTF-modulated signal over the full frame, averaged over the
        views of a set, over that of the noise; uniform in its logarithm. No noise when None
    max_shift_px : origins are uniform along x and y up to this
    optics : ranges that CTFs are drawn from, or CTFs to draw from; none when None
    group : that all maps have

    Raises
    ------
    OptionError
        If there is no map, or boxes differ.
    """

    projectors: Sequence[TorchProjector]
    snr: tuple[float, float] | None = None
    max_shift_px: float = 0.0
    optics: OpticsRanges | CtfParameters | None = None
    group: PointGroup | None = None

    def __post_init__(self) -> None:
        boxes = sorted({projector.box for projector in self.projectors})
        if len(boxes) != 1:
            found = f"of {' and '.join(map(str, boxes))} voxels" if boxes else "at all"
            raise OptionError(f"views are drawn from maps of one box; found no such maps {found}")

    def draw(self, numbers: list[int], views: int, stream: tuple[int, ...]) -> ViewBatch:
        """Return the sets of these numbers; see `ViewSource`.

        The noise is drawn on the device, so it differs between kinds of devices.
        """
        plans = [self._plan(views, generator_of(stream, number)) for number in numbers]
        device, box = self.projectors[0].device, self.projectors[0].box
        clean = torch.empty((len(plans), views, box, box), device=device)
        for which in sorted({plan.which_map for plan in plans}):
            rows = [row for row, plan in enumerate(plans) if plan.which_map == which]
            clean[rows] = self._projections(which, [plans[row] for row in rows], views)
        images = clean if self.snr is None else clean + self._noise(clean, plans)
        return ViewBatch(
            images[:, :, None],
            _on(device, np.stack([plan.rotations for plan in plans])),
            _on(device, -np.stack([plan.origins_px for plan in plans])),
            clean[:, :, None],
            None if self.group is None else _on(device, self.group.operators),
        )

    def _plan(self, views: int, generator: np.random.Generator) -> _Plan:
        which = int(generator.integers(len(self.projectors)))
        rotations = random_rotations(views, generator)
        origins = drawn_origins_px(views, self.max_shift_px, None, generator)
        ctf = self.optics
        if isinstance(ctf, OpticsRanges):
            ctf = ctf.draw(views, generator)
        elif ctf is not None:
            ctf = ctf.select(generator.integers(0, len(ctf), views))
        snr = None
        if self.snr is not None:
            snr = float(np.exp(generator.uniform(*np.log(self.snr))))
        return _Plan(which, rotations, origins, ctf, snr, int(generator.integers(0, 2**62)))

    def _projections(self, which: int, plans: list[_Plan], views: int) -> Tensor:
        projector = self.projectors[which]
        rotations = np.concatenate([plan.rotations for plan in plans])
        origins = np.concatenate([plan.origins_px for plan in plans])
        ctfs = [plan.ctf for plan in plans if plan.ctf is not None]
        images = projector.project(
            rotations, origins * projector.pixel_size_angst, _joined(ctfs) if ctfs else None
        )
        return images.reshape(len(plans), views, projector.box, projector.box)

    def _noise(self, clean: Tensor, plans: list[_Plan]) -> Tensor:
        noise = torch.empty_like(clean)
        for row, plan in enumerate(plans):
            source = torch.Generator(clean.device).manual_seed(plan.noise_seed)
            noise[row] = torch.randn(clean.shape[1:], generator=source, device=clean.device)
        power = clean.to(torch.float64).var(dim=(-2, -1), correction=0).mean(dim=1)
        ratios = torch.tensor([plan.snr for plan in plans], dtype=torch.float64).to(power.device)
        return noise * (power / ratios).sqrt().to(noise.dtype)[:, None, None, None]


def _joined(ctfs: list[CtfParameters]) -> CtfParameters:
    names = [field.name for field in fields(CtfParameters)]
    return CtfParameters(
        **{name: np.concatenate([getattr(ctf, name) for ctf in ctfs]) for name in names}
    )


def _on(device: torch.device, values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(device)
