"""A score that is there is kept only if it was made from the very same things."""

import numpy as np
import pytest

from cesped.evaluation.abinitio import entry as abinitio_entry
from cesped.report import html
from cesped.workflows import scoring
from cesped.workflows.alignment import score_abinitio
from cesped.workflows.scoring import REPORT_NAME, ScoringOptions, score_predictions
from tests.fake_entry import write_fake_entry, write_stack


@pytest.fixture
def entry(tmp_path):
    return write_fake_entry(tmp_path / "entries", n_particles=4, box=16)


@pytest.fixture
def outdir(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def score(entry, outdir, monkeypatch):
    """Return a function that scores, or keeps the score, and says which; the work is left out."""

    def make(*args, **kwargs):
        outdir.mkdir(exist_ok=True)
        (outdir / REPORT_NAME).write_text("report")
        return "made"

    monkeypatch.setattr(scoring, "_evaluate_and_report", make)
    monkeypatch.setattr("cesped.evaluation.outputs.read_result", lambda folder: "kept")

    def run(options=None, target=entry.name):
        stars = (entry.star(0), entry.star(1))
        folder = entry.benchmark_dir
        return score_predictions(target, stars, outdir, options, benchmark_dir=folder, reuse=True)

    return run


def test_the_same_again_is_kept_and_other_options_are_not(score):
    assert [score(), score()] == ["made", "kept"]
    assert score(ScoringOptions(use_mask=False)) == "made"


def test_other_images_under_the_same_names_make_another_score(score, entry):
    score()
    assert score() == "kept"
    write_stack(entry.folder / "particles_1.mrcs", np.flip(entry.images[1], 0).copy())
    assert score() == "made"


def test_an_embedded_entry_is_made_where_a_score_is_to_be_kept(score, entry, monkeypatch):
    made = []

    def open_entry(target, half, *args):
        made.append((target, half))
        from cesped.data.store import EntryStore

        return EntryStore(entry.benchmark_dir).locate(entry.name, half)

    monkeypatch.setattr("cesped.evaluation.inputs.open_entry", open_entry)
    assert score(target="DEMO") == "made"
    assert made == [("DEMO", 0), ("DEMO", 1)]


def test_a_score_of_the_other_track_is_not_kept_for_one_of_this(score, entry, outdir, monkeypatch):
    score()
    assert score() == "kept"
    monkeypatch.setattr(abinitio_entry, "evaluate_abinitio", lambda *args, **kwargs: None)
    monkeypatch.setattr(html, "write_report", lambda result, path, facts: path.write_text("other"))
    score_abinitio(entry.name, [entry.star(0)], outdir, benchmark_dir=entry.benchmark_dir)
    assert (outdir / REPORT_NAME).read_text() == "other"
    assert score() == "made"
