"""A campaign of CryoFastAR: exact maps end in exact scores; a tiny network goes all the way."""

import json

import numpy as np
import pytest
from fake_entry import write_fake_entry
from known_views import KnownViews
from small_cryofastar import SETTINGS

from cesped.cli.main import main
from cesped.data.conventions import read_particle_table
from cesped.geometry.symmetry import point_group, symmetric_distance_deg
from cesped.leaderboard.checks import check_submission
from cesped.models import registry
from cesped.training.recipe import load_recipe
from cesped.vocabulary import PredictionType
from cesped.workflows.campaign import run_campaign
from cesped.workflows.scoring import ScoringOptions

SMALL = {
    **SETTINGS,
    "data.image_size": 16,
    "data.image_size_factor_for_crop": 0.2,
    "data.batch_size": 8,
    "trainer.max_steps": 2,
    "trainer.steps_per_round": 1,
}


def settings(model):
    return {**SMALL, "model.name": model}


@pytest.mark.parametrize(
    ("symmetry", "mirrored"),
    [("C1", False), pytest.param("C1", True, marks=pytest.mark.slow), ("D2", False)],
)
def test_exact_maps_end_in_exact_poses(symmetry, mirrored, tmp_path, monkeypatch):
    """Frame, hand, units of shifts and their sign: all that lies between maps and a score."""
    monkeypatch.setitem(registry._REGISTERED, "known_views", KnownViews)
    monkeypatch.setattr(KnownViews, "registered_name", "known_views")
    monkeypatch.setattr(KnownViews, "mirrored", mirrored)
    entry = write_fake_entry(tmp_path / "bench", symmetry=symmetry, n_particles=20)
    recipe = load_recipe("cryofastar_demo", settings("known_views"))
    KnownViews.learn_by_heart(entry, recipe)
    outcome = run_campaign(
        entry.name,
        tmp_path / "out",
        recipe,
        benchmark_dir=entry.benchmark_dir,
        options=ScoringOptions(prediction_type=PredictionType.parse("SO3xR2")),
    )
    for half in (0, 1):
        found = read_particle_table(outcome.predictions[half], entry.folder).poses
        truth = entry.poses[half]
        group = point_group(symmetry)
        assert symmetric_distance_deg(truth.rotations, found.rotations, group).max() < 0.05
        np.testing.assert_allclose(found.origins_angst, truth.origins_angst, atol=0.01)
    assert np.abs(entry.poses[0].origins_angst).max() > 4  # there was something to find
    assert outcome.result.published["meanAngularError"] < 0.05
    assert outcome.result.published["shiftsRMSE"] < 0.01


def test_the_command_trains_predicts_scores_and_submits(tmp_path, capsys):
    entry = write_fake_entry(tmp_path / "bench", n_particles=20)
    words = ["campaign", "--target", entry.name, "--outdir", str(tmp_path / "out")]
    words += ["--recipe", "cryofastar_demo", "--model", "cryofastar"]
    words += ["--predictionType", "SO3xR2", "--benchmarkDir", str(entry.benchmark_dir)]
    words += [word for key, value in SMALL.items() for word in (f"--{key}", str(value))]
    assert main(words) == 0, capsys.readouterr().err
    text = capsys.readouterr().out
    assert "mean angular error (MAnE)" in text
    report = check_submission(tmp_path / "out" / "submission", entry.benchmark_dir)
    assert report.is_acceptable, report.findings
    assert report.manifest.method.name.startswith("cryofastar")
    provenance = json.loads((tmp_path / "out/training/half0/provenance.json").read_text())
    assert provenance["model"]["config"]["name"] == "cryofastar"
    # the model alone predicts the same
    words = ["infer", "--target", entry.name, "--halfset", "1", "-b", str(entry.benchmark_dir)]
    words += ["--ckpt_path", str(tmp_path / "out/training/half0/model.ckpt")]
    assert main([*words, "--outFname", str(tmp_path / "again.star")]) == 0
    again, first = tmp_path / "again.star", tmp_path / "out" / "predictions_1.star"
    assert again.read_bytes() == first.read_bytes()
