"""The script that sets trained recipes beside poses that know nothing, made tiny."""

import csv
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from cesped.evaluation.outputs import read_result
from cesped.geometry.rotations import (
    geodesic_distance_deg,
    random_rotations,
    rotations_about_random_axes,
)

RECIPE = Path(__file__).resolve().parents[2] / "benchmarks" / "recipes" / "spliceosome_5nrl"
TINY = {
    "data.image_size": 16,
    "data.batch_size": 8,
    "data.train_share": 0.7,
    "model.widths": [4, 4, 4],
    "model.l_max": 1,
    "model.sphere_features": 4,
    "model.so3_features": 2,
    "model.projector_order": 1,
    "model.filter_order": 0,
    "model.grid_order": 0,
    "trainer.max_steps": 2,
    "trainer.steps_per_round": 2,
}


@pytest.fixture
def measure(monkeypatch):
    monkeypatch.syspath_prepend(str(RECIPE))
    monkeypatch.delitem(sys.modules, "make_entry", raising=False)
    path = RECIPE / "measure_presets.py"
    spec = importlib.util.spec_from_file_location("measure_presets", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("make_entry", None)


def test_the_best_constant_is_near_what_all_poses_crowd_about(measure):
    rng = np.random.default_rng(0)
    centre = random_rotations(1, rng)
    crowd = rotations_about_random_axes(400, rng.uniform(0, 60, 400), rng) @ centre
    found = measure.best_constant(crowd)
    assert geodesic_distance_deg(found, centre[0]) < 20
    mean_deg = geodesic_distance_deg(crowd, found).mean()
    others = [geodesic_distance_deg(crowd, one).mean() for one in random_rotations(100, rng)]
    assert mean_deg < min(others) + 8  # a node of 15 degrees may be that much off


def test_guesses_know_no_more_than_they_say(measure):
    rng = np.random.default_rng(0)
    others = rotations_about_random_axes(50, 5.0, rng)
    assert geodesic_distance_deg(np.eye(3), measure.guesses("random", others, 50, rng)).max() > 60
    drawn = measure.guesses("another particle's", others, 50, rng)
    assert geodesic_distance_deg(np.eye(3), drawn).max() < 6
    assert np.ptp(drawn, axis=0).max() > 0.05
    constant = measure.guesses("best constant", others, 50, rng)
    assert np.ptp(constant, axis=0).max() == 0


def test_from_atoms_to_the_table(measure, tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(1)
    make_entry = sys.modules["make_entry"]
    monkeypatch.setattr(make_entry, "BOX", 24)
    monkeypatch.setattr(make_entry, "PIXEL_SIZE_ANGST", 8.0)
    monkeypatch.setattr(make_entry, "RESOLUTION_ANGST", 20.0)
    atoms = rng.normal(size=(60, 3)) * 20
    np.savez(tmp_path / "atoms.npz", coords=atoms, elements=np.array(["C"] * 60))
    ctf = np.tile([320, 1.7, 15000, 14000, 30, 300, 2.7, 0.1, 0], (40, 1))
    shifts, turns = np.zeros((40, 2)), rng.normal(size=(40, 3))
    np.savez(tmp_path / "poses.npz", rotvec=turns, shift_box_fraction=shifts, ctf=ctf)
    words = ["--benchmarkDir", str(tmp_path / "bench"), "--outdir", str(tmp_path / "out")]
    with pytest.raises(SystemExit):
        measure.main(words)
    assert "give --atoms and --poses" in capsys.readouterr().err
    words += ["--atoms", str(tmp_path / "atoms.npz"), "--poses", str(tmp_path / "poses.npz")]
    words += ["--particles", "16", "--recipe", str(RECIPE / "cpu_plain.yaml")]
    words += [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
    assert measure.main(words) == 0
    out = capsys.readouterr().out
    assert "cpu_plain, half 1: MAnE" in out
    assert "cpu_plain, half 0: MAnE" in out
    with (tmp_path / "out" / "presets.csv").open() as file:
        rows = {row["poses"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["random", "another particle's", "best constant", "cpu_plain"]
    assert all(0 < float(row["mean_angular_error_deg"]) < 180 for row in rows.values())
    assert all(-1 <= float(row["pcc_to_truth"]) <= 1 for row in rows.values())
    model = tmp_path / "out" / "cpu_plain" / "training" / "half1" / "model.ckpt"
    before = model.stat().st_mtime_ns
    # one half alone goes on from the same training, and finds the same poses
    assert measure.main([*words, "--halfset", "1"]) == 0
    assert model.stat().st_mtime_ns == before
    with (tmp_path / "out" / "presets.csv").open() as file:
        halves = {row["poses"]: row for row in csv.DictReader(file)}
    assert list(halves) == list(rows)
    assert "FSCR0.5 to truth" in capsys.readouterr().out
    scores = read_result(tmp_path / "out" / "cpu_plain").rows
    expected = {row.metric: row.value for row in scores if row.half == "0" and not row.masked}
    for name in ("mean_angular_error_deg", "median_angular_error_deg", "mean_direction_error_deg"):
        assert float(halves["cpu_plain"][name]) == pytest.approx(expected[name], abs=1e-3)
