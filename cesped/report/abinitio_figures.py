"""Still pictures of poses that were found without a reference."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..evaluation.breakdown import sphere_order
from ..geometry.healpix import pixel_count, pixels_of_directions
from ..geometry.poses import Poses
from ..geometry.rotations import viewing_directions
from .breakdown_figures import sphere_figure
from .canvas import new_figure, styled
from .palette import GREY, INK, PREDICTION, TRUTH

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: What a network whose last layer gives nothing says of every pixel: 1 + exp(0).
NOTHING_SAID = 2.0
_BINS = 40


def found_directions_figure(poses: Poses, confidence: NDArray[np.float64]) -> "Figure":
    """Draw number and mean confidence `(P,)` of particles over their viewing directions."""
    order = sphere_order(len(poses))
    pixel = pixels_of_directions(order, viewing_directions(poses.rotations))
    count = np.bincount(pixel, minlength=pixel_count(order)).astype(np.float64)
    total = np.bincount(pixel, weights=confidence, minlength=pixel_count(order))
    seen = np.where(count > 0, count, np.nan)
    return sphere_figure(
        (seen, "particles", "cividis"), (total / seen, "mean confidence", "viridis")
    )


@styled
def confidence_and_shift_figure(
    confidence: NDArray[np.float64], origins_angst: NDArray[np.float64]
) -> "Figure":
    """Draw the histogram of confidence `(P,)` and where the particles `(P, 2)` are in their box."""
    figure = new_figure(10.2, 3.7)
    histogram, places = figure.subplots(1, 2)
    low, high = float(confidence.min()), float(confidence.max())
    if high - low <= 1e-5 * high:  # one value: a bar that can be seen
        low, high = low - 0.5, high + 0.5
    histogram.hist(confidence, bins=np.linspace(low, high, _BINS + 1), color=PREDICTION)
    if low <= NOTHING_SAID <= high:
        histogram.axvline(
            NOTHING_SAID,
            color=GREY,
            linestyle="--",
            linewidth=1.2,
            label="weights that know nothing",
        )
        histogram.legend(frameon=False, fontsize=8.5)
    histogram.set(xlabel="confidence", ylabel="particles", title="Confidence")
    content = -origins_angst
    size = float(np.clip(2000.0 / len(content), 0.5, 12.0))
    places.scatter(content[:, 0], content[:, 1], s=size, color=TRUTH, alpha=0.5, linewidth=0)
    reach = 1.1 * max(float(np.abs(content).max(initial=0.0)), 1e-3)
    places.axhline(0, color=INK, linewidth=0.6)
    places.axvline(0, color=INK, linewidth=0.6)
    places.set(
        xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal",
        xlabel="x [Å]", ylabel="y [Å]", title="Place in the image, from its centre",
    )  # fmt: skip
    return figure
