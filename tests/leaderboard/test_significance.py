"""Letters of rows: by the paired test where errors of single particles are here, else intervals."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from board_rows import row
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cesped.evaluation import comparison
from cesped.leaderboard.particle_errors import ParticleErrors, difference_p_value
from cesped.leaderboard.ranking import make_boards
from cesped.leaderboard.significance import significance_groups

N = 400


def errors_of(angles, ids=None, weights=None):
    names = np.array([f"{i}@a.mrcs" for i in range(len(angles))]) if ids is None else ids
    ones = np.ones(len(angles)) if weights is None else weights
    return ParticleErrors(pd.Index(names), np.asarray(angles, dtype=float), ones)


def row_with(name, angles, interval=(0, 180), **changes):
    errors = errors_of(angles, **changes)
    return row(name, errors.weighted_mean_deg, interval, errors=errors)


@pytest.fixture
def hard():
    """How hard each particle is for everybody: far more than any method differs from another."""
    return 10 + np.random.default_rng(0).gamma(1.0, 20.0, N)


def test_the_paired_test_tells_apart_what_intervals_do_not(hard):
    rng = np.random.default_rng(1)
    best = row_with("best", hard, (18, 22))
    worse = row_with("worse", hard + 0.5 + rng.normal(0, 1, N), (18.5, 22.5))
    alike = row_with("alike", hard + rng.normal(0, 1, N), (18.1, 22.1))
    found = significance_groups([best, alike, worse])
    assert found.letters == ("a", "a", "b")
    assert "paired test" in found.basis
    assert "intervals" not in found.basis
    without = significance_groups([replace(one, errors=None) for one in (best, alike, worse)])
    assert without.letters == ("a", "a", "a")
    assert "intervals" in without.basis
    assert "paired" not in without.basis


def test_the_p_value_is_that_of_scipy(hard):
    """scipy's own permutation test draws its signs in its own way: p within its sampling error."""
    rng = np.random.default_rng(2)
    weights = rng.uniform(0.2, 1, N)
    other = np.abs(hard + rng.normal(0.5, 4, N))
    found = difference_p_value(errors_of(hard, weights=weights), errors_of(other, weights=weights))
    twin = stats.permutation_test(
        ((hard - other) * weights,),
        np.mean,
        permutation_type="samples",
        n_resamples=9999,
        rng=np.random.default_rng(3),
    ).pvalue
    assert 0.02 < twin < 0.5
    assert found == pytest.approx(twin, abs=4 * np.sqrt(2 * twin * (1 - twin) / 9999))


def test_the_order_of_particles_does_not_matter(hard):
    rng = np.random.default_rng(4)
    ids = np.array([f"{i}@a.mrcs" for i in range(N)])
    other = np.abs(hard + rng.normal(1, 4, N))
    order = rng.permutation(N)
    straight = difference_p_value(errors_of(hard, ids), errors_of(other, ids))
    shuffled = difference_p_value(errors_of(hard, ids), errors_of(other[order], ids[order]))
    assert straight == shuffled


def test_other_particles_or_weights_are_not_paired(hard):
    one = errors_of(hard)
    assert difference_p_value(one, errors_of(hard[:-1])) is None
    assert difference_p_value(one, errors_of(hard, [f"{i}@b.mrcs" for i in range(N)])) is None
    assert difference_p_value(one, errors_of(hard, weights=np.linspace(0.5, 1, N))) is None
    rows = [
        row_with("a", hard, (1, 2)),
        row_with("b", hard + 1, (3, 4), weights=np.linspace(0.5, 1, N)),
    ]
    found = significance_groups(rows)
    assert found.letters == ("a", "b")
    assert found.basis.startswith("Rows of one group have 95 % intervals")


def test_letters_of_equal_methods_are_seldom_wrong():
    """Eight equally good methods, 60 tables: no second letter in 95 % of them or more."""
    rng = np.random.default_rng(5)
    wrong, n_tables = 0, 60
    for _ in range(n_tables):
        common = 20 + rng.gamma(1.0, 20.0, 60)
        tried = sorted((common + rng.normal(0, 5, 60) for _ in range(8)), key=np.mean)
        found = significance_groups([row_with(str(n), angles) for n, angles in enumerate(tried)])
        wrong += set(found.letters) != {"a"}
    assert wrong <= stats.binom.ppf(0.9999, n_tables, 0.05)


def test_p_values_of_very_many_particles_are_those_of_fewer(monkeypatch):
    rng = np.random.default_rng(6)
    differences = rng.normal(0.05, 1, 3000) * rng.uniform(0, 2, 3000)
    drawn = comparison.paired_p_value(differences, rng)
    monkeypatch.setattr(comparison, "_NORMAL_FROM", 0)
    normal = comparison.paired_p_value(differences, rng)
    assert 1e-3 < normal < 0.2
    assert drawn == pytest.approx(normal, abs=4 * np.sqrt(normal / 9999))
    assert comparison.paired_p_value(np.zeros(9), rng) == 1.0


def test_both_kinds_are_said_to_be_used(hard):
    rows = [row_with("a", hard, (1, 2)), row_with("b", hard + 9, (5, 6)), row("c", 99.0, (90, 99))]
    found = significance_groups(rows)
    assert found.letters == ("a", "b", "c")
    assert "else because 95 % intervals overlap" in found.basis


def test_a_board_says_how_its_groups_were_found(hard):
    (board,) = make_boards([row_with("a", hard), row_with("b", hard + 9)])
    assert [ranked.group for ranked in board.sections[0].rows] == ["a", "b"]
    assert "paired test" in board.sections[0].group_basis


def test_groups_begin_where_intervals_no_longer_meet():
    rows = [row("a", 1, (0.5, 1.5)), row("b", 1.4, (1.0, 1.8)), row("c", 1.7, (1.6, 1.8))]
    assert significance_groups(rows).letters == ("a", "a", "b")
    assert significance_groups(rows[:1]).letters == (None,)
    assert significance_groups([*rows, row("d", 3)]).letters == ("a", "a", "b", None)
    assert significance_groups([row("d", 0.1), *rows]).letters == (None, "a", "a", "b")
    alone = significance_groups([row("d", 0.1), rows[0]])
    assert alone.letters == (None, None)
    assert alone.basis == ""
    assert significance_groups([]).letters == ()


@given(st.lists(st.floats(0, 180), min_size=2, max_size=40))
def test_groups_are_letters_in_order(values):
    values = sorted(values)
    letters = significance_groups([row("m", v, (v - 1, v + 1)) for v in values]).letters
    assert list(letters) == sorted(letters)
    for value, letter, one in zip(values[1:], letters[1:], letters, strict=False):
        if one != letter:
            assert value - 1 > values[letters.index(one)] + 1
    assert None not in letters
