"""Star file against headers: whose pixel size the images are said to fit."""

import pytest

from cesped.evaluation.diagnosis.contradiction import with_contradiction
from cesped.evaluation.diagnosis.findings import Diagnosis, Finding
from cesped.vocabulary import Health, Suspicion

SAID = "row 1 of a.star says 4 angstrom/px, the header of a.mrcs says 3; correct the wrong one"
POSES = Finding(Suspicion.ORIENTATIONS, Health.HEALTHY, 20.0, "Right as given.")


def diagnosed(*findings):
    return Diagnosis("a.star", 9, 32, 4.0, "Nothing wrong.", Health.HEALTHY, (POSES, *findings))


@pytest.mark.parametrize(
    ("seen", "told", "remedy"),
    [
        (
            Finding(Suspicion.PIXEL_SIZE, Health.HEALTHY, 9.0, "The rings rule out others."),
            "; the rings of the CTF fit the star file.",
            "correct the headers of the images",
        ),
        (
            Finding(Suspicion.PIXEL_SIZE, Health.FAULT, 30.0, "The rings of the CTF fit 3 A/px."),
            "; the rings of the CTF fit 3 A/px.",
            "correct the pixel size of the star file",
        ),
        (
            Finding(Suspicion.PIXEL_SIZE, Health.UNCLEAR, 1.0, "Too little."),
            "; the images do not show which is right.",
            "find out the pixel size",
        ),
        (None, "; the images do not show which is right.", "find out the pixel size"),
    ],
)
def test_it_is_one_certain_fault_that_says_which_is_right(seen, told, remedy):
    found = with_contradiction(diagnosed(*([] if seen is None else [seen])), SAID)
    assert found.health is Health.FAULT
    (fault,) = (one for one in found.findings if one.suspicion is Suspicion.PIXEL_SIZE)
    assert fault.health is Health.FAULT
    assert fault.certainty == "certain"
    assert fault.statement.startswith(
        "Star file and headers contradict each other (row 1 of a.star says 4 angstrom/px, the "
        "header of a.mrcs says 3)"
    )
    assert fault.statement.endswith(told)
    assert fault.remedy.startswith(remedy)
    assert found.verdict.startswith("Something is wrong (certain")
    assert POSES in found.findings
