"""Dotted options and configuration files end in the recipe, or in an error that names the key."""

import json

import pytest
from fake_entry import write_fake_entry

from cesped.cli.learning import dotted_options
from cesped.cli.main import face, main
from cesped.errors import OptionError
from cesped.workflows.learning import read_recipe


def test_dotted_options_in_both_spellings():
    words = ["--optimizer.lr", "1e-4", "--trainer.max_epochs=5"]
    assert dotted_options(words) == {"optimizer.lr": "1e-4", "trainer.max_epochs": "5"}


@pytest.mark.parametrize(
    "words", [["--lr", "1"], ["stray"], ["--optimizer.lr"], ["--a.b", "--c.d"]]
)
def test_other_words_are_refused(words):
    with pytest.raises(OptionError, match=r"option|value"):
        dotted_options(words)


def test_later_settings_win_over_earlier_ones(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("optimizer: {lr: 0.5}\ndata: {batch_size: 7}\n")
    second.write_text("optimizer:\n  lr: 0.25\n")
    recipe = read_recipe("small", [first, second], {"trainer.max_epochs": "3"})
    assert recipe.optimizer.lr == 0.25
    assert recipe.data.batch_size == 7
    assert recipe.trainer.max_epochs == 3


@pytest.mark.parametrize("content", ["- a list", "optimizer: 3", "a: [unclosed"])
def test_a_configuration_that_is_none_is_named(tmp_path, content):
    path = tmp_path / "broken.yaml"
    path.write_text(content)
    with pytest.raises(OptionError, match=r"broken\.yaml"):
        read_recipe("small", [path])


def test_a_wrong_setting_is_answered_with_the_nearest(benchmark_dir, capsys, tmp_path):
    words = ["train", "--target", "DEMO", "--halfset", "0", "--outdir", str(tmp_path / "run")]
    assert main([*words, "--recipe", "demo", "--optimizer.lrr", "1"]) == 1
    assert "did you mean 'lr'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_another_model_leaves_the_options_of_the_recipe_s_behind():
    own = read_recipe("paper")
    assert own.model.options == {"weights": "imagenet"}
    settings = {"model.width": 64, "optimizer.lr": 0.1}
    recipe = read_recipe("paper", (), settings, model="mine")
    assert (recipe.model.name, recipe.model.preset) == ("mine", None)
    assert recipe.model.options == {"width": 64}
    assert recipe.optimizer.lr == 0.1
    given = read_recipe("paper", (), {"model.weights": "imagenet"}, model="mine", preset="large")
    assert given.model.preset == "large"
    assert given.model.options == {"weights": "imagenet"}
    assert read_recipe("paper", model="image2sphere") == own
    assert read_recipe("paper", preset="small").model.preset == "small"


def test_a_campaign_answers_wrong_words(benchmark_dir, capsys, tmp_path):
    words = ["campaign", "--target", "NONE", "--outdir", str(tmp_path / "out")]
    assert main([*words, "--optimizer.rate", "1"]) == 1
    assert "no option 'rate'" in capsys.readouterr().err
    assert main([*words, "--recipe", "demo"]) == 1
    assert "NONE" in capsys.readouterr().err
    assert main([*words, "--recipe", "weak"]) == 1
    assert "demo, paper, small, strong" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_published_command_line_trains(tmp_path, capsys):
    """Every flag of the published program in one line; the recipe is what they ask for."""
    entry = write_fake_entry(tmp_path / "entries", n_particles=12)
    config = tmp_path / "more.yaml"
    config.write_text(
        "data: {image_size: 16, batch_size: 4, num_augmented_copies_per_batch: 2}\n"
        "trainer: {max_steps: 1, steps_per_round: 1, accelerator: cpu}\n"
        "model: {lmax: 2, widths: [4, 4, 4], hp_order_so3: 1}\n"
    )

    def train(folder, *more):
        words = ["--data.halfset", "0", "--data.targetName", entry.name, "--recipe", "demo"]
        words += ["--trainer.default_root_dir", str(tmp_path / folder), "--config", str(config)]
        words += ["-b", str(entry.benchmark_dir), "--optimizer.lr", "0.002"]
        words += ["--skip_other_half_inference", *more]
        assert face("cesped.trainEntry", "train", words) == 0, capsys.readouterr().err
        return json.loads((tmp_path / folder / "run.json").read_text())

    first = train("first")
    assert first["recipe"]["optimizer"]["lr"] == 0.002
    assert first["recipe"]["augmentation"]["copies"] == 2
    assert first["recipe"]["model"]["options"]["l_max"] == 2
    assert first["start_from_sha256"] is None
    second = train("second", "--ckpt_path", str(tmp_path / "first" / "model.ckpt"))
    assert second["start_from_sha256"] is not None
