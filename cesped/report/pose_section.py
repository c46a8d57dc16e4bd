"""The parts of the page about single particles: how far off they are, which ones, and who knew."""

import html
from typing import TYPE_CHECKING

import numpy as np

from ..evaluation.breakdown import (
    agreement_by_resolution,
    errors_by_defocus,
    errors_by_direction,
)
from ..evaluation.calibration import CONFIDENCE, KEPT, errors_by_confidence, kept_curve
from ..geometry.rotations import random_rotations, viewing_directions
from ..geometry.symmetry import (
    point_group,
    symmetric_direction_distance_deg,
    symmetric_distance_deg,
)
from ..vocabulary import PredictionType
from .breakdown_figures import confidence_figure, defocus_figure, direction_figure
from .canvas import png_element, svg_element
from .figures import angular_error_figure
from .markup import details, table

if TYPE_CHECKING:
    import pandas as pd

    from ..evaluation.results import EvaluationResult

_RANDOM_POSES = 20_000
#: Directions listed at either end, and the fewest particles that make a direction worth listing.
_LISTED_DIRECTIONS, _FEWEST_SEEN = 6, 5
_SPREAD_HEADS = ("particles", "mean", "best quarter under", "median", "worst quarter over", "< 10°")


def pose_section(result: "EvaluationResult") -> str:
    """Return the section about the distribution of errors, and over the viewing directions."""
    particles = result.particles
    errors = particles["angular_error_deg"].to_numpy(dtype=np.float64)
    histogram = angular_error_figure(errors, _random_errors(result))
    by_direction = errors_by_direction(particles)
    return (
        "<section><h2>Where the predicted poses land</h2>"
        "<p>Left: how many particles have which error. Right: the share of particles with an error "
        "smaller than the one on the axis. The dashed lines show poses drawn at random; particles "
        "under the dashed hump are lost, those at the left edge are found.</p>"
        + svg_element(
            histogram,
            f"Angular errors: mean {errors.mean():.1f}, median {np.median(errors):.1f} degrees, "
            "beside random poses",
        )
        + "<h3>Error over the viewing directions</h3>"
        "<p>The globe of all sides from which the molecule was seen, unrolled into equal areas. "
        "Bright patches at the left are sides that the model confuses; dark patches at the right "
        "are sides that few pictures show. Grey: no particle.</p>"
        + png_element(
            direction_figure(by_direction),
            "Mean angular error and number of particles over the viewing sphere",
        )
        + details(
            "The sides with the largest and the smallest errors", _direction_table(by_direction)
        )
        + "</section>"
    )


def breakdown_section(result: "EvaluationResult") -> str:
    """Return the section about defocus, confidence and resolution; empty if nothing is known."""
    parts = _defocus_part(result) + _confidence_part(result) + _resolution_part(result)
    return f"<section><h2>What errors go with</h2>{parts}</section>" if parts else ""


def _direction_table(by_direction: "pd.DataFrame") -> str:
    seen = by_direction[by_direction["particles"] >= _FEWEST_SEEN].sort_values(
        "mean_deg", ascending=False
    )
    if len(seen) > 2 * _LISTED_DIRECTIONS:
        ends = [*range(_LISTED_DIRECTIONS), *range(-_LISTED_DIRECTIONS, 0)]
        seen = seen.iloc[ends]
    rows = [
        (f"{row['rot_deg']:.0f}°", f"{row['tilt_deg']:.0f}°", *_spread_cells(row))
        for _, row in seen.iterrows()
    ]
    heads = ("rot", "tilt", *_SPREAD_HEADS)
    few = f"<p>Of sides that are seen by at least {_FEWEST_SEEN} particles.</p>"
    return few + table(heads, rows, number_columns=tuple(range(len(heads))))


