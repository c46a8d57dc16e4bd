"""What RELION, CryoSPARC and cryoDRGN can all say of a set of particles, in our conventions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cesped.errors import MetadataError
from cesped.geometry.poses import Poses
from cesped.physics.ctf import CtfParameters

#: Columns of RELION that are taken over as they are where the other program has them too.
RANDOM_SUBSET, CLASS_NUMBER = "rlnRandomSubset", "rlnClassNumber"
MICROGRAPH_NAME = "rlnMicrographName"
#: CryoSPARC's number of a particle; the column name is the one that other converters use.
CRYOSPARC_UID = "ucsfUid"


@dataclass(frozen=True)
class ExchangedParticles:
    """`P` particles on their way from one program to another.

    Parameters
    ----------
    source : path of the file, for messages
    stack_names : `(P,)` name of the stack of each image, as the file writes it
    section : `(P,)` which image of that stack, counted from 0
    box_px : `(P,)` size of the image; 0 where it is not known
    pixel_size_angst : `(P,)` [angstrom/px]
    poses : None if the file has none
    ctf : None if the file has none
    optics_group : `(P,)` number of the optics or exposure group, as the file counts
    columns : further columns of RELION, `(P,)` each
    left_out : what the file says and this cannot hold, a sentence each
    remarks : what whoever uses the result should know, a sentence each
    """

    source: str
    stack_names: NDArray[np.object_]
    section: NDArray[np.int64]
    box_px: NDArray[np.int64]
    pixel_size_angst: NDArray[np.float64]
    poses: Poses | None
    ctf: CtfParameters | None
    optics_group: NDArray[np.int64]
    columns: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.section)

    def noting(
        self, left_out: Sequence[str] = (), remarks: Sequence[str] = ()
    ) -> ExchangedParticles:
        """Return the same with further sentences."""
        return replace(
            self,
            left_out=(*self.left_out, *left_out),
            remarks=(*self.remarks, *remarks),
        )

    def require_poses(self) -> Poses:
        """Return the poses.

        Raises
        ------
        MetadataError
            If there are none.
        """
        if self.poses is None:
            raise MetadataError(
                f"{self.source} has no poses, without which there is nothing to convert to: give "
                "the file of a refinement"
            )
        return self.poses

    def require_boxes(self) -> NDArray[np.int64]:
        """Return the box of every image [px].

        Raises
        ------
        MetadataError
            If one is not known.
        """
        unknown = np.flatnonzero(self.box_px <= 0)
        if unknown.size:
            row = int(unknown[0])
            raise MetadataError(
                f"row {row + 1} of {self.source}: the box is not stated, and the stack "
                f"{self.stack_names[row]} is not here to be asked; name the folder that image "
                "names start from (--root), or state rlnImageSize"
            )
        return self.box_px


def listed(names: Sequence[str], most: int = 12) -> str:
    """Return names for a sentence, the first `most` of them."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
