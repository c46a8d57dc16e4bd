"""Flags and files of the published program mean the same settings here."""

import pytest

from cesped.cli.learning import dotted_options
from cesped.errors import OptionError
from cesped.training.recipe import load_recipe
from cesped.workflows.learning import read_recipe

PUBLISHED_FILE = """
seed_everything: 113
data: {batch_size: 96, num_augmented_copies_per_batch: 3, train_validation_split: [0.8, 0.2]}
model: {lmax: 6, s2_fdim: 64, hp_order_so3: 3, rand_fraction_points_to_project: 0.25}
optimizer: {init_args: {lr: 0.002, weight_decay: 1e-4}}
lr_scheduler: {init_args: {patience: 5}}
trainer: {devices: auto, accumulate_grad_batches: 2, gradient_clip_val: 1.0, precision: bf16-mixed}
"""


def test_a_published_file_is_understood(tmp_path):
    path = tmp_path / "published.yaml"
    path.write_text(PUBLISHED_FILE)
    recipe = read_recipe("paper", [path], {"trainer.max_epochs": "2"})
    assert recipe == load_recipe(
        path,
        {
            "trainer.max_epochs": 2,
            "model.preset": "paper",
            "model.weights": "imagenet",
            "augmentation.recipe": "paper",
        },
    )
    assert (recipe.trainer.seed, recipe.data.train_share) == (113, 0.8)
    assert (recipe.augmentation.copies, recipe.trainer.devices) == (3, None)
    assert recipe.optimizer.plateau_patience == 5
    assert recipe.optimizer.gradient_clip == 1.0
    assert (recipe.optimizer.lr, recipe.optimizer.weight_decay) == (0.002, 1e-4)
    wanted = {"l_max": 6, "sphere_features": 64, "grid_order": 3, "sampled_share": 0.25}
    assert wanted.items() <= recipe.model.options.items()


def test_published_flags_are_understood():
    words = "--seed_everything 7 --model.lmax 5 --optimizer.init_args.lr=0.1 --data.batch_size 10"
    recipe = load_recipe("demo", dotted_options(words.split()))
    assert recipe.trainer.seed == 7
    assert recipe.model.options["l_max"] == 5
    assert recipe.optimizer.lr == 0.1


def test_an_option_wins_over_a_file_under_whatever_name(tmp_path):
    path = tmp_path / "published.yaml"
    path.write_text(PUBLISHED_FILE)
    assert read_recipe("paper", [path], {"optimizer.lr": 0.5}).optimizer.lr == 0.5
    assert read_recipe("demo", [path], {"optimizer.init_args.lr": 0.5}).optimizer.lr == 0.5


def test_names_of_another_model_are_its_own():
    recipe = load_recipe("demo", {"model.name": "mine", "model.lmax": 5})
    assert recipe.model.options == {"lmax": 5}


def test_options_in_a_file_are_named_as_such(tmp_path):
    path = tmp_path / "published.yaml"
    path.write_text("data: {benchmarkDir: ~/tmp, batch_size: 4}\n")
    with pytest.raises(OptionError, match=r"data\.benchmarkDir is no setting .*--benchmarkDir"):
        read_recipe("paper", [path])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model.lmax": 5, "model.l_max": 6}, r"model\.lmax is model\.l_max, which is given too"),
        ({"data.train_validation_split": "[0.7, 0.2]"}, "two shares whose sum is 1"),
        ({"data.train_validation_split": 3}, "two shares whose sum is 1"),
        (
            {"lr_scheduler.init_args.factor": 0.1},
            r"lr_scheduler, a setting of .*init_args\.patience",
        ),
        ({"optimizer.class_path": "torch.optim.RAdam"}, r"optimizer\.class_path.*is RAdam"),
        ({"data.augmenter": {"class_path": "x"}}, r"--augmentation\.recipe published"),
        ({"trainer.callbacks": []}, r"--trainer\.early_stop_patience"),
        ({"model.feature_extractor": {"class_path": "x"}}, r"--model\.preset paper"),
    ],
)
def test_what_cannot_be_meant_is_named(overrides, message):
    with pytest.raises(OptionError, match=message):
        load_recipe("demo", overrides)
