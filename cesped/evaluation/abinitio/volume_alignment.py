"""One map turned, moved and, where it is of the other hand, mirrored onto another.

All is done on the transforms A(k) and B(k) of the two maps about their origins. A map turned by R
and moved by t, V'(x) = V(R^T (x - t)), has the transform `F(R^T k) exp(-2 pi i k t / N)`; its
mirror image V(-x) has the complex conjugate. Both transforms are divided by the root of their power
in each shell, so that what counts is the Fourier shell correlation, whatever B-factor the maps
have.

1. Search: at the lowest frequencies, every node of a grid of rotations; for each, and for either
   hand, one inverse transform of `A conj(B)` is the correlation at all shifts at once.
2. The best that are not neighbours, of each hand, are refined at the same frequencies, the best of
   these at more, and the best of all at all frequencies. Each step is one of Levenberg and
   Marquardt's for the six parameters, with the model `A = c B'`, c being the shell correlation of
   the moment, and residuals weighted by 1 / (1 - c^2): shells count as much as they agree.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cesped.errors import GeometryError, ImageValueError, OptionError
from cesped.evaluation.abinitio.map_registration import (
    Registration,
    distinct_poses,
    grid_candidates,
)
from cesped.physics.masks import soft_sphere
from cesped.physics.volume_sampling import moved_volume
from cesped.progress import SILENT, Progress

FloatArray = NDArray[np.float64]
Volume = NDArray[np.float32]

#: Largest |k| [1 / box] of the search, of the choice among its best, and of what follows.
_SEARCH_LIMIT = 8
_CHOICE_LIMIT = 16
_END_LIMITS = (32, 64)
#: Standard errors [degrees, voxel] that are small enough to stop at.
_SMALL_ERRORS = (0.02, 0.02)
#: HEALPix order of the grid: 15 degrees between nodes.
_GRID_ORDER = 2
_STARTS_PER_HAND = 24
_CHOICES_PER_HAND = 5
#: Steps of the refinement of each, at most, and the movement [1 / box, voxel] at which it ends.
_SEARCH_STEPS, _SEARCH_TOLERANCE = 6, 0.1
_CHOICE_STEPS, _CHOICE_TOLERANCE = 8, 0.05
_END_STEPS, _END_TOLERANCE = 20, 0.005
_APART_DEG = 12.0
_LEAST_BOX = 16


@dataclass(frozen=True)
class VolumeAlignment:
    """How one map has to be moved to lie on another.

    Parameters
    ----------
    rotation : `(3, 3)` R, of vectors (x, y, z) about the origin voxel N // 2
    shift_px : `(3,)` t along x, y, z [voxel]: the moved map is V(R^T (x - t))
    is_mirrored : whether V(-x) is moved in the place of V(x)
    evidence : what the agreement of the maps is worth, as a logarithm of likelihood [nats]
    other_evidence : the same for the best of the other hand; None if it was not tried
    rotation_error_deg, shift_error_px : standard errors [degrees, voxel], from how the shells agree
    """

    rotation: FloatArray
    shift_px: FloatArray
    is_mirrored: bool
    evidence: float
    other_evidence: float | None
    rotation_error_deg: float
    shift_error_px: float

    def apply(self, volume: ArrayLike, threads: int | None = None) -> Volume:
        """Return a map `(N, N, N)` that lies as the moving one did, moved onto the fixed one."""
        return moved_volume(
            volume,
            self.rotation,
            self.shift_px,
            is_mirrored=self.is_mirrored,
            threads=threads,
        )


def align_volumes(
    fixed: ArrayLike,
    moving: ArrayLike,
    *,
    mask: ArrayLike | None = None,
    both_hands: bool = True,
    start: FloatArray | None = None,
    threads: int | None = None,
    progress: Progress = SILENT,
) -> VolumeAlignment:
    """Return how `moving` has to be turned and moved to lie on `fixed`.

    Parameters
    ----------
    fixed, moving : `(N, N, N)` maps of one box and voxel size
    mask : `(N, N, N)` around the particle of `fixed`; the sphere inscribed to the box when None
    both_hands : also try the mirror image of `moving`
    start : `(3, 3)` a rotation that is already near: nothing else is searched, and no other hand
    threads : most threads to use; `torch.get_num_threads()` when None
    progress : told of the steps

    Raises
    ------
    GeometryError
        If the maps or the mask are not cubes of one size.
    ImageValueError
        If a map is constant or holds values that are not finite.
    OptionError
        If the box is smaller than 16 voxels.

    Notes
    -----
    Of a symmetric particle any of the equivalent rotations may be returned. The rotations of a grid
    of 15 degrees are tried at frequencies up to 8 per box: a particle much smaller than its box
    should be cropped first.
    """
    a, b, independent = _masked_pair(fixed, moving, mask)
    limit = (a.shape[0] - 1) // 2
    hands = (False, True) if both_hands and start is None else (False,)
    search = Registration(a, b, min(limit, _SEARCH_LIMIT), independent, threads, width=2)
    choice = Registration(a, b, min(limit, _CHOICE_LIMIT), independent, threads)
    if start is None:
        starts = grid_candidates(search, _GRID_ORDER, hands, _STARTS_PER_HAND, progress)
        starts.append(search.best_shift(np.eye(3), False))  # maps are often aligned already
    else:
        starts = [search.best_shift(np.asarray(start, dtype=np.float64), False)]
    best = []
    with progress.task("Refining the best", len(starts) + 1) as advance:
        found = []
        for pose in starts:
            found.append(search.refined(pose, _SEARCH_STEPS, _SEARCH_TOLERANCE))
            advance(1)
        for hand in hands:
            of_hand = [pose for pose in found if pose.is_mirrored == hand]
            chosen = distinct_poses(of_hand, _CHOICES_PER_HAND, _APART_DEG)
            refined = [choice.refined(pose, _CHOICE_STEPS, _CHOICE_TOLERANCE) for pose in chosen]
            best.append(max(refined, key=lambda pose: pose.score))
        # hands are told apart at the same frequencies; the better one goes on to the highest
        best.sort(key=lambda pose: pose.score, reverse=True)
        last, errors = best[0], (np.inf, np.inf)
        for end_limit in dict.fromkeys(min(limit, wanted) for wanted in _END_LIMITS):
            end = Registration(a, b, end_limit, independent, threads)
            last = end.refined(last, _END_STEPS, _END_TOLERANCE)
            errors = end.standard_errors(last)
            is_precise = all(np.less(errors, _SMALL_ERRORS))
            if is_precise or end.is_exhausted(last):
                break
        advance(1)
    return VolumeAlignment(
        rotation=last.rotation,
        shift_px=last.shift_px,
        is_mirrored=last.is_mirrored,
        evidence=best[0].score,
        other_evidence=best[1].score if len(best) > 1 else None,
        rotation_error_deg=errors[0],
        shift_error_px=errors[1],
    )


def _masked_pair(
    fixed: ArrayLike, moving: ArrayLike, mask: ArrayLike | None
) -> tuple[Volume, Volume, float]:
    """Return both maps without background, and what share of the box is left of them.

    Outside the mask, or the inscribed sphere, they are 0.
    """
    a, b = (
        _checked(what, volume) for what, volume in (("fixed map", fixed), ("moving map", moving))
    )
    if a.shape != b.shape:
        raise GeometryError(
            f"the fixed map has {a.shape[0]} voxels a side and the moving one {b.shape[0]}; give "
            "two of one box"
        )
    n = a.shape[0]
    if n < _LEAST_BOX:
        raise OptionError(f"maps of {n} voxels a side; {_LEAST_BOX} is the least to be aligned")
    sphere = soft_sphere(n, n / 2 - 4.0, 3.0)
    around = sphere
    if mask is not None:
        around = np.asarray(mask, dtype=np.float32)
        if around.shape != a.shape:
            raise GeometryError(f"a mask of {around.shape} voxels on maps of {a.shape}")
        if not around.any():
            raise ImageValueError("the mask is 0 everywhere; give one that holds the particle")
    # the equivalent number of voxels of a soft mask, by its second and fourth moment
    share = float(np.sum(around**2, dtype=np.float64) ** 2 / np.sum(around**4, dtype=np.float64))
    return _without_background(a, around), _without_background(b, sphere), share / n**3


def _checked(what: str, volume: ArrayLike) -> Volume:
    array = np.asarray(volume, dtype=np.float32)
    if array.ndim != 3 or len(set(array.shape)) != 1:
        raise GeometryError(f"the {what} has shape {array.shape}; a cube (N, N, N) is needed")
    if not np.isfinite(array).all():
        raise ImageValueError(f"the {what} holds values that are not finite; make it anew")
    if array.min() == array.max():
        raise ImageValueError(f"the {what} is constant; there is nothing to align")
    return array


def _without_background(volume: Volume, mask: Volume) -> Volume:
    """Return the map inside a soft mask, measured from the mean on the mask's edge and outside."""
    outside = 1.0 - np.clip(mask, 0.0, 1.0)
    total = float(outside.sum())
    level = float((outside * volume).sum()) / total if total > 0 else 0.0
    return np.asarray((volume - np.float32(level)) * mask, dtype=np.float32)
