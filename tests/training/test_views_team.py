"""Two processes train on views as one does, whether weights are divided among them or not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cesped.errors import OptionError
from cesped.training.views.sections import ViewsTrainer
from cesped.training.views.team import Team

PROGRAM = Path(__file__).with_name("views_team.py")
WAYS = ("ddp", "fsdp", "ddp in parts")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("team")
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(folder)],
        capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    return folder


def story(folder, way, rank=0):
    return torch.load(folder / f"{way} {rank}.pt")


@pytest.mark.parametrize("way", WAYS)
def test_gradients_and_weights_are_those_of_one_process(folder, way):
    one = story(folder, "one")
    assert len(one["gradients"]) == 7
    for rank in (0, 1):
        both = story(folder, way, rank)
        for found, wanted in zip(both["gradients"], one["gradients"], strict=True):
            largest = max(float(value.abs().max()) for value in wanted)
            for gradient, expected in zip(found, wanted, strict=True):
                torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-5 * largest)
        assert both["rows"] == pytest.approx(one["rows"], rel=1e-6)
        assert both["errors"] == pytest.approx(one["errors"], rel=1e-5)
    weights = load_file(folder / way / "weights.safetensors")
    for name, value in load_file(folder / "one" / "weights.safetensors").items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-5)
    assert json.loads((folder / way / "provenance.json").read_text("utf-8"))["processes"] == 2


@pytest.mark.parametrize("way", WAYS)
def test_each_process_draws_sets_of_its_own(folder, way):
    def learned(rank):
        return {(stream[0], n) for stream, ns in story(folder, way, rank)["drawn"]
                if stream[1] == 0 for n in ns}  # fmt: skip

    assert not learned(0) & learned(1)
    together = [(1, n) for n in range(16)] + [(2, n) for n in range(12)]
    assert sorted(learned(0) | learned(1)) == together


def test_killed_divided_it_goes_on_undivided_to_the_same_weights(folder):
    weights = load_file(folder / "killed" / "weights.safetensors")
    for name, value in load_file(folder / "one" / "weights.safetensors").items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=1e-5)
    drawn = story(folder, "killed")["drawn"]
    assert drawn[0] != story(folder, "ddp")["drawn"][0]  # not from the beginning
    assert not (folder / "killed" / "last.ckpt").exists()


def test_a_batch_that_cannot_be_divided_is_refused_by_all(folder):
    for rank in (0, 1):
        told = (folder / f"refused {rank}.txt").read_text("utf-8")
        assert told.startswith("stages.1.batch is 3; it must be a multiple of 2: 2 processes")


def test_a_second_process_that_was_not_asked_for_is_refused(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(OptionError, match=r"several processes were started.*trainer.devices"):
        Team(ViewsTrainer())


def test_alone_nothing_of_lightning_is_needed():
    team = Team(ViewsTrainer())
    assert (team.rank, team.size, team.is_main) == (0, 1, True)
    assert team.own(6, 2, "batch") == range(6)
    with pytest.raises(OptionError, match="batch is 5; it must be a multiple of 2: 1 processes"):
        team.own(5, 2, "batch")
