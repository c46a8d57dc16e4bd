"""A submitted score against the one found here: confirmed, refuted, or not to be compared."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cesped.evaluation.entry import evaluate_entry
from cesped.evaluation.outputs import read_metrics
from cesped.leaderboard.checks import check_submission
from cesped.leaderboard.particle_errors import difference_from, read_errors
from cesped.leaderboard.rescore import (
    CURVE_TOLERANCE,
    INTERVAL_SHARE,
    TOLERANCES,
    compare_scores,
)
from cesped.vocabulary import Severity


@pytest.fixture(scope="module")
def score(evaluation):
    return read_metrics(evaluation / "metrics.json")


def moved(score, metric, by):
    rows = [
        replace(row, value=row.value + by) if row.metric == metric and row.half == "all" else row
        for row in score.rows
    ]
    return replace(score, rows=tuple(rows))


def test_a_score_confirms_itself(score):
    comparison = compare_scores(score, score)
    assert comparison.agrees
    assert comparison.n_compared > len(score.rows)


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        ("mean_angular_error_deg", "deg"),
        ("pcc_crossed", ""),
        ("resolution_halves_05_angst", "angst"),
    ],
)
def test_rounding_is_allowed_and_more_is_not(score, metric, unit):
    assert compare_scores(moved(score, metric, 0.9 * TOLERANCES[unit]), score).agrees
    comparison = compare_scores(moved(score, metric, 1.1 * TOLERANCES[unit]), score)
    assert not comparison.agrees
    assert {found.metric for found in comparison.differences} == {metric}


def test_a_figure_that_was_added_by_hand_is_not_confirmed(score):
    # masked figures are shown in place of unmasked ones, and errors of poses have no mask
    true = next(row for row in score.rows if row.metric == "weighted_mean_angular_error_deg")
    forged = replace(true, half="all", masked=True, value=0.1)
    comparison = compare_scores(replace(score, rows=(*score.rows, forged)), score)
    assert [(found.metric, found.masked) for found in comparison.differences] == [
        ("weighted_mean_angular_error_deg", True)
    ]
    assert comparison.differences[0].submitted == 0.1
    assert not comparison.agrees


def with_interval(score, metric, change):
    rows = [
        replace(row, interval=change(*row.interval)) if row.metric == metric else row
        for row in score.rows
    ]
    return replace(score, rows=tuple(rows))


@pytest.mark.parametrize("end", ["low", "high"])
def test_an_interval_that_was_narrowed_is_not_confirmed(score, end):
    def narrowed(by):
        def change(low, high):
            reach = by * (high - low)
            return (low + reach, high) if end == "low" else (low, high - reach)

        return with_interval(score, "mean_direction_error_deg", change)

    assert compare_scores(narrowed(0.9 * INTERVAL_SHARE), score).agrees
    comparison = compare_scores(narrowed(1.5 * INTERVAL_SHARE), score)
    assert {(f.metric, f.part) for f in comparison.differences} == {
        ("mean_direction_error_deg", f"{end} end of its interval")
    }
    assert comparison.n_figures_agreeing == comparison.n_compared
    assert comparison.n_intervals > 10


def test_an_interval_that_was_added_by_hand_is_not_confirmed(score):
    rows = [
        replace(row, interval=(row.value - 0.001, row.value + 0.001))
        if row.metric == "pcc_crossed"
        else row
        for row in score.rows
    ]
    comparison = compare_scores(replace(score, rows=tuple(rows)), score)
    assert {found.metric for found in comparison.differences} == {"pcc_crossed"}
    # one that was left out is not missed
    assert compare_scores(score, replace(score, rows=tuple(rows))).agrees


def test_drawing_resamples_otherwise_refutes_nobody(fake, predictions, score):
    other = evaluate_entry(
        "FAKE", *predictions, "SO3", benchmark_dir=fake.benchmark_dir, threads=1, seed=7
    )
    assert other.rows != score.rows
    assert compare_scores(replace(score, stamps=other.stamps), other).agrees


def test_a_curve_that_was_lifted_is_not_confirmed(score):
    curve = score.fsc_curves["prediction_halves"]

    def lifted(by):
        better = replace(curve, correlation=curve.correlation - by)
        return replace(score, fsc_curves={**score.fsc_curves, "prediction_halves": better})

    assert compare_scores(lifted(0.9 * CURVE_TOLERANCE), score).agrees
    (found,) = compare_scores(lifted(0.05), score).differences
    assert (found.metric, found.part[:5]) == ("FSC prediction_halves", "shell")
    (found,) = compare_scores(lifted(np.nan), score).differences
    assert np.isnan(found.submitted)
    stretched = replace(curve, frequency_per_angst=1.5 * curve.frequency_per_angst)
    forged = {**score.fsc_curves, "prediction_halves": stretched}
    (found,) = compare_scores(replace(score, fsc_curves=forged), score).differences
    assert found.part == "its shells"


def test_errors_of_particles_are_held_against_those_found_here(evaluation, submission):
    result = read_metrics(submission / "results" / "FAKE.json")
    errors = read_errors(submission / "results" / "FAKE.errors.csv", result)
    particles = pd.read_csv(evaluation / "particles.csv")
    assert difference_from(errors, particles) is None
    # a forger who keeps the mean: what one particle loses another one gains
    forged = errors.angular_deg.copy()
    forged[[3, 5]] += np.array([0.5, -0.5])
    found = difference_from(replace(errors, angular_deg=forged), particles)
    assert found.submitted == forged[3]
    assert found.part == "the error of a particle"
    assert not compare_scores(result, result).with_particles(len(errors), found).agrees
    found = difference_from(replace(errors, weights=errors.weights[::-1] * 0.5), particles)
    assert found.part == "the confidence of a particle"
    found = difference_from(replace(errors, ids=errors.ids + "x"), particles)
    assert found.part == "its particles"


def test_images_are_the_same_or_the_scores_are_not_compared(score):
    def with_images(**changes):
        files = [{**file, **changes} for file in score.stamps["image_files"]]
        return replace(score, stamps={**score.stamps, "image_files": files})

    other = with_images(checksum="sha256:" + "0" * 64)
    assert compare_scores(other, score).reason == "the two scores are of different images"
    assert compare_scores(with_images(name="other.mrcs"), score).agrees
    assert compare_scores(with_images(checksum=None), score).agrees  # too large to be summed
    assert not compare_scores(with_images(checksum=None, bytes=7), score).agrees
    # an embedded entry is computed on every machine
    demo = replace(score, target="DEMO"), replace(other, target="DEMO")
    assert compare_scores(*demo).reason is None


def test_figures_of_the_known_poses_are_compared_too(score):
    rows = [
        replace(row, value=row.value - 0.1)
        if (row.poses, row.metric) == ("truth", "pcc_halves")
        else row
        for row in score.reference_rows
    ]
    comparison = compare_scores(replace(score, reference_rows=tuple(rows)), score)
    assert {found.metric for found in comparison.differences} == {"pcc_halves"}


def test_a_score_from_before_there_were_tracks_is_of_the_first(score):
    stamps = {name: value for name, value in score.stamps.items() if name != "track"}
    assert compare_scores(replace(score, stamps=stamps), score).agrees
    other = replace(score, stamps={**stamps, "track": "ab-initio"})
    assert "tracks" in compare_scores(other, score).reason


def test_nan_agrees_with_nan_alone(score):
    lost = moved(score, "mean_angular_error_deg", float("nan"))
    assert compare_scores(lost, lost).agrees
    assert not compare_scores(lost, score).agrees


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("metric_version", 99, "metric versions"),
        ("mask_file", None, "masks"),
        ("uses_predicted_confidence", False, "confidence"),
        ("symmetry", "C7", "symmetries"),
        ("particles", [240, 240], "numbers of particles"),  # a board divides times by them
    ],
)
def test_scores_of_different_things_are_not_compared(score, key, value, said):
    other = replace(score, stamps={**score.stamps, key: value})
    comparison = compare_scores(other, score)
    assert not comparison.agrees
    assert said in comparison.reason


def test_names_of_files_do_not_matter_and_their_content_does(score):
    def with_files(**changes):
        files = [{**file, **changes} for file in score.stamps["prediction_files"]]
        return replace(score, stamps={**score.stamps, "prediction_files": files})

    assert compare_scores(with_files(name="other.star"), score).agrees
    reason = compare_scores(with_files(checksum="sha256:" + "0" * 64), score).reason
    assert reason == "the two scores are of different predictions"


def test_nothing_in_common_is_no_agreement(score):
    comparison = compare_scores(replace(score, rows=()), score)
    assert not comparison.agrees
    assert comparison.reason


def test_a_score_that_claims_to_be_the_leaderboards_own_is_pointed_at(submission, fake):
    (submission / "rescored").mkdir()
    shutil.copy(submission / "results" / "FAKE.json", submission / "rescored")
    (found,) = check_submission(submission, fake.benchmark_dir).findings
    assert found.severity is Severity.NOTE
    assert found.what.startswith("rescored/FAKE.json is shown as scored by whoever keeps the")
