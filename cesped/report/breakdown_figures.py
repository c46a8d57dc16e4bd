"""Still pictures of where errors are made, and of what confidence knows of them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..geometry.healpix import pixels_of_angles
from .canvas import new_figure, styled
from .palette import GREEN, GREY, INK, PALE, PREDICTION, SKY, TRUTH

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ANGST_PER_MICROMETRE = 1e4


@styled
def direction_figure(by_direction: "pd.DataFrame") -> "Figure":
    """Draw mean error and number of particles over the sphere of true viewing directions.

    `by_direction` is the table of `errors_by_direction`.
    """
    count = by_direction["particles"].to_numpy()
    mean = by_direction["mean_deg"].to_numpy()
    return sphere_figure(
        (mean, "mean angular error [degrees]", "viridis"),
        (np.where(count > 0, count, np.nan), "particles seen", "cividis"),
    )


@styled
def sphere_figure(*panels: tuple[NDArray[np.floating], str, str]) -> "Figure":
    """Draw values over the sphere of directions, two globes in a row.

    `panels` are values of all pixels of a HEALPix sphere (NaN: nothing there), what they are, and
    the name of their colours.
    """
    order = round(np.log2(len(panels[0][0]) / 12) / 2)
    longitude, latitude, shown_pixel = _sphere_mesh(order)
    figure = new_figure(10.2, 3.5)
    for place, (values, title, colours) in enumerate(panels, start=1):
        axes = figure.add_subplot(1, 2, place, projection="mollweide")
        picture = axes.pcolormesh(
            longitude, latitude, values[shown_pixel], cmap=colours, rasterized=True
        )
        axes.set_facecolor(PALE)
        axes.set_xticks(np.radians([-120, -60, 0, 60, 120]), [])
        axes.set_yticks(np.radians([-60, -30, 0, 30, 60]))
        axes.tick_params(labelsize=7.5)
        axes.grid(color="white", linewidth=0.4, alpha=0.6)
        bar = figure.colorbar(picture, ax=axes, orientation="horizontal", shrink=0.7, pad=0.08)
        bar.set_label(title)
    return figure


@styled
def defocus_figure(by_defocus: "pd.DataFrame") -> "Figure":
    """Draw median, quartiles and mean of the error by defocus.

    `by_defocus` is the table of `errors_by_defocus`.
    """
    figure = new_figure(8.6, 3.2)
    axes = figure.subplots()
    low, high = (by_defocus[end] / _ANGST_PER_MICROMETRE for end in ("low_angst", "high_angst"))
    middle = ((low + high) / 2).to_numpy()
    _draw_spread(axes, middle, by_defocus)
    axes.set(
        xlabel="defocus [µm], bins of equally many particles", ylabel="angular error [degrees]"
    )
    axes.set_ylim(0)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


@styled
def confidence_figure(
    by_confidence: "pd.DataFrame",
    curve: "pd.DataFrame",
    oracle: "pd.DataFrame",
    kept_resolutions_angst: Mapping[float, float],
) -> "Figure":
    """Draw the error by confidence, and what is left of it when only the confident are kept.

    Parameters
    ----------
    by_confidence : table of `errors_by_confidence`
    curve, oracle : tables of `kept_curve`, by confidence and by the errors themselves
    kept_resolutions_angst : resolution of the map of the kept particles, by their share
    """
    panels = 3 if kept_resolutions_angst else 2
    figure = new_figure(10.2, 3.6)
    axes = figure.subplots(1, panels)
    place = (np.arange(len(by_confidence)) + 0.5) * 100 / len(by_confidence)
    _draw_spread(axes[0], place, by_confidence)
    axes[0].set(
        xlabel="confidence, by rank [%]", ylabel="angular error [degrees]",
        title="Is confidence right?", xlim=(0, 100),
    )  # fmt: skip
    axes[0].set_ylim(0)
    axes[0].legend(frameon=False, fontsize=8.5)
    share = 100 * curve["share"]
    axes[1].plot(share, curve["mean_deg"], color=PREDICTION, linewidth=2, label="most confident")
    axes[1].plot(
        share, oracle["mean_deg"], color=GREEN, linestyle="-.", linewidth=1.6, label="truly best"
    )
    everybody = float(curve["mean_deg"].iloc[-1])
    axes[1].axhline(everybody, color=GREY, linestyle="--", linewidth=1.2, label="any, at random")
    axes[1].set(
        xlabel="particles kept [%]", ylabel="mean angular error [degrees]",
        title="Mean error of those kept", xlim=(0, 100),
    )  # fmt: skip
    axes[1].set_ylim(0)
    axes[1].legend(frameon=False, fontsize=8.5)
    if kept_resolutions_angst:
        shares = sorted(kept_resolutions_angst)
        values = [kept_resolutions_angst[share] for share in shares]
        axes[2].plot([100 * s for s in shares], values, "o-", color=PREDICTION, linewidth=2)
        axes[2].set(
            xlabel="particles kept [%]", ylabel="map resolution, FSC 0.5 [Å]",
            title="Map of those kept", xlim=(0, 103),
        )  # fmt: skip
        axes[2].invert_yaxis()
    return figure


def _draw_spread(axes: "Axes", place: NDArray[np.float64], spread: "pd.DataFrame") -> None:
    """Draw the columns of `error_spread` over `place`."""
    axes.fill_between(
        place, spread["quantile_25_deg"], spread["quantile_75_deg"], color=SKY, alpha=0.35,
        linewidth=0, label="middle half",
    )  # fmt: skip
    axes.plot(place, spread["median_deg"], "o-", color=TRUTH, linewidth=2, label="median")
    axes.plot(place, spread["mean_deg"], "s:", color=INK, linewidth=1.4, ms=4, label="mean")


def _sphere_mesh(
    order: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return cell edges in longitude and latitude [rad] and the sphere pixel of each cell."""
    longitude = np.radians(np.linspace(-180, 180, 721))
    latitude = np.radians(np.linspace(-90, 90, 361))
    rot, tilt = np.meshgrid(np.degrees(_middles(longitude)), 90 - np.degrees(_middles(latitude)))
    pixel = pixels_of_angles(order, rot, tilt)
    return longitude, latitude, pixel


def _middles(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    return (edges[:-1] + edges[1:]) / 2
