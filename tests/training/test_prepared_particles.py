"""Images for training: the same from raw particles, from memory, and from a folder of sets."""

import numpy as np
import pytest
import torch
from fake_entry import write_fake_entry

from cesped.data.conventions import read_particle_table
from cesped.data.prepared import writer
from cesped.data.preprocessing import PreprocessingOptions
from cesped.errors import OptionError
from cesped.training.prepared import (
    PreparedParticles,
    preprocessing_from_dict,
    preprocessing_to_dict,
)
from cesped.training.recipe import TrainingRecipe, load_recipe
from cesped.vocabulary import CtfCorrection, Normalization

OPTIONS = PreprocessingOptions(image_size=24, crop_fraction=0.25)
ROWS = np.array([7, 2, 2, 10])


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    return write_fake_entry(tmp_path_factory.mktemp("raw"), n_particles=11)


@pytest.fixture(scope="module")
def table(entry):
    return read_particle_table(entry.star(0), entry.folder)


@pytest.mark.parametrize("max_memory_gib", [0.0, 1.0])
@pytest.mark.parametrize("cached", [False, True])
def test_images_are_the_same_wherever_they_are_kept(table, tmp_path, max_memory_gib, cached):
    expected = PreparedParticles(table, OPTIONS).read(ROWS)
    particles = PreparedParticles(table, OPTIONS, max_memory_gib, tmp_path if cached else None)
    particles.load()
    found = particles.read(ROWS)
    assert found.shape == (4, 1, 24, 24)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
    assert any(tmp_path.iterdir()) is cached


def test_images_in_memory_are_the_same_to_the_bit_with_a_cache_and_without(table, tmp_path):
    plain, first, second = (
        PreparedParticles(table, OPTIONS, 1, d) for d in (None, *[tmp_path] * 2)
    )
    for particles in (plain, first, second):
        particles.load()
        assert torch.equal(particles.read(np.arange(11)), plain.read(np.arange(11)))


def test_a_second_run_prepares_nothing(table, tmp_path, monkeypatch):
    PreparedParticles(table, OPTIONS, cache_dir=tmp_path).load()
    monkeypatch.setattr(writer._Work, "run", lambda *_: pytest.fail("prepared again"))
    PreparedParticles(table, OPTIONS, cache_dir=tmp_path).load()


def test_what_differs_lies_beside_it(table, entry, tmp_path):
    other_half = read_particle_table(entry.star(1), entry.folder)
    other_options = PreprocessingOptions(image_size=24, crop_fraction=0.0)
    for particles in ((table, OPTIONS), (other_half, OPTIONS), (table, other_options)):
        PreparedParticles(*particles, cache_dir=tmp_path).load()
    assert len(list(tmp_path.glob("*.mrcs"))) == 3


def test_a_damaged_set_is_made_again(table, tmp_path):
    PreparedParticles(table, OPTIONS, cache_dir=tmp_path).load()
    (stack,) = tmp_path.glob("*.mrcs")
    stack.write_bytes(stack.read_bytes()[:-1])
    particles = PreparedParticles(table, OPTIONS, cache_dir=tmp_path)
    particles.load()
    expected = PreparedParticles(table, OPTIONS).read(ROWS)
    torch.testing.assert_close(particles.read(ROWS), expected, atol=2e-5, rtol=0)


def test_the_folder_is_a_setting_that_is_no_part_of_the_result(tmp_path):
    recipe = load_recipe("demo", {"data.cache_dir": str(tmp_path)})
    assert recipe.data.cache_dir == str(tmp_path)
    assert load_recipe("demo", {"data.cache_dir": "none"}).data.cache_dir is None
    assert recipe.to_dict() == load_recipe("demo").to_dict()
    assert TrainingRecipe.from_dict(recipe.to_dict()).data.cache_dir is None


def test_options_of_a_checkpoint_come_back_and_older_ones_have_defaults():
    options = PreprocessingOptions(64, Normalization.CORNER_STATS, CtfCorrection.WIENER, 0.1)
    values = preprocessing_to_dict(options)
    assert preprocessing_from_dict(values) == options
    del values["wiener_constant"]
    assert preprocessing_from_dict(values) == options
    with pytest.raises(OptionError, match="ringStats"):
        preprocessing_from_dict({**values, "normalization": "ringStats"})
