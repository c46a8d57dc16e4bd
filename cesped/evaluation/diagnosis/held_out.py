"""How well images agree with a map of *other* images: the one measurement behind every diagnosis.

A particle is compared with the projection, at its own pose, of a map that it had no part in. Its
noise is then not in the map, so chance alone gives no agreement, and hundreds of particles, each
judging the others, tell a right convention from a wrong one long before a map could be looked at.
This is the comparison of half maps (FSC) taken apart into one figure per particle, with many small
parts instead of two halves: each map keeps nearly all particles, and the scatter of the figures
says how sure their mean is.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from cesped.evaluation.diagnosis.kernels import centre_images, estimate_map, sum_shells
from cesped.evaluation.diagnosis.small_images import FIRST_SHELL, SmallParticles, shell_numbers
from cesped.geometry.symmetry import PointGroup
from cesped.physics.backprojection import available_threads
from cesped.physics.grid_symmetry import complete_plane, symmetrise
from cesped.physics.half_ball import FourierSums
from cesped.physics.insertion import insert_slices, origin_phases
from cesped.physics.slice_kernel import fill_slices

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Grid = NDArray[np.float32]
T = TypeVar("T")

#: Observations of nothing that every voxel of a map is given: keeps those quiet that few saw.
_PRIOR_OBSERVATIONS = 10.0
_MOST_PARTS = 10
#: Of a large point group so many operators are applied: they are enough, and time grows with them.
MOST_OPERATORS = 8


class PoseInputs(NamedTuple):
    """All that a map of the particles depends on beside their images.

    Attributes
    ----------
    rotations : `(P, 3, 3)`
    origins_px : `(P, 2)` [pixel of the small images]
    ctf : `(P, m, m // 2 + 1)` float32
    group : symmetry that the maps are given
    """

    rotations: FloatArray
    origins_px: FloatArray
    ctf: NDArray[np.float32]
    group: PointGroup


class HeldOutTest:
    """Compares each particle with a map of the others, for any poses and CTFs it is given.

    Parameters
    ----------
    particles : images of `P` particles
    generator : assigns the particles to parts at random
    threads : threads to use; all that the process may run on when None

    Notes
    -----
    The particles are dealt to ten parts (to as many as there are particles if they are fewer). For
    each part a map is made of all others, at Fourier padding 1: a particle fills no more than half
    of its box, so the grid is fine enough. The projection is a central slice times the CTF. Shells
    are weighted by how strongly they agree in the *other* parts, since coarse shells hold most of
    the signal, and fine ones at first only noise.
    """

    def __init__(
        self,
        particles: SmallParticles,
        generator: np.random.Generator,
        threads: int | None = None,
    ) -> None:
        self.particles = particles
        self.n_parts = min(_MOST_PARTS, len(particles))
        self.part = generator.permutation(np.arange(len(particles)) % self.n_parts)
        self.threads = threads or available_threads()
        box = particles.box
        shells = shell_numbers(box)
        self._shells = np.where((shells >= FIRST_SHELL) & (shells < box // 2), shells, -1)
        copies = np.where(np.arange(box // 2 + 1) == 0, 1.0, 2.0) * np.ones((box, 1))
        used = self._shells >= 0
        self.samples_per_shell: FloatArray = np.bincount(
            self._shells[used], copies[used], minlength=box // 2
        ).astype(np.float64)

    def agreement(self, inputs: PoseInputs) -> FloatArray:
        """Return the correlation `(P,)` of each image with the map of the others, -1 to 1."""
        centred = self.centred(inputs.origins_px)
        shells = np.zeros((3, len(centred), self.particles.box // 2))

        def compare(rows: IntArray, grid: Grid) -> None:
            slices = self.slices(grid, inputs.rotations[rows])
            shells[:, rows] = self._shell_sums(slices, inputs.ctf[rows], centred[rows])

        self.with_maps_of_others(inputs, centred, compare)
        return self._correlations(*shells)

    def agreement_with(
        self, inputs: PoseInputs, slices_of: Callable[[IntArray, Grid], NDArray[np.complex64]]
    ) -> FloatArray:
        """Return the correlation `(P,)` with something else that is made of those maps.

        All samples count alike.

        Parameters
        ----------
        inputs : poses, CTFs and symmetry
        slices_of : `(B, m, m // 2 + 1)` of the rows `(B,)` and the transform of a map
        """
        centred = self.centred(inputs.origins_px)
        found = np.zeros(len(centred))

        def compare(rows: IntArray, grid: Grid) -> None:
            sums = self._shell_sums(slices_of(rows, grid), inputs.ctf[rows], centred[rows])
            cross, model, data = sums.sum(axis=2)
            found[rows] = cross / np.maximum(np.sqrt(model * data), 1e-30)

        self.with_maps_of_others(inputs, centred, compare)
        return found

    def with_maps_of_others(
        self,
        inputs: PoseInputs,
        centred: NDArray[np.complex64],
        work: Callable[[IntArray, Grid], None],
    ) -> None:
        """Call `work` with the rows of each part and the map of all other parts.

        A map is its transform, `(m + 3, m + 3, m // 2 + 2, 2)`: real and imaginary part at kz, ky
        (origin in the middle) and kx >= 0, as `fill_slices` wants it.
        """
        sums = self._for_each_part(lambda part: self._sums(part, centred, inputs))
        total = np.sum([own.values for own in sums], axis=0, dtype=np.float32)
        ball = sums[0].ball
        side = 2 * ball.radius + 3

        def work_on(part: int) -> None:
            grid = np.zeros((side, side, ball.radius + 2, 2), np.float32)
            prior = np.float32(_PRIOR_OBSERVATIONS)
            estimate_map(total, sums[part].values, ball.starts, ball.lengths, prior, grid)
            work(np.flatnonzero(self.part == part), grid)

        self._for_each_part(work_on)

    def slices(self, grid: Grid, rotations: FloatArray) -> NDArray[np.complex64]:
        """Return central slices `(B, m, m // 2 + 1)` of a map at rotations `(B, 3, 3)`."""
        box = self.particles.box
        turns = np.ascontiguousarray(rotations, dtype=np.float64)
        out = np.empty((len(turns), box, box // 2 + 1, 2), np.float32)
        fill_slices(grid, turns, 0, len(turns), 1, out)
        return out.view(np.complex64)[..., 0]

    def _for_each_part(self, work: Callable[[int], T]) -> list[T]:
        """Return what `work` makes of each part, on `threads` threads."""
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(work, range(self.n_parts)))

    def used_samples(self) -> NDArray[np.bool_]:
        """Return which samples of a half plane count, `(m, m // 2 + 1)`."""
        return np.asarray(self._shells >= 0)

    def centred(self, origins_px: FloatArray) -> NDArray[np.complex64]:
        """Return the images `(P, m, m // 2 + 1)` with the particles moved to the middle."""
        half_planes = self.particles.half_planes
        phase_x, phase_y = origin_phases(origins_px, self.particles.box)
        centred = np.empty_like(half_planes)
        centre_images(half_planes, phase_x, phase_y, centred)
        return centred

    def _sums(self, part: int, centred: NDArray[np.complex64], inputs: PoseInputs) -> FourierSums:
        """Return the symmetrised sums of CTF * X and CTF^2 of one part."""
        rows = np.flatnonzero(self.part == part)
        sums = FourierSums.empty(self.particles.box, padding=1)
        insert_slices(
            sums,
            np.ascontiguousarray(centred[rows]),
            np.ascontiguousarray(inputs.ctf[rows], dtype=np.float32),
            np.ascontiguousarray(inputs.rotations[rows], dtype=np.float64),
            np.ones(len(rows), np.float32),
            np.zeros((len(rows), 2)),
            1,
            1,
        )
        complete_plane(sums)
        return symmetrise(sums, _some_operators(inputs.group), 1)

    def _shell_sums(
        self,
        slices: NDArray[np.complex64],
        ctf: NDArray[np.float32],
        images: NDArray[np.complex64],
    ) -> FloatArray:
        """Return cross term, power of the model and of the images, `(3, B, m // 2)`."""
        sums = np.zeros((3, len(slices), self.particles.box // 2))
        sum_shells(slices, ctf, images, self._shells, sums)
        return sums

    def _correlations(self, cross: FloatArray, model: FloatArray, data: FloatArray) -> FloatArray:
        """Return the correlation `(P,)` over all shells, weighted by the amplitudes of others."""
        found = np.zeros(len(cross))
        for part in range(self.n_parts):
            mine = self.part == part
            others = ~mine
            scale = cross[others].sum(axis=0) / np.maximum(model[others].sum(axis=0), 1e-30)
            scale = np.maximum(scale, 0.0)
            length = np.sqrt((model[mine] @ scale**2) * data[mine].sum(axis=1))
            found[mine] = np.where(length > 0, (cross[mine] @ scale) / np.maximum(length, 1e-30), 0)
        return found


def _some_operators(group: PointGroup) -> FloatArray:
    """Return at most `MOST_OPERATORS` operators `(G, 3, 3)` of a group, the identity first.

    Particles of this symmetry agree with maps that have part of it. The choice is random, because
    every second operator, say, may belong to another group too.
    """
    if group.order <= MOST_OPERATORS:
        return group.operators
    others = np.random.default_rng(group.order).permutation(group.order - 1) + 1
    chosen: FloatArray = group.operators[np.concatenate([[0], others[: MOST_OPERATORS - 1]])]
    return chosen


def grid_to_volume(grid: Grid, box: int) -> NDArray[np.float32]:
    """Return the map `(box, box, box)` of a transform on a grid of padding 1."""
    reach = (grid.shape[0] - 1) // 2
    inside = np.arange(-((box - 1) // 2), (box - 1) // 2 + 1)  # the edge of the band left out
    half_space = np.zeros((box, box, box // 2 + 1), np.complex64)
    columns = (box - 1) // 2 + 1
    values = np.ascontiguousarray(grid).view(np.complex64)[..., 0]
    for k in inside:
        half_space[k, inside, :columns] = values[k + reach, inside + reach, :columns]
    volume = torch.fft.irfftn(torch.from_numpy(half_space), s=(box,) * 3)
    centred: NDArray[np.float32] = torch.fft.fftshift(volume).numpy()
    return centred
