"""The picture of a diagnosis: one panel per comparison, the faulty reading marked."""

import math

from matplotlib.colors import to_hex

from cesped.evaluation.diagnosis.findings import Diagnosis, Finding, Score
from cesped.report.diagnosis_figure import diagnosis_figure
from cesped.report.palette import BLUE, VERMILLION
from cesped.vocabulary import Health, Suspicion


def diagnosis(*findings):
    return Diagnosis("x", 10, 32, 3.0, "verdict", Health.FAULT, findings)


def test_bars_and_colours():
    scores = (Score("as given", 0.1, math.nan), Score("transposed", 0.4, 12.0))
    faulty = Finding(Suspicion.ORIENTATIONS, Health.FAULT, 12.0, "Wrong.", "Do.", scores)
    plain = Finding(Suspicion.CONTRAST, Health.HEALTHY, 9.0, "Bright.")
    figure = diagnosis_figure(diagnosis(faulty, plain))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["as given", "transposed"]
    colours = [to_hex(bar.get_facecolor()).upper() for bar in axes.patches]
    assert colours == [BLUE, VERMILLION]
    assert axes.get_title(loc="left") == "orientations: fault"


def test_nothing_to_draw_is_said():
    figure = diagnosis_figure(diagnosis())
    assert "No readings" in figure.texts[0].get_text()
