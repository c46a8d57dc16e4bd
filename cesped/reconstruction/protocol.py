"""What every reconstruction program offers: particles and poses in, volumes out.

Records here are shared by the backends of this room and by those who call them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ..data.table import ParticleTable
from ..errors import MetadataError, OptionError
from ..geometry.poses import Poses
from ..progress import SILENT, Progress
from ..vocabulary import Backend

Volume = NDArray[np.float32]


@dataclass(frozen=True)
class ReconstructionOptions:
    """How a map is reconstructed, the same for every backend.

    The defaults are those of `relion_reconstruct --ctf --pad 2`.

    Parameters
    ----------
    symmetry : point group as RELION names it, for example `C1`, `D7`, `T`, `O`, `I1`
    ctf : correct the contrast transfer: divide the sum of CTF * X by the sum of CTF^2
    gridding : weight by RELION's ten gridding iterations; without them the sum of CTF * X is
        divided by the sum of CTF^2 voxel by voxel (RELION's `--skip_gridding`)
    padding : size of the Fourier grid over the size of the box
    threads : CPU threads to use; all that this process may run on when None

    Raises
    ------
    OptionError
        If the padding or the number of threads is below 1.
    """

    symmetry: str = "C1"
    ctf: bool = True
    gridding: bool = True
    padding: int = 2
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.padding < 1:
            raise OptionError(f"padding is {self.padding}; use a whole number of at least 1")
        if self.threads is not None and self.threads < 1:
            raise OptionError(f"threads is {self.threads}; use a number of at least 1, or None")


@dataclass(frozen=True)
class PoseSet:
    """One set of poses for all particles of a table, and how much each particle counts.

    Parameters
    ----------
    poses : poses of the `P` particles, in the order of the table
    weights : `(P,)` finite and not negative, multiplies CTF * X and CTF^2 of a particle;
        all particles count the same when None
    reusable : the same set will be asked for again, so that its map is worth keeping; see
        `cesped.reconstruction.map_cache`

    Raises
    ------
    MetadataError
        If the weights are not one per pose, or are negative or not finite, or all zero.
    """

    poses: Poses
    weights: NDArray[np.float64] | None = field(default=None)
    reusable: bool = False

    def __post_init__(self) -> None:
        if self.weights is None:
            return
        weights = np.asarray(self.weights, dtype=np.float64)
        if weights.shape != (len(self.poses),):
            raise MetadataError(
                f"{weights.shape} weights for {len(self.poses)} poses; give one weight per particle"
            )
        bad = np.flatnonzero(~np.isfinite(weights) | (weights < 0))
        if bad.size:
            raise MetadataError(
                f"the weight of particle {bad[0] + 1} is {weights[bad[0]]}; "
                "weights must be finite and not negative"
            )
        if len(weights) and not weights.any():
            raise MetadataError("all weights are zero: no particle would be reconstructed")
        object.__setattr__(self, "weights", weights)


@dataclass(frozen=True)
class HalfMaps:
    """Maps of one pose set: of each half of the particles, and of both together.

    `full` is reconstructed from the summed accumulators (all particles at once), which is not
    the mean of the two half maps.
    """

    half0: Volume
    half1: Volume
    full: Volume


class Reconstructor(Protocol):
    """A program that turns particles and poses into volumes."""

    @property
    def name(self) -> Backend:
        """Return which backend this is."""

    def version(self) -> str:
        """Return the program and version, to stamp results with."""

    def reconstruct(
        self: Self,
        table: ParticleTable,
        pose_sets: Sequence[PoseSet],
        options: ReconstructionOptions,
        progress: Progress = SILENT,
    ) -> list[Volume]:
        """Return one `(N, N, N)` float32 [z, y, x] map per pose set.

        Parameters
        ----------
        table : the particles; their own poses are not used
        pose_sets : each for all particles of the table
        options : the same for all maps
        progress : told of every particle

        Raises
        ------
        MetadataError
            If there are no particles, no CTF although it is wanted, or poses and particles differ
            in number.
        PixelSizeError
            If the pixel sizes of the particles differ by more than 0.1 %.
        SymmetryError
            If the symmetry is not known.
        ProgramNotFoundError, ProgramError
            If an external program is missing, or fails.
        """

    def reconstruct_halves(
        self: Self,
        tables: tuple[ParticleTable, ParticleTable],
        pose_sets: Sequence[tuple[PoseSet, PoseSet]],
        options: ReconstructionOptions,
        progress: Progress = SILENT,
    ) -> list[HalfMaps]:
        """Return one `HalfMaps` per pair of pose sets (of half 0, of half 1).

        Raises as `reconstruct` does.
        """
