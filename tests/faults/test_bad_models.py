"""Bad checkpoints, recipes and run folders, and what no memory or number can hold."""

import pickle

import pytest
import torch
from fault_doors import as_folder, assert_says, cut, go_through, refuse, write_checkpoint


def pickled(path):
    path.write_bytes(pickle.dumps({"card": print}))


CHECKPOINT_FAULTS = {
    "gone": (lambda path: path.unlink(), r"there is no checkpoint .*model\.ckpt; train a model"),
    "folder": (as_folder, r"there is no checkpoint .*model\.ckpt; train a model"),
    "empty": (lambda path: cut(path, 0), r"model\.ckpt cannot be read: .*only a part of one; give"),
    "truncated": (lambda path: cut(path, 1000), r"model\.ckpt cannot be read: .*; give the"),
    "text": (lambda path: path.write_text("weights"), r"model\.ckpt cannot be read: .*; give the"),
    "pickle": (pickled, r"model\.ckpt cannot be read: .*; give the"),
    "code": (
        lambda path: torch.save({"a": print}, path),
        r"ckpt cannot be read: .*holds more than",
    ),
    "foreign": (lambda path: torch.save({"state_dict": {}}, path), r"model\.ckpt is no model of"),
}


@pytest.mark.parametrize("door", ["infer", "train"])
@pytest.mark.parametrize("fault", CHECKPOINT_FAULTS)
def test_checkpoints(project, capsys, door, fault):
    spoil, expected = CHECKPOINT_FAULTS[fault]
    spoil(project.checkpoint)
    more = ["--ckpt_path", project.checkpoint] if door == "train" else []
    assert_says(refuse(door, project, capsys, *more), expected)


def test_checkpoints_of_something_else(project, capsys):
    write_checkpoint(project.checkpoint, symmetry="C2")
    assert_says(
        refuse("infer", project, capsys), r"was trained for symmetry C2, E has C1: it cannot"
    )
    write_checkpoint(project.checkpoint, halfset=0)
    assert_says(refuse("infer", project, capsys), r"trained on half 0 of E.*model of half 1")
    write_checkpoint(project.checkpoint, halfset=1)
    more = ("--ckpt_path", project.checkpoint)
    assert_says(
        refuse("train", project, capsys, *more), r"learned from half 1 of E, .* half 0 is to"
    )
    write_checkpoint(project.checkpoint, halfset=0)
    more = ("--ckpt_path", project.checkpoint, "--model.width", 2)
    message = refuse("train", project, capsys, *more)
    assert_says(message, r"model\.ckpt holds the model .*upright.*; use the recipe")


RECIPE_FAULTS = {
    "accelerator": (["--trainer.accelerator", "abacus"], r"accelerator=abacus, .*; correct the"),
    "model": (
        ["--model.name", "none"],
        r"no model is called 'none'; known models: cryofastar",
    ),
    "option": (["--model.height", 3], r"model 'upright' has no option 'height'"),
    "section": (["--optimzer.lr", 1], r"no option 'optimzer'; did you mean 'optimizer'\?"),
    "value": (["--optimizer.lr", "fast"], r"optimizer\.lr is 'fast'; it must be of type float"),
}


@pytest.mark.parametrize("fault", RECIPE_FAULTS)
def test_recipes(project, capsys, fault):
    before = project.listing()
    more, expected = RECIPE_FAULTS[fault]
    assert go_through("train", project, *more) == 1
    assert_says(capsys.readouterr().err, expected)
    assert project.listing() == before


def test_a_bad_start_does_not_claim_the_folder_of_a_run(project, capsys):
    project.stack.write_bytes(project.stack.read_bytes()[:1024] + bytes(6 * 16 * 16 * 4))
    refuse("train", project, capsys)
    assert not (project.out / "run").exists()


@pytest.mark.parametrize(
    ("door", "option"), [("show", "--image-size"), ("train", "--data.image_size")]
)
def test_images_beyond_any_memory(project, capsys, door, option):
    assert go_through(door, project, option, 10**7) == 1
    assert_says(
        capsys.readouterr().err, r"error: not enough memory .*; use smaller images, maps or"
    )
    assert not list(project.out.rglob("*.ckpt"))


def test_a_full_gpu_is_told_with_the_options_that_ask_less_of_it(project, capsys, monkeypatch):
    from cesped.models.registry import PoseModel

    def full(self, *args, **options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 ...")

    monkeypatch.setattr(PoseModel, "train", full)
    assert go_through("train", project) == 1
    assert_says(
        capsys.readouterr().err,
        r"memory \(CUDA out of memory\. Tried to allocate 2\.00 GiB\.\); a GPU is full: .*"
        r"--memory-gb.*trainer\.accumulate_grad_batches \(train\)",
    )


def test_a_training_without_numbers_stops(project, capsys):
    more = ["--optimizer.lr", "1e30", "--trainer.max_steps", 5]
    assert go_through("train", project, *more) == 1
    assert_says(
        capsys.readouterr().err, r"the training diverged before step 2: .*; train with a lo"
    )


def test_states_of_runs_that_cannot_go_on(project, capsys):
    run = project.out / "run"
    assert go_through("train", project) == 0
    (run / "model.ckpt").rename(run / "last.ckpt")
    capsys.readouterr()
    message = refuse("train", project, capsys)
    assert_says(message, r"last\.ckpt is not the state of a stopped training; delete it to start")
    cut(run / "last.ckpt", 100)
    assert_says(refuse("train", project, capsys), r"last\.ckpt cannot be read: .*; give the")
    (run / "run.json").write_text("[]")
    assert_says(refuse("train", project, capsys), r"run\.json does not describe a run; use another")
