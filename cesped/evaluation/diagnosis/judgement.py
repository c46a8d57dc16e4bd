"""From measured readings to findings in plain words."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from cesped.evaluation.diagnosis.findings import (
    CERTAIN_Z,
    PREFERRED_Z,
    RULED_OUT_Z,
    Finding,
    FloatArray,
    Score,
    paired_z,
)
from cesped.evaluation.diagnosis.realignment import Realignment
from cesped.evaluation.diagnosis.search import GIVEN, Reading, ReadingTest
from cesped.evaluation.diagnosis.suspects import (
    AS_GIVEN,
    IGNORED,
    ORIENTATIONS,
    SUSPECTS,
    WHOLE_IMAGES,
    Misreading,
)
from cesped.vocabulary import Health, Suspicion

#: Right poses must promise at least this z, and this many times the agreement that was found above
#: that of shuffled poses, before poses are called random instead of images too noisy.
_EXPECTED_Z = 8.0
#: The best of a hundred readings that are all wrong seldom is further above shuffled poses.
_CHANCE_Z = 4.5
_EXPECTED_EXCESS = 3.0

#: Poses that reach less of the expected agreement, above that of shuffled ones, are not called
#: healthy; right ones reached 0.9 and more in simulations, with 17 real particles twice as much.
_LEAST_OF_EXPECTED = 0.5

#: Pixel sizes that differ by less are not called wrong: magnifications are often 1 or 2 % off.
_PIXEL_TOLERANCE = 0.025
#: A pixel size that is known no better than this is not called right.
_NARROW_RANGE = 0.1


def poses_finding(
    test: ReadingTest, found: Reading, expected: float
) -> tuple[Finding, dict[str, float]]:
    """Return what is to be said of the orientations, and the figures that it rests on.

    Parameters
    ----------
    test : the particles
    found : the best reading of the file
    expected : agreement that right poses would reach
    """
    shuffled = test.shuffled_agreement(found)
    agreement = test.agreement(found)
    above = paired_z(agreement, shuffled)
    facts = {
        "agreement_as_given": float(test.agreement(GIVEN).mean()),
        "agreement_best": float(agreement.mean()),
        "agreement_shuffled": float(shuffled.mean()),
        "agreement_expected": expected,
        "z_above_shuffled": above,
        "share_better_than_shuffled": float(np.mean(agreement > shuffled)),
    }
    if above >= PREFERRED_Z:
        fitting = reading_finding(test, found, Suspicion.ORIENTATIONS, above)
        return _less_than_expected(fitting, facts), facts
    scores = scores_of(test, found, Suspicion.ORIENTATIONS)
    excess = expected - float(shuffled.mean())
    error = float((agreement - shuffled).std(ddof=1)) * math.sqrt(2.0 / len(agreement))
    promised = excess / max(error, 1e-12)
    facts["z_expected"] = promised
    figures = (
        f"agreement {agreement.mean():.3f}, {shuffled.mean():.3f} with the orientations shuffled, "
        f"and about {expected:.3f} expected of right ones"
    )
    observed = max(0.0, float((agreement - shuffled).mean()) + 2 * error)
    chance = above < _CHANCE_Z
    if chance and promised >= _EXPECTED_Z and excess >= _EXPECTED_EXCESS * observed:
        statement = f"No reading of the orientations fits the images better than chance: {figures}."
        remedy = (
            "Check that the rows belong to the images (order, section numbers, the right stack), "
            "and that the poses are those of the refinement"
        )
        return (
            Finding(Suspicion.ORIENTATIONS, Health.FAULT, promised, statement, remedy, scores),
            facts,
        )
    statement = (
        f"The orientations can be neither confirmed nor refuted: {figures}. Take more particles"
    )
    return Finding(
        Suspicion.ORIENTATIONS, Health.UNCLEAR, above, statement + ".", "", scores
    ), facts


def _less_than_expected(fitting: Finding, facts: dict[str, float]) -> Finding:
    """Return the finding, unsure if right poses would fit so much better that these are not."""
    shuffled, expected = facts["agreement_shuffled"], facts["agreement_expected"]
    found = facts["agreement_best"]
    if fitting.health is not Health.HEALTHY or (
        found - shuffled >= _LEAST_OF_EXPECTED * (expected - shuffled)
    ):
        return fitting
    statement = (
        f"The orientations fit better than chance, but not well: agreement {found:.3f}, "
        f"{shuffled:.3f} with the orientations shuffled, and about {expected:.3f} expected of "
        "right ones. Many may be wrong, all coarse, or the shifts missing."
    )
    return replace(fitting, health=Health.UNCLEAR, statement=statement)


def scores_of(test: ReadingTest, found: Reading, suspicion: Suspicion) -> tuple[Score, ...]:
    """Return the scores of all options of one suspicion, the rest read as in `found`."""
    given = found.with_option(suspicion, GIVEN.option(suspicion))
    scores = []
    for option in test.options(suspicion):
        reading = found.with_option(suspicion, option)
        z = math.nan if reading == given else test.z(reading, given)
        name = _name(test, suspicion, option)
        scores.append(Score(name, float(test.agreement(reading).mean()), z))
    return tuple(scores)


def reading_finding(
    test: ReadingTest, found: Reading, suspicion: Suspicion, certainty_z: float = math.inf
) -> Finding:
    """Return what is to be said of one suspicion when the rest is read as in `found`.

    Parameters
    ----------
    test : the particles
    found : the best reading
    suspicion : orientations, shifts, rows, symmetry or CTF
    certainty_z : a finding of health is no surer than this
    """
    given = found.with_option(suspicion, GIVEN.option(suspicion))
    scores = scores_of(test, found, suspicion)
    if found != given:
        wrong = _misreading(test, suspicion, found)
        statement = f"{wrong.meaning[:1].upper()}{wrong.meaning[1:]}."
        z = test.z(found, given)
        return Finding(suspicion, Health.FAULT, z, statement, wrong.remedy, scores)
    # readings that do the very same to these poses are no alternatives
    others = [score for score in scores[1:] if score.z != 0.0]
    if not others:
        return Finding(suspicion, Health.UNCLEAR, 0.0, "There is nothing to compare.", "", scores)
    left = [score.reading for score in others if score.z > -RULED_OUT_Z]
    closest = min(certainty_z, *(-score.z for score in others))
    if not left:
        statement = f"Right as given: {_count(len(others))} ruled out."
        return Finding(suspicion, Health.HEALTHY, closest, statement, "", scores)
    return Finding(suspicion, Health.UNCLEAR, closest, _undecided(suspicion, left), "", scores)


def pixel_finding(test: ReadingTest, found: Reading) -> Finding | None:
    """Return what the CTF says of the pixel size; None without CTF."""
    options = [float(option) for option in test.options(Suspicion.PIXEL_SIZE)]
    if len(options) < 2:
        return None
    scores = scores_of(test, found, Suspicion.PIXEL_SIZE)
    given = found.with_option(Suspicion.PIXEL_SIZE, 1.0)
    table = test.sample.particles.table
    best = found.pixel_factor
    if abs(best - 1) > _PIXEL_TOLERANCE:
        size = best * table.sampling_rate
        statement = (
            f"The rings of the CTF fit {size:.3g} A/px, {best:.3g} times the "
            f"{table.sampling_rate:.4g} of the file: the pixel size is wrong, or the defocus "
            f"(to be multiplied by {best**-2:.3g}), or the voltage."
        )
        remedy = "Correct the pixel size of the star file and the headers, or the defocus columns"
        z = test.z(found, given)
        return Finding(Suspicion.PIXEL_SIZE, Health.FAULT, z, statement, remedy, scores)
    apart = {
        float(option): test.z(given.with_option(Suspicion.PIXEL_SIZE, option), given)
        for option in options
        if option != 1.0
    }
    left = [option for option, z in apart.items() if z > -RULED_OUT_Z]
    below = max((option for option in apart if option < 1 and option not in left), default=None)
    above = min((option for option in apart if option > 1 and option not in left), default=None)
    closest = min(-z for z in apart.values())
    if below is None or above is None:
        statement = "The images show too little of the CTF's rings to tell the pixel size."
        return Finding(Suspicion.PIXEL_SIZE, Health.UNCLEAR, closest, statement, "", scores)
    outside = min(-z for option, z in apart.items() if option <= below or option >= above)
    statement = (
        f"The rings of the CTF rule out less than {below:g} and more than {above:g} times the "
        f"{table.sampling_rate:.4g} A/px of the file."
    )
    is_narrow = below >= 1 - _NARROW_RANGE and above <= 1 + _NARROW_RANGE
    health = Health.HEALTHY if is_narrow else Health.UNCLEAR
    return Finding(Suspicion.PIXEL_SIZE, health, outside, statement, "", scores)


def moved_findings(
    best: str, fits: dict[str, Realignment], shuffled: FloatArray, file_px: float
) -> list[Finding]:
    """Return the findings if orientations fit only once the images are moved.

    Parameters
    ----------
    best : the orientation that then fits best
    fits : what moving does under each orientation
    shuffled : `(P,)` agreement after moving, of shuffled orientations
    file_px : pixels of the file in one pixel of the small images
    """
    given = fits[AS_GIVEN].after
    scores = tuple(
        Score(
            name,
            float(fit.after.mean()),
            math.nan if name == AS_GIVEN else paired_z(fit.after, given),
        )
        for name, fit in fits.items()
    )
    if best == AS_GIVEN:
        statement = "They fit once the shifts are found anew."
        z = paired_z(given, shuffled)
        orientation = Finding(Suspicion.ORIENTATIONS, Health.HEALTHY, z, statement, "", scores)
    else:
        wrong = ORIENTATIONS[best]
        statement = f"{wrong.meaning[:1].upper()}{wrong.meaning[1:]}."
        z = paired_z(fits[best].after, given)
        orientation = Finding(
            Suspicion.ORIENTATIONS, Health.FAULT, z, statement, wrong.remedy, scores
        )
    nothing = Finding(Suspicion.SHIFTS, Health.UNCLEAR, 0.0, "")
    return [orientation, realigned_finding(fits[best], nothing, file_px)]


def realigned_finding(moved: Realignment, shifts: Finding, file_px: float) -> Finding:
    """Return the finding about shifts, which may be wrong in no regular way.

    Parameters
    ----------
    moved : what finding them anew did
    shifts : what is to be said of their signs, order and unit
    file_px : pixels of the file in one pixel of the small images
    """
    if moved.z < PREFERRED_Z or shifts.health is Health.FAULT:
        return shifts
    statement = (
        "The shifts are missing or wrong: images agree better when each is moved, by "
        f"{np.median(moved.moved_px) * file_px:.2g} px in the median, to where it fits."
    )
    remedy = "Find the shifts anew by a refinement"
    return Finding(Suspicion.SHIFTS, Health.FAULT, moved.z, statement, remedy, shifts.scores)


def contrast_finding(z: float) -> Finding:
    """Return what the sign of the density says; `z` is that of `sign_z`."""
    suspicion = Suspicion.CONTRAST
    if z >= PREFERRED_Z:
        return Finding(suspicion, Health.HEALTHY, z, "Matter is bright, as it should be.")
    if z <= -PREFERRED_Z:
        statement = "The contrast is inverted: matter is dark."
        return Finding(suspicion, Health.FAULT, -z, statement, "Multiply the images by -1")
    statement = "Whether matter is bright or dark does not show."
    return Finding(suspicion, Health.UNCLEAR, abs(z), statement)


def certainty_words(z: float) -> str:
    """Return `certain` or `likely` with the figure behind the word."""
    return f"{'certain' if z >= CERTAIN_Z else 'likely'}, z {z:.1f}"


def _undecided(suspicion: Suspicion, left: list[str]) -> str:
    if suspicion is Suspicion.SHIFTS and IGNORED in left:
        return "The shifts are too small to matter here: leaving them out fits as well."
    return f"Not told apart from the file as given: {', '.join(left)}."


def _count(number: int) -> str:
    return "the other reading is" if number == 1 else f"all {number} other readings are"


def _name(test: ReadingTest, suspicion: Suspicion, option: str | float) -> str:
    if suspicion is Suspicion.PIXEL_SIZE:
        return AS_GIVEN if option == 1.0 else f"x {option:g}"
    if suspicion is Suspicion.SYMMETRY and option == AS_GIVEN:
        return f"{AS_GIVEN} ({test.sample.symmetry})"
    return str(option)


def _misreading(test: ReadingTest, suspicion: Suspicion, found: Reading) -> Misreading:
    option = str(found.option(suspicion))
    whole = WHOLE_IMAGES.get((found.orientation, found.shifts))
    if whole is not None:
        meaning, remedy, astigmatism = whole
        if suspicion is Suspicion.ORIENTATIONS:
            return Misreading(option, meaning, remedy)
        if suspicion is Suspicion.SHIFTS or (suspicion is Suspicion.CTF and option == astigmatism):
            return Misreading(option, meaning, "")  # is put right with the images
    if suspicion is not Suspicion.SYMMETRY:
        return SUSPECTS[suspicion][option]
    stated = test.sample.symmetry
    if option == "C1":
        return Misreading(
            option,
            f"the particles do not have the symmetry {stated} about these axes",
            f"state C1, or turn the poses to where RELION puts the axes of {stated}",
        )
    return Misreading(
        option,
        f"the axes of symmetry lie elsewhere: the poses fit {option}",
        f"state that group, or turn the poses to where RELION puts the axes of {stated}",
    )
