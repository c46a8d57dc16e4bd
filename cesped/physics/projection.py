"""Projections of a volume as central slices of its transform, as `relion_project` makes them."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..errors import GeometryError, OptionError
from .fourier import half_plane_to_images, shift_phase
from .slice_kernel import fill_slices
from .threads import run_in_chunks


class Projector:
    """A volume made ready to be projected from any direction.

    Parameters
    ----------
    volume : `(N, N, N)` real array or tensor, `[z, y, x]`, origin at voxel N // 2
    padding : int
        Real-space padding before the transform; 2 is what RELION uses.
    threads : int, optional
        Most threads to sample with; `torch.get_num_threads()` when not given.

    Raises
    ------
    GeometryError
        If `volume` is not a cube.
    OptionError
        If `padding` is below 1.

    Notes
    -----
    A slice samples the padded transform by trilinear interpolation, whose fall-off in real space
    the volume was divided by beforehand. Frequencies |k| > N // 2 are zero. A rotation maps image
    vectors onto volume vectors and the projection sums over image z: see `cesped.geometry.euler`.
    What this costs: with padding 2 the images correlate 0.9999 with the exact ones, and their sum
    is 3 % high for a particle that fills the box, because the sample at frequency 0 lies on the
    grid, where interpolation has no fall-off to undo. RELION's images are the same in both.

    Examples
    --------
    >>> volume = np.zeros((16, 16, 16), np.float32)
    >>> volume[8, 8, 11] = 1.0  # a point at x = 3
    >>> image = Projector(volume).project(np.eye(3)[None])[0]
    >>> divmod(int(image.argmax()), 16)
    (8, 11)
    """

    def __init__(
        self, volume: ArrayLike | Tensor, padding: int = 2, threads: int | None = None
    ) -> None:
        density = checked_volume(volume, padding)
        self.box = int(density.shape[0])
        self.padding = int(padding)
        self._threads = threads
        self._grid = sampling_grid(density, self.padding)

    def slices(self, rotations: ArrayLike | Tensor) -> Tensor:
        """Return central slices: the half planes of projections without shift or CTF.

        Parameters
        ----------
        rotations : `(B, 3, 3)` array or tensor

        Returns
        -------
        `(B, N, N // 2 + 1)` complex64 tensor, layout of `cesped.physics.fourier`

        Raises
        ------
        GeometryError
            If the shape is another one, or values are not finite.
        """
        turns = checked_rotations(rotations)
        half_planes = np.empty((len(turns), self.box, self.box // 2 + 1), np.complex64)
        out = half_planes.view(np.float32).reshape(*half_planes.shape, 2)
        run_in_chunks(
            lambda start, stop: fill_slices(self._grid, turns, start, stop, self.padding, out),
            len(turns),
            self._threads,
        )
        return torch.from_numpy(half_planes)

    def project(
        self,
        rotations: ArrayLike | Tensor,
        origins_px: ArrayLike | Tensor | None = None,
        ctf: Tensor | None = None,
    ) -> Tensor:
        """Return images of the volume.

        Parameters
        ----------
        rotations : `(B, 3, 3)` array or tensor
        origins_px : `(B, 2)` array or tensor [pixel], optional
            x and y of RELION's origin: the content moves by its negative.
        ctf : `(B, N, N // 2 + 1)` real tensor, optional
            Multiplies the half planes.

        Returns
        -------
        `(B, N, N)` float32 tensor: sums of the density along the line of sight

        Raises
        ------
        GeometryError
            If shapes do not fit each other.
        """
        half_planes = self.slices(rotations)
        if origins_px is not None:
            origins = torch.as_tensor(origins_px, dtype=torch.float64)
            if origins.shape != (len(half_planes), 2):
                raise GeometryError(
                    f"origins have shape {tuple(origins.shape)}; ({len(half_planes)}, 2) is needed"
                )
            half_planes *= shift_phase(self.box, -origins)
        if ctf is not None:
            if ctf.shape != half_planes.shape:
                raise GeometryError(
                    f"the CTF has shape {tuple(ctf.shape)}; {tuple(half_planes.shape)} is needed"
                )
            half_planes *= ctf.to(torch.float32)
        return half_plane_to_images(half_planes)


def checked_rotations(rotations: ArrayLike | Tensor) -> NDArray[np.float64]:
    """Return rotations as a contiguous float64 array of shape `(B, 3, 3)`."""
    given = rotations.detach().cpu() if isinstance(rotations, Tensor) else rotations
    turns = np.ascontiguousarray(given, dtype=np.float64)
    if turns.ndim != 3 or turns.shape[1:] != (3, 3):
        raise GeometryError(f"rotations have shape {turns.shape}; (B, 3, 3) is needed")
    # The sampling kernel does not look before it reads: longer vectors would leave the grid.
    norms = np.linalg.norm(turns, axis=1)
    wrong = ~(np.abs(norms - 1) < 1e-4).all(axis=1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise GeometryError(f"matrix {row + 1} of {len(turns)} is not a rotation: {turns[row]}")
    return turns


def checked_volume(
    volume: ArrayLike | Tensor, padding: int, pixel_size_angst: float = 1.0
) -> Tensor:
    """Return a volume to be projected as a float32 tensor `(N, N, N)` of the processor.

    Raises
    ------
    GeometryError
        If it is not a cube.
    OptionError
        If `padding` is below 1, or the pixel size not positive.
    """
    density = torch.as_tensor(volume).to(dtype=torch.float32, device="cpu")
    if density.ndim != 3 or len(set(density.shape)) != 1:
        raise GeometryError(
            f"a volume has shape {tuple(density.shape)}; a cube (N, N, N) is needed"
        )
    if padding < 1:
        raise OptionError(f"padding {padding} was given; it must be 1 or more")
    if not pixel_size_angst > 0:
        raise OptionError(f"pixel size {pixel_size_angst} A was given; it must be above 0")
    return density


def sampling_grid(density: Tensor, padding: int) -> NDArray[np.float32]:
    """Return the padded, compensated transform in the layout of `fill_slices`."""
    n = density.shape[0]
    size = padding * n
    # Trilinear sampling multiplies the volume by sinc^2 along each axis.
    fall_off = torch.sinc((torch.arange(n, dtype=torch.float64) - n // 2) / size) ** 2
    inverse = (1 / fall_off).to(torch.float32)
    compensated = density * inverse[:, None, None] * inverse[None, :, None] * inverse
    padded = torch.zeros((size,) * 3)
    place = (torch.arange(n) - n // 2) % size  # the origin voxel goes to index 0
    padded[place[:, None, None], place[None, :, None], place] = compensated
    half_space = torch.fft.rfftn(padded).numpy()
    del padded
    reach = padding * (n // 2) + 1
    # Frequency j lies at index j modulo the padded size. The outermost one may not exist: it
    # wraps round or stays zero, and matters only to samples exactly on the band limit.
    wrapped = np.arange(-reach, reach + 1) % size
    columns = min(reach + 1, half_space.shape[2])
    # `empty` of numpy asks for huge pages, which the scattered reads of the kernel profit from.
    grid = np.empty((len(wrapped), len(wrapped), reach + 1), np.complex64)
    grid[:, :, columns:] = 0
    for plane, index in enumerate(wrapped):
        grid[plane, :, :columns] = half_space[index, wrapped, :columns]
    return grid.view(np.float32).reshape(*grid.shape, 2)
