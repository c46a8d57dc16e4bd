"""The whole examination of particles: what is measured, in which order, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cesped.data.table import ParticleTable
from cesped.errors import OptionError
from cesped.evaluation.diagnosis.findings import (
    Diagnosis,
    combined_health,
)
from cesped.evaluation.diagnosis.search import (
    GIVEN,
    Reading,
    ReadingTest,
    Sample,
    best_reading,
    screen,
)
from cesped.evaluation.diagnosis.small_images import SmallParticles, load_small
from cesped.evaluation.diagnosis.summing_up import all_findings, verdict
from cesped.evaluation.diagnosis.suspects import (
    AS_GIVEN,
    ROW_AFTER,
    ROW_BEFORE,
)
from cesped.geometry.poses import Poses
from cesped.progress import SILENT, Progress
from cesped.vocabulary import Suspicion

IntArray = NDArray[np.int64]

_OF_POSES = (Suspicion.ORIENTATIONS, Suspicion.SHIFTS, Suspicion.ROWS, Suspicion.SYMMETRY)
_OF_OPTICS = (Suspicion.CTF, Suspicion.PIXEL_SIZE)

#: Images for finding a reading to start from: many readings, so few and coarse ones.
_SCREENING_PARTICLES, _SCREENING_BOX = 300, 48
#: Rings of the CTF lie at finer detail than the orientations need.
_OPTICS_PARTICLES, _OPTICS_BOX = 500, 128


@dataclass(frozen=True)
class ExaminationOptions:
    """How much is looked at.

    Parameters
    ----------
    n_particles : size of the sample, drawn at random; all if the file has fewer
    box : images are shrunk to so many pixels, if they are larger
    seed : of the sample and of everything that is shuffled
    threads : threads to use; all that the process may run on when None

    Raises
    ------
    OptionError
        If there are fewer than 8 particles or 16 pixels.
    """

    n_particles: int = 1000
    box: int = 64
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.n_particles < 8 or self.box < 16:
            raise OptionError(
                f"{self.n_particles} particles of {self.box} px were asked for; "
                "use at least 8 particles and 16 px"
            )


def examine(
    table: ParticleTable,
    symmetry: str,
    subject: str,
    options: ExaminationOptions | None = None,
    progress: Progress = SILENT,
) -> Diagnosis:
    """Find out whether the images of `table` agree with its poses, and if not, with which reading.

    Parameters
    ----------
    table : particles with poses; CTFs if it has them
    symmetry : point group that is stated for them
    subject : what the particles are called in the diagnosis
    options : how much is looked at
    progress : told of every reading

    Raises
    ------
    MetadataError
        If the table has no poses, or fewer than 8 particles.
    MissingImageError, ImageValueError, MrcFileError
        If images cannot be read.
    """
    chosen = options or ExaminationOptions()
    rng = np.random.default_rng(chosen.seed)
    large = draw_sample(table, symmetry, max(chosen.box, _OPTICS_BOX), chosen, rng, progress)
    sample = large.shrunk(chosen.box)
    start = _start(sample, rng, chosen, progress)
    poses_test = ReadingTest(sample, rng, chosen.threads)
    few = np.arange(min(len(large.particles), _OPTICS_PARTICLES))
    optics_test = ReadingTest(large.select(few), rng, chosen.threads)
    with progress.task("comparing readings", None) as advance:
        reading = best_reading(poses_test, start, _OF_POSES, lambda: advance(1))
        reading = best_reading(optics_test, reading, _OF_OPTICS, lambda: advance(1))
        if reading.ctf != AS_GIVEN or reading.pixel_factor != 1.0:
            reading = best_reading(poses_test, reading, _OF_POSES, lambda: advance(1))
    with progress.task("judging", None):
        findings, facts = all_findings(poses_test, optics_test, reading, rng)
    return Diagnosis(
        subject=subject,
        n_particles=len(sample.particles),
        box=sample.particles.box,
        pixel_size_angst=float(np.median(sample.particles.pixel_size_angst)),
        verdict=verdict(findings),
        health=combined_health(findings),
        findings=findings,
        facts=facts,
    )


def draw_sample(
    table: ParticleTable,
    symmetry: str,
    box: int,
    options: ExaminationOptions,
    rng: np.random.Generator,
    progress: Progress = SILENT,
) -> Sample:
    """Return a random sample of the rows of `table`, in their order, with its images.

    Raises
    ------
    MetadataError, MissingImageError, ImageValueError, MrcFileError
        As `examine`.
    """
    poses = table.require_poses()
    count = min(options.n_particles, len(table))
    rows = np.sort(rng.choice(len(table), count, replace=False))
    particles = load_small(table.select(rows), box, progress)
    neighbours = {}
    for name, step in ((ROW_AFTER, 1), (ROW_BEFORE, -1)):
        beside = (rows + step) % len(table)
        ctf = None if table.ctf is None else table.ctf.select(beside)
        neighbours[name] = (_without_confidence(poses.select(beside)), ctf)
    return Sample(particles, _without_confidence(poses.select(rows)), neighbours, symmetry)


def agreement_of_poses(
    table: ParticleTable,
    symmetry: str,
    pose_sets: Mapping[str, Poses],
    options: ExaminationOptions,
    progress: Progress = SILENT,
) -> tuple[SmallParticles, dict[str, float]]:
    """Return how well images agree with several sets of poses, and with shuffled ones.

    Parameters
    ----------
    table : the particles, `P` of them
    symmetry : point group
    pose_sets : names and poses, `P` of each
    options : how much is looked at
    progress : told of every image

    Returns
    -------
    particles : the sample
    agreements : `agreement_NAME` of each set, and `agreement_shuffled` of the first
    """
    rng = np.random.default_rng(options.seed)
    first, *_ = pose_sets
    agreements = {}
    rows = np.sort(rng.choice(len(table), min(options.n_particles, len(table)), replace=False))
    chosen = table.select(rows)
    particles = load_small(chosen, options.box, progress)
    for name, poses in pose_sets.items():
        sample = Sample(particles, poses.select(rows), {}, symmetry)
        # the same parts for all: they are compared particle by particle
        test = ReadingTest(sample, np.random.default_rng(options.seed), options.threads)
        agreements[f"agreement_{name}"] = float(test.agreement(GIVEN).mean())
        if name == first:
            agreements["agreement_shuffled"] = float(test.shuffled_agreement(GIVEN).mean())
    return particles, agreements


def _without_confidence(poses: Poses) -> Poses:
    return Poses(poses.rotations, poses.origins_angst, np.ones(len(poses)))


def _start(
    sample: Sample, rng: np.random.Generator, options: ExaminationOptions, progress: Progress
) -> Reading:
    few: IntArray = np.sort(
        rng.permutation(len(sample.particles))[:_SCREENING_PARTICLES].astype(np.int64)
    )
    test = ReadingTest(sample.select(few).shrunk(_SCREENING_BOX), rng, options.threads)
    with progress.task("looking for a reading that fits", None) as advance:
        return screen(test, advance)
