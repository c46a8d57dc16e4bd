"""Two small charts as SVG text: the same rows always write the same bytes."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..report.palette import BLUE, GREEN, GREY, INK, ORANGE, PALE, PURPLE, SKY, VERMILLION
from .plain_text import LONGEST_NAME, plain

_WIDTH, _HEIGHT = 560, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 14, 48
_COLOURS = (VERMILLION, BLUE, GREEN, ORANGE, PURPLE, SKY)
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "1 2")
#: Shapes beside colours, so that neither is needed alone; each is drawn around 0, 0.
_SHAPES = (
    '<circle r="5"/>',
    '<rect x="-4.5" y="-4.5" width="9" height="9"/>',
    '<path d="M0-6 5.5 4.5H-5.5Z"/>',
    '<path d="M0-6 6 0 0 6-6 0Z"/>',
    '<path d="M0 6 5.5-4.5H-5.5Z"/>',
    '<path d="M-5-5 5 5M-5 5 5-5" stroke-width="3"/>',
)


@dataclass(frozen=True)
class Point:
    """A mark of a scatter chart; `x` is positive."""

    label: str
    x: float
    y: float


@dataclass(frozen=True)
class Line:
    """A curve of a line chart."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    is_reference: bool = False


def pareto_chart(
    points: Sequence[Point], x_title: str, y_title: str, *, joined: bool = True
) -> str:
    """Return a scatter of cost (logarithmic) and error; the best trades are `joined` by a line."""
    decades = [math.log10(point.x) for point in points]
    low, high = math.floor(min(decades) - 0.1), math.ceil(max(decades) + 0.1)
    top = _nice_above(max(point.y for point in points))
    frame = _Frame(low, high, 0.0, top)
    marks = [frame.at(math.log10(point.x), point.y) for point in points]
    parts = [
        *frame.x_axis([(power, f"{10.0**power:g}") for power in range(low, high + 1)], x_title),
        *frame.y_axis([top * step / 4 for step in range(5)], y_title),
    ]
    front = [marks[number] for number in pareto_front(points)]
    if joined and len(front) > 1:
        parts.append(_polyline(front, GREY, "4 3", 1.2))
    for number, (point, (x, y)) in enumerate(zip(points, marks, strict=True)):
        colour, shape = _mark(number)
        said = f"{_text(point.label)}: {point.y:.4g} at {point.x:.4g}"
        parts.append(
            f'<g transform="translate({x:.1f} {y:.1f})" fill="{colour}" stroke="{colour}">'
            f"<title>{said}</title>{shape}</g>"
        )
    legend = [(point.label, number, None) for number, point in enumerate(points)]
    return _svg(parts, legend, f"{y_title} against {x_title}")


def pareto_front(points: Sequence[Point]) -> list[int]:
    """Return the points that no other one beats in both cost and error, cheapest first.

    Examples
    --------
    >>> pareto_front([Point("a", 1, 5), Point("b", 2, 6), Point("c", 3, 4)])
    [0, 2]
    """
    best, front = math.inf, []
    for number in sorted(range(len(points)), key=lambda n: (points[n].x, points[n].y)):
        if points[number].y < best:
            best = points[number].y
            front.append(number)
    return front


def fsc_chart(lines: Sequence[Line], x_title: str = "detail size (Å)") -> str:
    """Return FSC curves over each other, with the thresholds 0.5 and 0.143.

    Parameters
    ----------
    lines : frequencies [1/angstrom] and correlations
    x_title : of the axis
    """
    last = max(max(line.x) for line in lines)
    frame = _Frame(0.0, last, -0.1, 1.0)
    ticks = [(last * step / 5, f"{5 / (last * step):.3g}") for step in range(1, 6)]
    parts = [*frame.x_axis(ticks, x_title), *frame.y_axis([0, 0.143, 0.5, 1.0], "FSC")]
    legend = []
    for number, line in enumerate(lines):
        colour = INK if line.is_reference else _COLOURS[number % len(_COLOURS)]
        dash = "3 3" if line.is_reference else _DASHES[number % len(_DASHES)]
        inside = [frame.at(x, y) for x, y in zip(line.x, line.y, strict=True) if y == y]
        parts.append(_polyline(inside, colour, dash, 2, line.label))
        legend.append((line.label, number, (colour, dash)))
    return _svg(
        parts, legend, "Fourier shell correlation of " + ", ".join(line.label for line in lines)
    )


