"""Shards made by many processes that are killed at random are those of one that was left alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cesped.data.shards.plan import shards_in
from cesped.io.shards import check_shard

PROGRAM = Path(__file__).with_name("killed_making.py")


def write_structure(path, seed):
    positions = np.random.default_rng(seed).normal(scale=8, size=(20, 3))
    path.write_text(
        "".join(
            f"ATOM  {row:5d}  CA  ALA A{row:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00 10.00"
            "           C\n"
            for row, (x, y, z) in enumerate(positions, 1)
        )
    )


@pytest.mark.parametrize(("seed", "rounds"), [(0, 2), pytest.param(1, 4, marks=pytest.mark.slow)])
def test_whoever_is_killed_nothing_is_lost(tmp_path, seed, rounds):
    folder = tmp_path / "structures"
    folder.mkdir()
    for number in range(15):
        write_structure(folder / f"s{number:02d}.pdb", number)
    words = [str(PROGRAM), str(folder), str(tmp_path), str(seed), str(rounds)]
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, timeout=1800, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    story = json.loads(done.stdout)
    assert story["killed"] >= 5
    assert not [name for name in story["left"] if name.endswith(".partial")]
    whole, killed = shards_in(tmp_path / "whole"), shards_in(tmp_path / "killed")
    assert len(whole) == 4
    for one, other in zip(whole, killed, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
        check_shard(other)
