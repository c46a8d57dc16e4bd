"""A small entry, honest predictions of it, their score, and a submission of them."""

import shutil

import pytest
from fake_entry import write_fake_entry
from honest_submission import honest_manifest, write_predictions

from cesped.evaluation.entry import evaluate_entry
from cesped.leaderboard.manifest import EntrySubmission
from cesped.leaderboard.submission import add_predictions


@pytest.fixture(scope="session")
def fake(tmp_path_factory):
    return write_fake_entry(tmp_path_factory.mktemp("entries"), n_particles=24, with_mask=True)


@pytest.fixture(scope="session")
def predictions(fake, tmp_path_factory):
    return write_predictions(tmp_path_factory.mktemp("predictions"), fake.benchmark_dir, 3.0)


@pytest.fixture(scope="session")
def evaluation(fake, predictions, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    evaluate_entry(
        "FAKE", *predictions, "SO3", benchmark_dir=fake.benchmark_dir, outdir=folder, threads=1
    )
    return folder


@pytest.fixture(scope="session")
def made_submission(predictions, evaluation, tmp_path_factory):
    folder = tmp_path_factory.mktemp("submissions") / "turner"
    entry = EntrySubmission(
        "FAKE", ("", ""), learned_on=(1, 0), inference_seconds=12.5, inference_hardware="2 cores"
    )
    add_predictions(folder, honest_manifest(), entry, predictions, evaluation / "metrics.json")
    return folder


@pytest.fixture
def submission(made_submission, tmp_path):
    """Return a copy of the honest submission, to be spoilt."""
    return shutil.copytree(made_submission, tmp_path / "submission")