def _defocus_part(result: "EvaluationResult") -> str:
    by_defocus = errors_by_defocus(result.particles)
    if by_defocus is None:
        return ""
    rows = [
        (f"{row['low_angst'] / 1e4:.2f} to {row['high_angst'] / 1e4:.2f} µm", *_spread_cells(row))
        for _, row in by_defocus.iterrows()
    ]
    heads = ("defocus", *_SPREAD_HEADS)
    return (
        "<h3>Error and defocus</h3>"
        "<p>Pictures taken closer to focus show less contrast. A flat line means that the model "
        "does as well on them.</p>"
        + svg_element(
            defocus_figure(by_defocus),
            "Angular error by defocus; the table below has the same numbers",
        )
        + details("The numbers", table(heads, rows, number_columns=tuple(range(1, len(heads)))))
    )


def _confidence_part(result: "EvaluationResult") -> str:
    particles = result.particles
    if CONFIDENCE not in particles or particles[CONFIDENCE].nunique() < 2:
        return ""
    by_confidence = errors_by_confidence(particles)
    rows = [
        (f"{row['mean_confidence']:.3g}", *_spread_cells(row))
        for _, row in by_confidence.iterrows()
    ]
    heads = ("mean confidence", *_SPREAD_HEADS)
    resolutions = _kept_resolutions(result)
    kept = (
        " Right: the resolution of the map of those kept, against the truth of the other half; "
        "fewer particles mean more noise, so there is a best share."
        if resolutions
        else " Maps of the most confident particles: <code>--kept_fractions</code>."
    )
    figure = confidence_figure(
        by_confidence, kept_curve(particles), kept_curve(particles, oracle=True), resolutions
    )
    return (
        "<h3>Does the model know when it is wrong?</h3>"
        "<p>Left: the error of particles from the least to the most confident; a useful confidence "
        "falls to the right. Then: the mean error if only the most confident are kept; the further "
        "it lies below the dashed line, towards the dash-dotted one, the more the confidence "
        f"knows.{kept}</p>"
        + svg_element(figure, "Error by confidence, and mean error of the most confident particles")
        + details("The numbers", table(heads, rows, number_columns=tuple(range(len(heads)))))
    )


def _kept_resolutions(result: "EvaluationResult") -> dict[float, float]:
    """Return the crossed resolution at FSC 0.5 by the share of kept particles, all of them last."""
    metric = "resolution_crossed_05_angst"
    labels = {row.poses for row in result.reference_rows if row.poses.startswith(KEPT)}
    found = {
        int(label.removeprefix(KEPT)) / 100: result.metrics_of(label)[metric] for label in labels
    }
    return {**found, 1.0: result.metrics[metric]} if found else {}


def _resolution_part(result: "EvaluationResult") -> str:
    bands = agreement_by_resolution(result.fsc_curves, masked=result.has_mask)
    if bands is None:
        return ""
    rows = [
        (
            f"{row['coarse_angst']:.1f} to {row['fine_angst']:.1f} Å",
            f"{row['truth']:.3f}",
            f"{row['prediction']:.3f}",
            f"{row['lost']:+.3f}",
        )
        for _, row in bands.iterrows()
    ]
    heads = ("detail size", "known poses", "predicted poses", "lost")
    inside = ", inside the mask" if result.has_mask else ""
    return (
        "<h3>Where detail is lost</h3>"
        f"<p>Mean correlation with the truth of the other half, so without shared noise{inside}. "
        "Small errors of the poses cost fine detail; lost particles cost all sizes alike.</p>"
        + table(heads, rows, number_columns=(1, 2, 3))
    )


def _spread_cells(row: "pd.Series") -> tuple[str, ...]:
    angles = ("mean_deg", "quantile_25_deg", "median_deg", "quantile_75_deg")
    return (
        f"{int(row['particles']):,}",
        *(html.escape(f"{row[name]:.1f}°") for name in angles),
        f"{100 * row['share_under_10_deg']:.0f} %",
    )


def _random_errors(result: "EvaluationResult") -> np.ndarray:
    """Return angular errors of poses drawn at random, measured as those of `result` [degrees]."""
    predicted = random_rotations(_RANDOM_POSES, np.random.default_rng(0))
    truth = np.broadcast_to(np.eye(3), predicted.shape)
    group = point_group(result.symmetry)
    if PredictionType.parse(result.prediction_type) is PredictionType.S2:
        return symmetric_direction_distance_deg(
            viewing_directions(truth), viewing_directions(predicted), group
        )
    return symmetric_distance_deg(truth, predicted, group)
