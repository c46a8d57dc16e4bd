"""Sets of views drawn from maps on the device that learns: nothing is stored, poses are exact."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...data.simulation.optics import OpticsRanges
from ...errors import OptionError
from ...geometry.rotations import random_rotations, rotations_about_random_axes
from ...geometry.symmetry import PointGroup
from ...physics.ctf import CtfParameters
from ...physics.torch_projection import TorchProjector
from .corruption import Corruption, drawn_corruption, joined_ctfs, with_noise
from .map_window import MapWindow
from .sets import VALIDATION, ViewBatch, generator_of


@dataclass(frozen=True)
class _Plan:
    """What one set is made with."""

    which_map: int
    rotations: NDArray[np.float64]
    corruption: Corruption


@dataclass(frozen=True)
class ReferenceBall:
    """Where the reference of a set may look: within an angle of one orientation, which grows.

    Of views in all orientations neither image alone says anything about the rotation between the
    two, so a network begins on a plateau; a reference that is nearly known lets it begin with the
    poses of single images.

    Parameters
    ----------
    first_deg, last_deg : largest angle from the identity, of set number 0 and of `sets`; it grows
        linearly with the number
    sets : number after which it stays
    """

    first_deg: float
    last_deg: float
    sets: int

    def draw(self, number: int, generator: np.random.Generator) -> NDArray[np.float64]:
        """Return the rotation `(3, 3)` of a reference, uniform within the angle of its number."""
        share = min(1.0, number / max(1, self.sets))
        largest = np.deg2rad(self.first_deg + share * (self.last_deg - self.first_deg))
        angles = np.linspace(0, largest, 1000)
        below = angles - np.sin(angles)  # uniform on SO(3): the density of an angle is 1 - cos
        angle_deg = np.rad2deg(np.interp([generator.random() * below[-1]], below, angles))
        turn: NDArray[np.float64] = rotations_about_random_axes(1, angle_deg, generator)[0]
        return turn


@dataclass(frozen=True)
class SimulatedViews:
    """Draws sets of views, each of one map (CryoFastAR paper, sections 4.2, B.1 and E).

    Orientations are uniform on SO(3). Shifts and CTF are applied to the transform of a projection,
    so they are exact; then white noise is added.

    Parameters
    ----------
    maps : of one box, on one device; or a window of them that moves through many
    snr : range of the variance of the CTF-modulated signal over the full frame, averaged over the
        views of a set, over that of the noise; uniform in its logarithm. No noise when None
    max_shift_px : origins are uniform along x and y up to this
    optics : ranges that CTFs are drawn from, or CTFs to draw from; none when None
    group : that all maps have
    reference : where references look while it learns; anywhere when None

    Raises
    ------
    OptionError
        If there is no map, or boxes differ.
    """

    maps: Sequence[TorchProjector] | MapWindow
    snr: tuple[float, float] | None = None
    max_shift_px: float = 0.0
    optics: OpticsRanges | CtfParameters | None = None
    group: PointGroup | None = None
    reference: ReferenceBall | None = None

    def __post_init__(self) -> None:
        if isinstance(self.maps, MapWindow):  # which knows its box
            return
        boxes = sorted({projector.box for projector in self.maps})
        if len(boxes) != 1:
            found = f"of {' and '.join(map(str, boxes))} voxels" if boxes else "at all"
            raise OptionError(f"views are drawn from maps of one box; found no such maps {found}")

    def draw(self, numbers: list[int], views: int, stream: tuple[int, ...]) -> ViewBatch:
        """Return the sets of these numbers; see `ViewSource`.

        The noise is drawn on the device, so it differs between kinds of devices.
        """
        plans = [self._plan(views, number, stream) for number in numbers]
        images = [torch.empty(0)] * len(plans)
        sizes_angst = [0.0] * len(plans)
        for which in sorted({plan.which_map for plan in plans}):
            rows = [row for row, plan in enumerate(plans) if plan.which_map == which]
            made = self._projections(which, [plans[row] for row in rows], views)
            for row, each in zip(rows, made, strict=True):
                images[row], sizes_angst[row] = each, self.maps[which].pixel_size_angst
        clean = torch.stack(images)
        corruptions = [plan.corruption for plan in plans]
        noisy = clean if self.snr is None else with_noise(clean, corruptions)
        device = clean.device
        return ViewBatch(
            noisy[:, :, None],
            _on(device, np.stack([plan.rotations for plan in plans])),
            _on(device, -np.stack([each.origins_px for each in corruptions])),
            clean[:, :, None],
            None if self.group is None else _on(device, self.group.operators),
            tuple(sizes_angst),
        )

    def _plan(self, views: int, number: int, stream: tuple[int, ...]) -> _Plan:
        generator = generator_of(stream, number)
        if isinstance(self.maps, MapWindow):
            first = 0 if stream[-1] == VALIDATION else number
            which = self.maps.choose(first, generator)
        else:
            which = int(generator.integers(len(self.maps)))
        rotations = random_rotations(views, generator)
        corruption = drawn_corruption(views, self.max_shift_px, self.optics, self.snr, generator)
        if self.reference is not None and stream[-1] != VALIDATION:
            rotations[0] = self.reference.draw(number, generator)
        return _Plan(which, rotations, corruption)

    def _projections(self, which: int, plans: list[_Plan], views: int) -> Tensor:
        projector = self.maps[which]
        rotations = np.concatenate([plan.rotations for plan in plans])
        origins = np.concatenate([plan.corruption.origins_px for plan in plans])
        ctfs = [plan.corruption.ctf for plan in plans if plan.corruption.ctf is not None]
        images = projector.project(
            rotations, origins * projector.pixel_size_angst, joined_ctfs(ctfs) if ctfs else None
        )
        return images.reshape(len(plans), views, projector.box, projector.box)


def _on(device: torch.device, values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(device)
