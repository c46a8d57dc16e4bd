"""Whether images would agree better after being moved: shifts that are missing or too coarse.

Each image is moved to where it fits the map of the others best. That alone proves nothing, because
moving an image fits its noise too. So the samples of its transform are dealt to two halves at
random: one half says where to, the other, whose noise is independent, whether that is better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from cesped.evaluation.diagnosis.findings import paired_z
from cesped.evaluation.diagnosis.held_out import Grid, HeldOutTest, IntArray, PoseInputs

FloatArray = NDArray[np.float64]

#: How far an image may be moved, of the box.
_REACH = 0.25


@dataclass(frozen=True)
class Realignment:
    """What moving the images does.

    Parameters
    ----------
    before, after : `(P,)` agreement of each image with the map of the others, before and after it
        was moved; of samples that had no say in the move
    moved_px : `(P,)` how far each was moved [px of the small images]
    """

    before: FloatArray
    after: FloatArray
    moved_px: FloatArray

    @property
    def z(self) -> float:
        """Return by how many standard errors images agree better at their new places."""
        return paired_z(self.after, self.before)


def realign(test: HeldOutTest, inputs: PoseInputs, chooses: NDArray[np.bool_]) -> Realignment:
    """Move each image to where it fits the map of the others best, and ask whether it is better.

    Parameters
    ----------
    test : the images
    inputs : poses, CTFs and symmetry; the moves start from these origins
    chooses : `(m, m // 2 + 1)` the samples that choose the place; see `half_of_samples`
    """
    box = test.particles.box
    judges = test.used_samples() & ~chooses
    centred = test.centred(inputs.origins_px)
    before, after, moved = (np.zeros(len(centred)) for _ in range(3))
    places = np.fft.fftfreq(box, 1 / box)
    near = places[:, None] ** 2 + places**2 <= (_REACH * box) ** 2
    ky, kx = np.fft.fftfreq(box), np.fft.rfftfreq(box)

    def work(rows: IntArray, grid: Grid) -> None:
        model = test.slices(grid, inputs.rotations[rows]) * inputs.ctf[rows]
        data = centred[rows]
        product = model.conj() * data
        fit = scipy.fft.irfft2(product * chooses, s=(box, box))
        best = np.argmax(np.where(near, fit, -np.inf).reshape(len(rows), -1), axis=1)
        y, x = places[best // box], places[best % box]
        # content found at (x, y) is moved back by as much
        turns = y[:, None, None] * ky[:, None] + x[:, None, None] * kx
        length = np.sqrt(_power(model, judges) * _power(data, judges)) + 1e-30
        before[rows] = (product * judges).sum(axis=(1, 2)).real / length
        after[rows] = (product * np.exp(2j * np.pi * turns) * judges).sum(axis=(1, 2)).real / length
        moved[rows] = np.hypot(x, y)

    test.with_maps_of_others(inputs, centred, work)
    return Realignment(before, after, moved)


def half_of_samples(test: HeldOutTest, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Return a random half of the samples of a half plane that count, `(m, m // 2 + 1)`."""
    used = test.used_samples()
    return used & (generator.random(used.shape) < 0.5)


def _power(half_planes: NDArray[np.complex64], chosen: NDArray[np.bool_]) -> FloatArray:
    power: FloatArray = (np.abs(half_planes[:, chosen]) ** 2).sum(axis=1, dtype=np.float64)
    return power
