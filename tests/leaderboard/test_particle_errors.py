"""Errors of single particles beside a score: copied, read back, and held against the score."""

import shutil

import numpy as np
import pandas as pd
import pytest
from honest_submission import honest_manifest, write_predictions

from cesped.errors import SubmissionError
from cesped.evaluation.entry import evaluate_entry
from cesped.evaluation.outputs import read_metrics
from cesped.leaderboard.checks import check_submission
from cesped.leaderboard.contradictions import errors_beside
from cesped.leaderboard.manifest import EntrySubmission
from cesped.leaderboard.submission import add_predictions
from cesped.vocabulary import Severity
from cesped.workflows.leaderboard import build_leaderboard

NAME = "results/FAKE.errors.csv"


def change(submission, act):
    path = submission / NAME
    table = act(pd.read_csv(path))
    path.write_text(table if isinstance(table, str) else table.to_csv(index=False))


def set_value(column, row, value):
    def act(table):
        table[column] = table[column].astype(object)
        table.loc[row, column] = value
        return table

    return act


def test_they_come_with_the_score_and_give_its_figure(submission, evaluation):
    result = read_metrics(evaluation / "metrics.json")
    errors = errors_beside(submission, "results/FAKE.json", result)
    stated = result.metrics_of("prediction")["weighted_mean_angular_error_deg"]
    assert errors.weighted_mean_deg == pytest.approx(stated, abs=1e-4)
    particles = pd.read_csv(evaluation / "particles.csv")
    assert list(errors.ids) == list(particles["id"])
    np.testing.assert_allclose(errors.angular_deg, particles["angular_error_deg"], atol=1e-4)


FAULTS = {
    "altered": (
        lambda table: table.assign(angular_error_deg=table["angular_error_deg"] / 2),
        r"has a weighted mean error of 1\.\d+ degrees, and the score 3\.0000",
    ),
    "fewer": (lambda table: table.iloc[:-1], "has 47 particles, and the score 48"),
    "doubled": (set_value("id", 1, "000001@particles_0.mrcs"), "lists 1 particles twice"),
    "nan": (set_value("angular_error_deg", 4, np.nan), "error of nan degrees .* in row 5"),
    "infinite": (set_value("truth_confidence", 4, np.inf), "confidence of inf in row 5"),
    "negative": (set_value("truth_confidence", 4, -1), "confidence of -1 in row 5"),
    "beyond": (set_value("angular_error_deg", 0, 181), "error of 181 degrees"),
    "words": (set_value("angular_error_deg", 0, "=1+1"), "is no table of id"),
    "weightless": (lambda table: table.assign(truth_confidence=0), "no particle with any"),
    "columns": (lambda table: table.drop(columns="id"), "is no table of id"),
    "empty": (lambda table: "", "is no table of id"),
    "huge": (
        lambda table: "id\n" + "x" * 60_000,
        "has 60,003 bytes, far more than the errors of 48",
    ),
    "binary": (lambda table: "\0\x1b[2J\0,\n", "is no table of id"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_errors_that_are_not_those_of_the_score_are_told_and_keep_the_row_away(
    submission, fake, tmp_path, fault
):
    act, said = FAULTS[fault]
    change(submission, act)
    with pytest.raises(SubmissionError, match=said):
        errors_beside(
            submission, "results/FAKE.json", read_metrics(submission / "results/FAKE.json")
        )
    report = check_submission(submission, fake.benchmark_dir)
    (fault,) = (found for found in report.findings if found.severity is Severity.FAULT)
    assert "FAKE.errors.csv" in fault.what
    assert "\x1b" not in fault.what
    results = tmp_path / "results"
    shutil.copytree(submission, results / "turner")
    built = build_leaderboard(results, tmp_path / "pages")
    assert ["FAKE.errors.csv" in item.reason for item in built.left_out] == [True]


def test_without_them_nothing_is_wrong(submission, fake):
    (submission / NAME).unlink()
    assert check_submission(submission, fake.benchmark_dir).is_acceptable


def test_a_score_without_particles_takes_the_old_errors_away(submission, predictions, tmp_path):
    lonely = shutil.copy(submission / "results/FAKE.json", tmp_path / "metrics.json")
    entry = EntrySubmission("FAKE", ("", ""), learned_on=(1, 0))
    add_predictions(submission, honest_manifest(), entry, predictions, lonely, replace_entry=True)
    assert not (submission / NAME).exists()


def test_methods_that_intervals_do_not_tell_apart_are_told_apart_on_the_board(
    fake, predictions, evaluation, tmp_path
):
    """Errors of 3 and of 3.3 degrees on each of 48 particles; a reader sees by which test."""
    for name, stars in (
        ("three", predictions),
        ("more", write_predictions(tmp_path, fake.benchmark_dir, 3.3)),
    ):
        score = tmp_path / f"score_{name}"
        evaluate_entry(
            "FAKE", *stars, "SO3", benchmark_dir=fake.benchmark_dir, outdir=score, threads=1
        )
        entry = EntrySubmission("FAKE", ("", ""), learned_on=(1, 0))
        folder = tmp_path / "results" / name
        add_predictions(folder, honest_manifest(), entry, stars, score / "metrics.json")
    built = build_leaderboard(tmp_path / "results", tmp_path / "pages")
    (section,) = next(board for board in built.boards if board.entry == "FAKE").sections
    assert [ranked.group for ranked in section.rows] == ["a", "b"]
    for page in ("leaderboard.md", "leaderboard.html"):
        text = (tmp_path / "pages" / page).read_text("utf-8")
        assert (
            "by the paired test of wMAnE on the same particles (5 % for the whole table)." in text
        )
