"""Rows whose predictions are the same, or nearly: one submission under two names, perhaps.

Only the errors of single particles are compared, which lie beside the scores: two rotations that
are equally far from the label, for one particle after the other, are the same ones. A remark, not a
verdict: two models that answer from one coarse grid of rotations agree as well.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from .particle_errors import ParticleErrors
from .rows import BoardRow

#: Share of particles with nearly the same error that two models do not reach by being good.
MOST = 0.9
#: Errors differ by no more, where predictions were moved a little [degrees], or [share of median].
_NEAR_DEG, _NEAR_SHARE = 0.05, 0.05
_ROUNDING_DEG = 2e-4  # the files have four decimals
_SAMPLED = 4000


def remarks_on_resemblance(rows: Sequence[BoardRow]) -> tuple[str, ...]:
    """Return a sentence, without its point, for each two rows whose predictions resemble.

    Parameters
    ----------
    rows : of one section, so of the same particles
    """
    remarks = []
    for first, second in combinations(rows, 2):
        if first.errors is None or second.errors is None:
            continue
        share = resemblance(first.errors, second.errors)
        if share > MOST:
            remarks.append(
                f"{first.method} ({first.submission}) and {second.method} ({second.submission}) "
                f"have nearly the same errors for {share:.1%} of the particles: the same "
                "predictions under two names, or both from one coarse grid of rotations"
            )
    return tuple(remarks)


def resemblance(first: ParticleErrors, second: ParticleErrors) -> float:
    """Return the share of particles that two predictions are equally wrong about, 0 to 1.

    Of some thousands of particles evenly spread over the table; 0 if they are not the same ones.
    """
    if len(first) != len(second) or not len(first):
        return 0.0
    rows = np.unique(np.linspace(0, len(first) - 1, _SAMPLED).astype(np.int64))
    others = second.ids.get_indexer(first.ids[rows])
    if (others < 0).any():
        return 0.0
    ours, theirs = first.angular_deg[rows], second.angular_deg[others]
    near_deg = min(_NEAR_DEG, _NEAR_SHARE * float(np.median(np.minimum(ours, theirs))))
    return float((np.abs(ours - theirs) <= max(near_deg, _ROUNDING_DEG)).mean())
