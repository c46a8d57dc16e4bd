"""CryoFastAR trained on a half: killed and resumed, by two processes, and nothing of the other."""

import shutil

import numpy as np
import pytest
import torch
from small_cryofastar import SETTINGS, SIZES
from test_several_processes import run_python, train_words
from tiny_runs import TARGET, KillAt, KilledError, cnn_recipe, make_tiny_entry, views_recipe

from cesped.data.conventions import read_particle_table
from cesped.errors import CheckpointError
from cesped.inference.predict import predict_half
from cesped.io.star import read_star, write_star
from cesped.models.cryofastar.config import CryoFastARConfig
from cesped.models.cryofastar.model import CryoFastAR
from cesped.training.anchors import anchor_rows
from cesped.training.batches import split_rows
from cesped.training.checkpoint import load_checkpoint
from cesped.training.fit import train_half
from cesped.training.prepared import PreparedParticles, preprocessing_from_dict
from cesped.workflows.network_weights import weights_of_checkpoint


@pytest.fixture(scope="module")
def entry_dir(session_benchmark_dir):
    make_tiny_entry(session_benchmark_dir)
    return session_benchmark_dir


@pytest.fixture(scope="module")
def whole_run(entry_dir, tmp_path_factory):
    return train_half(TARGET, 0, tmp_path_factory.mktemp("views"), views_recipe(), entry_dir)


@pytest.mark.parametrize("step", [3, 10])
def test_a_killed_run_goes_on_to_the_same_model(step, whole_run, entry_dir, tmp_path):
    with pytest.raises(KilledError):
        train_half(TARGET, 0, tmp_path, views_recipe(), entry_dir, KillAt(step))
    resumed = train_half(TARGET, 0, tmp_path, views_recipe(), entry_dir)
    assert resumed.resumed_at_step == step // 4 * 4
    assert resumed.checkpoint.read_bytes() == whole_run.checkpoint.read_bytes()


def test_the_anchors_are_particles_that_it_learned_from(whole_run, entry_dir):
    model, card = load_checkpoint(whole_run.checkpoint)
    table = read_particle_table(entry_dir / TARGET / "particles_0.star", entry_dir / TARGET)
    rows = anchor_rows(len(table), 6, views_recipe())
    assert set(rows) <= set(split_rows(len(table), 0.9, 113)[0])
    particles = PreparedParticles(table, preprocessing_from_dict(card.preprocessing))
    torch.testing.assert_close(model.anchor_images, particles.read(rows))
    poses = table.poses
    np.testing.assert_allclose(model.anchor_rotations, poses.rotations[rows], atol=1e-6)
    shifts_px = -poses.origins_angst[rows] / particles.pixel_size_angst
    np.testing.assert_allclose(model.anchor_shifts_px, shifts_px, atol=1e-5)
    assert model.pixel_size_angst == pytest.approx(card.pixel_size_angst)


def test_no_label_of_the_predicted_half_reaches_its_prediction(whole_run, entry_dir, tmp_path):
    predict_half(whole_run.checkpoint, TARGET, 1, tmp_path / "one.star", entry_dir)
    shutil.copytree(entry_dir / TARGET, tmp_path / TARGET)
    star = tmp_path / TARGET / "particles_1.star"
    tables = read_star(star)
    rng = np.random.default_rng(0)
    for column in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst"):
        tables["particles"][column] = rng.uniform(0, 90, len(tables["particles"]))
    write_star(star, tables)
    predict_half(whole_run.checkpoint, TARGET, 1, tmp_path / "two.star", tmp_path)
    first, second = (
        read_particle_table(tmp_path / f"{name}.star", entry_dir / TARGET)
        for name in ("one", "two")
    )
    np.testing.assert_array_equal(second.poses.rotations, first.poses.rotations)
    np.testing.assert_array_equal(second.poses.origins_angst, first.poses.origins_angst)
    assert np.ptp(first.poses.origins_angst) > 0


