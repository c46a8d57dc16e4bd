"""The whole job on a tiny entry: every product, no step twice, the papers' doors to the score."""

import json

import pandas as pd
import pytest
from fake_entry import write_fake_entry

from cesped.cli.main import face, main
from cesped.evaluateEntry import evaluate
from cesped.evaluation.entry import evaluate_entry
from cesped.evaluation.outputs import read_metrics
from cesped.evaluation.published import PUBLISHED_KEYS
from cesped.evaluation.stamps import sha256_of_file
from cesped.leaderboard.checks import check_submission
from cesped.reconstruction.backends import make_reconstructor
from cesped.reconstruction.map_cache import CachedReconstructor
from cesped.training.recipe import load_recipe
from cesped.vocabulary import Backend
from cesped.workflows.campaign import run_campaign
from cesped.workflows.learning import train_and_predict
from cesped.workflows.scoring import choose_backend

TINY = {
    "data.image_size": 16,
    "data.batch_size": 8,
    "data.train_share": 0.7,
    "trainer.max_steps": 2,
    "trainer.steps_per_round": 1,
}


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    return write_fake_entry(tmp_path_factory.mktemp("campaign"), n_particles=24, with_mask=True)


@pytest.fixture(scope="module")
def campaign(entry, tmp_path_factory):
    outdir = tmp_path_factory.mktemp("outcome")
    return run_campaign(
        entry.name, outdir, load_recipe("demo", TINY), benchmark_dir=entry.benchmark_dir
    )


def score_words(campaign, entry, outdir):
    half0, half1 = campaign.predictions
    return [
        *("--predictionType", "SO3", "--targetName", entry.name),
        *("--half0PredsFname", str(half0), "--half1PredsFname", str(half1)),
        *("--benchmarkDir", str(entry.benchmark_dir), "--outdir", str(outdir), "--n_cpus", "1"),
    ]


def test_a_campaign_leaves_report_score_maps_and_predictions(campaign):
    assert campaign.report.is_file()
    document = json.loads(campaign.metrics.read_text())
    assert set(PUBLISHED_KEYS) < set(document)
    assert all(path.is_file() for path in campaign.predictions)
    assert all(path.is_file() for path in campaign.result.map_paths.values())


def test_a_campaign_leaves_a_submission_that_passes_its_check(campaign, entry):
    report = check_submission(campaign.submission, entry.benchmark_dir)
    assert report.is_acceptable, report.findings
    (submitted,) = report.manifest.entries
    assert submitted.learned_on == (1, 0)
    assert submitted.learned_from == tuple(sha256_of_file(entry.star(half)) for half in (1, 0))
    assert report.manifest.method.name == "image2sphere (small)"


def test_run_again_it_does_nothing_twice(campaign, entry):
    folder = campaign.report.parent
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    again = run_campaign(
        entry.name, folder, load_recipe("demo", TINY), benchmark_dir=entry.benchmark_dir
    )
    after = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    assert after == before
    assert again.result.published == pytest.approx(campaign.result.published, nan_ok=True)


def test_the_command_goes_on_in_the_same_folder(campaign, entry, capsys):
    folder = campaign.report.parent
    models = list(folder.rglob("model.ckpt"))
    before = {path: path.stat().st_mtime_ns for path in [*models, *campaign.predictions]}
    words = ["campaign", "--target", entry.name, "--outdir", str(folder), "--recipe", "demo"]
    words += ["--benchmarkDir", str(entry.benchmark_dir), "--model", "image2sphere"]
    words += [word for key, value in TINY.items() for word in (f"--{key}", str(value))]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "mean angular error (MAnE)" in text
    assert f"Submission:  {campaign.submission}" in text
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert main([*words, "--optimizer.lr", "0.5"]) == 1
    assert "holds another run" in capsys.readouterr().err


def test_a_lost_prediction_is_made_again_without_training(campaign, entry, tmp_path):
    run_dir = campaign.report.parent / "training" / "half0"
    outcome = train_and_predict(
        entry.name,
        0,
        run_dir,
        load_recipe("demo", TINY),
        out_star=tmp_path / "again.star",
        benchmark_dir=entry.benchmark_dir,
    )
    assert outcome.predictions.read_bytes() == campaign.predictions[1].read_bytes()


