"""A model of another package: installed, it is trained, predicts and is scored by our commands."""

import json
import re
from pathlib import Path

import pytest
from fake_entry import write_fake_entry

from cesped.cli.main import face, main
from cesped.models import registry
from cesped.training.checkpoint import load_checkpoint

TESTS = Path(__file__).resolve().parents[1]
SOURCE = TESTS / "plain_cnn.py"
PAGE = TESTS.parent / "docs" / "plugging_in_a_model.md"
SETTINGS = [
    *("--recipe", "small", "--model.name", "plain_cnn", "--model.widths", "[8, 16]"),
    *("--data.image_size", "16", "--data.batch_size", "8", "--trainer.accelerator", "cpu"),
    *("--trainer.max_steps", "4", "--trainer.steps_per_round", "2"),
]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Lay the file into a folder as `pip install --target` does, with its entry point."""
    folder = tmp_path / "site"
    card = folder / "plain_cnn-1.0.dist-info"
    card.mkdir(parents=True)
    (folder / "plain_cnn_package.py").write_text(SOURCE.read_text("utf-8"))
    (card / "METADATA").write_text("Metadata-Version: 2.1\nName: plain-cnn\nVersion: 1.0\n")
    (card / "entry_points.txt").write_text(
        "[cesped.models]\nplain_cnn = plain_cnn_package:PlainCnn\n"
    )
    (card / "top_level.txt").write_text("plain_cnn_package\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(registry, "_REGISTERED", {})
    return folder


@pytest.fixture
def entry(tmp_path):
    return write_fake_entry(tmp_path / "entries", symmetry="D2", n_particles=24, with_mask=True)


def test_an_installed_model_goes_the_whole_way(installed, entry, tmp_path, capsys):
    assert "plain_cnn" in registry.model_names()
    where = ["--benchmarkDir", str(entry.benchmark_dir)]
    for half in (0, 1):
        words = ["--data.targetName", entry.name, "--data.halfset", str(half), *where]
        words += ["--trainer.default_root_dir", str(tmp_path / f"run{half}"), *SETTINGS]
        assert face("cesped.trainEntry", "train", words) == 0, capsys.readouterr().err
    model, card = load_checkpoint(tmp_path / "run0" / "model.ckpt")
    assert type(model).__module__ == "plain_cnn_package"
    assert card.model == {"name": "plain_cnn", "symmetry": "D2", "widths": [8, 16]}
    facts = json.loads((tmp_path / "run0" / "provenance.json").read_text())
    assert facts["model"]["class"] == "plain_cnn_package.PlainCnn"
    assert facts["model"]["packages"] == {"plain-cnn": "1.0"}

    again = tmp_path / "again.star"
    words = ["--target", entry.name, "--halfset", "1", *where, "--out", str(again)]
    assert main(["infer", *words, "--ckpt_path", str(tmp_path / "run0" / "model.ckpt")]) == 0
    predictions = [tmp_path / f"run{1 - half}" / f"predictions_{half}.star" for half in (0, 1)]
    assert again.read_bytes() == predictions[1].read_bytes()

    words = ["--targetName", entry.name, *where, "--predictionType", "SO3", "--n_cpus", "1"]
    words += ["--half0PredsFname", str(predictions[0]), "--half1PredsFname", str(predictions[1])]
    assert main(["evaluate", *words, "--outdir", str(tmp_path / "score")]) == 0
    scored = json.loads((tmp_path / "score" / "metrics.json").read_text())
    assert 0 < scored["meanAngularError"] < 100


def test_the_page_shows_the_file_that_is_tested():
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    assert SOURCE.read_text("utf-8") in blocks
    assert len(SOURCE.read_text("utf-8").splitlines()) <= 60
