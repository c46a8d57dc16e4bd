"""A set of particles as the rest of the package sees it: images, poses and optics by row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from cesped.errors import IdMismatchError, MetadataError
from cesped.vocabulary import CtfCorrection

if TYPE_CHECKING:
    from cesped.geometry.poses import Poses
    from cesped.physics.ctf import CtfParameters


@dataclass(frozen=True)
class ParticleTable:
    """Particles of one star file, `P` rows; what its columns mean is already worked out.

    Parameters
    ----------
    source : path of the star file, for messages
    particles : the particle table as read, columns untouched
    optics : the optics table as read; None for a RELION 3.0 file
    ids : `(P,)` rlnImageName, verbatim
    stacks : image files, each once
    stack_index : `(P,)` which of `stacks` holds the image
    section : `(P,)` which image of that file, counted from 0
    image_size : box [px]
    pixel_size_angst : `(P,)` [angstrom/px]
    poses : poses of the particles; None if the file has no angles
    ctf : contrast transfer of the particles; None if the file has no defocus
    has_confidence : whether the file states how sure its poses are
    ctf_correction_done : what the file says was done to the images' contrast transfer already
    """

    source: str
    particles: pd.DataFrame
    optics: pd.DataFrame | None
    ids: NDArray[np.object_]
    stacks: tuple[Path, ...]
    stack_index: NDArray[np.int64]
    section: NDArray[np.int64]
    image_size: int
    pixel_size_angst: NDArray[np.float64]
    poses: Poses | None
    ctf: CtfParameters | None
    has_confidence: bool
    ctf_correction_done: CtfCorrection = CtfCorrection.NONE

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sampling_rate(self) -> float:
        """Return the pixel size [angstrom/px]; the median where optics groups differ."""
        return float(np.median(self.pixel_size_angst))

    def require_poses(self) -> Poses:
        """Return the poses.

        Raises
        ------
        MetadataError
            If the file has none.
        """
        if self.poses is None:
            raise MetadataError(
                f"{self.source} has no angles; columns rlnAngleRot, rlnAngleTilt and rlnAnglePsi "
                "are needed here: refine the particles first"
            )
        return self.poses

    def require_ctf(self) -> CtfParameters:
        """Return the contrast transfer parameters.

        Raises
        ------
        MetadataError
            If the file has none.
        """
        if self.ctf is None:
            raise MetadataError(
                f"{self.source} has no rlnDefocusU column; estimate the CTF first, or ask for "
                "no CTF correction"
            )
        return self.ctf

    def refuse_second_correction(self, wanted: CtfCorrection) -> None:
        """Raise if the contrast transfer is to be corrected that was corrected already.

        Raises
        ------
        MetadataError
            If `wanted` is a correction, and the file says that there was one.
        """
        if CtfCorrection.NONE in (wanted, self.ctf_correction_done):
            return
        done = {
            CtfCorrection.PHASE_FLIP: "phase flipped (rlnCtfDataArePhaseFlipped)",
            CtfCorrection.CTF_MULTIPLY: "multiplied by their CTF (rlnCtfDataAreCtfPremultiplied)",
        }
        raise MetadataError(
            f"{self.source}: the images are {done[self.ctf_correction_done]} already, and "
            f'ctf_correction="{wanted}" would correct them twice; use ctf_correction="none"'
        )

    def select(self, indices: ArrayLike) -> ParticleTable:
        """Return the rows `indices` (integers or a boolean mask), in that order."""
        chosen = np.asarray(indices)
        if chosen.dtype == np.bool_:
            chosen = np.flatnonzero(chosen)
        chosen = chosen.astype(np.int64).reshape(-1)
        return replace(
            self,
            particles=self.particles.iloc[chosen].reset_index(drop=True),
            ids=self.ids[chosen],
            stack_index=self.stack_index[chosen],
            section=self.section[chosen],
            pixel_size_angst=self.pixel_size_angst[chosen],
            poses=None if self.poses is None else self.poses.select(chosen),
            ctf=None if self.ctf is None else self.ctf.select(chosen),
        )

    def with_poses(self, poses: Poses) -> ParticleTable:
        """Return the same particles with other poses.

        Raises
        ------
        MetadataError
            If there is not one pose per particle.
        """
        if len(poses) != len(self):
            raise MetadataError(
                f"{len(poses)} poses for the {len(self)} particles of {self.source}; give one each"
            )
        return replace(self, poses=poses)

    def check_ids_unique(self) -> None:
        """Raise unless every particle id occurs once.

        Raises
        ------
        IdMismatchError
            Naming an id that occurs twice, and its rows.
        """
        doubled = pd.Series(self.ids).duplicated(keep=False).to_numpy()
        if not doubled.any():
            return
        first = self.ids[np.flatnonzero(doubled)[0]]
        rows = np.flatnonzero(self.ids == first) + 1
        raise IdMismatchError(
            f"{self.source}: rlnImageName {first!r} occurs in rows "
            f"{', '.join(map(str, rows[:5]))}; every particle must occur once: remove the copies"
        )

    def describe_row(self, index: int) -> str:
        """Return where particle `index` comes from, for messages."""
        return f"row {index + 1} of {self.source} ({self.ids[index]})"