def test_the_papers_command_and_function_give_the_same_score(campaign, entry, tmp_path, capsys):
    words = score_words(campaign, entry, tmp_path / "command")
    assert face("cesped.evaluateEntry", "evaluate", words) == 0
    assert "mean angular error (MAnE)" in capsys.readouterr().out
    assert (tmp_path / "command" / "report.html").is_file()
    found = evaluate(
        targetName=entry.name,
        half0PredsFname=campaign.predictions[0],
        half1PredsFname=campaign.predictions[1],
        predictionType="SO3",
        usePredConfidence=True,
        benchmarkDir=entry.benchmark_dir,
        n_cpus=1,
    )
    assert tuple(found) == PUBLISHED_KEYS
    written = json.loads((tmp_path / "command" / "metrics.json").read_text())
    assert {key: written[key] for key in PUBLISHED_KEYS} == pytest.approx(found, rel=1e-6)


def test_kept_maps_change_no_figure(campaign, entry, tmp_path):
    maps = tmp_path / "maps"
    words = score_words(campaign, entry, tmp_path / "out")
    assert main(["evaluate", *words, "--mapCache", str(maps)]) == 0
    kept = {path: path.stat().st_mtime_ns for path in maps.iterdir()}
    assert len(kept) == 4  # of each half, from true and from random poses
    again = evaluate_entry(
        entry.name,
        *campaign.predictions,
        "SO3",
        benchmark_dir=entry.benchmark_dir,
        reconstructor=CachedReconstructor(make_reconstructor("native"), maps),
        threads=1,
    )
    assert {path: path.stat().st_mtime_ns for path in maps.iterdir()} == kept
    first = read_metrics(tmp_path / "out" / "metrics.json")
    for rows in (again.rows, again.reference_rows):
        assert len(rows) > 50
    pd.testing.assert_frame_equal(again.table(), first.table())
    plain = campaign.result.table()
    pd.testing.assert_frame_equal(plain[["metric", "value"]], first.table()[["metric", "value"]])


def test_the_published_switches_reach_the_score(campaign, entry, tmp_path, capsys):
    words = score_words(campaign, entry, tmp_path / "out")
    switches = ["--NOT_usePredConfidence", "--NOT_use_gt_mask", "--ignore_symmetry"]
    assert main(["evaluate", *words, *switches]) == 0
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert found["mapVsGT_correlaton_masked"] is None
    assert not found["cesped"]["has_mask"]
    stamp = (tmp_path / "out" / "metrics.json").stat().st_mtime_ns
    again = [*words, *switches, "--NOT_rm_prev_reconstructions"]
    assert main(["evaluate", *again]) == 0  # made without an origin: not trusted
    assert (tmp_path / "out" / "metrics.json").stat().st_mtime_ns > stamp
    stamp = (tmp_path / "out" / "metrics.json").stat().st_mtime_ns
    assert main(["evaluate", *again]) == 0
    assert (tmp_path / "out" / "metrics.json").stat().st_mtime_ns == stamp


def test_training_and_inference_by_their_published_names(entry, tmp_path, capsys):
    words = [
        *("--data.halfset", "0", "--data.targetName", entry.name, "--recipe", "demo"),
        *("--trainer.default_root_dir", str(tmp_path / "run")),
        *("--data.benchmarkDir", str(entry.benchmark_dir)),
        *(word for key, value in TINY.items() for word in (f"--{key}", str(value))),
    ]
    assert face("cesped.trainEntry", "train", [*words, "--skip_other_half_inference"]) == 0
    assert not (tmp_path / "run" / "predictions_1.star").exists()
    assert face("cesped.trainEntry", "train", words) == 0
    predicted = tmp_path / "run" / "predictions_1.star"
    assert str(predicted) in capsys.readouterr().out
    words = [
        *("--data.halfset", "1", "--data.targetName", entry.name),
        *("--ckpt_path", str(tmp_path / "run" / "model.ckpt")),
        *("--outFname", str(tmp_path / "again.star"), "-b", str(entry.benchmark_dir)),
    ]
    assert face("cesped.inferEntry", "infer", words) == 0
    assert (tmp_path / "again.star").read_bytes() == predicted.read_bytes()


def test_a_backend_is_chosen_by_name_or_by_its_options():
    assert choose_backend(None) is Backend.NATIVE
    assert choose_backend(None, None, "mpirun") is Backend.RELION
    assert choose_backend("native", "/opt/relion") is Backend.NATIVE
