"""Back-projection of images into a volume: accumulate slices, then weight and transform.

Follows `relion_reconstruct` 3.1, so that figures taken from the maps mean the same.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import GeometryError, OptionError
from ..geometry.symmetry import PointGroup
from .grid_symmetry import complete_plane, remove_mean, symmetrise
from .half_ball import FourierSums
from .insertion import insert_slices
from .weighted_map import weighted_map

if TYPE_CHECKING:  # takes a second to load, and maps are made without it
    import torch


def available_threads() -> int:
    """Return how many processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class BackProjector:
    """Sums of CTF * X and CTF^2 on a padded Fourier grid, and the map made of them.

    Parameters
    ----------
    box : image and volume size [px]
    padding : size of the Fourier grid over the size of the box
    threads : threads to use; all that the process may run on when None

    Attributes
    ----------
    relions_grid : weight on a grid of RELION's size, which takes up to four times as long: set it
        where few particles have nearly all of the weight (`cesped.physics.gridding`)

    Raises
    ------
    OptionError
        If the box is smaller than 2, or padding or threads are below 1.

    Notes
    -----
    Insert batches, then `symmetrise` once, then `reconstruct`. Sums of different particles may be
    joined with `merge` at any time before or after `symmetrise`, because both are linear; so the
    map of two half-sets together needs no second pass over the images.
    Memory: 12 bytes for each of about 2.1 (padding * box / 2)^3 voxels, 54 MB at box 128 and 430 MB
    at box 256 with padding 2; as much again while it is symmetrised, and while it becomes a map.

    Examples
    --------
    >>> import numpy as np
    >>> projector = BackProjector(box=8, threads=1)
    >>> planes = np.zeros((1, 8, 5), np.complex64)
    >>> planes[0, 0, 0] = 512.0
    >>> projector.insert(planes, None, np.eye(3)[None])
    >>> projector.reconstruct(gridding=False).shape
    (8, 8, 8)
    """

    def __init__(self, box: int, padding: int = 2, threads: int | None = None) -> None:
        if box < 2 or padding < 1 or (threads is not None and threads < 1):
            raise OptionError(
                f"box {box}, padding {padding}, threads {threads}; "
                "use a box of at least 2, and padding and threads of at least 1"
            )
        self.box = box
        self.padding = padding
        self.threads = threads or available_threads()
        self._sums = FourierSums.empty(box, padding)
        self._is_whole = False
        self.relions_grid = False

    def insert(
        self,
        half_planes: torch.Tensor | NDArray[np.complex64],
        ctf: torch.Tensor | NDArray[np.float32] | None,
        rotations: ArrayLike,
        weights: ArrayLike | None = None,
        origins_px: ArrayLike | None = None,
        premultiplied: bool = False,
    ) -> None:
        """Add a batch of images.

        Parameters
        ----------
        half_planes : `(B, n, n // 2 + 1)` complex transforms, phase origin at pixel n // 2, FFT
            layout (`cesped.physics.fourier.images_to_half_plane`)
        ctf : `(B, n, n // 2 + 1)`, the same layout; 1 everywhere when None
        rotations : `(B, 3, 3)`, x_volume = R @ x_image (`cesped.geometry.euler`)
        weights : `(B,)` multiply numerator and denominator; 1 when None
        origins_px : `(B, 2)` x, y: what must be added to centre the content [px]; 0 when None
        premultiplied : the transforms are multiplied by `ctf` already

        Raises
        ------
        GeometryError
            If the shapes do not belong together.
        OptionError
            If `symmetrise` or `reconstruct` was called already.
        """
        if self._is_whole:
            raise OptionError("the grid is symmetrised already; insert all images before that")
        planes = np.ascontiguousarray(half_planes, dtype=np.complex64)
        batch = len(planes)
        shape = (batch, self.box, self.box // 2 + 1)
        values = np.ones(shape, np.float32) if ctf is None else np.asarray(ctf)
        rotation = np.ascontiguousarray(rotations, dtype=np.float64)
        weight = np.ones(batch) if weights is None else np.asarray(weights)
        origin = np.zeros((batch, 2)) if origins_px is None else np.asarray(origins_px)
        for what, found, wanted in (
            ("half_planes", planes.shape, shape),
            ("ctf", values.shape, shape),
            ("rotations", rotation.shape, (batch, 3, 3)),
            ("weights", weight.shape, (batch,)),
            ("origins_px", origin.shape, (batch, 2)),
        ):
            if found != wanted:
                raise GeometryError(f"{what} have shape {found}; for this batch give {wanted}")
        insert_slices(
            self._sums,
            planes,
            np.ascontiguousarray(values, dtype=np.float32),
            rotation,
            np.ascontiguousarray(weight, dtype=np.float32),
            origin.astype(np.float64),
            self.padding,
            self.threads,
            premultiplied,
        )

    @property
    def weighting_bytes(self) -> int:
        """Return how much memory the sums take to become a map, beyond themselves: 38 N^3."""
        return 38 * (self.padding * self.box) ** 3 // 8

    @property
    def sums(self) -> torch.Tensor:
        """Return the `(n_voxels, 3)` sums of `FourierSums`, not a copy: several may be added up."""
        import torch

        return torch.from_numpy(self._sums.values)

    def symmetrise(self, group: PointGroup | None = None) -> None:
        """Complete the half grid by Friedel's law, and sum it over a point group (C1 when None).

        Raises
        ------
        OptionError
            If the grid is symmetrised already.
        """
        if self._is_whole:
            raise OptionError("the grid is symmetrised already; call symmetrise once")
        complete_plane(self._sums)
        remove_mean(self._sums)
        if group is not None:
            self._sums = symmetrise(self._sums, group.operators, self.threads)
        self._is_whole = True

    def merge(self, other: Self) -> None:
        """Add the sums of another back-projector of the same box, padding and state.

        Raises
        ------
        OptionError
            If they differ.
        """
        refuse_unlike_sums(
            (self.box, self.padding, self._is_whole), (other.box, other.padding, other._is_whole)
        )
        self._sums.add(other._sums)

    def reconstruct(self, gridding: bool = True) -> NDArray[np.float32]:
        """Return the `(N, N, N)` [z, y, x] map; may be called again, or after a `merge`.

        Parameters
        ----------
        gridding : weight by RELION's ten gridding iterations, else divide voxel by voxel
        """
        if not self._is_whole:
            self.symmetrise()
        return weighted_map(
            self._sums, self.box, self.padding, gridding, self.threads, self.relions_grid
        )


def refuse_unlike_sums(mine: tuple[int, int, bool], theirs: tuple[int, int, bool]) -> None:
    """Raise OptionError unless two sums are of one box, padding and state (symmetrised or not)."""
    if mine != theirs:
        raise OptionError(
            f"sums with (box, padding, symmetrised) {mine} and {theirs} do not add up; "
            "merge grids of one kind"
        )
