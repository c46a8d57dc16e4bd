"""Weights that leave few particles: their effective number, the warning, and RELION's figures."""

import shutil

import numpy as np
import pytest
from fake_entry import write_fake_entry

from cesped.data.conventions import read_particle_table, write_particle_table
from cesped.evaluation.entry import evaluate_entry
from cesped.evaluation.half_sets import PredictedHalf, effective_number, notes_on_weights
from cesped.geometry.poses import Poses

BOX, N = 32, 120
WARNED = "leaves an effective number of"


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uneven")
    return write_fake_entry(folder, n_particles=N, box=BOX, snr=0.5, with_mask=True)


def predictions(entry, folder, decades):
    """Write the true poses with a confidence that spans `decades`; return the paths."""
    folder.mkdir()
    generator = np.random.default_rng(3)
    paths = []
    for half in (0, 1):
        table = read_particle_table(entry.star(half), entry.folder)
        confidence = 10.0 ** (-decades * generator.uniform(size=N))
        paths.append(folder / f"{half}.star")
        write_particle_table(paths[-1], table, predicted_confidence=confidence)
    return [str(path) for path in paths]


def test_the_effective_number_is_that_of_equal_weights():
    assert effective_number(np.full(7, 0.1)) == pytest.approx(7)
    assert effective_number(np.array([1e300, 1e300, 0.0])) == pytest.approx(2)
    weights = np.random.default_rng(0).uniform(size=50)
    variance = (weights**2).sum() / weights.sum() ** 2  # of a weighted mean of unit variances
    assert 1 / effective_number(weights) == pytest.approx(variance)


@pytest.mark.parametrize(("decades", "is_warned"), [(0.5, False), (4.0, True)])
def test_the_evaluator_warns_of_weights_that_leave_too_few(entry, tmp_path, decades, is_warned):
    paths = predictions(entry, tmp_path / "p", decades)
    asked = {"benchmark_dir": entry.benchmark_dir, "threads": 1, "random_reference": False}
    found = evaluate_entry("FAKE", *paths, "SO3", **asked)
    told = [note for note in found.notes if WARNED in note]
    assert len(told) == (2 if is_warned else 0)
    if is_warned:
        assert "of 120 particles, too few for a box of 32 px" in told[0]
        assert "--backend relion" in told[0]
        plain = evaluate_entry("FAKE", *paths, "SO3", use_pred_confidence=False, **asked)
        assert not any(WARNED in note for note in plain.notes)


def test_views_of_a_symmetric_particle_count_for_each_operator(entry):
    table = read_particle_table(entry.star(0), entry.folder)
    truth = table.require_poses()
    weights = np.r_[np.ones(20), np.full(N - 20, 1e-9)]
    half = PredictedHalf(table, Poses(truth.rotations, truth.origins_angst, weights), True)
    assert len(notes_on_weights((half, half), 1)) == 2
    assert notes_on_weights((half, half), 4) == ()
    silent = PredictedHalf(table, half.predicted, has_confidence=False)
    assert notes_on_weights((silent, silent), 1) == ()


@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_reconstruct") is None, reason="RELION is not installed")
def test_without_the_warning_figures_are_those_of_relion(entry, tmp_path):
    """What docs/reconstruction.md states of weights, at its edge: just enough particles."""
    paths = predictions(entry, tmp_path / "p", 1.5)
    results = [
        evaluate_entry(
            "FAKE", *paths, "SO3", benchmark_dir=entry.benchmark_dir, threads=1,
            random_reference=False, reconstructor=backend,
        )
        for backend in ("native", "relion")
    ]  # fmt: skip
    assert not any(WARNED in note for result in results for note in result.notes)
    for row, other in zip(results[0].rows, results[1].rows, strict=True):
        if row.metric.startswith("pcc_"):
            assert row.value == pytest.approx(other.value, abs=0.002), row.metric
