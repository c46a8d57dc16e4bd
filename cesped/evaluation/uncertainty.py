"""How far figures of poses would move with other particles of the same kind: 95 % intervals.

Particles are taken as drawn independently, within each half. What another training of the same
method would change is not in these intervals.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special  # scipy.stats takes ten times as long to import

from cesped.errors import OptionError
from cesped.evaluation.angular import FloatArray, PoseErrors
from cesped.evaluation.pose_figures import POSE_FIGURES
from cesped.evaluation.results import MetricRow

Interval = tuple[float, float]

_AVERAGED = tuple(f for f in POSE_FIGURES if f.kind not in ("share_under", "quantile"))
#: Counts that are held at a time: 32 MB.
_COUNTS_HELD = 1 << 22


@dataclass(frozen=True)
class IntervalOptions:
    """How intervals are computed.

    Parameters
    ----------
    resamples : how often the particles are drawn anew
    level : share of intervals that hold the true figure
    seed : of the draws

    Raises
    ------
    OptionError
        If there are fewer than 100 resamples, or the level does not lie between 0.5 and 1.
    """

    resamples: int = 1000
    level: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 100:
            raise OptionError(f"{self.resamples} resamples: an interval needs at least 100")
        if not 0.5 <= self.level < 1:
            raise OptionError(f"interval level {self.level}: use a number from 0.5 to below 1")

    @property
    def tail(self) -> float:
        """Return the share that lies outside on each side."""
        return (1 - self.level) / 2

    def stamp(self) -> dict[str, Any]:
        """Return what a result with such intervals is stamped with."""
        return {
            "level": self.level,
            "seed": self.seed,
            "resamples": self.resamples,
            "means": "percentile bootstrap over particles within halves",
            "shares": "Wilson",
            "quantiles": "order statistics",
        }


def resampled_sums(table: FloatArray, resamples: int, generator: np.random.Generator) -> FloatArray:
    """Return the sums `(resamples, K)` of the columns of `table` over particles drawn anew.

    Parameters
    ----------
    table : `(P, K)`; every resample is `P` of its rows, drawn with replacement (B. Efron, Ann.
        Stat. 7, 1, 1979)
    resamples : how many draws
    generator : of the draws

    Notes
    -----
    A resample is held as how often each particle was drawn: its sums are a matrix product.
    """
    n_particles = len(table)
    sums = np.empty((resamples, table.shape[1]))
    n_held = max(1, _COUNTS_HELD // n_particles)
    for start in range(0, resamples, n_held):
        stop = min(start + n_held, resamples)
        counts = np.empty((stop - start, n_particles))
        for row in counts:
            drawn = generator.integers(0, n_particles, n_particles, dtype=np.int32)
            row[:] = np.bincount(drawn, minlength=n_particles)
        sums[start:stop] = counts @ table
    return sums


def share_interval(share: float, n: int, level: float = 0.95) -> Interval:
    """Return the interval of a share that was found among `n` particles.

    E. B. Wilson's score interval (J. Am. Stat. Assoc. 22, 209, 1927), which unlike the bootstrap
    stays open where all or none of the particles are counted.

    Examples
    --------
    >>> [round(end, 4) for end in share_interval(0.0, 16)]
    [0.0, 0.1936]
    """
    z = float(special.ndtri(0.5 + level / 2))
    middle = share + z**2 / (2 * n)
    reach = z * np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    scale = 1 + z**2 / n
    return max(0.0, float((middle - reach) / scale)), min(1.0, float((middle + reach) / scale))


def quantile_interval(values: FloatArray, quantile: float, level: float = 0.95) -> Interval:
    """Return the interval of a quantile of the distribution that `values` `(n,)` are drawn from.

    The number of values below the true quantile is binomial, whatever the distribution, so two of
    the ordered values enclose it (H. A. David, Order Statistics, section 7.1). An end that would
    lie beyond the smallest or the largest value is that value.
    """
    ordered = np.sort(values)
    n = len(ordered)
    tail = (1 - level) / 2
    below = special.bdtr(np.arange(n), n, quantile)  # of n values, k or fewer
    low = int(np.searchsorted(below, tail)) - 1
    high = int(np.searchsorted(below, 1 - tail))
    return float(ordered[max(low, 0)]), float(ordered[min(high, n - 1)])


def with_intervals(
    rows: Sequence[MetricRow],
    errors: tuple[PoseErrors, PoseErrors],
    truth_confidence: tuple[FloatArray, FloatArray],
    options: IntervalOptions | None = None,
) -> tuple[MetricRow, ...]:
    """Return `rows` with the intervals of all figures of poses; other rows are as they were.

    Parameters
    ----------
    rows : of the poses whose errors are given
    errors : of half 0 and of half 1
    truth_confidence : `(P,)` each
    options : the defaults when None
    """
    chosen = options or IntervalOptions()
    generator = np.random.default_rng(chosen.seed)
    sums = [
        resampled_sums(_summands(part, confidence), chosen.resamples, generator)
        for part, confidence in zip(errors, truth_confidence, strict=True)
    ]
    both = PoseErrors.joined(errors), np.concatenate(truth_confidence)
    found = {
        "0": _intervals(errors[0], truth_confidence[0], sums[0], chosen),
        "1": _intervals(errors[1], truth_confidence[1], sums[1], chosen),
        "all": _intervals(*both, sums[0] + sums[1], chosen),
    }
    return tuple(
        replace(row, interval=found[row.half].get(row.metric, row.interval)) for row in rows
    )


def _intervals(
    errors: PoseErrors, confidence: FloatArray, sums: FloatArray, options: IntervalOptions
) -> dict[str, Interval]:
    """Return the interval of every figure of `P` particles that is defined, by its name."""
    n_particles = len(confidence)
    found: dict[str, Interval] = {}
    for figure in POSE_FIGURES:
        value = figure.value(errors, confidence)
        if not np.isfinite(value):
            continue
        if figure.kind == "share_under":
            found[figure.metric] = share_interval(value, n_particles, options.level)
        elif figure.kind == "quantile":
            sample: FloatArray = getattr(errors, figure.errors)
            found[figure.metric] = quantile_interval(sample, figure.level, options.level)
        else:
            drawn = sums[:, _AVERAGED.index(figure)] / n_particles
            if figure.kind == "root_mean_square":
                drawn = np.sqrt(drawn)
            if figure.kind == "weighted_mean":
                weight = sums[:, -1] / n_particles
                # draws whose weights are all 0 have no such mean
                drawn = drawn[weight > 0] / weight[weight > 0]
            low, high = np.quantile(drawn, [options.tail, 1 - options.tail])
            found[figure.metric] = (float(low), float(high))
    return found


def _summands(errors: PoseErrors, confidence: FloatArray) -> FloatArray:
    """Return what is summed over particles: a column for each averaged figure, the weights last."""
    columns = []
    for figure in _AVERAGED:
        values: FloatArray = getattr(errors, figure.errors)
        if figure.kind == "weighted_mean":
            values = confidence * values
        elif figure.kind == "root_mean_square":
            values = values**2
        columns.append(values)
    return np.column_stack([*columns, confidence])