def test_it_does_not_predict_the_half_that_it_learned_from(whole_run, entry_dir, tmp_path):
    with pytest.raises(CheckpointError, match="was trained on half 0 of TINY"):
        predict_half(whole_run.checkpoint, TARGET, 0, tmp_path / "own.star", entry_dir)


def weights_that_know(path, target, halfset, seed=0):
    torch.manual_seed(seed)
    network = CryoFastAR(CryoFastARConfig(**SIZES))
    network.save(path, {"inputs": {"entry": {"target": target, "halfset": halfset}}})
    return network


def test_a_training_begins_with_the_weights_of_a_file(entry_dir, tmp_path):
    path = tmp_path / "weights.safetensors"
    network = weights_that_know(path, TARGET, 0)
    recipe = views_recipe(
        model__weights=str(path), optimizer__lr=1e-12, trainer__average_decay=0.0,
        optimizer__weight_decay=0.0,
    )  # fmt: skip
    run = train_half(TARGET, 0, tmp_path / "run", recipe, entry_dir)
    model, card = load_checkpoint(run.checkpoint)
    torch.testing.assert_close(model.network.state_dict(), network.state_dict())
    assert card.learned_before == ((TARGET, 0),)
    # the same name with other content is another run
    weights_that_know(path, TARGET, 0, seed=1)
    with pytest.raises(CheckpointError, match="differs in weights_sha256"):
        train_half(TARGET, 0, tmp_path / "run", recipe, entry_dir)


def test_weights_that_know_the_other_half_are_refused(entry_dir, tmp_path):
    path = tmp_path / "weights.safetensors"
    weights_that_know(path, TARGET, 1)
    recipe = views_recipe(model__weights=str(path))
    with pytest.raises(CheckpointError, match="learned from half 1 of TINY, which a model of half"):
        train_half(TARGET, 0, tmp_path / "run", recipe, entry_dir)


def test_its_network_becomes_weights_that_say_what_they_know(whole_run, entry_dir, tmp_path):
    path = tmp_path / "tuned.safetensors"
    weights_of_checkpoint(whole_run.checkpoint, path)
    network = load_checkpoint(whole_run.checkpoint)[0].network
    torch.testing.assert_close(CryoFastAR.load(path).state_dict(), network.state_dict())
    recipe = views_recipe(model__weights=str(path))
    with pytest.raises(CheckpointError, match="learned from half 0 of TINY, which a model of half"):
        train_half(TARGET, 1, tmp_path / "run", recipe, entry_dir)
    other = train_half(TARGET, 0, tmp_path / "cnn", cnn_recipe(trainer__max_steps=4), entry_dir)
    with pytest.raises(CheckpointError, match="holds the model 'plain_cnn', which has no"):
        weights_of_checkpoint(other.checkpoint, path)


@pytest.mark.slow
def test_two_processes_train_the_model_of_one(entry_dir, tmp_path):
    settings = [word for name, value in SETTINGS.items() for word in (f"--{name}", str(value))]
    words = train_words(entry_dir, tmp_path / "two", "--trainer.devices", "2", *settings)
    words = [word for word in words if word not in ("--model.widths", "[4, 8, 8]")]
    for name in ("--model.l_max", "--model.grid_order"):
        del words[words.index(name) : words.index(name) + 2]
    words[words.index("--recipe") + 1] = "cryofastar_demo"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run_python([*launcher, *words, "--skip_other_half_inference"], tmp_path)
    recipe = views_recipe(
        trainer__max_steps=4, trainer__steps_per_round=2, trainer__accumulate_grad_batches=2
    )
    alone = train_half(TARGET, 0, tmp_path / "one", recipe, entry_dir)
    expected = dict(load_checkpoint(alone.checkpoint)[0].named_parameters())
    found = dict(load_checkpoint(tmp_path / "two" / "model.ckpt")[0].named_parameters())
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], atol=1e-3, rtol=1e-2)
