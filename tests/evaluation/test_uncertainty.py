"""Intervals: they hold the true figure as often as they say, and equal slow computations."""

import numpy as np
import pytest
from scipy import stats

from cesped.errors import OptionError
from cesped.evaluation.angular import PoseErrors
from cesped.evaluation.pose_figures import POSE_FIGURES, pose_rows
from cesped.evaluation.uncertainty import (
    IntervalOptions,
    quantile_interval,
    resampled_sums,
    share_interval,
    with_intervals,
)


@pytest.fixture
def generator():
    return np.random.default_rng(41)


def made_up_errors(n, generator):
    """Return errors of `n` poses, most small and some anywhere, and confidences."""
    lost = generator.uniform(0, 180, n)
    angular = np.where(generator.random(n) < 0.2, lost, generator.gamma(2, 3, n))
    errors = PoseErrors(angular, 0.8 * angular, generator.gamma(2, 1, n), 0.5 * angular)
    return errors, generator.uniform(0.2, 1, n)


def labelled_rows(halves):
    rows = []
    for half, (errors, confidence) in enumerate(halves):
        rows += pose_rows("E", "prediction", str(half), errors, confidence)
    joined = PoseErrors.joined([errors for errors, _ in halves])
    confidence = np.concatenate([confidence for _, confidence in halves])
    return [*rows, *pose_rows("E", "prediction", "all", joined, confidence)]


def intervals_of(halves, options=None):
    errors, confidences = zip(*halves, strict=True)
    rows = with_intervals(labelled_rows(halves), errors, confidences, options)
    return {(row.half, row.metric): row.interval for row in rows}


def test_the_resampling_equals_one_that_draws_particle_by_particle(generator):
    table = generator.normal(3, 2, (40, 2)) * [1, -0.5]
    table[:, 1] += table[:, 0]
    fast = resampled_sums(table, 4000, generator)
    slow = np.array([table[generator.integers(0, 40, 40)].sum(axis=0) for _ in range(4000)])
    for column in range(2):
        assert stats.ks_2samp(fast[:, column], slow[:, column]).pvalue > 1e-3
    # particles are drawn whole: columns move together
    assert np.corrcoef(fast.T)[0, 1] == pytest.approx(np.corrcoef(table.T)[0, 1], abs=0.05)
    np.testing.assert_allclose(fast.var(axis=0), 40 * table.var(axis=0), rtol=0.1)


def test_few_counts_at_a_time_or_many_make_no_difference(generator, monkeypatch):
    table = generator.normal(size=(30, 1))
    whole = resampled_sums(table, 50, np.random.default_rng(1))
    monkeypatch.setattr("cesped.evaluation.uncertainty._COUNTS_HELD", 70)
    np.testing.assert_allclose(resampled_sums(table, 50, np.random.default_rng(1)), whole)


def test_intervals_hold_the_true_figures_as_often_as_they_say(generator):
    """95 % of 200 repetitions, less four standard deviations of that count."""
    everybody, all_confidences = made_up_errors(400_000, generator)
    true = {f.metric: f.value(everybody, all_confidences) for f in POSE_FIGURES}
    options = IntervalOptions(resamples=300)
    held = dict.fromkeys(true, 0)
    repetitions = 200
    for _ in range(repetitions):
        halves = [made_up_errors(n, generator) for n in (150, 250)]
        for (half, metric), (low, high) in intervals_of(halves, options).items():
            if half == "all":
                held[metric] += low <= true[metric] <= high
    for metric, count in held.items():
        assert 0.87 <= count / repetitions <= 1, metric
    means = [held[metric] / repetitions for metric in held if "mean" in metric or "rmse" in metric]
    assert np.mean(means) < 0.985  # they are not wide for safety


def test_every_figure_has_an_interval_around_it(generator):
    halves = [made_up_errors(n, generator) for n in (300, 200)]
    intervals = intervals_of(halves)
    for row in labelled_rows(halves):
        low, high = intervals[row.half, row.metric]
        assert low <= row.value <= high, row
        assert low < high
    width = {half: np.diff(intervals[half, "mean_angular_error_deg"])[0] for half in ("0", "all")}
    assert width["all"] < width["0"]


def test_the_seed_decides_and_the_order_of_particles_hardly(generator):
    halves = [made_up_errors(n, generator) for n in (500, 400)]
    assert intervals_of(halves) == intervals_of(halves)
    other = intervals_of(halves, IntervalOptions(seed=1))
    assert other != intervals_of(halves)
    names = ("angular_deg", "direction_deg", "shift_angst", "inplane_deg")
    shuffled = []
    for errors, confidence in halves:
        order = generator.permutation(len(confidence))
        parts = [getattr(errors, name)[order] for name in names]
        shuffled.append((PoseErrors(*parts), confidence[order]))
    again = intervals_of(shuffled)
    for key, (low, high) in intervals_of(halves).items():
        np.testing.assert_allclose(again[key], (low, high), atol=0.25 * (high - low))


def test_the_interval_of_a_share_is_that_of_wilson():
    for share, n in ((0.0, 16), (0.25, 40), (1.0, 9)):
        theirs = stats.binomtest(round(share * n), n).proportion_ci(0.95, method="wilson")
        np.testing.assert_allclose(share_interval(share, n), theirs, atol=1e-12)


def test_the_interval_of_a_quantile_covers_what_the_binomial_says(generator):
    """The exact chance, for a sample with no ties, is at least the level and hardly more."""
    for n, quantile in ((30, 0.5), (200, 0.25), (999, 0.9)):
        low, high = quantile_interval(np.arange(n, dtype=float), quantile)
        covered = stats.binom.cdf(high, n, quantile) - stats.binom.cdf(low, n, quantile)
        assert 0.95 <= covered < 0.99
    # too few particles for an end: the interval stops at the last one
    assert quantile_interval(np.array([3.0, 1.0, 2.0]), 0.95) == (2.0, 3.0)


def test_what_is_not_defined_has_no_interval(generator):
    errors, confidence = made_up_errors(50, generator)
    parts = (errors.angular_deg, errors.direction_deg, errors.shift_angst)
    directions = PoseErrors(*parts, np.full(50, np.nan))
    halves = [(directions, np.zeros(50)), (errors, confidence)]
    intervals = intervals_of(halves)
    assert intervals["0", "mean_inplane_error_deg"] is None
    assert intervals["0", "weighted_mean_angular_error_deg"] is None
    assert intervals["0", "mean_angular_error_deg"] is not None
    assert intervals["1", "mean_inplane_error_deg"] is not None


@pytest.mark.parametrize("wrong", [{"resamples": 50}, {"level": 1.0}, {"level": 0.2}])
def test_options_that_give_no_interval_are_refused(wrong):
    with pytest.raises(OptionError):
        IntervalOptions(**wrong)
