"""Tables V and VI of the paper on a small simulated entry: its trends, and its expected errors."""

import csv
import importlib.util
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from tiny_entries import TINY

from cesped.data.conventions import read_predictions
from cesped.data.demo_entry import make_entry
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import geodesic_distance_deg, random_rotations

SCRIPT = (
    Path(__file__).resolve().parents[2] / "benchmarks" / "recipes" / "misalignment" / "misalign.py"
)
SPOILT = replace(TINY, name="SPOILT", n_particles_per_half=400, seed=8)


@pytest.fixture(scope="module")
def recipe():
    spec = importlib.util.spec_from_file_location("misalign", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def outcome(recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("misalignment")
    make_entry(SPOILT, folder / "entries")
    words = ["--target", "SPOILT", "--benchmarkDir", str(folder / "entries"), "--threads", "1"]
    with pytest.MonkeyPatch.context() as patch:  # a column less of each table, for time
        patch.setattr(recipe, "NOISES_DEG", (0.0, 3.0, 5.0))
        patch.setattr(recipe, "SHARES", (0.0, 0.1, 0.3))
        assert recipe.main([*words, "--outdir", str(folder / "out")]) == 0
    with (folder / "out" / "SPOILT.csv").open() as stream:
        rows = {row["level"]: row for row in csv.DictReader(stream)}
    return folder / "out", rows


@pytest.fixture
def truth():
    count = 100_000
    rotations = random_rotations(count, np.random.default_rng(1))
    return Poses(rotations, np.zeros((count, 2)), np.ones(count))


@pytest.mark.parametrize(("width_deg", "printed"), [(1, 1.0), (3, 2.9), (5, 4.8)])
def test_the_expected_errors_of_euler_noise(recipe, truth, width_deg, printed):
    generator = np.random.default_rng(0)
    length_deg = recipe.mean_noise_length_deg(width_deg, generator)
    assert round(length_deg, 1) == printed  # the paper's
    noisy = recipe.with_euler_noise(truth, width_deg, generator)
    found_deg = float(geodesic_distance_deg(truth.rotations, noisy.rotations).mean())
    assert found_deg == pytest.approx(
        recipe.expected_noise_error_deg(width_deg, generator), rel=0.01
    )
    assert 0.97 * length_deg < found_deg < length_deg
    assert found_deg == pytest.approx(printed, abs=0.11)


def test_the_expected_error_of_random_poses(recipe, truth):
    mean = quad(lambda a: a * (1 - math.cos(a)) / math.pi, 0, math.pi)[0]
    assert pytest.approx(math.degrees(mean), rel=1e-9) == recipe.RANDOM_ERROR_DEG
    assert pytest.approx(90 + 360 / math.pi**2, rel=1e-12) == recipe.RANDOM_ERROR_DEG
    assert pytest.approx(126.9, abs=0.5) == recipe.RANDOM_ERROR_DEG  # the paper's simulation
    spoilt = recipe.with_random_share(truth, 1.0, np.random.default_rng(2))
    found_deg = geodesic_distance_deg(truth.rotations, spoilt.rotations).mean()
    assert found_deg == pytest.approx(recipe.RANDOM_ERROR_DEG, abs=0.5)


def test_exactly_the_share_is_spoilt(recipe, truth):
    spoilt = recipe.with_random_share(truth, 0.2, np.random.default_rng(2))
    moved = geodesic_distance_deg(truth.rotations, spoilt.rotations) > 1e-6
    assert moved.sum() == 20_000
    assert np.array_equal(spoilt.origins_angst, truth.origins_angst)


def test_the_measured_errors_are_the_expected_ones(outcome):
    _, rows = outcome
    for level, row in rows.items():
        found, expected = (
            float(row["mean_angular_error_deg"]),
            float(row["expected_error_deg"]),
        )
        assert found == pytest.approx(expected, rel=0.08, abs=1e-6), level


@pytest.mark.parametrize("levels", [("0deg", "3deg", "5deg"), ("0deg", "10%", "30%")])
@pytest.mark.parametrize("suffix", ["", "_masked"])
def test_the_maps_get_worse_with_every_step(outcome, levels, suffix):
    _, rows = outcome
    for metric in ("pcc_to_truth", "pcc_crossed"):
        values = [float(rows[level][metric + suffix]) for level in levels]
        assert values == sorted(values, reverse=True), metric
        assert values[0] > values[-1] + 0.002, metric
    resolutions = [float(rows[level][f"resolution_crossed_05_angst{suffix}"]) for level in levels]
    assert resolutions == sorted(resolutions)


def test_every_file_is_written(outcome, recipe):
    folder, rows = outcome
    assert len(rows) == 5
    ids, poses, has_confidence = read_predictions(folder / "SPOILT_5deg_1.star")
    assert len(ids) == len(poses) == SPOILT.n_particles_per_half
    assert not has_confidence
    text = (folder / "SPOILT.md").read_text()
    assert "Table V: uniform noise on each Euler angle, SPOILT" in text
    assert text.count("| 0deg |") == 2
    assert "| 30% | 37.943 |" in text
