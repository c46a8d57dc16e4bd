"""Star file and image headers that state different pixel sizes: which of the two is right."""

from __future__ import annotations

from dataclasses import replace

from cesped.evaluation.diagnosis.findings import CERTAIN_Z, Diagnosis, Finding, combined_health
from cesped.evaluation.diagnosis.summing_up import verdict
from cesped.vocabulary import Health, Suspicion


def with_contradiction(diagnosis: Diagnosis, contradiction: str) -> Diagnosis:
    """Return a diagnosis with the fault that star file and headers contradict each other.

    Parameters
    ----------
    diagnosis : of the images, at the pixel size of the star file
    contradiction : what the reader of the files said: row, file and both sizes, then a remedy
    """
    seen = diagnosis.finding(Suspicion.PIXEL_SIZE)
    both = contradiction.partition(";")[0]
    if seen is None or seen.health is Health.UNCLEAR:
        told = "the images do not show which is right"
        remedy = "find out the pixel size, and correct the star file or the headers"
    elif seen.health is Health.HEALTHY:
        told = "the rings of the CTF fit the star file"
        remedy = "correct the headers of the images, if it is not the defocus that is wrong"
    else:
        told = seen.statement.rstrip(".").replace("The rings", "the rings", 1)
        remedy = "correct the pixel size of the star file, if the headers state what fits"
    fault = Finding(
        Suspicion.PIXEL_SIZE,
        Health.FAULT,
        max(CERTAIN_Z, 0.0 if seen is None else seen.z),  # the contradiction itself is certain
        f"Star file and headers contradict each other ({both}); {told}.",
        remedy,
        () if seen is None else seen.scores,
    )
    others = [found for found in diagnosis.findings if found is not seen]
    findings = (*others, fault)
    return replace(
        diagnosis, verdict=verdict(findings), health=combined_health(findings), findings=findings
    )
