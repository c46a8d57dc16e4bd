"""Two processes train one model: each particle once, one set of weights, the batch as it was."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from free_port import free_port
from one_of_two import SETTINGS
from tiny_runs import TARGET, cnn_recipe, make_tiny_entry

from cesped.errors import OptionError
from cesped.training import data_module
from cesped.training.batches import BatchStream, split_rows
from cesped.training.checkpoint import load_checkpoint
from cesped.training.fit import train_half
from cesped.training.history import read_csv
from cesped.training.quiet_lightning import cluster_environments, quiet_lightning
from cesped.training.ranks import gathered, is_main_process, is_true_everywhere

HERE = Path(__file__).resolve().parent
LAUNCHER_VARIABLES = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "SLURM_PROCID")


@pytest.fixture(scope="module")
def entry_dir(session_benchmark_dir):
    make_tiny_entry(session_benchmark_dir)
    return session_benchmark_dir


def run_python(words, folder, dies=False, **variables):
    paths = [str(HERE), str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {k: v for k, v in os.environ.items() if k not in LAUNCHER_VARIABLES}
    environment |= {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"} | variables
    finished = subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert (finished.returncode == 0) is not dies, finished.stderr[-4000:]
    return finished


def train_with_two(entry_dir, run_dir, *die_at, dies=False):
    run_dir.mkdir(exist_ok=True)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [*launcher, HERE / "one_of_two.py", entry_dir, run_dir, *die_at]
    run_python(words, run_dir.parent, dies=dies)


def test_two_processes_train_one_model(entry_dir, tmp_path, monkeypatch):
    run_dir = tmp_path / "two"
    train_with_two(entry_dir, run_dir)
    reports = [json.loads((run_dir / f"rank{rank}.json").read_text()) for rank in (0, 1)]

    assert reports[0]["weights"] == reports[1]["weights"]
    assert reports[0]["course"] == reports[1]["course"]

    train_rows, _ = split_rows(40, SETTINGS["data__train_share"], 113)
    whole = BatchStream(train_rows, 8, seed=0, steps_per_round=4)
    together = {}
    for report in reports:
        for step, rows in report["rows"]:
            together.setdefault(step, []).extend(rows)
    assert sorted(together) == list(range(12))
    for step, rows in together.items():  # the batch of one process, divided
        assert sorted(rows) == sorted(whole.batch(step))
    drawn = np.concatenate([together[step] for step in range(12)])
    assert set(np.unique(drawn, return_counts=True)[1]) <= {4, 5}  # 96 images of 23 particles

    # one process that takes each batch in two parts sees the same images, changed alike
    monkeypatch.setattr(data_module, "_VALIDATION_BATCH", 1)
    recipe = cnn_recipe(trainer__accumulate_grad_batches=2, **SETTINGS)
    alone = train_half(TARGET, 0, tmp_path / "one", recipe, entry_dir)
    losses = [
        [row.train_loss for row in read_csv(folder / "log.csv")]
        for folder in (run_dir, alone.run_dir)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    expected = dict(load_checkpoint(alone.checkpoint)[0].named_parameters())
    for name, value in load_checkpoint(run_dir / "model.ckpt")[0].named_parameters():
        torch.testing.assert_close(value, expected[name], atol=1e-3, rtol=1e-2)
    left = {path.name for path in run_dir.iterdir() if path.suffix != ".json"}
    assert left >= {"model.ckpt", "log.csv", "split.csv", "learning_curve.png"}
    assert "last.ckpt" not in left
    assert json.loads((run_dir / "provenance.json").read_text())["processes"] == 2


@pytest.mark.slow
def test_killed_they_go_on_to_the_same_model(entry_dir, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train_with_two(entry_dir, whole)
    train_with_two(entry_dir, killed, "6", dies=True)
    assert (killed / "last.ckpt").is_file()
    assert not (killed / "model.ckpt").exists()
    train_with_two(entry_dir, killed)
    assert json.loads((killed / "provenance.json").read_text())["resumed_at_step"] == 4
    assert (killed / "model.ckpt").read_bytes() == (whole / "model.ckpt").read_bytes()


def train_words(entry_dir, run_dir, *more):
    words = ["-m", "cesped.trainEntry", "--data.targetName", TARGET, "--data.halfset", "0"]
    words += ["--trainer.default_root_dir", run_dir, "-b", entry_dir, "--recipe", "demo"]
    words += ["--data.image_size", "16", "--data.batch_size", "8", "--trainer.accelerator", "cpu"]
    words += ["--trainer.max_steps", "4", "--trainer.steps_per_round", "2", "--model.l_max", "2"]
    return [*words, "--model.widths", "[4, 8, 8]", "--model.grid_order", "1", *more]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "lightning"])
def test_the_command_speaks_and_predicts_once(launcher, entry_dir, tmp_path):
    cache = ["--data.cache_dir", tmp_path / "cache"]  # both prepare the images, or wait
    words = train_words(entry_dir, tmp_path / "run", "--trainer.devices", "2", *cache)
    if launcher == "torchrun":
        words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *words]
    finished = run_python(words, tmp_path)
    assert finished.stdout.count("Checkpoint:") == 1
    assert finished.stdout.count("Predictions:") == 1
    assert len(list((tmp_path / "cache").glob("*.mrcs"))) == 2  # of each half
    assert (tmp_path / "run" / "predictions_1.star").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "lightning"])
def test_a_campaign_trains_twice_with_two_processes_and_scores_with_one(
    launcher, entry_dir, tmp_path
):
    words = train_words(entry_dir, tmp_path / "run", "--trainer.devices", "2")
    start = words.index("--recipe")
    words = ["-m", "cesped", "campaign", "--target", TARGET, "-b", entry_dir, *words[start:]]
    words += ["--outdir", tmp_path / "campaign"]
    if launcher == "torchrun":
        words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *words]
    finished = run_python(words, tmp_path)
    assert finished.stdout.count("Report:") == 1
    assert (tmp_path / "campaign" / "metrics.json").is_file()


@pytest.mark.slow
def test_two_nodes_of_slurm_train_one_model(entry_dir, tmp_path):
    """As `srun --nodes 2 --ntasks-per-node 1` starts them; here both nodes are this machine."""
    job = {"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "training", "SLURM_JOB_ID": "7"}
    job |= {"SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "2", "SLURM_LOCALID": "0"}
    job |= {"SLURM_STEP_ID": "0"}
    job |= {
        "SLURM_NODELIST": "127.0.0.1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    words = train_words(entry_dir, tmp_path / "run", "--trainer.num_nodes", "2")
    with ThreadPoolExecutor(2) as pool:
        tasks = [
            pool.submit(
                run_python, words, tmp_path, SLURM_PROCID=str(rank), SLURM_NODEID=str(rank), **job
            )
            for rank in (0, 1)
        ]
        texts = [task.result().stdout for task in tasks]
    assert texts[0].count("Checkpoint:") == 1
    assert texts[1] == ""
    assert (tmp_path / "run" / "predictions_1.star").is_file()
    assert len(read_csv(tmp_path / "run" / "log.csv")) == 2


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "2", "LOCAL_RANK": "0"}, False),
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"SLURM_PROCID": "3"}, False),
        ({"SLURM_PROCID": "0"}, True),
    ],
)
def test_the_environment_says_who_is_the_main_process(variables, expected, monkeypatch):
    for name in LAUNCHER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert is_main_process() is expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, []),
        ({"SLURM_STEP_ID": "0"}, []),
        ({"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_STEP_ID": "0"},
         ["SLURMEnvironment"]),
        ({"SLURM_NTASKS": "2"}, ["LightningEnvironment"]),  # sbatch, and srun was forgotten
        ({"SLURM_NTASKS": "1", "TORCHELASTIC_RUN_ID": "x"}, ["TorchElasticEnvironment"]),
        ({"SLURM_NTASKS": "2", "SLURM_STEP_ID": "0", "TORCHELASTIC_RUN_ID": "x"},
         ["TorchElasticEnvironment"]),
    ],
)  # fmt: skip
def test_who_started_the_processes(variables, expected, monkeypatch):
    for name in set(os.environ):
        if name.startswith(("SLURM_", "TORCHELASTIC_")):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with quiet_lightning():  # it warns where there is an srun, and this is none of its tasks
        found = cluster_environments(1)
        assert [type(each).__name__ for each in found] == expected
        if expected == ["LightningEnvironment"]:
            with pytest.raises(OptionError, match="write srun before it"):
                cluster_environments(2)
            monkeypatch.setenv("SLURM_STEP_ID", "0")
            with pytest.raises(OptionError, match="with --ntasks-per-node"):
                cluster_environments(2)


def test_alone_a_process_agrees_with_itself():
    assert gathered(np.arange(3)).tolist() == [0, 1, 2]
    assert is_true_everywhere(True)
    assert not is_true_everywhere(False)
