"""Killed with SIGKILL along the way of writing: old or new, never half, and clean afterwards."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WRITER = Path(__file__).with_name("killed_writer.py")
#: The file that says a result is there; all that belongs to it is moved in before.
LAST = {
    "add": "NEW/info_0.json",
    "replace": "NEW/info_0.json",
    "map": "a.mrc",
    "demo": "TINY/info_1.json",
    "other_demo": "TINY/info_1.json",
    "evaluation": "metrics.json",
}


@pytest.fixture(scope="module")
def stories(untouched_project, tmp_path_factory):
    """Return what each job left when it was killed."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, str(WRITER), str(folder), str(untouched_project.folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, capture_output=True, env=environment, timeout=1800, check=False)
    assert run.returncode == 0, run.stderr.decode()
    return json.loads(run.stdout)


@pytest.mark.parametrize("job", LAST)
def test_killed_along_the_way(stories, job):
    before, finished, kills = stories[job].values()
    assert len(kills) >= (2 if job == "map" else 8)
    for kill in kills:
        left = visible(kill["after_kill"])
        if LAST[job] in left:
            assert left in (before, finished)
        else:  # it is not there for anybody who looks for it
            assert not before or job != "map"
        assert kill["again"] == finished
    assert any(visible(kill["after_kill"]) == before for kill in kills)


def visible(files):
    """Return the files that are not in hidden folders and not hidden themselves."""
    return {name: digest for name, digest in files.items() if not is_hidden(name)}


def is_hidden(name):
    return any(part.startswith(".") for part in Path(name).parts)


@pytest.mark.parametrize("job", LAST)
def test_leftovers_are_hidden_and_go_with_the_next_run(stories, job):
    kills = stories[job]["kills"]
    assert any(map(is_hidden, (name for kill in kills for name in kill["after_kill"])))
    assert not any(map(is_hidden, (name for kill in kills for name in kill["again"])))
