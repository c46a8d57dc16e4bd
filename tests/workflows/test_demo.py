"""`cesped demo`: every product where it is promised, and nothing twice; on a small DEMO."""

import json
from dataclasses import replace

import pytest

from cesped.cli.main import main
from cesped.data.demo_specifications import DEMO_SPECIFICATIONS
from cesped.training import recipe as recipes

SHORT = {
    "data.image_size": 16,
    "data.batch_size": 8,
    "trainer.max_steps": 2,
    "trainer.steps_per_round": 1,
}


@pytest.fixture
def small_demo(benchmark_dir, monkeypatch):
    small = replace(
        DEMO_SPECIFICATIONS["DEMO"],
        n_particles_per_half=30,
        box=24,
        pixel_size_angst=8.0,
        resolution_angst=20.0,
    )
    monkeypatch.setitem(DEMO_SPECIFICATIONS, "DEMO", small)
    load = recipes.load_recipe
    monkeypatch.setattr(recipes, "load_recipe", lambda name: load(name, SHORT))
    return benchmark_dir


def test_the_demo_leaves_what_it_promises(small_demo, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["demo"]) == 0
    shown = capsys.readouterr()
    outdir = tmp_path / "demo"
    for name in ("report.html", "metrics.json", "predictions_0.star", "predictions_1.star"):
        assert (outdir / name).is_file()
    assert sorted(path.name for path in outdir.glob("*.mrc"))
    assert str(outdir / "report.html") in shown.out
    assert "random poses" in shown.out
    assert "Training on half 0 of DEMO: done in" in shown.err
    document = json.loads((outdir / "metrics.json").read_text())
    poses = {row["poses"] for row in document["cesped"]["reference_rows"]}
    assert "random" in poses

    assert main(["demo"]) == 0
    again = capsys.readouterr()
    assert again.out == shown.out
    assert "Training" not in again.err


def test_no_other_entry_is_embedded(small_demo, tmp_path, capsys):
    assert main(["demo", "--entry", "DEMO-T", "--outdir", str(tmp_path / "d")]) == 1
    assert "DEMO-D2" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()
