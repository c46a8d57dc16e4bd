"""Everything that is to be said of a set of particles, and the sum of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cesped.evaluation.diagnosis.findings import (
    PREFERRED_Z,
    Finding,
    paired_z,
)
from cesped.evaluation.diagnosis.judgement import (
    certainty_words,
    contrast_finding,
    moved_findings,
    pixel_finding,
    poses_finding,
    reading_finding,
    realigned_finding,
)
from cesped.evaluation.diagnosis.realignment import half_of_samples, realign
from cesped.evaluation.diagnosis.search import GIVEN, Reading, ReadingTest
from cesped.evaluation.diagnosis.signal import (
    agreement_with_square,
    expected_agreement,
    noise_power_at_zeros,
    sign_z,
)
from cesped.evaluation.diagnosis.suspects import AS_GIVEN, FLIPPED, IGNORED, MULTIPLIED, RAW
from cesped.vocabulary import Health, Suspicion

_CONTRAST_BOX = 48
#: Power of noise at zeros of the CTF, below which images were multiplied by it.
_MULTIPLIED_NOISE = 0.5

#: In the order in which they are told.
_ORDER = (
    Suspicion.FRAME,
    Suspicion.ORIENTATIONS,
    Suspicion.ROWS,
    Suspicion.SHIFTS,
    Suspicion.SYMMETRY,
    Suspicion.CONTRAST,
    Suspicion.PIXEL_SIZE,
    Suspicion.CTF,
)


def verdict(findings: tuple[Finding, ...]) -> str:
    """Return the sum of all findings in one or two sentences."""
    faults = [found for found in findings if found.health is Health.FAULT]
    if faults:
        texts = dict.fromkeys(found.statement.rstrip(".") for found in faults)
        surest = max(found.z for found in faults)
        return f"Something is wrong ({certainty_words(surest)}): {'. '.join(texts)}."
    basis = next(found for found in findings if found.suspicion is Suspicion.ORIENTATIONS)
    if basis.health is Health.UNCLEAR:
        return f"Cannot tell. {basis.statement}"
    unclear = [str(found.suspicion) for found in findings if found.health is Health.UNCLEAR]
    ending = f" Could not be judged: {', '.join(unclear)}." if unclear else ""
    return f"Nothing wrong was found ({certainty_words(basis.z)}).{ending}"


def all_findings(
    poses_test: ReadingTest,
    optics_test: ReadingTest,
    reading: Reading,
    rng: np.random.Generator,
) -> tuple[tuple[Finding, ...], dict[str, float]]:
    """Return everything that is to be said, in the order of telling, and the figures behind it.

    Parameters
    ----------
    poses_test, optics_test : the particles, as poses and as CTFs are judged
    reading : the best one that was found
    rng : deals particles and samples to parts
    """
    reading = _told_by_noise(optics_test, reading)
    order = poses_test.groups[reading.symmetry].order
    expected = expected_agreement(poses_test.held_out, order)
    basis, facts = poses_finding(poses_test, reading, expected)
    findings = [basis, _contrast(poses_test, reading, rng)]
    if basis.health is not Health.HEALTHY and facts["z_above_shuffled"] < PREFERRED_Z:
        moved = _after_moving(poses_test, rng)
        if moved:
            findings = [*moved, findings[1]]
    fits = facts["z_above_shuffled"] >= PREFERRED_Z
    for suspicion in (Suspicion.SHIFTS, Suspicion.ROWS, Suspicion.SYMMETRY):
        told = fits or reading.option(suspicion) != GIVEN.option(suspicion)
        if told and len(poses_test.options(suspicion)) > 1:
            findings.append(reading_finding(poses_test, reading, suspicion))
    if fits:
        shifts = _shifts(poses_test, reading, findings, rng)
        findings = [found for found in findings if found.suspicion is not Suspicion.SHIFTS]
        findings += [shifts, *_optics(optics_test, reading, shifts)]
    findings.sort(key=lambda found: _ORDER.index(found.suspicion))
    return tuple(findings), facts


def _contrast(test: ReadingTest, reading: Reading, rng: np.random.Generator) -> Finding:
    """Return what the map says of the contrast; something round is enough, poses need not fit."""
    coarse = ReadingTest(test.sample.shrunk(_CONTRAST_BOX), rng, test.held_out.threads)
    inputs = coarse.inputs(reading)
    return contrast_finding(sign_z(agreement_with_square(coarse.held_out, inputs)))


def _shifts(
    test: ReadingTest, reading: Reading, findings: list[Finding], rng: np.random.Generator
) -> Finding:
    """Return the finding about shifts, after trying to find them anew."""
    nothing = Finding(Suspicion.SHIFTS, Health.UNCLEAR, 0.0, "No shifts are given.")
    known = next((found for found in findings if found.suspicion is Suspicion.SHIFTS), nothing)
    chooses = half_of_samples(test.held_out, rng)
    moved = realign(test.held_out, test.inputs(reading), chooses)
    return realigned_finding(moved, known, test.sample.particles.original_pixels)


def _after_moving(test: ReadingTest, rng: np.random.Generator) -> list[Finding]:
    """Return what fits if every image is first moved to where it fits best; nothing if none does.

    Without shifts, or with quite wrong ones, right orientations may show no agreement at all.
    """
    chooses = half_of_samples(test.held_out, rng)
    fits = {}
    for option in test.options(Suspicion.ORIENTATIONS):
        inputs = test.inputs(replace(GIVEN, orientation=str(option)))
        fits[str(option)] = realign(test.held_out, inputs, chooses)
    given = test.inputs(GIVEN)
    mixed = given.rotations[rng.permutation(len(given.rotations))]
    shuffled = realign(test.held_out, given._replace(rotations=mixed), chooses).after
    best = max(fits, key=lambda name: float(fits[name].after.mean()))
    if paired_z(fits[best].after, fits[AS_GIVEN].after) < PREFERRED_Z:
        best = AS_GIVEN
    stands_out = paired_z(fits[best].after, shuffled) >= PREFERRED_Z
    if not (stands_out and fits[best].z >= PREFERRED_Z):
        return []
    return moved_findings(best, fits, shuffled, test.sample.particles.original_pixels)


def _optics(test: ReadingTest, reading: Reading, shifts: Finding) -> list[Finding]:
    """Return the findings about CTF and pixel size.

    Images that are not where the poses say smear the map, and a smeared map prefers a smooth CTF:
    then nothing is said.
    """
    if len(test.options(Suspicion.CTF)) < 2:
        return []
    smeared = shifts.health is Health.FAULT and reading.shifts in (AS_GIVEN, IGNORED)
    if smeared:
        words = "Is not told before the shifts are right."
        return [
            Finding(suspicion, Health.UNCLEAR, 0.0, words)
            for suspicion in (Suspicion.CTF, Suspicion.PIXEL_SIZE)
        ]
    pixel = pixel_finding(test, reading)
    ctf = reading_finding(test, reading, Suspicion.CTF)
    return [ctf] if pixel is None else [ctf, pixel]


def _told_by_noise(test: ReadingTest, reading: Reading) -> Reading:
    """Return the reading with `phase flipped` and `multiplied` told apart.

    Either undoes the signs of the CTF, and that is what agreement depends on; noise shows which.
    """
    if reading.ctf not in (FLIPPED, MULTIPLIED):
        return reading
    ratio = noise_power_at_zeros(test.held_out, test.inputs(replace(reading, ctf=RAW)).ctf)
    name = MULTIPLIED if ratio < _MULTIPLIED_NOISE else FLIPPED
    return replace(reading, ctf=AS_GIVEN if name == test.stated_ctf else name)
