"""Whether one prediction is better than another of the same particles, or only luckier.

Both are compared particle by particle, so what makes a particle hard for everybody cancels.
Particles are taken as independent; what another training of either method would change is not in
the test.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from cesped.evaluation.angular import PoseErrors
from cesped.evaluation.matching import match_rows
from cesped.evaluation.pose_figures import POSE_FIGURES, PoseFigure
from cesped.evaluation.results import Direction
from cesped.evaluation.uncertainty import Interval, IntervalOptions, resampled_sums

FloatArray = NDArray[np.float64]

#: What is compared, the figure that decides first.
COMPARED = (
    "mean_angular_error_deg",
    "weighted_mean_angular_error_deg",
    "median_angular_error_deg",
    "share_under_5_deg",
    "share_under_10_deg",
    "mean_direction_error_deg",
    "mean_inplane_error_deg",
    "median_shift_error_angst",
)
_FIGURES = tuple(figure for figure in POSE_FIGURES if figure.metric in COMPARED)
#: Signs that are drawn at most and at least, and numbers that are held at a time.
_MOST_FLIPS, _FEWEST_FLIPS, _DRAWN, _HELD = 9999, 999, 2 * 10**8, 1 << 22
_ROUNDING = 1e-9
#: From here on p values of means need no drawing.
_NORMAL_FROM = 20_000
_FLIPS_PER_LEVEL = 5


@dataclass(frozen=True)
class ComparedFigure:
    """One figure of two predictions.

    Parameters
    ----------
    metric, unit, direction : as in `MetricRow`
    first, second : the figure of each
    interval : of the difference, first less second
    p_value : how often exchanging the two predictions of particles at random gives a difference as
        large, in either direction
    """

    metric: str
    unit: str
    direction: Direction
    first: float
    second: float
    interval: Interval
    p_value: float

    @property
    def difference(self) -> float:
        """Return the figure of the first less that of the second."""
        return self.first - self.second

    @property
    def first_is_better(self) -> bool:
        """Return whether the difference speaks for the first, be it chance or not."""
        return self.difference < 0 if self.direction == "min" else self.difference > 0


@dataclass(frozen=True)
class Comparison:
    """Two predictions of the same particles.

    Parameters
    ----------
    n_particles : that were compared
    share_first_nearer : of the particles, by the angular error; ties count half
    figures : `COMPARED`, without those that are not defined for these predictions
    n_flips : random exchanges behind every p value
    options : behind every interval
    """

    n_particles: int
    share_first_nearer: float
    figures: tuple[ComparedFigure, ...]
    n_flips: int
    options: IntervalOptions

    def figure(self, metric: str) -> ComparedFigure:
        """Return one figure; raises `LookupError` if it was not compared."""
        for figure in self.figures:
            if figure.metric == metric:
                return figure
        raise LookupError(f"{metric} was not compared; compared were {', '.join(COMPARED)}")

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON knows it."""
        return {
            "particles": self.n_particles,
            "share_first_nearer": self.share_first_nearer,
            "exchanges": self.n_flips,
            "intervals": {"level": self.options.level, "resamples": self.options.resamples},
            "seed": self.options.seed,
            "figures": [
                {
                    "metric": figure.metric,
                    "unit": figure.unit,
                    "direction": figure.direction,
                    "first": figure.first,
                    "second": figure.second,
                    "difference": figure.difference,
                    "interval": list(figure.interval),
                    "p_value": figure.p_value,
                }
                for figure in self.figures
            ],
        }


def compare_errors(
    first: pd.DataFrame,
    second: pd.DataFrame,
    options: IntervalOptions | None = None,
    *,
    first_source: str = "the first prediction",
    second_source: str = "the second prediction",
) -> Comparison:
    """Compare two predictions by the errors of their particles.

    Parameters
    ----------
    first, second : `EvaluationResult.particles` of two results of one entry, rows in any order
    options : the defaults when None
    first_source, second_source : what messages call them

    Raises
    ------
    IdMismatchError
        If they are not of the same particles.

    Notes
    -----
    The p value is that of the paired permutation test: if both predictions were equally good, the
    two errors of any particle could be exchanged. Random exchanges, the one that was found among
    them, give `p = (1 + b) / (1 + n)` (B. Phipson, G. Smyth, Stat. Appl. Genet. Mol. Biol. 9, 39,
    2010). Intervals are percentiles of the paired bootstrap over particles.
    """
    chosen = options or IntervalOptions()
    order = match_rows(
        first["id"].to_numpy(),
        second["id"].to_numpy(),
        truth_source=first_source,
        predicted_source=second_source,
    )
    pair = _errors_of(first), _errors_of(second.iloc[order])
    confidence = first["truth_confidence"].to_numpy(np.float64)
    halves = first["half"].to_numpy()
    generator = np.random.default_rng(chosen.seed)
    n_flips = _flips_for(len(first))
    defined = [
        figure
        for figure in _FIGURES
        if all(np.isfinite(figure.value(errors, confidence)) for errors in pair)
    ]
    averaged = [figure for figure in defined if figure.kind != "quantile"]
    differences = _differences(averaged, pair, confidence)
    intervals = dict(
        zip(averaged, _mean_intervals(differences, halves, chosen, generator), strict=True)
    )
    p_values = dict(zip(averaged, sign_flip_p_values(differences, n_flips, generator), strict=True))
    for figure in (figure for figure in defined if figure.kind == "quantile"):
        values = getattr(pair[0], figure.errors), getattr(pair[1], figure.errors)
        intervals[figure] = _median_interval(*values, halves, chosen, generator)
        p_values[figure] = exchange_p_value(*values, n_flips, generator)
    a, b = pair[0].angular_deg, pair[1].angular_deg
    return Comparison(
        n_particles=len(first),
        share_first_nearer=float(np.mean(a < b) + 0.5 * np.mean(a == b)),
        figures=tuple(
            ComparedFigure(
                figure.metric,
                figure.unit,
                figure.direction,
                figure.value(pair[0], confidence),
                figure.value(pair[1], confidence),
                intervals[figure],
                p_values[figure],
            )
            for figure in defined
        ),
        n_flips=n_flips,
        options=chosen,
    )


