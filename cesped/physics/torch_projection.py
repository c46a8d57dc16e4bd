"""Projections on the device that a model trains on: a batch at a time, straight from the volume."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..errors import GeometryError
from .ctf import CtfParameters, ctf_half_plane
from .fourier import half_plane_to_images, shift_phase
from .projection import checked_volume, sampling_grid


class TorchProjector:
    """A volume on a device, to be projected from any direction.

    Images are those of `cesped.physics.projection.Projector` but for rounding: places between grid
    points are known to 1e-5 of their distance.

    Parameters
    ----------
    volume : `(N, N, N)` real array or tensor, `[z, y, x]`, origin at voxel N // 2
    pixel_size_angst : of volume and images [angstrom]
    device : where to compute; the processor when None
    padding : real-space padding before the transform

    Raises
    ------
    GeometryError
        If `volume` is not a cube.
    OptionError
        If `padding` is below 1, or the pixel size not positive.

    Examples
    --------
    >>> volume = torch.zeros(16, 16, 16)
    >>> volume[8, 8, 11] = 1.0  # a point at x = 3
    >>> image = TorchProjector(volume, 1.5).project(torch.eye(3)[None])[0]
    >>> divmod(int(image.argmax()), 16)
    (8, 11)
    """

    def __init__(
        self,
        volume: ArrayLike | Tensor,
        pixel_size_angst: float,
        device: torch.device | str | None = None,
        padding: int = 2,
    ) -> None:
        density = checked_volume(volume, padding, pixel_size_angst)
        self.box = int(density.shape[0])
        self.pixel_size_angst = float(pixel_size_angst)
        self.padding = int(padding)
        self.device = torch.device("cpu" if device is None else device)
        grid = torch.from_numpy(sampling_grid(density, self.padding))
        self._side, self._width = grid.shape[0], grid.shape[2]
        self._grid = torch.view_as_complex(grid).reshape(-1).to(self.device)
        self._place, self._frequencies = self._disc()

    @staticmethod
    def bytes_of(box: int, padding: int = 2) -> int:
        """Return what the grid of a map of `box` voxels takes on the device [bytes]."""
        reach = padding * (box // 2) + 1
        return 8 * (2 * reach + 1) ** 2 * (reach + 1)

    def _disc(self) -> tuple[Tensor, Tensor]:
        """Return where samples lie in a flattened half plane, and their frequencies `(M, 2)`."""
        n = self.box
        ky, kx = torch.fft.fftfreq(n, 1 / n).round(), torch.arange(n // 2 + 1.0)
        inside = ky[:, None] ** 2 + kx**2 <= (n // 2) ** 2
        row, column = torch.nonzero(inside, as_tuple=True)
        frequencies = torch.stack([kx[column], ky[row]], dim=1)
        return (row * (n // 2 + 1) + column).to(self.device), frequencies.to(self.device)

    def slices(self, rotations: Tensor) -> Tensor:
        """Return central slices: the half planes of projections without shift or CTF.

        Parameters
        ----------
        rotations : `(B, 3, 3)`

        Returns
        -------
        `(B, N, N // 2 + 1)` complex64 tensor, layout of `cesped.physics.fourier`
        """
        turns = rotations.to(self.device, torch.float32)
        # (B, M, 3): R k of each sample, on the finer grid
        points = self.padding * (self._frequencies @ turns[:, :, :2].transpose(1, 2))
        is_opposite = points[..., 0] < 0  # there the conjugate of the opposite sample is taken
        points = torch.where(is_opposite[..., None], -points, points)
        floor = points.floor()
        x, y, z = (points - floor).unbind(-1)
        x0, y0, z0 = floor.to(torch.int64).unbind(-1)
        centre = self._side // 2
        first = ((z0 + centre) * self._side + y0 + centre) * self._width + x0
        values = torch.zeros(first.shape, dtype=torch.complex64, device=self.device)
        for step_z, weight_z in ((0, 1 - z), (1, z)):
            for step_y, weight_y in ((0, 1 - y), (1, y)):
                start = first + (step_z * self._side + step_y) * self._width
                weight = weight_z * weight_y
                values += weight * ((1 - x) * self._grid[start] + x * self._grid[start + 1])
        # not lazily: not every device knows a tensor that is still to be conjugated
        values = torch.where(is_opposite, values.conj_physical(), values)
        n = self.box
        half_planes = torch.zeros(
            (len(turns), n * (n // 2 + 1)), dtype=torch.complex64, device=self.device
        )
        half_planes[:, self._place] = values
        return half_planes.reshape(-1, n, n // 2 + 1)

    def project(
        self,
        rotations: ArrayLike | Tensor,
        origins_angst: ArrayLike | Tensor | None = None,
        ctf: CtfParameters | None = None,
    ) -> Tensor:
        """Return images of the volume.

        Parameters
        ----------
        rotations : `(B, 3, 3)`
        origins_angst : `(B, 2)` x and y of RELION's origin: the content moves by its negative
        ctf : of the B images

        Returns
        -------
        `(B, N, N)` float32 tensor on the device

        Raises
        ------
        GeometryError
            If shapes do not fit each other.
        """
        turns = torch.as_tensor(np.asarray(rotations) if not _is_tensor(rotations) else rotations)
        if turns.ndim != 3 or turns.shape[1:] != (3, 3):
            raise GeometryError(f"rotations have shape {tuple(turns.shape)}; (B, 3, 3) is needed")
        half_planes = self.slices(turns)
        if origins_angst is not None:
            origins = torch.as_tensor(origins_angst).to(self.device, torch.float64)
            if origins.shape != (len(turns), 2):
                raise GeometryError(
                    f"origins have shape {tuple(origins.shape)}; ({len(turns)}, 2) is needed"
                )
            half_planes *= shift_phase(self.box, -origins / self.pixel_size_angst)
        if ctf is not None:
            if len(ctf) != len(turns):
                raise GeometryError(f"{len(turns)} rotations and {len(ctf)} CTFs; give one each")
            half_planes *= ctf_half_plane(ctf, self.box, self.pixel_size_angst, device=self.device)
        return half_plane_to_images(half_planes)


def _is_tensor(values: object) -> bool:
    return isinstance(values, Tensor)
