"""Whole runs on a tiny entry: files, resumption, refusals."""

import hashlib
import json

import pandas as pd
import pytest
import torch
from plain_cnn import PlainCnn
from tiny_runs import TARGET, KillAt, KilledError, cnn_recipe, make_tiny_entry, tiny_recipe

from cesped.data.conventions import read_particle_table
from cesped.errors import CheckpointError, OptionError
from cesped.training.batches import BatchDataset, split_rows
from cesped.training.checkpoint import load_checkpoint
from cesped.training.fit import train_half
from cesped.training.history import read_csv
from cesped.training.recipe import TrainingRecipe


@pytest.fixture(scope="module")
def entry_dir(session_benchmark_dir):
    make_tiny_entry(session_benchmark_dir)
    return session_benchmark_dir


@pytest.fixture(scope="module")
def whole_run(entry_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return train_half(TARGET, 0, folder, tiny_recipe(), entry_dir)


def comparable(folder):
    return [(row.step, row.train_loss, row.val_loss) for row in read_csv(folder / "log.csv")]


def test_a_run_leaves_model_log_curve_and_provenance(whole_run):
    names = {path.name for path in whole_run.run_dir.iterdir()}
    events = {name for name in names if name.startswith("events.out.tfevents.")}
    assert len(events) == 1
    assert names - events == {
        *("model.ckpt", "log.csv", "learning_curve.png"),
        *("split.csv", "provenance.json", "run.json"),
    }
    model, card = load_checkpoint(whole_run.checkpoint)
    assert (card.target, card.halfset, card.symmetry, card.steps) == (TARGET, 0, "C1", 12)
    assert card.preprocessing["image_size"] == 16
    assert card.package_version
    assert not model.training
    assert [row.step for row in read_csv(whole_run.run_dir / "log.csv")] == [4, 8, 12]
    assert (whole_run.run_dir / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


def test_provenance_says_what_a_run_was_made_of(whole_run, entry_dir):
    facts = json.loads((whole_run.run_dir / "provenance.json").read_text())
    assert TrainingRecipe.from_dict(facts["recipe"]) == tiny_recipe()
    assert {"torch", "lightning", "numpy", "cesped", "python"} <= facts["program"].keys()
    assert facts["program"]["torch"] == torch.__version__
    star, stack = (entry_dir / TARGET / f"particles_0.{end}" for end in ("star", "mrcs"))
    assert facts["star_sha256"] == hashlib.sha256(star.read_bytes()).hexdigest()
    (images,) = facts["inputs"]["images"]
    digest = hashlib.sha256(stack.read_bytes()).hexdigest()
    assert images == {
        "name": "particles_0.mrcs",
        "bytes": stack.stat().st_size,
        "checksum": f"sha256:{digest}",
    }
    assert facts["model"]["class"] == "cesped.models.image2sphere.model.Image2Sphere"
    assert "cesped" in facts["model"]["packages"]
    assert facts["model"]["config"]["widths"] == [4, 8, 8]
    assert facts["model"]["config"]["label_width_deg"] == 8.0  # the preset's, resolved
    split = whole_run.run_dir / "split.csv"
    assert facts["split_sha256"] == hashlib.sha256(split.read_bytes()).hexdigest()
    table = read_particle_table(star, star.parent)
    parts = pd.read_csv(split).set_index("rlnImageName")["part"]
    train_rows, validation_rows = split_rows(len(table), 0.9, 113)
    assert list(parts[parts == "training"].index) == list(table.ids[train_rows])
    assert list(parts[parts == "validation"].index) == list(table.ids[validation_rows])
    assert (facts["n_train"], facts["processes"]) == (len(train_rows), 1)


def test_a_model_is_calibrated_with_the_weights_that_predict(entry_dir, tmp_path, monkeypatch):
    given = []

    def calibrate(self, batches):
        batches = list(batches)
        assert not self.training
        self.temperature = torch.tensor(1.5)
        given.append((self.state_dict()["network.0.weight"].clone(), batches))
        return 1.5

    recipe = cnn_recipe(trainer__keep="best", trainer__max_steps=4)
    monkeypatch.setattr(PlainCnn, "calibrate", calibrate, raising=False)
    outcome = train_half(TARGET, 0, tmp_path, recipe, entry_dir)
    ((weight, batches),) = given
    model, _ = load_checkpoint(outcome.checkpoint)
    assert weight.equal(model.state_dict()["network.0.weight"])
    assert sum(len(images) for images, _ in batches) == 4  # the validation particles
    assert all(rotations.shape[1:] == (3, 3) for _, rotations in batches)
    assert json.loads((tmp_path / "provenance.json").read_text())["temperature"] == 1.5


def test_every_round_takes_the_next_batches(entry_dir, tmp_path, monkeypatch):
    taken = []
    read = BatchDataset.__getitem__

    def watched(self, which):
        taken.append((len(which.rows), which.step))
        return read(self, which)

    monkeypatch.setattr(BatchDataset, "__getitem__", watched)
    train_half(TARGET, 0, tmp_path, tiny_recipe(), entry_dir)
    assert [step for count, step in taken if count == 8] == list(range(12))


@pytest.mark.parametrize("step", [2, 6, 9])
def test_a_killed_run_goes_on_to_the_same_model(step, whole_run, entry_dir, tmp_path):
    with pytest.raises(KilledError):
        train_half(TARGET, 0, tmp_path, tiny_recipe(), entry_dir, progress=KillAt(step))
    assert not (tmp_path / "model.ckpt").exists()
    resumed = train_half(TARGET, 0, tmp_path, tiny_recipe(), entry_dir)
    assert resumed.resumed_at_step == step // 4 * 4
    assert resumed.checkpoint.read_bytes() == whole_run.checkpoint.read_bytes()
    assert comparable(tmp_path) == comparable(whole_run.run_dir)


def test_a_finished_run_is_not_done_again(whole_run, entry_dir):
    before = whole_run.checkpoint.stat().st_mtime_ns
    again = train_half(TARGET, 0, whole_run.run_dir, tiny_recipe(), entry_dir)
    assert again.checkpoint.stat().st_mtime_ns == before
    assert again.resumed_at_step == 12


def test_another_run_in_the_same_folder_is_refused(whole_run, entry_dir):
    with pytest.raises(CheckpointError, match="differs in halfset, star_sha256"):
        train_half(TARGET, 1, whole_run.run_dir, tiny_recipe(), entry_dir)
    with pytest.raises(CheckpointError, match=r"differs in recipe: optimizer\.lr \(see"):
        train_half(TARGET, 0, whole_run.run_dir, tiny_recipe(optimizer__lr=0.1), entry_dir)
    # but not one that merely reads its images in another way
    other_hands = tiny_recipe(data__num_data_workers=2, data__max_memory_gib=0)
    assert train_half(TARGET, 0, whole_run.run_dir, other_hands, entry_dir).resumed_at_step == 12


def test_a_damaged_state_is_refused_and_a_fresh_start_helps(entry_dir, tmp_path):
    recipe = tiny_recipe(trainer__max_steps=4)
    with pytest.raises(KilledError):
        train_half(TARGET, 0, tmp_path, recipe, entry_dir, progress=KillAt(4))
    (tmp_path / "last.ckpt").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match=r"last\.ckpt cannot be read"):
        train_half(TARGET, 0, tmp_path, recipe, entry_dir)
    outcome = train_half(TARGET, 0, tmp_path, recipe, entry_dir, resume=False)
    assert outcome.resumed_at_step == 0


def test_plateau_keeps_the_best_and_stops_early(entry_dir, tmp_path):
    recipe = tiny_recipe(
        optimizer__schedule="plateau",
        optimizer__lr=0.5,  # so large that nothing gets better for long
        optimizer__plateau_patience=1,
        trainer__keep="best",
        trainer__average_decay=0.0,
        trainer__early_stop_patience=2,
        trainer__max_steps=40,
        trainer__steps_per_round=2,
    )
    outcome = train_half(TARGET, 0, tmp_path, recipe, entry_dir)
    rows = read_csv(tmp_path / "log.csv")
    best = min(rows, key=lambda row: row.val_loss)
    _, card = load_checkpoint(outcome.checkpoint)
    assert card.steps == best.step
    assert len(rows) < 20
    assert rows[-1].step == best.step + 2 * 2
    assert rows[-1].learning_rate < rows[0].learning_rate


def test_training_starts_from_given_weights(whole_run, entry_dir, tmp_path):
    recipe = tiny_recipe(trainer__max_steps=4, optimizer__lr=1e-12, trainer__average_decay=0.0)
    outcome = train_half(TARGET, 0, tmp_path, recipe, entry_dir, start_from=whole_run.checkpoint)
    model, _ = load_checkpoint(outcome.checkpoint)
    given, _ = load_checkpoint(whole_run.checkpoint)
    for name, value in given.named_parameters():
        torch.testing.assert_close(dict(model.named_parameters())[name], value)
    other = tiny_recipe(**{"model__l_max": 3})
    with pytest.raises(CheckpointError, match="use the recipe it was trained with"):
        train_half(TARGET, 0, tmp_path / "b", other, entry_dir, start_from=whole_run.checkpoint)


def test_a_wrong_model_option_is_named_before_anything_is_written(entry_dir, tmp_path):
    with pytest.raises(OptionError, match="did you mean 'l_max'"):
        train_half(TARGET, 0, tmp_path, tiny_recipe(model__l_mx=3), entry_dir)


def test_a_batch_that_processes_cannot_share_is_refused_before_they_start(entry_dir, tmp_path):
    recipe = tiny_recipe(trainer__devices=3)
    with pytest.raises(OptionError, match=r"batch_size is 8; it must be a multiple of 3: 3 pro"):
        train_half(TARGET, 0, tmp_path, recipe, entry_dir)
    assert list(tmp_path.iterdir()) == []


def test_more_processes_than_validation_particles_are_refused(entry_dir, tmp_path):
    recipe = tiny_recipe(trainer__devices=8, data__train_share=0.9)
    with pytest.raises(OptionError, match=r"has 4 particles for validation, fewer than the 8 pro"):
        train_half(TARGET, 0, tmp_path, recipe, entry_dir)
    assert list(tmp_path.iterdir()) == []


def test_a_run_whose_recipe_holds_a_pair_is_known_again(entry_dir, tmp_path):
    recipe = tiny_recipe(model__widths=(4, 8, 8), trainer__max_steps=1, trainer__steps_per_round=1)
    train_half(TARGET, 0, tmp_path, recipe, entry_dir)
    assert train_half(TARGET, 0, tmp_path, recipe, entry_dir).resumed_at_step == 1
