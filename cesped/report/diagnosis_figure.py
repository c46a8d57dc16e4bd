"""A picture of a diagnosis: how well each reading of a file fits its images."""

from typing import TYPE_CHECKING

from ..vocabulary import Health
from .canvas import new_figure, styled
from .palette import BLUE, GREY, INK, VERMILLION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..evaluation.diagnosis.findings import Diagnosis, Finding

_BAR_INCH, _TITLE_INCH, _WIDTH_INCH = 0.21, 0.75, 8.6


@styled
def diagnosis_figure(diagnosis: "Diagnosis") -> "Figure":
    """Draw one panel of bars per finding that compared readings; the given one is blue.

    A reading that fits better than the given one, where that is a fault, is vermillion.
    """
    shown = [found for found in diagnosis.findings if len(found.scores) > 1]
    heights = [_TITLE_INCH + _BAR_INCH * len(found.scores) for found in shown] or [_TITLE_INCH]
    figure = new_figure(_WIDTH_INCH, sum(heights))
    if not shown:
        figure.text(0.5, 0.5, "No readings were compared.", ha="center")
        return figure
    panels = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, found in zip(panels, shown, strict=True):
        _draw_bars(axes, found)
    panels[-1].set_xlabel("agreement with the images, or share of right poses")
    return figure


def _draw_bars(axes: "Axes", found: "Finding") -> None:
    scores = found.scores
    best = max(range(len(scores)), key=lambda number: scores[number].agreement)
    colours = [BLUE, *[GREY] * (len(scores) - 1)]
    if found.health is Health.FAULT and best:
        colours[best] = VERMILLION
    axes.barh(range(len(scores)), [score.agreement for score in scores], color=colours)
    axes.set_yticks(range(len(scores)), [score.reading for score in scores])
    axes.invert_yaxis()
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_title(f"{found.suspicion.value}: {found.health.value}", loc="left")
