"""Which reading of a star file its images agree with: every suspect alone, and pairs of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cesped.evaluation.diagnosis.findings import PREFERRED_Z, RULED_OUT_Z, paired_z
from cesped.evaluation.diagnosis.held_out import HeldOutTest, PoseInputs
from cesped.evaluation.diagnosis.small_images import SmallParticles
from cesped.evaluation.diagnosis.suspects import (
    AS_GIVEN,
    CTFS,
    FLIPPED,
    MULTIPLIED,
    ORIENTATIONS,
    PIXEL_FACTORS,
    RADIANS,
    RAW,
    ROWS,
    SHIFT_AXES,
    SHIFTS,
)
from cesped.evaluation.diagnosis.undoing import (
    may_be_radians,
    reoriented,
    reshifted,
    symmetries,
    transfer,
)
from cesped.geometry.poses import Poses
from cesped.physics.ctf import CtfParameters
from cesped.progress import Advance
from cesped.vocabulary import CtfCorrection, Suspicion

FloatArray = NDArray[np.float64]

#: Changes of one reading, one after the other; more than three faults at a time are not looked for.
_MOST_CHANGES = 4
_PEAK_STEPS = 4
_SAME_FACTOR = 0.002
#: How the CTF of images reads that a file says are corrected.
_STATED = {CtfCorrection.PHASE_FLIP: FLIPPED, CtfCorrection.CTF_MULTIPLY: MULTIPLIED}


@dataclass(frozen=True)
class Reading:
    """One way to read a file: a name for each thing that can be misread."""

    orientation: str = AS_GIVEN
    shifts: str = AS_GIVEN
    rows: str = AS_GIVEN
    symmetry: str = AS_GIVEN
    ctf: str = AS_GIVEN
    pixel_factor: float = 1.0

    def option(self, suspicion: Suspicion) -> str | float:
        """Return what is chosen for one suspicion."""
        chosen: str | float = getattr(self, FIELDS[suspicion])
        return chosen

    def with_option(self, suspicion: Suspicion, option: str | float) -> Reading:
        """Return this reading with another choice for one suspicion."""
        return replace(self, **{FIELDS[suspicion]: option})  # type: ignore[arg-type]

    @property
    def n_changes(self) -> int:
        """Return how many things are read otherwise than given."""
        return sum(getattr(self, name) != getattr(GIVEN, name) for name in FIELDS.values())


FIELDS = {
    Suspicion.ORIENTATIONS: "orientation",
    Suspicion.SHIFTS: "shifts",
    Suspicion.ROWS: "rows",
    Suspicion.SYMMETRY: "symmetry",
    Suspicion.CTF: "ctf",
    Suspicion.PIXEL_SIZE: "pixel_factor",
}
GIVEN = Reading()


@dataclass(frozen=True)
class Sample:
    """A sample of the rows of a file, with the rows beside them.

    Parameters
    ----------
    particles : images of `P` particles
    poses : as the file gives them, `P`
    neighbours : poses and CTFs of the row after and the row before each, for rows off by one
    symmetry : point group, as stated
    """

    particles: SmallParticles
    poses: Poses
    neighbours: dict[str, tuple[Poses, CtfParameters | None]]
    symmetry: str

    @property
    def ctf(self) -> CtfParameters | None:
        """Return the CTFs as the file gives them; None if it has none."""
        return self.particles.table.ctf

    def select(self, rows: NDArray[np.int64]) -> Sample:
        """Return the particles at `rows`."""
        return replace(
            self,
            particles=self.particles.select(rows),
            poses=self.poses.select(rows),
            neighbours={
                name: (poses.select(rows), None if ctf is None else ctf.select(rows))
                for name, (poses, ctf) in self.neighbours.items()
            },
        )

    def shrunk(self, box: int) -> Sample:
        """Return the sample with smaller images."""
        return replace(self, particles=self.particles.shrunk(box))


class ReadingTest:
    """Measures how well readings of one sample fit; each reading is measured once.

    Parameters
    ----------
    sample : particles and poses
    generator : deals the particles to parts, and shuffles
    threads : threads to use
    """

    def __init__(
        self, sample: Sample, generator: np.random.Generator, threads: int | None = None
    ) -> None:
        self.sample = sample
        self.held_out = HeldOutTest(sample.particles, generator, threads)
        self.groups = symmetries(sample.symmetry)
        self._shuffled = generator.permutation(len(sample.particles))
        self._shuffles = [generator.permutation(len(sample.particles)) for _ in range(4)]
        done = sample.particles.table.ctf_correction_done
        self.stated_ctf = _STATED.get(done, RAW)
        self._known: dict[Reading, FloatArray] = {}

    def agreement(self, reading: Reading) -> FloatArray:
        """Return the agreement `(P,)` of each image with a map of the others."""
        if reading not in self._known:
            self._known[reading] = self.held_out.agreement(self.inputs(reading))
        return self._known[reading]

    def shuffled_agreement(self, reading: Reading) -> FloatArray:
        """Return the same `(P,)`, means over four exchanges of orientations among the particles.

        Each image keeps its shift: what is left is what images agree on whatever the orientation,
        that there is something round in their middle.
        """
        inputs = self.inputs(reading)
        found = [
            self.held_out.agreement(inputs._replace(rotations=inputs.rotations[order]))
            for order in self._shuffles
        ]
        return np.asarray(np.mean(found, axis=0))

    def known(self) -> list[Reading]:
        """Return the readings that were measured."""
        return list(self._known)

    def z(self, reading: Reading, other: Reading) -> float:
        """Return by how many standard errors `reading` is better than `other`."""
        return paired_z(self.agreement(reading), self.agreement(other))

    def inputs(self, reading: Reading) -> PoseInputs:
        """Return poses, contrast transfer and symmetry under `reading`."""
        sample, particles = self.sample, self.sample.particles
        poses, ctf = sample.poses, sample.ctf
        if reading.rows != AS_GIVEN:
            poses, ctf = sample.neighbours[reading.rows]
        rotations = reoriented(reading.orientation, poses.rotations)
        size_angst = particles.table.pixel_size_angst
        origins = reshifted(reading.shifts, poses.origins_angst / size_angst[:, None], size_angst)
        return PoseInputs(
            rotations,
            origins / particles.original_pixels,
            self._transfer(reading, ctf),
            self.groups[reading.symmetry],
        )

    def _transfer(self, reading: Reading, ctf: CtfParameters | None) -> NDArray[np.float32]:
        particles = self.sample.particles
        box, size_angst = particles.box, particles.pixel_size_angst * reading.pixel_factor
        if ctf is None:
            return np.ones((len(particles), box, box // 2 + 1), np.float32)
        name = self.stated_ctf if reading.ctf == AS_GIVEN else reading.ctf
        return transfer(name, ctf, box, size_angst, self._shuffled)

    def options(self, suspicion: Suspicion) -> list[str | float]:
        """Return what can be tried for one suspicion, the given first; only that if nothing can."""
        sample = self.sample
        ctfs = [name for name in CTFS if name != self.stated_ctf]
        options: Iterable[str | float] = {
            Suspicion.ORIENTATIONS: tuple(ORIENTATIONS),
            Suspicion.SHIFTS: tuple(SHIFTS),
            Suspicion.ROWS: tuple(name for name in ROWS if name in sample.neighbours),
            Suspicion.SYMMETRY: tuple(self.groups),
            Suspicion.CTF: () if sample.ctf is None else tuple(ctfs),
            Suspicion.PIXEL_SIZE: () if sample.ctf is None else PIXEL_FACTORS,
        }[suspicion]
        given = GIVEN.option(suspicion)
        kept = [option for option in options if option != given]
        if not may_be_radians(sample.poses.rotations):
            kept = [option for option in kept if option != RADIANS]
        if not sample.poses.origins_angst.any() and suspicion is Suspicion.SHIFTS:
            kept = []
        return [given, *kept]


def screen(test: ReadingTest, advance: Advance) -> Reading:
    """Return a reading to start from: one that agrees better than shuffled poses, if there is one.

    Every orientation, shift axis and row order is tried alone, with a few particles and without
    symmetry, whose axes may be wrong too. One of two faults may hide the other: large shifts read
    with the wrong sign leave no agreement at all, whatever the orientations. So if nothing stands
    out, orientations and shift axes are tried in pairs. Of readings that are as good as the best,
    that with the fewest changes is returned.
    """
    base = replace(GIVEN, symmetry="C1" if "C1" in test.groups else AS_GIVEN)
    shifts = [str(name) for name in test.options(Suspicion.SHIFTS) if name in SHIFT_AXES]
    orientations = [str(name) for name in test.options(Suspicion.ORIENTATIONS)]
    singles = [replace(base, orientation=name) for name in orientations]
    singles += [replace(base, shifts=name) for name in shifts[1:]]
    singles += [replace(base, rows=str(name)) for name in test.options(Suspicion.ROWS)[1:]]
    best = _best(test, singles, advance)
    if not _stands_out(test, best, base):
        pairs = [replace(base, orientation=a, shifts=b) for a in orientations for b in shifts]
        best = _best(test, [*singles, *pairs], advance)
    if test.z(best, base) < PREFERRED_Z:
        return GIVEN
    equals = [reading for reading in test.known() if test.z(reading, best) > -RULED_OUT_Z]
    simplest = min(equals, key=lambda reading: reading.n_changes)
    return replace(simplest, symmetry=AS_GIVEN)


def _stands_out(test: ReadingTest, best: Reading, base: Reading) -> bool:
    """Return whether a reading beats shuffled poses and, if it is another one, the given one."""
    if best != base and test.z(best, base) < PREFERRED_Z:
        return False
    return paired_z(test.agreement(best), test.shuffled_agreement(best)) >= PREFERRED_Z


def _best(test: ReadingTest, readings: Iterable[Reading], advance: Advance) -> Reading:
    """Return the reading of highest mean agreement."""
    means = {}
    for reading in readings:
        means[reading] = float(test.agreement(reading).mean())
        advance(1)
    return max(means, key=lambda reading: means[reading])


def best_reading(
    test: ReadingTest, start: Reading, suspicions: Iterable[Suspicion], tried: Callable[[], None]
) -> Reading:
    """Return the reading that no single other choice improves by `PREFERRED_Z` standard errors.

    Parameters
    ----------
    test : measures the readings
    start : reading to improve
    suspicions : what may be chosen otherwise
    tried : called after each choice that was tried

    Notes
    -----
    Of the choices that are surely better the best comes first: where a pixel size is wrong, images
    seem to carry no CTF rather than that one, until the pixel size is right.
    """
    reading = start
    for _ in range(_MOST_CHANGES):
        choices = []
        for suspicion in suspicions:
            for option in test.options(suspicion):
                choices.append(reading.with_option(suspicion, option))
                test.agreement(choices[-1])
                tried()
            if suspicion is Suspicion.PIXEL_SIZE and len(test.options(suspicion)) > 1:
                choices.append(_at_the_peak(test, reading))
        better = [choice for choice in choices if test.z(choice, reading) >= PREFERRED_Z]
        if not better:
            break
        reading = max(better, key=lambda choice: float(test.agreement(choice).mean()))
    return _without_needless_changes(test, reading, suspicions)


def _at_the_peak(test: ReadingTest, reading: Reading) -> Reading:
    """Return the reading with the pixel size that fits best, between those of the list.

    Each step goes to the top of a parabola, in the logarithm of the factor, through the best factor
    so far and its two neighbours.
    """
    factors = sorted(float(option) for option in test.options(Suspicion.PIXEL_SIZE))
    for _ in range(_PEAK_STEPS):
        readings = [reading.with_option(Suspicion.PIXEL_SIZE, factor) for factor in factors]
        values = [float(test.agreement(choice).mean()) for choice in readings]
        top = int(np.argmax(values))
        if top in (0, len(factors) - 1):
            break
        around = slice(top - 1, top + 2)
        logs = np.log(factors[around])
        curve, slope, _ = np.polyfit(logs - logs[1], values[around], 2)
        peak = float(np.exp(np.clip(logs[1] - slope / (2 * curve), logs[0], logs[2])))
        if min(abs(factor - peak) for factor in factors) < _SAME_FACTOR:
            break
        factors = sorted([*factors, peak])
    values = [
        float(test.agreement(reading.with_option(Suspicion.PIXEL_SIZE, factor)).mean())
        for factor in factors
    ]
    return reading.with_option(Suspicion.PIXEL_SIZE, factors[int(np.argmax(values))])


def _without_needless_changes(
    test: ReadingTest, reading: Reading, suspicions: Iterable[Suspicion]
) -> Reading:
    """Return the reading with each choice put back to the given one that it does not need."""
    for suspicion in suspicions:
        plain = reading.with_option(suspicion, GIVEN.option(suspicion))
        if plain != reading and test.z(reading, plain) < PREFERRED_Z:
            reading = plain
    return reading
