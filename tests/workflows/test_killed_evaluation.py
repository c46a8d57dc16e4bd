"""An evaluation killed while maps, cache, tables or report are made ends as if it was not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("killed_evaluation.py")
#: What two evaluations of the same poses agree on to the last bit; the others hold times.
SAME = (".mrc", ".map", "particles.csv", "fsc.csv")


@pytest.mark.parametrize(
    ("stride", "page"), [(9, "plain"), pytest.param(10, "whole", marks=pytest.mark.slow)]
)
def test_killed_along_the_way(tmp_path, stride, page):
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path), str(stride), page],
        capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=1800, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    story = json.loads(done.stdout)
    whole = story["files"]
    assert story["steps"] > 40  # maps into the cache, maps, tables, the score, the page
    assert story["told"] > 3
    assert story["old"] != story["whole"]
    assert sum(name.endswith(".map") for name in whole) >= 4
    caught = {"cache": 0, "score": 0, "page": 0}
    for kill in story["kills"]:
        left = set(kill["left"])
        # the score that lies there is one or the other, whole
        assert kill["left_figures"] in (None, story["old"], story["whole"]), kill["death"]
        assert kill["figures"] == story["whole"], kill["death"]
        assert set(kill["again"]) == set(whole), kill["death"]  # and nothing else is left behind
        for name in whole:
            if name.endswith(SAME):
                assert kill["again"][name][0] == whole[name][0], (kill["death"], name)
        kept = sum(name.endswith(".map") for name in left)
        caught["cache"] += 0 < kept < sum(name.endswith(".map") for name in whole)
        caught["score"] += kill["left_figures"] is None
        caught["page"] += kill["left_figures"] == story["whole"]
    assert caught["cache"]
    assert caught["page"]  # the page of the score before is not taken for that of this one
