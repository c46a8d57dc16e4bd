"""A picture of what a model believes about one pose: a distribution over rotations.

Each point is a rotation. Its place on the map of the sphere (Mollweide's, equal areas) is the
viewing direction, its colour the in-plane angle, and its area the probability, compared with that
of the most probable one.
"""

import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import GeometryError, OptionError
from ..geometry.euler import rotation_to_euler
from ..geometry.rotations import check_rotations
from ..geometry.symmetry import point_group
from .canvas import check_png_path, new_figure, styled, write_png
from .palette import GREY, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..models.prediction import RotationDistribution

_WIDTH_INCH, _HEIGHT_INCH = 8.6, 4.4

#: The most probable rotation has a point of this area [square points].
_AREA_POINTS = 120.0

#: Points are moved by this towards their in-plane angle, so that those of one direction are seen.
_SPREAD_DEG = 1.5

#: Colours that come back to where they began.
_COLOURS = "hsv"


@styled
def plot_so3(
    distribution: "RotationDistribution",
    row: int = 0,
    truth: ArrayLike | None = None,
    *,
    symmetry: str = "C1",
    points: int = 1000,
    path: str | os.PathLike[str] | None = None,
) -> "Figure":
    """Draw the distribution over rotations of one image.

    Parameters
    ----------
    distribution : of a batch, as `model.distribution(images)` returns it
    row : which image of the batch
    truth : `(3, 3)` true pose; it is marked by a ring, poses equal to it by thinner ones
    symmetry : point group of the particle, as RELION names it, for the equal poses
    points : how many of the most probable rotations are drawn
    path : of a PNG that is to be written as well

    Raises
    ------
    OptionError
        If there is no such image, or `path` is no PNG.
    GeometryError
        If the truth is not a rotation.
    SymmetryError
        If the group is unknown.
    MissingExtraError
        If matplotlib is not installed.
    """
    if not 0 <= row < len(distribution):
        raise OptionError(f"image {row} of a batch of {len(distribution)}: count from 0")
    if path is not None:
        check_png_path(path)
    rotations, probabilities = distribution.top_k(points)
    figure = new_figure(_WIDTH_INCH, _HEIGHT_INCH)
    grid = figure.add_gridspec(1, 2, width_ratios=[6, 1])
    axes = figure.add_subplot(grid[0, 0], projection="mollweide")
    shown = probabilities[row].cpu().double().numpy()
    _draw_points(axes, rotations[row].cpu().double().numpy(), shown)
    if truth is not None:
        _draw_truth(axes, truth, symmetry)
    axes.set_title(
        f"{len(shown)} most probable rotations: {100 * min(1.0, shown.sum()):.0f} %, "
        f"the first {100 * shown[0]:.1f} %",
        loc="left",
    )
    _label(axes)
    _draw_wheel(figure.add_subplot(grid[0, 1], projection="polar"))
    if path is not None:
        write_png(figure, path)
    return figure


def _draw_points(
    axes: "Axes", rotations: NDArray[np.float64], probabilities: NDArray[np.float64]
) -> None:
    longitude, latitude, psi_deg = _places(rotations, _SPREAD_DEG)
    order = np.argsort(probabilities)  # the most probable ones on top
    axes.scatter(
        longitude[order],
        latitude[order],
        s=_AREA_POINTS * probabilities[order] / probabilities.max() + 0.5,
        c=psi_deg[order],
        cmap=_COLOURS,
        vmin=0.0,
        vmax=360.0,
        linewidths=0,
        zorder=2,
    )


def _draw_truth(axes: "Axes", truth: ArrayLike, symmetry: str) -> None:
    given = np.asarray(truth, dtype=np.float64)
    if given.shape != (3, 3):
        raise GeometryError(f"the true pose has shape {given.shape}; give one rotation, (3, 3)")
    pose = check_rotations(given, "the true pose")
    operators = point_group(symmetry).operators
    longitude, latitude, psi_deg = _places(operators @ pose, 0.0)
    for number, (x, y, psi) in enumerate(zip(longitude, latitude, psi_deg, strict=True)):
        wide, narrow = (3.5, 1.2) if number == 0 else (1.5, 0.5)
        ring: dict[str, Any] = {"s": 420.0, "facecolors": "none", "zorder": 3}
        axes.scatter([x], [y], edgecolors=INK, linewidths=wide + 2 * narrow, **ring)
        colour = _colour(psi)
        axes.scatter([x], [y], edgecolors=[colour], linewidths=wide, **ring)


def _places(
    rotations: NDArray[np.float64], spread_deg: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return longitude and latitude [radians] of `(n, 3, 3)` rotations, and psi [degrees]."""
    rot, tilt, psi = rotation_to_euler(rotations).T
    psi_rad = np.radians(psi)
    latitude = 90.0 - tilt + spread_deg * np.sin(psi_rad)
    narrow = np.maximum(np.sin(np.radians(tilt)), 0.1)
    longitude = rot + spread_deg * np.cos(psi_rad) / narrow
    longitude = np.remainder(longitude + 180.0, 360.0) - 180.0
    return np.radians(longitude), np.radians(np.clip(latitude, -90, 90)), np.remainder(psi, 360.0)


def _colour(psi_deg: float) -> tuple[float, float, float, float]:
    from matplotlib import colormaps

    red, green, blue, alpha = colormaps[_COLOURS](psi_deg / 360.0)
    return float(red), float(green), float(blue), float(alpha)


def _label(axes: "Axes") -> None:
    axes.grid(color=GREY, linewidth=0.4, zorder=0)
    longitudes = np.arange(-120, 121, 60)
    axes.set_xticks(np.radians(longitudes), [f"{degrees}°" for degrees in longitudes])
    latitudes = np.arange(-60, 61, 30)
    axes.set_yticks(np.radians(latitudes), [f"{90 - degrees}°" for degrees in latitudes])
    axes.tick_params(labelsize=8, colors=GREY)
    axes.set_xlabel("rot (along), tilt (from above)", fontsize=9)


def _draw_wheel(axes: "Axes") -> None:
    """Draw which colour means which in-plane angle."""
    angles_deg = np.linspace(0.0, 360.0, 181)
    edges = np.radians(angles_deg)
    values = ((angles_deg[:-1] + angles_deg[1:]) / 2)[None]
    axes.pcolormesh(edges, [0.65, 1.0], values, cmap=_COLOURS, vmin=0.0, vmax=360.0)
    axes.set_ylim(0.0, 1.0)
    axes.set_yticks([])
    quarters = [0, 90, 180, 270]
    axes.set_xticks(np.radians(quarters), [f"{degrees}°" for degrees in quarters])
    axes.tick_params(labelsize=8, colors=GREY, pad=-1)
    axes.grid(visible=False)
    axes.spines["polar"].set_visible(False)
    axes.text(0.0, 0.0, "psi", ha="center", va="center", fontsize=9)
