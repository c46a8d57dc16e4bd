"""A campaign killed with SIGKILL anywhere and run again ends as if it had not been killed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_entry import write_fake_entry

PROGRAM = Path(__file__).with_name("killed_campaign.py")
#: What two runs of the same campaign must agree on to the last bit.
SAME = ("model.ckpt", "predictions_0.star", "predictions_1.star", "particles.csv", ".mrc")
#: Steps that are finished when their note is there.
NOTE = ".made_from.json"


@pytest.mark.parametrize("kills", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_killed_along_the_way(tmp_path, kills):
    entry = write_fake_entry(tmp_path / "bench", n_particles=24, box=24, with_mask=True)
    command = [sys.executable, str(PROGRAM), str(entry.benchmark_dir), entry.name]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(tmp_path), str(kills)],
        capture_output=True, env=environment, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    story = json.loads(done.stdout)
    whole = story["whole"]
    assert story["total"] > 300  # steps on the disk; kills fall everywhere between
    assert "training/half1/pretraining/run/model.ckpt" in whole
    assert not any(name.endswith("projections/particles_0.mrcs") for name in whole)
    assert len(story["kills"]) == kills
    for kill in story["kills"]:
        left, again = kill["left"], kill["again"]
        assert_is_the_same(again, whole)
        finished = [name.removesuffix(NOTE) for name in left if name.endswith(NOTE)]
        for name in finished:
            if name in left and not name.endswith("particles_0.star"):
                assert again[name] == left[name], f"{name} was made twice"
        assert not any(Path(name).name.startswith(".") for name in again)


def assert_is_the_same(found, wanted):
    logs = "tfevents"  # named by the time; a run that was resumed has one for each part
    assert {n for n in found if logs not in n} == {n for n in wanted if logs not in n}
    compared = [name for name in wanted if name.endswith(SAME)]
    assert len(compared) > 10
    for name in compared:
        assert found[name][0] == wanted[name][0], name
