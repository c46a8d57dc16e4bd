"""Recipes: files, overrides, and what is refused."""

import dataclasses
from itertools import pairwise

import pytest

from cesped.errors import OptionError
from cesped.training.recipe import TrainingRecipe, load_recipe, recipe_names
from cesped.training.schedule import rate_factor


@pytest.mark.parametrize("name", ["demo", "paper", "small"])
def test_packaged_recipes_load_and_survive_a_round_trip(name):
    assert name in recipe_names()
    recipe = load_recipe(name)
    assert TrainingRecipe.from_dict(recipe.to_dict()) == recipe


def test_defaults_are_the_papers():
    recipe = load_recipe("paper")
    assert recipe.optimizer.lr == 1e-3
    assert recipe.optimizer.weight_decay == 1e-5
    assert recipe.optimizer.plateau_patience == 10
    assert recipe.trainer.early_stop_patience == 12
    assert recipe.trainer.max_epochs == 400
    assert (recipe.data.train_share, recipe.data.split_seed) == (0.7, 113)
    assert recipe.data.image_size == 256
    assert recipe.model.preset == "paper"
    assert recipe.augmentation.copies == 2
    assert recipe.optimizer.gradient_clip == 5.0


def test_overrides_are_dotted_words_of_a_command_line():
    overrides = {
        "optimizer.lr": "1e-2",
        "trainer.max_steps": "none",
        "data.apply_perImg_normalization": "false",
        "model.l_max": "5",
        "model.encoder": "resnet18",
    }
    recipe = load_recipe("demo", overrides)
    assert recipe.optimizer.lr == 0.01
    assert recipe.trainer.max_steps is None
    assert recipe.data.apply_perImg_normalization is False
    assert recipe.model.options["l_max"] == 5
    assert recipe.model.options["encoder"] == "resnet18"
    assert load_recipe("demo").model.preset == recipe.model.preset


def test_a_file_holds_only_differences(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("optimizer: {lr: 1e-4}\nmodel: {preset: small, l_max: 3}\ntrainer:\n")
    recipe = load_recipe(path)
    assert recipe.optimizer == dataclasses.replace(TrainingRecipe().optimizer, lr=1e-4)
    assert recipe.model.options == {"l_max": 3}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"optimizer.lrate": 1}, "did you mean 'lr'"),
        ({"optimiser.lr": 1}, "did you mean 'optimizer'"),
        ({"lr": 1}, "no section.option"),
        ({"optimizer.lr": "fast"}, "must be of type float"),
        ({"data.batch_size": 2.5}, "must be of type int"),
        ({"data.batch_size": 0}, "must be above 0"),
        ({"data.train_share": 1.0}, "between 0 and 1"),
        ({"optimizer.schedule": "linear"}, "cosine"),
        ({"trainer.average_decay": 1.0}, "average_decay"),
        ({"augmentation.copies": 3}, "multiple of 3: augmentation.copies 3 times"),
        ({"trainer.accumulate_grad_batches": 128}, "multiple of 128"),
        ({"trainer.devices": 0}, "must be above 0"),
        ({"trainer.max_steps": 0}, "max_steps is 0; it must be above 0"),
        ({"trainer.steps_per_round": 0}, "steps_per_round is 0; it must be above 0"),
    ],
)
def test_what_is_wrong_is_named(overrides, message):
    with pytest.raises(OptionError, match=message):
        load_recipe("demo", overrides)


def test_files_that_are_no_recipes_are_refused(tmp_path):
    with pytest.raises(OptionError, match="demo, paper, small"):
        load_recipe("dmeo")
    path = tmp_path / "bad.yaml"
    for content in (b"a: [1, 2", b"\x7fELF\xd0"):
        path.write_bytes(content)
        with pytest.raises(OptionError, match="is not YAML"):
            load_recipe(path)
    path.write_text("- 1")
    with pytest.raises(OptionError, match="must hold sections"):
        load_recipe(path)


def test_cosine_warms_up_and_ends_at_zero():
    recipe = load_recipe("demo", {"optimizer.warmup_share": 0.1}).optimizer
    factors = [rate_factor(step, 100, recipe) for step in range(101)]
    assert factors[0] < 0.2
    assert max(factors) == pytest.approx(1.0)
    assert factors[100] == pytest.approx(0.0)
    assert all(a >= b for a, b in pairwise(factors[10:]))
    assert rate_factor(5, 100, load_recipe("paper").optimizer) == 1.0


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("null", None),
        ("12", 12),
        ("1e-3", 1e-3),
        ("true", True),
        ("[16, 32, 64]", [16, 32, 64]),
        ("weights/r50.pth", "weights/r50.pth"),
        ("[unclosed", "[unclosed"),
    ],
)
def test_options_of_a_model_are_words_as_in_a_file(word, value):
    assert load_recipe("paper", {"model.weights": word}).model.options["weights"] == value


def test_an_augmentation_recipe_stands_alone():
    assert load_recipe("demo", {"augmentation.recipe": "paper", "augmentation.max_shift_px": 0})
    with pytest.raises(OptionError, match=r"augmentation\.max_shift_px has no effect beside"):
        load_recipe("demo", {"augmentation.recipe": "paper"})
    with pytest.raises(OptionError, match=r"augmentation\.recipe: there is no augmentation recipe"):
        load_recipe("paper", {"augmentation.recipe": "papre"})
    own = load_recipe("paper", {"augmentation.recipe": "none", "augmentation.noise_std": "0.1"})
    assert (own.augmentation.recipe, own.augmentation.noise_std) == (None, 0.1)


def test_another_model_begins_without_the_options_of_the_recipes_own(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model: {l_max: 3}\n")
    assert load_recipe(path).model.preset == "paper"
    for name in ("demo", path):
        model = load_recipe(name, {"model.name": "mine"}, {"model.width": "8"}).model
        assert (model.name, model.preset, model.options) == ("mine", None, {"width": 8})
    assert load_recipe("demo", {"model.name": "image2sphere"}).model.preset == "small"
