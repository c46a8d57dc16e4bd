"""What a diagnosis says: findings one by one, each with how sure it is, and the sum of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cesped.vocabulary import Health, Suspicion

FloatArray = NDArray[np.float64]

#: A reading must be better than another by so many standard errors to be preferred. With some
#: sixty readings tried, chance alone reaches 4 in one diagnosis of 500.
PREFERRED_Z = 5.0
#: A reading that is worse by so many standard errors is ruled out.
RULED_OUT_Z = 3.0
#: From here on nobody doubts.
CERTAIN_Z = 8.0


@dataclass(frozen=True)
class Score:
    """How well one reading of the file explains the images.

    Attributes
    ----------
    reading : its name.
    agreement : mean correlation of images with a map of other images.
    z : how much better than the file as given, in standard errors; NaN for that one itself.
    """

    reading: str
    agreement: float
    z: float


@dataclass(frozen=True)
class Finding:
    """What was found out about one suspicion.

    Attributes
    ----------
    suspicion : what was looked into.
    health : healthy, a fault, or cannot tell.
    z : standard errors that the verdict rests on: of a fault, by which the best reading beats the
        given one; of health, by which the given one beats the next best.
    statement : one sentence.
    remedy : what to do; empty if nothing is.
    scores : all readings tried, the given one first.
    """

    suspicion: Suspicion
    health: Health
    z: float
    statement: str
    remedy: str = ""
    scores: tuple[Score, ...] = ()

    @property
    def certainty(self) -> str:
        """Return how sure the finding is, in a word."""
        if self.health is Health.UNCLEAR:
            return "-"
        return "certain" if self.z >= CERTAIN_Z else "likely"


@dataclass(frozen=True)
class Diagnosis:
    """All findings about one set of particles and poses.

    Attributes
    ----------
    subject : what was examined.
    n_particles, box, pixel_size_angst : the sample, and the small images it was examined at.
    verdict : one or two sentences in plain words.
    health : healthy, a fault, or cannot tell.
    findings : in the order in which they should be read.
    facts : figures of the whole, by name.
    """

    subject: str
    n_particles: int
    box: int
    pixel_size_angst: float
    verdict: str
    health: Health
    findings: tuple[Finding, ...]
    facts: Mapping[str, float] = field(default_factory=dict)

    def finding(self, suspicion: Suspicion) -> Finding | None:
        """Return the finding about `suspicion`, or None if it was not looked into."""
        return next((found for found in self.findings if found.suspicion is suspicion), None)

    def as_dict(self) -> dict[str, Any]:
        """Return everything in types that JSON has; what is not a number becomes null."""
        return {
            "subject": self.subject,
            "health": self.health.value,
            "verdict": self.verdict,
            "particles": self.n_particles,
            "box": self.box,
            "pixel_size_angst": self.pixel_size_angst,
            "facts": {name: _plain(value) for name, value in self.facts.items()},
            "findings": [
                {
                    "suspicion": found.suspicion.value,
                    "health": found.health.value,
                    "certainty": found.certainty,
                    "z": _plain(found.z),
                    "statement": found.statement,
                    "remedy": found.remedy,
                    "readings": [
                        {
                            "name": score.reading,
                            "agreement": _plain(score.agreement),
                            "z": _plain(score.z),
                        }
                        for score in found.scores
                    ],
                }
                for found in self.findings
            ],
        }


def paired_z(better: FloatArray, worse: FloatArray) -> float:
    """Return by how many standard errors the mean of `better` is above that of `worse`.

    Parameters
    ----------
    better, worse : `(P,)` agreement of the same particles under two readings

    Notes
    -----
    The differences of particles are taken as independent, and their standard error times sqrt(2):
    each pair of particles is counted twice, once with either of them in the map.

    Examples
    --------
    >>> round(paired_z(np.array([0.2, 0.3, 0.4]), np.array([0.1, 0.1, 0.1])), 2)
    2.45
    """
    difference = better - worse
    error = float(difference.std(ddof=1)) * math.sqrt(2.0 / len(difference))
    mean = float(difference.mean())
    if error == 0.0:
        return 0.0 if mean == 0.0 else math.copysign(math.inf, mean)
    return mean / error


def combined_health(findings: tuple[Finding, ...]) -> Health:
    """Return a fault if any finding is one, healthy if the orientations are, else cannot tell."""
    if any(found.health is Health.FAULT for found in findings):
        return Health.FAULT
    basis = [found for found in findings if found.suspicion is Suspicion.ORIENTATIONS]
    return basis[0].health if basis else Health.UNCLEAR


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
