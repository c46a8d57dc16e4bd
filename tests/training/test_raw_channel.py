"""The raw image beside the corrected one: both as they are alone, in training and after it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_entry import write_fake_entry
from tiny_runs import TARGET, cnn_recipe, make_tiny_entry, tiny_recipe

from cesped.data.conventions import read_particle_table, read_predictions
from cesped.data.preprocessing import PreprocessingOptions
from cesped.errors import MetadataError, OptionError
from cesped.inference.predict import predict_half
from cesped.training.checkpoint import load_checkpoint
from cesped.training.fit import train_half
from cesped.training.prepared import PreparedParticles
from cesped.training.raw_channel import particles_of
from cesped.training.recipe import TrainingRecipe
from cesped.vocabulary import CtfCorrection

OPTIONS = PreprocessingOptions(image_size=24, crop_fraction=0.25)
ROWS = np.array([7, 2, 2, 10])


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    entry = write_fake_entry(tmp_path_factory.mktemp("both"), n_particles=11)
    return read_particle_table(entry.star(0), entry.folder)


@pytest.fixture(scope="module")
def entry_dir(session_benchmark_dir):
    make_tiny_entry(session_benchmark_dir)
    return session_benchmark_dir


@pytest.fixture(scope="module")
def run(entry_dir, tmp_path_factory):
    recipe = tiny_recipe(data__raw_channel=True)
    return train_half(TARGET, 0, tmp_path_factory.mktemp("run"), recipe, entry_dir)


@pytest.mark.parametrize(("max_memory_gib", "cached"), [(0.0, False), (1.0, False), (0.0, True)])
def test_each_channel_is_the_image_alone(table, tmp_path, max_memory_gib, cached):
    both = particles_of(table, OPTIONS, True, max_memory_gib, tmp_path if cached else None)
    both.load()
    found = both.read(ROWS)
    assert found.shape == (4, 2, 24, 24)
    raw = replace(OPTIONS, ctf_correction=CtfCorrection.NONE)
    for channel, options in enumerate((OPTIONS, raw)):
        alone = PreparedParticles(table, options).read(ROWS)
        torch.testing.assert_close(found[:, channel : channel + 1], alone, atol=2e-5, rtol=0)
    assert float((found[:, 0] - found[:, 1]).abs().max()) > 0.1
    assert torch.equal(
        particles_of(table, OPTIONS, False).read(ROWS), PreparedParticles(table, OPTIONS).read(ROWS)
    )


def test_a_model_learns_from_both_and_predicts_from_both(run, entry_dir, tmp_path):
    model, card = load_checkpoint(run.checkpoint)
    assert model.channels.n_channels == 2 * 3
    assert card.preprocessing["raw_channel"] is True
    assert TrainingRecipe.from_dict(card.recipe).data.raw_channel
    path = predict_half(run.checkpoint, TARGET, 1, tmp_path / "out.star", entry_dir)
    assert np.isfinite(read_predictions(path)[1].rotations).all()
    again = train_half(TARGET, 0, run.run_dir, tiny_recipe(data__raw_channel=True), entry_dir)
    assert again.resumed_at_step == again.steps  # the run is known for what it is


def test_recipes_without_it_are_written_as_before():
    assert "raw_channel" not in TrainingRecipe().to_dict()["data"]


def test_what_cannot_be_is_refused(table, entry_dir, tmp_path):
    with pytest.raises(OptionError, match=r"data\.ctf_correction is none"):
        particles_of(table, replace(OPTIONS, ctf_correction=CtfCorrection.NONE), True)
    corrected = replace(table, ctf_correction_done=CtfCorrection.PHASE_FLIP)
    with pytest.raises(MetadataError, match=r"there are no raw ones for data\.raw_channel"):
        particles_of(corrected, OPTIONS, True)
    recipes = {
        "plain_cnn takes one image": cnn_recipe(data__raw_channel=True),
        "image_channels is 3, but a particle has 2; leave it out, or leave out data": tiny_recipe(
            data__raw_channel=True, model__image_channels=3
        ),
        "image_channels is 2, but a particle has 1; leave it out, or set data": tiny_recipe(
            model__image_channels=2
        ),
    }
    for number, (message, recipe) in enumerate(recipes.items()):
        with pytest.raises(OptionError, match=message):
            train_half(TARGET, 0, tmp_path / str(number), recipe, entry_dir)
