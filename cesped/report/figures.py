"""Still pictures of one evaluation."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..vocabulary import FSC_THRESHOLDS
from .canvas import new_figure, styled
from .palette import GREEN, GREY, INK, ORANGE, PALE, PREDICTION, PURPLE, RANDOM, SKY, TRUTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..physics.fsc import FscCurve

HISTOGRAM_BIN_DEG = 5.0
#: Errors that the share of well-placed particles is counted under [degrees].
GOOD_ERRORS_DEG = (5.0, 10.0)

#: Behind words that curves would run through.
_PLATE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0}
_CURVE_STYLES = (
    (PREDICTION, "-"),
    (TRUTH, "--"),
    (GREEN, "-."),
    (RANDOM, ":"),
    (ORANGE, (0, (6, 1.5))),
    (PURPLE, (0, (1, 1))),
    (SKY, (0, (4, 1, 1, 1, 1, 1))),
)


@styled
def fsc_figure(curves: Mapping[str, "FscCurve"]) -> "Figure":
    """Draw the Fourier shell correlations `curves` by frequency, with both thresholds."""
    figure = new_figure(8.6, 4.2)
    axes = figure.subplots()
    for number, (name, curve) in enumerate(curves.items()):
        colour, dashes = _CURVE_STYLES[number % len(_CURVE_STYLES)]
        axes.plot(
            curve.frequency_per_angst[1:],
            curve.correlation[1:],
            color=colour,
            linestyle=dashes,
            linewidth=2,
            label=name,
        )
    last = max(float(curve.frequency_per_angst[-1]) for curve in curves.values())
    for threshold in FSC_THRESHOLDS:
        axes.axhline(threshold, color=GREY, linewidth=0.9)
        label = axes.text(last, threshold + 0.012, f"{threshold:g}", ha="right", va="bottom")
        label.set(color=GREY, bbox=_PLATE)
    axes.axhline(0, color=PALE, linewidth=0.8, zorder=0)
    axes.set(xlim=(0, last), ylim=(min(-0.12, axes.get_ylim()[0]), 1.03))
    axes.set_ylabel("correlation of the two maps")
    axes.set_xlabel("detail size: coarse (left) to fine (right)")
    ticks = np.linspace(0, last, 7)[1:]
    axes.set_xticks(ticks, [f"{1 / tick:.3g} Å" for tick in ticks])
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return figure


@styled
def angular_error_figure(
    errors_deg: NDArray[np.float64], random_errors_deg: NDArray[np.float64]
) -> "Figure":
    """Draw the histogram and the cumulative share of `errors_deg` `(P,)` beside random poses."""
    figure = new_figure(10.2, 3.7)
    histogram, cumulative = figure.subplots(1, 2)
    end = _rounded_up(max(errors_deg.max(), np.quantile(random_errors_deg, 0.999)), 30.0)
    bins = np.arange(0, end + HISTOGRAM_BIN_DEG, HISTOGRAM_BIN_DEG)
    style = {"bins": bins, "histtype": "stepfilled", "color": PREDICTION, "alpha": 0.75}
    histogram.hist(errors_deg, weights=_percent(errors_deg), label="predicted poses", **style)
    style = {"bins": bins, "histtype": "step", "color": RANDOM, "linewidth": 1.6, "linestyle": "--"}
    histogram.hist(
        random_errors_deg, weights=_percent(random_errors_deg), label="random poses", **style
    )
    mean, median = float(errors_deg.mean()), float(np.median(errors_deg))
    histogram.axvline(median, color=INK, linewidth=1.3, label=f"median {median:.1f}°")
    histogram.axvline(mean, color=INK, linewidth=1.3, linestyle=":", label=f"mean {mean:.1f}°")
    histogram.set(ylabel=f"% of particles per {HISTOGRAM_BIN_DEG:g}°", title="How many, per error")
    histogram.legend(frameon=False)

    for values, colour, dashes in (
        (errors_deg, PREDICTION, "-"),
        (random_errors_deg, RANDOM, "--"),
    ):
        share = 100 * np.arange(1, len(values) + 1) / len(values)
        cumulative.plot(np.sort(values), share, color=colour, linestyle=dashes, linewidth=2)
    for limit in GOOD_ERRORS_DEG:
        share_under = 100 * float(np.mean(errors_deg < limit))
        cumulative.plot([limit], [share_under], "o", color=INK, markersize=5)
        cumulative.annotate(
            f"{share_under:.0f} % under {limit:g}°",
            (limit, share_under),
            xytext=(9, 3 if limit == GOOD_ERRORS_DEG[0] else 17),  # apart, where both are small
            textcoords="offset points",
            bbox=_PLATE,
        )
    cumulative.set(ylabel="% of particles with a smaller error", ylim=(0, 101), title="Summed up")
    for axes in (histogram, cumulative):
        axes.set(xlabel="angular error [degrees]", xlim=(0, end))
        axes.set_xticks(np.arange(0, end + 1, 30))
    return figure


@styled
def slices_figure(volumes: Mapping[str, NDArray[np.float32]], voxel_size_angst: float) -> "Figure":
    """Draw the central sections of each of `volumes` `(N, N, N)`, one row a map, one grey scale."""
    first = next(iter(volumes.values()))
    dark, bright = np.percentile(first, (1.0, 99.9))
    figure = new_figure(7.0, 2.25 * len(volumes))
    grid = figure.subplots(len(volumes), 3, squeeze=False)
    width = first.shape[0] * voxel_size_angst
    for number, (name, volume) in enumerate(volumes.items()):
        row = grid[number]
        middle = volume.shape[0] // 2
        sections = (volume[middle], volume[:, middle], volume[:, :, middle])
        for axes, section, seen in zip(row, sections, ("x, y", "x, z", "y, z"), strict=True):
            axes.imshow(
                section,
                cmap="gray",
                vmin=dark,
                vmax=bright,
                origin="lower",
                interpolation="nearest",
            )
            axes.set_xticks([])
            axes.set_yticks([])
            if number == 0:
                axes.set_title(f"section {seen}")
        row[0].set_ylabel(name)
    _scale_bar(grid[-1][0], first.shape[0], width)
    return figure


def _scale_bar(axes: "Axes", size_px: int, width_angst: float) -> None:
    length = _rounded_down(width_angst / 4)
    pixels = size_px * length / width_angst
    start = size_px * 0.05
    axes.plot([start, start + pixels], [size_px * 0.06] * 2, color="white", linewidth=3)
    axes.text(
        start + pixels / 2, size_px * 0.09, f"{length:g} Å", color="white", ha="center", va="bottom"
    )


def _percent(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.full(len(values), 100.0 / len(values))


def _rounded_up(value: float, step: float) -> float:
    return float(np.ceil(value / step) * step)


def _rounded_down(value: float) -> float:
    """Return the largest of 1, 2, 5 x 10^n that is not above `value`."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(max(factor * power for factor in (1, 2, 5) if factor * power <= value))


@styled
def particle_figure(
    rows: Mapping[str, NDArray[np.float32]], names: Sequence[str], per_line: int = 8
) -> "Figure":
    """Draw images `(P, n, n)` [y, x] of the same `P` particles, a line per kind of `rows`."""
    lines = [(kind, start) for start in range(0, len(names), per_line) for kind in rows]
    columns = min(per_line, len(names))
    figure = new_figure(max(1.55 * columns, 4.0), 1.75 * len(lines))
    grid = figure.subplots(len(lines), columns, squeeze=False)
    for line, (kind, start) in zip(grid, lines, strict=True):
        for column, axes in enumerate(line):
            axes.set_xticks([])
            axes.set_yticks([])
            particle = start + column
            if particle >= len(names):
                axes.set_axis_off()
                continue
            image = rows[kind][particle]
            dark, bright = np.percentile(image, (0.5, 99.5))
            axes.imshow(image, cmap="gray", vmin=dark, vmax=bright, origin="lower")
            axes.set_title(_shortened(names[particle]), fontsize=6)
        line[0].set_ylabel(kind, fontsize=7)
    return figure


def _shortened(name: str, longest: int = 22) -> str:
    return name if len(name) <= longest else f"{name[:9]}…{name[-(longest - 10) :]}"
