"""What makes an accumulated Fourier grid whole: Friedel mates on x = 0, and the point group."""

from functools import partial

import numba
import numpy as np
from numpy.typing import NDArray

from .insertion import MIN_SLABS, Accumulator, for_each_slab, slab_bounds


def complete_plane(accumulator: Accumulator) -> None:
    """Add to each voxel of the plane x = 0 its Friedel mate, in place; the origin is its own.

    Elsewhere a mate lies at x < 0, outside the grid; on this plane both are inside, and each
    sample went to one of them.
    """
    plane = accumulator[:, :, 0]
    mates = plane[::-1, ::-1].copy()
    mates[..., 1] *= -1
    centre = len(plane) // 2
    mates[centre, centre] = 0
    plane += mates


def symmetrise(
    accumulator: Accumulator, operators: NDArray[np.float64], threads: int
) -> Accumulator:
    """Return the sum of a grid over the rotations of a point group, interpolated trilinearly.

    The grid itself is returned for the group of one operator.

    Parameters
    ----------
    accumulator : grid after `complete_plane`
    operators : `(G, 3, 3)` rotations of x, y, z, the identity first
    threads : threads to use

    Notes
    -----
    Numerator and denominator are summed alike, as `relion_reconstruct --sym` does; voxels outside
    the sphere of the slices are left out.
    """
    if len(operators) == 1:
        return accumulator
    summed = accumulator.copy()
    radius = (accumulator.shape[0] - 1) // 2
    bounds = slab_bounds(radius, max(MIN_SLABS, 4 * threads))
    others = np.ascontiguousarray(operators[1:].round(12), dtype=np.float32)
    for_each_slab(partial(_add_rotated, summed, accumulator, others), bounds, threads)
    return summed


@numba.njit(nogil=True, cache=True, fastmath=True)
def _add_rotated(summed, source, operators, first, last):  # type: ignore[no-untyped-def]
    """Add the rotated grids to the planes `first <= z < last` of `summed`."""
    centre = (source.shape[0] - 1) // 2
    limit = (centre - 1) ** 2
    middle = np.float32(centre)
    one = np.float32(1)
    for z in range(first, last):
        for y in range(-centre, centre + 1):
            for x in range(source.shape[2]):
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
                            voxel = source[z0 + dz, y0 + dy, x0]
                            beside = source[z0 + dz, y0 + dy, x0 + 1]
                            a, b = f * (one - fx), f * fx
                            real += a * voxel[0] + b * beside[0]
                            imag += sign * (a * voxel[1] + b * beside[1])
                            weight += a * voxel[2] + b * beside[2]
                target = summed[z + centre, y + centre, x]
                target[0] += real
                target[1] += imag
                target[2] += weight
