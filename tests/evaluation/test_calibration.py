"""What confidence is worth: analytic cases, slow loops, ties, and the order of rows."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cesped.errors import OptionError
from cesped.evaluation.calibration import (
    confidence_gain,
    confidence_rows,
    errors_by_confidence,
    kept_curve,
    kept_errors,
    kept_weights,
    rank_correlation,
)


@pytest.fixture
def generator():
    return np.random.default_rng(71)


def particles_of(confidence, errors):
    n = len(errors)
    half = np.arange(n) % 2
    columns = {"half": half, "predicted_confidence": confidence, "angular_error_deg": errors}
    return pd.DataFrame(columns)


def test_kept_errors_are_means_over_all_orders_of_ties():
    confidence = np.array([0.5, 0.9, 0.5, 0.1, 0.5])
    errors = np.array([4.0, 1.0, 10.0, 7.0, 1.0])
    orders = [
        order
        for order in itertools.permutations(range(5))
        if all(np.diff(confidence[list(order)]) <= 0)
    ]
    assert len(orders) == 6
    expected = np.mean(
        [np.cumsum(errors[list(order)]) / np.arange(1, 6) for order in orders], axis=0
    )
    np.testing.assert_allclose(kept_errors(confidence, errors), expected)


def test_confidence_that_orders_errors_gains_all_and_none_gains_nothing(generator):
    errors = generator.gamma(2, 5, 400)
    assert confidence_gain([-errors], [errors]) == pytest.approx(1)
    assert confidence_gain([np.ones(400)], [errors]) == pytest.approx(0, abs=1e-12)
    assert confidence_gain([errors], [errors]) < -0.5
    assert np.isnan(confidence_gain([errors], [np.full(400, 3.0)]))
    many = [confidence_gain([generator.random(400)], [errors]) for _ in range(100)]
    assert abs(np.mean(many)) < 4 * np.std(many) / 10


def test_the_gain_of_an_analytic_case():
    """One particle in two is lost, and confidence finds `hit` of the found ones in a half."""
    errors = np.array([0.0, 1.0])
    # right order: kept means 0, 1/2; wrong order: 1, 1/2; mean 1/2 twice
    assert confidence_gain([np.array([1.0, 0.0])], [errors]) == 1
    assert confidence_gain([np.array([0.0, 1.0])], [errors]) == -1
    both = confidence_gain([np.array([1.0, 0.0]), np.array([0.0, 1.0])], [errors, errors])
    assert both == 0


def test_only_the_order_within_a_half_counts(generator):
    errors = generator.gamma(2, 5, 300)
    confidence = generator.random(300)
    other = confidence.copy()
    other[1::2] = np.exp(5 * other[1::2])  # of the other half, another model's scale
    table, same = particles_of(confidence, errors), particles_of(other, errors)
    pd.testing.assert_frame_equal(kept_curve(table), kept_curve(same))
    columns = ["particles", "mean_deg", "median_deg"]
    pd.testing.assert_frame_equal(
        errors_by_confidence(table)[columns], errors_by_confidence(same)[columns]
    )
    rows = [
        [
            row.value
            for row in confidence_rows("E", "p", (c[::2], c[1::2]), (errors[::2], errors[1::2]))
        ]
        for c in (confidence, other)
    ]
    assert rows[0] == pytest.approx(rows[1])


def test_the_order_of_rows_does_not_matter(generator):
    errors = generator.gamma(2, 5, 300)
    confidence = np.round(generator.random(300), 1)  # with ties
    table = particles_of(confidence, errors)
    shuffled = table.iloc[generator.permutation(300)]
    pd.testing.assert_frame_equal(kept_curve(shuffled), kept_curve(table))
    pd.testing.assert_frame_equal(errors_by_confidence(shuffled), errors_by_confidence(table))
    order = generator.permutation(300)
    weights = kept_weights(confidence, 0.37)
    np.testing.assert_allclose(kept_weights(confidence[order], 0.37), weights[order])


def test_the_curve_ends_at_the_mean_of_all_and_the_oracle_is_below(generator):
    errors = generator.gamma(2, 5, 301)
    table = particles_of(-errors + generator.normal(0, 5, 301), errors)
    curve, best = kept_curve(table), kept_curve(table, oracle=True)
    assert curve["mean_deg"].iloc[-1] == pytest.approx(errors.mean())
    assert best["mean_deg"].iloc[-1] == pytest.approx(errors.mean())
    assert (best["mean_deg"] <= curve["mean_deg"] + 1e-9).all()
    assert best["mean_deg"].is_monotonic_increasing
    halves = [errors[0::2], errors[1::2]]
    expected = sum(np.sort(half)[: len(half) // 2].sum() for half in halves)
    assert best["mean_deg"].iloc[49] == pytest.approx(expected / 150, rel=0.03)


def test_bins_of_confidence_hold_equally_many(generator):
    errors = generator.gamma(2, 5, 400)
    table = errors_by_confidence(particles_of(-errors, errors), 5)
    assert table["particles"].tolist() == [80] * 5
    assert table["mean_confidence"].is_monotonic_increasing
    assert table["mean_deg"].is_monotonic_decreasing
    tied = errors_by_confidence(particles_of(np.ones(400), errors), 5)
    assert tied["particles"].tolist() == [400]
    assert tied["median_deg"][0] == pytest.approx(np.median(errors))


def test_rank_correlation_is_spearmans(generator):
    errors, confidence = generator.gamma(2, 5, (2, 50))
    expected = -stats.kendalltau(errors, confidence).statistic
    found = rank_correlation(confidence, errors)
    assert np.sign(found) == np.sign(expected)
    ranks = [stats.rankdata(values) for values in (confidence, -errors)]
    assert found == pytest.approx(np.corrcoef(*ranks)[0, 1])
    assert rank_correlation(-errors, errors) == pytest.approx(1)
    assert np.isnan(rank_correlation(np.ones(50), errors))
    assert np.isnan(rank_correlation(confidence, np.ones(50)))


def test_rows_need_confidence(generator):
    errors = generator.gamma(2, 5, (2, 60))
    confidence = generator.random((2, 60))
    assert confidence_rows("E", "p", (None, None), tuple(errors)) == ()
    one = confidence_rows("E", "p", (None, confidence[1]), tuple(errors))
    assert {row.half for row in one} == {"1"}
    both = confidence_rows("E", "p", tuple(confidence), tuple(errors))
    values = {(row.half, row.metric): row.value for row in both}
    halves = [values[half, "confidence_rank_correlation"] for half in "01"]
    assert values["all", "confidence_rank_correlation"] == pytest.approx(np.mean(halves))


def test_kept_weights_sum_to_the_share_and_split_ties_evenly():
    confidence = np.array([0.9, 0.2, 0.5, 0.5, 0.5, 0.1])
    np.testing.assert_allclose(kept_weights(confidence, 0.5), [1, 0, 2 / 3, 2 / 3, 2 / 3, 0])
    np.testing.assert_allclose(kept_weights(confidence, 1.0), 1)
    np.testing.assert_allclose(kept_weights(confidence, 0.01), [1, 0, 0, 0, 0, 0])
    with pytest.raises(OptionError, match="above 0"):
        kept_weights(confidence, 0)
