"""Compiled loops of the held-out test, each serial and without the interpreter lock."""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def centre_images(half_planes, phase_x, phase_y, out):  # type: ignore[no-untyped-def]
    """Write half planes `(P, m, m // 2 + 1)` times the phases of a shift.

    Parameters
    ----------
    half_planes, out : `(P, m, m // 2 + 1)` complex64
    phase_x : `(P, m // 2 + 1)` complex64
    phase_y : `(P, m)` complex64
    """
    for image in range(half_planes.shape[0]):
        for row in range(half_planes.shape[1]):
            factor = phase_y[image, row]
            for column in range(half_planes.shape[2]):
                value = half_planes[image, row, column]
                out[image, row, column] = value * (factor * phase_x[image, column])


@numba.njit(nogil=True, cache=True)
def estimate_map(total, own, starts, lengths, prior, grid):  # type: ignore[no-untyped-def]
    """Write (numerator) / (denominator + prior) of `total - own` to an unpacked grid.

    Parameters
    ----------
    total, own : `(n_voxels, 3)` float32 sums, packed as `cesped.physics.half_ball` says
    starts, lengths : `(S, S)` of the packing
    prior : float32, observations that every voxel is given of nothing
    grid : `(S, S, W, 2)` float32, zero; W at least the longest row
    """
    for z in range(starts.shape[0]):
        for y in range(starts.shape[1]):
            first = starts[z, y]
            for x in range(min(lengths[z, y], grid.shape[2])):
                voxel = first + x
                weight = total[voxel, 2] - own[voxel, 2] + prior
                grid[z, y, x, 0] = (total[voxel, 0] - own[voxel, 0]) / weight
                grid[z, y, x, 1] = (total[voxel, 1] - own[voxel, 1]) / weight


@numba.njit(nogil=True, cache=True)
def sum_shells(slices, ctf, images, shells, out):  # type: ignore[no-untyped-def]
    """Add up, shell by shell, how images and slices times CTF agree.

    Parameters
    ----------
    slices, images : `(B, m, m // 2 + 1)` complex64
    ctf : `(B, m, m // 2 + 1)` float32
    shells : `(m, m // 2 + 1)` int64; negative where a sample does not count
    out : `(3, B, n_shells)` float64, zero: cross term, power of the model, power of the images
    """
    for image in range(slices.shape[0]):
        for row in range(shells.shape[0]):
            for column in range(shells.shape[1]):
                shell = shells[row, column]
                if shell < 0:
                    continue
                # the column kx = 0 stands for itself, every other for its Friedel mate too
                copies = np.float32(1.0) if column == 0 else np.float32(2.0)
                transfer = ctf[image, row, column]
                model, data = slices[image, row, column], images[image, row, column]
                real, imag = model.real * transfer, model.imag * transfer
                out[0, image, shell] += copies * (real * data.real + imag * data.imag)
                out[1, image, shell] += copies * (real * real + imag * imag)
                out[2, image, shell] += copies * (data.real * data.real + data.imag * data.imag)
