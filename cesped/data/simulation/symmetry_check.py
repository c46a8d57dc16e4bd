"""Whether a map has the symmetry that an entry of its projections would claim."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cesped.errors import SymmetryError
from cesped.geometry.rotations import random_rotations
from cesped.geometry.symmetry import point_group
from cesped.physics.batch_projection import BatchProjector

_VIEWS = 6
_MOST_OPERATORS = 8
#: Projections of maps that were reconstructed with their symmetry correlate above 0.999; those of a
#: map that has it but for noise a little less, those of others hardly.
_LEAST_CORRELATION = 0.8


def check_symmetry(volume: NDArray[np.float32], symmetry: str) -> None:
    """Raise unless a map looks the same from directions that its symmetry makes alike.

    Parameters
    ----------
    volume : `(N, N, N)` [z, y, x]
    symmetry : point group

    Raises
    ------
    SymmetryError
        If projections that should be alike correlate below 0.8, or there is no such group.
    """
    group = point_group(symmetry)
    operators = np.asarray(group.operators)
    moving = operators[np.abs(operators - np.eye(3)).max(axis=(1, 2)) > 1e-6]
    if len(moving) == 0:
        return
    chosen = moving[np.linspace(0, len(moving) - 1, min(len(moving), _MOST_OPERATORS)).astype(int)]
    views = random_rotations(_VIEWS, np.random.default_rng(0))
    projector = BatchProjector(volume, 1.0)
    images = projector.project(views).numpy().reshape(_VIEWS, -1)
    mates = projector.project((chosen[:, None] @ views).reshape(-1, 3, 3)).numpy()
    mates = mates.reshape(len(chosen), _VIEWS, -1)
    worst = min(
        float(np.corrcoef(image, mate)[0, 1])
        for turned in mates
        for image, mate in zip(images, turned, strict=True)
    )
    if not worst >= _LEAST_CORRELATION:
        raise SymmetryError(
            f"the map does not have point group {group.name}: projections that should be alike "
            f"correlate {worst:.2f}; name the group that it has about the axes of RELION, or C1"
        )
