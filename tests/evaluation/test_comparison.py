"""The paired test: its size where nothing differs, its power where something does, exact cases."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from cesped.errors import IdMismatchError
from cesped.evaluation.comparison import (
    compare_errors,
    exchange_p_value,
    sign_flip_p_values,
)
from cesped.evaluation.uncertainty import IntervalOptions, resampled_sums

QUICK = IntervalOptions(resamples=300)


@pytest.fixture
def generator():
    return np.random.default_rng(81)


@pytest.fixture
def few_flips(monkeypatch):
    monkeypatch.setattr("cesped.evaluation.comparison._MOST_FLIPS", 199)
    monkeypatch.setattr("cesped.evaluation.comparison._FEWEST_FLIPS", 99)


def particles_of(errors):
    n = len(errors)
    return pd.DataFrame(
        {
            "id": [f"{row}@a.mrcs" for row in range(n)],
            "half": np.arange(n) % 2,
            "angular_error_deg": errors,
            "direction_error_deg": 0.8 * errors,
            "inplane_error_deg": 0.5 * errors,
            "shift_error_angst": 0.1 * errors,
            "truth_confidence": np.linspace(0.5, 1, n),
        }
    )


def equally_good(n, generator):
    """Return errors of two predictions that share hard particles and are exchangeable."""
    hard = generator.gamma(1.5, 6, n)
    return [hard * generator.lognormal(0, 0.4, n) for _ in range(2)]


def test_the_sign_flips_come_to_the_exact_test_of_all_flips(generator):
    differences = generator.normal(0.4, 1, (10, 2))
    signs = np.array(list(itertools.product([-1, 1], repeat=10)))
    exact = (np.abs(signs @ differences) >= np.abs(differences.sum(axis=0)) - 1e-12).mean(axis=0)
    found = sign_flip_p_values(differences, 20_000, generator)
    np.testing.assert_allclose(found, exact, atol=4 * np.sqrt(0.25 / 20_000))
    theirs = stats.permutation_test(
        (differences[:, 0],), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert exact[0] == pytest.approx(theirs.pvalue)


def test_equally_good_predictions_are_told_apart_as_rarely_as_promised(generator):
    """The size of the test: p below 0.05 in 5 % of 400 repetitions, and p spread evenly."""
    repetitions = 400
    means, medians, held = [], [], 0
    for _ in range(repetitions):
        one, other = equally_good(60, generator)
        differences = np.column_stack([one - other, (one < 5) * 1.0 - (other < 5)])
        means.append(sign_flip_p_values(differences, 199, generator))
        medians.append(exchange_p_value(one, other, 99, generator))
        sums = resampled_sums(differences[:, :1], 200, generator)
        low, high = np.quantile(sums, [0.025, 0.975])
        held += low <= 0 <= high
    most = 0.05 + 4 * np.sqrt(0.05 * 0.95 / repetitions)
    assert (np.mean(np.array(means) <= 0.05, axis=0) < most).all()
    assert np.mean(np.array(medians) <= 0.05) < most
    assert stats.kstest(np.array(means)[:, 0], "uniform").pvalue > 1e-3
    assert 0.88 < held / repetitions < 0.99


def test_a_better_prediction_is_found_where_unpaired_figures_overlap(generator):
    hard = generator.gamma(1.5, 20, 400)
    first, second = particles_of(hard), particles_of(hard + generator.normal(0.5, 1, 400))
    found = compare_errors(first, second, QUICK)
    mean = found.figure("mean_angular_error_deg")
    assert mean.p_value == 1 / (1 + found.n_flips)
    assert mean.interval[1] < 0
    assert mean.first_is_better
    assert mean.difference == pytest.approx(hard.mean() - second["angular_error_deg"].mean())
    unpaired = stats.ttest_ind(first["angular_error_deg"], second["angular_error_deg"])
    assert unpaired.pvalue > 0.05
    assert found.share_first_nearer == pytest.approx(
        np.mean(hard < second["angular_error_deg"]), abs=1e-12
    )


def test_exchanging_the_predictions_turns_every_difference_round(generator, few_flips):
    one, other = (particles_of(errors) for errors in equally_good(80, generator))
    forth, back = compare_errors(one, other, QUICK), compare_errors(other, one, QUICK)
    assert forth.share_first_nearer == pytest.approx(1 - back.share_first_nearer)
    for a, b in zip(forth.figures, back.figures, strict=True):
        assert (a.first, a.second) == (b.second, b.first)
        assert a.p_value == pytest.approx(b.p_value, abs=1e-12)
        np.testing.assert_allclose(a.interval, np.negative(b.interval[::-1]), atol=1e-9)


def test_rows_are_matched_by_id(generator, few_flips):
    one, other = (particles_of(errors) for errors in equally_good(80, generator))
    shuffled = other.iloc[generator.permutation(80)]
    assert compare_errors(one, shuffled, QUICK) == compare_errors(one, other, QUICK)
    with pytest.raises(IdMismatchError, match="the second prediction does not hold"):
        compare_errors(one, other.iloc[1:])


def test_a_prediction_is_as_good_as_itself(generator, few_flips):
    one = particles_of(equally_good(50, generator)[0])
    found = compare_errors(one, one, QUICK)
    assert found.share_first_nearer == 0.5
    for figure in found.figures:
        assert figure.p_value == 1
        assert figure.interval == (0, 0)
        assert not figure.first_is_better


def test_shares_come_to_the_test_of_mcnemar(generator):
    first = np.where(generator.random(200) < 0.6, 1.0, 30.0)
    second = np.where(generator.random(200) < 0.5, 1.0, 30.0)
    found = compare_errors(particles_of(first), particles_of(second), QUICK)
    wins, losses = np.sum(first < second), np.sum(first > second)
    exact = stats.binomtest(int(wins), int(wins + losses)).pvalue
    assert found.figure("share_under_5_deg").p_value == pytest.approx(exact, abs=0.02)


def test_medians_are_exchanged_whole(generator):
    first, second = equally_good(9, generator)
    exact = []
    for flips in itertools.product([False, True], repeat=9):
        one, other = np.where(flips, second, first), np.where(flips, first, second)
        exact.append(abs(np.median(one) - np.median(other)))
    expected = np.mean(np.array(exact) >= exact[0] - 1e-12)
    found = exchange_p_value(first, second, 4000, generator)
    assert found == pytest.approx(expected, abs=4 * np.sqrt(0.25 / 4000))


def test_what_was_not_predicted_is_not_compared(generator, few_flips):
    one, other = (particles_of(errors) for errors in equally_good(40, generator))
    no_plane = compare_errors(one.assign(inplane_error_deg=np.nan), other, QUICK)
    assert "mean_inplane_error_deg" not in {figure.metric for figure in no_plane.figures}
    old = compare_errors(one.drop(columns="inplane_error_deg"), other, QUICK)
    assert old.figures[0].metric == "mean_angular_error_deg"
    with pytest.raises(LookupError, match="was not compared"):
        old.figure("mean_inplane_error_deg")