class _Frame:
    """Places numbers on the sheet."""

    def __init__(self, x_low: float, x_high: float, y_low: float, y_high: float):
        self.x_low, self.x_span = x_low, (x_high - x_low) or 1.0
        self.y_low, self.y_span = y_low, (y_high - y_low) or 1.0

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x_low) / self.x_span * (_WIDTH - _LEFT - _RIGHT)
        share = min(max((y - self.y_low) / self.y_span, 0.0), 1.0)  # what is stated may be absurd
        up = share * (_HEIGHT - _TOP - _BOTTOM)
        return _LEFT + across, _HEIGHT - _BOTTOM - up

    def x_axis(self, ticks: Sequence[tuple[float, str]], title: str) -> list[str]:
        parts = []
        for value, label in ticks:
            x, y = self.at(value, self.y_low)
            parts.append(_rule(x, _TOP, x, y))
            parts.append(_label(x, y + 17, label, "middle"))
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        return [*parts, _label(middle, _HEIGHT - 8, title, "middle")]

    def y_axis(self, values: Sequence[float], title: str) -> list[str]:
        parts = []
        for value in values:
            x, y = self.at(self.x_low, value)
            parts.append(_rule(x, y, _WIDTH - _RIGHT, y))
            parts.append(_label(x - 6, y + 4, f"{value:.3g}", "end"))
        middle = (_TOP + _HEIGHT - _BOTTOM) / 2
        turned = f'transform="rotate(-90 13 {middle:.1f})" '
        return [*parts, _label(13, middle, title, "middle", turned)]


def _rule(x: float, y: float, to_x: float, to_y: float) -> str:
    ends = f'x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}"'
    return f'<line {ends} stroke="{PALE}"/>'


def _label(x: float, y: float, text: str, anchor: str, extra: str = "") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f"<text {extra}{place}>{_text(text)}</text>"


def _polyline(
    places: Sequence[tuple[float, float]], colour: str, dash: str, width: float, title: str = ""
) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    said = f"<title>{_text(title)}</title>" if title else ""
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}>'
        f"{said}</polyline>"
    )


def _svg(
    parts: Sequence[str],
    legend: Sequence[tuple[str, int, tuple[str, str] | None]],
    description: str,
) -> str:
    """Return the chart with a legend under it, one line each."""
    lines = []
    for place, (label, number, style) in enumerate(legend):
        y = _HEIGHT + 16 + 18 * place
        if style is None:
            colour, shape = _mark(number)
            mark = (
                f'<g transform="translate({_LEFT + 12} {y})" fill="{colour}" stroke="{colour}">'
                f"{shape}</g>"
            )
        else:
            mark = _polyline([(_LEFT, y), (_LEFT + 26, y)], style[0], style[1], 2)
        lines += [mark, _label(_LEFT + 34, y + 4, label, "start")]
    height = _HEIGHT + 18 * len(legend) + 8
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img" '
        f'aria-label="{_text(description, 400)}" font-size="12" fill="{INK}">'
        + "".join([*parts, *lines])
        + "</svg>"
    )


def _text(text: str, longest: int = LONGEST_NAME) -> str:
    return html.escape(plain(text, longest), quote=True)


def _mark(number: int) -> tuple[str, str]:
    """Return colour and shape of the point `number`; no two of the first 36 are alike."""
    turn, place = divmod(number, len(_COLOURS))
    return _COLOURS[place], _SHAPES[(place + turn) % len(_SHAPES)]


def _nice_above(value: float) -> float:
    """Return a round number not below `value`, whose quarters are round too."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value)
