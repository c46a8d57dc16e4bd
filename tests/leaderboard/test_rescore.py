"""A submitted score against the one found here: confirmed, refuted, or not to be compared."""

import shutil
from dataclasses import replace

import pytest

from cesped.evaluation.outputs import read_metrics
from cesped.leaderboard.checks import check_submission
from cesped.leaderboard.rescore import TOLERANCES, compare_scores
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