def sign_flip_p_values(
    differences: FloatArray, n_flips: int, generator: np.random.Generator
) -> list[float]:
    """Return, for each column of paired `differences` `(P, K)`, the p value of its mean being 0."""
    found = np.abs(differences.sum(axis=0))
    allowed = found - _ROUNDING * np.abs(differences).sum(axis=0)
    at_least = np.zeros(differences.shape[1], dtype=np.int64)
    n_held = max(1, _HELD // len(differences))
    for start in range(0, n_flips, n_held):
        shape = (min(n_held, n_flips - start), len(differences))
        signs = 2.0 * generator.integers(0, 2, shape, dtype=np.int8) - 1.0
        at_least += (np.abs(signs @ differences) >= allowed).sum(axis=0)
    return [float(count) for count in (1 + at_least) / (1 + n_flips)]


def paired_p_value(
    differences: FloatArray, generator: np.random.Generator, level: float = 0.05
) -> float:
    """Return the p value of the mean of paired `differences` `(P,)` being 0.

    Parameters
    ----------
    differences : of the same particles
    generator : of the random exchanges
    level : that the p value will be held against; the smaller it is, the more exchanges

    Notes
    -----
    Of very many particles the exchanged sums are normal, of variance `sum d^2`, by the central
    limit theorem: nothing is drawn for them.
    """
    n_particles = len(differences)
    if n_particles > _NORMAL_FROM:
        spread = float(np.sqrt(np.square(differences).sum()))
        z = abs(float(differences.sum())) / spread if spread > 0 else 0.0
        return float(2 * special.ndtr(-z))
    n_flips = max(_flips_for(n_particles), math.ceil(_FLIPS_PER_LEVEL / level))
    return sign_flip_p_values(differences[:, None], n_flips, generator)[0]


def _flips_for(n_particles: int) -> int:
    return int(np.clip(_DRAWN // n_particles, _FEWEST_FLIPS, _MOST_FLIPS))


def exchange_p_value(
    first: FloatArray, second: FloatArray, n_flips: int, generator: np.random.Generator
) -> float:
    """Return the p value of paired values `(P,)` having the same median."""
    found = abs(float(np.median(first) - np.median(second)))
    at_least = 0
    for _ in range(n_flips):
        flip = generator.integers(0, 2, len(first), dtype=np.int8).astype(np.bool_)
        one, other = np.where(flip, second, first), np.where(flip, first, second)
        at_least += abs(float(np.median(one) - np.median(other))) >= found - _ROUNDING
    return (1 + at_least) / (1 + n_flips)


def _errors_of(particles: pd.DataFrame) -> PoseErrors:
    def column(name: str) -> FloatArray:
        if name not in particles:  # written before there was such a column
            return np.full(len(particles), np.nan)
        return particles[name].to_numpy(np.float64)

    return PoseErrors(
        angular_deg=column("angular_error_deg"),
        direction_deg=column("direction_error_deg"),
        shift_angst=column("shift_error_angst"),
        inplane_deg=column("inplane_error_deg"),
    )


def _differences(
    figures: Sequence[PoseFigure], pair: tuple[PoseErrors, PoseErrors], confidence: FloatArray
) -> FloatArray:
    """Return `(P, K)`: what each particle adds to the difference of each averaged figure."""
    columns = []
    for figure in figures:
        a, b = (getattr(errors, figure.errors) for errors in pair)
        if figure.kind == "share_under":
            columns.append((a < figure.level).astype(np.float64) - (b < figure.level))
        elif figure.kind == "weighted_mean":
            columns.append((a - b) * confidence / confidence.mean())
        else:
            columns.append(a - b)
    return np.column_stack(columns)


def _mean_intervals(
    differences: FloatArray,
    halves: NDArray[Any],
    options: IntervalOptions,
    generator: np.random.Generator,
) -> list[Interval]:
    sums = sum(
        resampled_sums(differences[halves == half], options.resamples, generator)
        for half in np.unique(halves)
    )
    ends = np.quantile(sums / len(differences), [options.tail, 1 - options.tail], axis=0)
    return [(float(low), float(high)) for low, high in ends.T]


def _median_interval(
    first: FloatArray,
    second: FloatArray,
    halves: NDArray[Any],
    options: IntervalOptions,
    generator: np.random.Generator,
) -> Interval:
    members = [np.flatnonzero(halves == half) for half in np.unique(halves)]
    drawn = np.empty(options.resamples)
    for row in range(options.resamples):
        rows = np.concatenate([generator.choice(member, len(member)) for member in members])
        drawn[row] = np.median(first[rows]) - np.median(second[rows])
    low, high = np.quantile(drawn, [options.tail, 1 - options.tail])
    return float(low), float(high)
