"""The same seed gives the same bytes; the half that is to be predicted gives nothing at all."""

import os
import shutil
import sys

import mrcfile
import numpy as np
import pytest
import torch
from tiny_runs import TARGET, cnn_recipe, make_tiny_entry, tiny_recipe, views_recipe

from cesped.errors import CheckpointError
from cesped.io.star import read_star, write_star
from cesped.training.checkpoint import load_checkpoint, save_checkpoint
from cesped.training.fit import train_half
from cesped.workflows.learning import train_and_predict

RECIPES = {
    "image2sphere": tiny_recipe(trainer__max_steps=8),
    "cnn": cnn_recipe(trainer__keep="best", augmentation__copies=2, augmentation__noise_std=0.2),
    "cryofastar": views_recipe(),  # keeps particles with their poses: of its own half alone
}


@pytest.fixture(scope="module")
def entry_dir(session_benchmark_dir):
    make_tiny_entry(session_benchmark_dir)
    return session_benchmark_dir


@pytest.fixture(scope="module", params=RECIPES)
def reference(request, entry_dir, tmp_path_factory):
    """A recipe, and the bytes of the model that it leads to."""
    recipe = RECIPES[request.param]
    folder = tmp_path_factory.mktemp("reference")
    return recipe, train_half(TARGET, 0, folder, recipe, entry_dir).checkpoint.read_bytes()


def test_the_same_seed_gives_the_same_bytes(reference, entry_dir, tmp_path):
    recipe, expected = reference
    again = train_half(TARGET, 0, tmp_path, recipe, entry_dir)
    assert again.checkpoint.read_bytes() == expected


def test_how_images_are_read_does_not_matter(entry_dir, tmp_path):
    """In memory, from the disk, by other processes; particles with copies are read once."""
    weights = []
    for workers, max_memory_gib in ((0, 4), (0, 0), (1, 0)):
        settings = {"data__num_data_workers": workers, "data__max_memory_gib": max_memory_gib}
        recipe = cnn_recipe(trainer__max_steps=4, augmentation__copies=2, **settings)
        folder = tmp_path / f"{workers}{max_memory_gib}"
        outcome = train_half(TARGET, 0, folder, recipe, entry_dir)
        weights.append(load_checkpoint(outcome.checkpoint)[0].state_dict())
    for other in weights[1:]:
        for name, value in weights[0].items():
            torch.testing.assert_close(other[name], value, atol=1e-5, rtol=1e-4)


def test_another_seed_gives_other_bytes(entry_dir, tmp_path):
    first, second = (
        train_half(TARGET, 0, tmp_path / str(seed), cnn_recipe(trainer__seed=seed), entry_dir)
        for seed in (0, 1)
    )
    weights = [load_checkpoint(run.checkpoint)[0].state_dict() for run in (first, second)]
    assert not weights[0]["network.0.weight"].equal(weights[1]["network.0.weight"])


def poison(folder):
    """Turn the other half, the map and the mask into nonsense of the same names and shapes."""
    rng = np.random.default_rng(0)
    star = folder / "particles_1.star"
    tables = read_star(star)
    particles = tables["particles"]
    for column in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnDefocusU", "rlnOriginXAngst"):
        assert column in particles
        particles[column] = rng.permutation(particles[column].to_numpy()) + rng.uniform(0, 90)
    write_star(star, tables)
    maps = [path for path in folder.iterdir() if path.suffix in (".mrc", ".mrcs")]
    assert {path.name for path in maps} >= {"particles_1.mrcs", "truth.mrc", "mask.mrc"}
    for path in maps:
        if path.name != "particles_0.mrcs":
            with mrcfile.open(path, "r+") as file:
                file.data[:] = rng.normal(7, 100, file.data.shape)


def test_nothing_of_the_other_half_reaches_the_model(reference, entry_dir, tmp_path):
    recipe, expected = reference
    shutil.copytree(entry_dir / TARGET, tmp_path / TARGET)
    poison(tmp_path / TARGET)
    poisoned = train_half(TARGET, 0, tmp_path / "poisoned", recipe, tmp_path)
    assert poisoned.checkpoint.read_bytes() == expected
    # and the test would notice: nonsense in the half that is learned from does reach the model
    stack = tmp_path / TARGET / "particles_0.mrcs"
    with mrcfile.open(stack, "r+") as file:
        file.data[0] += np.random.default_rng(0).normal(0, 100, file.data[0].shape)
    other = train_half(TARGET, 0, tmp_path / "own", recipe, tmp_path)
    assert other.checkpoint.read_bytes() != expected


@pytest.mark.slow
def test_nor_by_way_of_projections(entry_dir, tmp_path):
    """A model that learns on projections first sees those of a map of its own half alone."""
    recipe = cnn_recipe(trainer__max_steps=4, pretraining__projections=16, pretraining__max_steps=4)
    shutil.copytree(entry_dir / TARGET, tmp_path / TARGET)
    poison(tmp_path / TARGET)
    first, second = (
        train_and_predict(
            TARGET,
            0,
            tmp_path / f"run{number}",
            recipe,
            benchmark_dir=folder,
            predict_other_half=False,
        ).checkpoint
        for number, folder in enumerate((entry_dir, tmp_path))
    )
    assert first.read_bytes() == second.read_bytes()
    _, card = load_checkpoint(first)
    assert len(card.learned_before) == 1
    assert not card.knows(TARGET, 1)


def test_no_file_of_the_other_half_is_opened(entry_dir, tmp_path):
    opened = []
    watching = True

    def hook(event, arguments):  # cannot be removed, so it is told when to rest
        if watching and event == "open" and isinstance(arguments[0], str | os.PathLike):
            opened.append(os.fspath(arguments[0]))

    sys.addaudithook(hook)
    train_half(TARGET, 0, tmp_path, cnn_recipe(trainer__max_steps=4), entry_dir)
    watching = False
    folder = os.fspath(entry_dir / TARGET)
    names = {os.path.basename(path) for path in opened if path.startswith(folder)}
    assert {"particles_0.star", "particles_0.mrcs"} <= names
    assert not [name for name in names if "_1." in name or name in ("truth.mrc", "mask.mrc")]


def test_weights_that_know_the_other_half_are_refused(entry_dir, tmp_path):
    recipe = cnn_recipe(trainer__max_steps=4)
    first = train_half(TARGET, 1, tmp_path / "half1", recipe, entry_dir)
    with pytest.raises(CheckpointError, match="has learned from half 1 of TINY, which a model of"):
        train_half(TARGET, 0, tmp_path / "a", recipe, entry_dir, start_from=first.checkpoint)
    # not even by way of another entry
    model, card = load_checkpoint(first.checkpoint)
    elsewhere = type(card)(
        **{**vars(card), "target": "ELSEWHERE", "halfset": 0, "learned_before": ((TARGET, 1),)}
    )
    path = save_checkpoint(tmp_path / "elsewhere.ckpt", elsewhere, model.state_dict())
    assert load_checkpoint(path)[1].knows(TARGET, 1)
    with pytest.raises(CheckpointError, match="has learned from half 1"):
        train_half(TARGET, 0, tmp_path / "b", recipe, entry_dir, start_from=path)
    second = train_half(TARGET, 1, tmp_path / "c", recipe, entry_dir, start_from=path)
    _, card = load_checkpoint(second.checkpoint)
    assert set(card.learned_before) == {("ELSEWHERE", 0), (TARGET, 1)}
