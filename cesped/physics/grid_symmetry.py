"""What makes accumulated Fourier sums whole: Friedel mates on x = 0, and the point group."""

from functools import partial

import numba
import numpy as np
from numpy.typing import NDArray

from .half_ball import FourierSums
from .insertion import MIN_SLABS, for_each_slab, slab_bounds

_SAME_OPERATOR = 1e-6


def complete_plane(sums: FourierSums) -> None:
    """Add to each voxel of the plane x = 0 its Friedel mate, in place; the origin is its own.

    Elsewhere a mate lies at x < 0, outside the half; on this plane both are inside, and each
    sample went to one of them.
    """
    held = sums.ball.lengths > 0
    voxels = sums.ball.starts[held]  # x = 0 comes first in each row
    mates = sums.values[sums.ball.starts[::-1, ::-1][held]]
    mates[:, 1] *= -1
    mates[voxels == _origin(sums)] = 0
    sums.values[voxels] += mates


def remove_mean(sums: FourierSums) -> None:
    """Set the numerator of the origin to 0, in place; its denominator counts.

    RELION's maps have no mean of their own. It is removed before the symmetry is applied: rotated
    voxels beside the origin interpolate from it.
    """
    sums.values[_origin(sums), :2] = 0


def _origin(sums: FourierSums) -> int:
    middle = sums.ball.radius + 1
    return int(sums.ball.starts[middle, middle])


def symmetrise(sums: FourierSums, operators: NDArray[np.float64], threads: int) -> FourierSums:
    """Sum over the rotations of a point group, interpolated trilinearly, and return the sums.

    Parameters
    ----------
    sums : after `complete_plane`; changed in place
    operators : `(G, 3, 3)` rotations of x, y, z, the identity first
    threads : threads to use

    Notes
    -----
    Numerator and denominator are summed alike, as `relion_reconstruct --sym` does; voxels outside
    the ball of the slices are left out.
    Half and quarter turns about the axes take voxels to voxels and need no interpolation, so the
    sum over those comes first, and then only one rotation of each of their cosets is interpolated:
    15 instead of 60 for I1 and I2. The result is the same, because a rotation of the lattice
    commutes with interpolation on it.
    """
    whole, others = cosets(operators)
    for turns, with_rim in ((whole, True), (others, False)):
        if len(turns) > 1:
            _add_turned(sums, turns[1:], with_rim, threads)
    return sums


def cosets(operators: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the rotations of a group that take voxels to voxels, and one of each of their cosets.

    Parameters
    ----------
    operators : `(G, 3, 3)`, the identity first

    Returns
    -------
    `(L, 3, 3)` and `(G / L, 3, 3)`, the identity first in both: each operator of the group is the
    product of one of the first with one of the second
    """
    is_whole = np.abs(operators - np.rint(operators)).max(axis=(1, 2)) < _SAME_OPERATOR
    whole = operators[is_whole]
    left = list(operators)
    chosen = []
    while left:
        chosen.append(left[0])
        coset = whole @ left[0]
        left = [one for one in left if np.abs(coset - one).max(axis=(1, 2)).min() > _SAME_OPERATOR]
    return whole, np.array(chosen)


def _add_turned(
    sums: FourierSums, operators: NDArray[np.float64], with_rim: bool, threads: int
) -> None:
    """Add the sums turned by each of some rotations, in place."""
    radius = sums.ball.radius
    bounds = slab_bounds(radius + 1 if with_rim else radius, max(MIN_SLABS, 4 * threads))
    turns = np.ascontiguousarray(operators.round(12), dtype=np.float32)
    layout = (sums.ball.starts, sums.ball.lengths, with_rim)
    source = sums.values.copy()
    work = partial(_add_rotated, sums.values, source, *layout, turns)
    for_each_slab(work, bounds, threads)


@numba.njit(nogil=True, cache=True, fastmath=True)
def _add_rotated(summed, source, starts, lengths, with_rim, operators, first, last):  # type: ignore[no-untyped-def]
    """Add the rotated grids to the planes `first <= z < last` of `summed`.

    The rim, which samples inside the ball were spread to, is rotated only where it stays itself.
    """
    centre = (starts.shape[0] - 1) // 2
    reach = centre if with_rim else centre - 1
    limit = 3 * centre**2 if with_rim else (centre - 1) ** 2
    middle = np.float32(centre)
    one = np.float32(1)
    for z in range(first, last):
        for y in range(-reach, reach + 1):
            start = starts[z + centre, y + centre]
            for x in range(min(lengths[z + centre, y + centre], reach + 1)):
                if z * z + y * y + x * x > limit:
                    break
                real, imag, weight = np.float32(0), np.float32(0), np.float32(0)
                for g in range(operators.shape[0]):
                    r = operators[g]
                    px = r[0, 0] * x + r[0, 1] * y + r[0, 2] * z
                    sign = one if px >= 0 else -one
                    px *= sign
                    py = sign * (r[1, 0] * x + r[1, 1] * y + r[1, 2] * z) + middle
                    pz = sign * (r[2, 0] * x + r[2, 1] * y + r[2, 2] * z) + middle
                    x0, y0, z0 = int(px), int(py), int(pz)
                    fx, fy, fz = px - np.float32(x0), py - np.float32(y0), pz - np.float32(z0)
                    for dz in range(2):
                        for dy in range(2):
                            f = (fz if dz else one - fz) * (fy if dy else one - fy)
                            if f == 0:  # half and quarter turns take grid points to grid points
                                continue
                            begin = starts[z0 + dz, y0 + dy] + x0
                            voxel = source[begin]
                            beside = source[begin + 1] if fx > 0 else voxel
                            a, b = f * (one - fx), f * fx
                            real += a * voxel[0] + b * beside[0]
                            imag += sign * (a * voxel[1] + b * beside[1])
                            weight += a * voxel[2] + b * beside[2]
                target = summed[start + x]
                target[0] += real
                target[1] += imag
                target[2] += weight
