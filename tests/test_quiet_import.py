"""Importing the package does nothing: no output, no file, no heavy library."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "e3nn",
    "gemmi",
    "healpy",
    "jsonargparse",
    "lightning",
    "matplotlib",
    "numba",
    "numpy",
    "pandas",
    "plotly",
    "pytorch_lightning",
    "scipy",
    "starfile",
    "torch",
}
# Asking for help needs no more than the words of the options.
HEAVY_FOR_HELP = HEAVY - {"numpy", "pandas", "scipy"}
FACES = ("particlesDataset", "evaluateEntry", "trainEntry", "inferEntry")

LOADED = (
    "import json, sys; "
    "sys.stderr.write(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
)


def run(code, folder):
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)


def test_import_loads_nothing_prints_nothing_and_makes_no_file(tmp_path):
    finished = run(f"import cesped; {LOADED}", tmp_path)
    assert finished.stdout == ""
    assert not HEAVY & set(json.loads(finished.stderr))
    assert list(tmp_path.iterdir()) == []


def test_import_of_every_public_name_prints_nothing_and_makes_no_file(tmp_path):
    finished = run("import cesped; [getattr(cesped, name) for name in dir(cesped)]", tmp_path)
    assert (finished.stdout, finished.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("face", FACES)
def test_help_of_a_face_loads_nothing_heavy(tmp_path, face):
    code = (
        f"import runpy, sys; sys.argv = ['cesped.{face}', '--help']\n"
        f"try: runpy.run_module('cesped.{face}', run_name='__main__')\n"
        f"except SystemExit as end: code = end.code\n"
        f"{LOADED}; sys.exit(code)"
    )
    finished = run(code, tmp_path)
    assert "--" in finished.stdout
    assert not HEAVY_FOR_HELP & set(json.loads(finished.stderr))
    assert list(tmp_path.iterdir()) == []


def test_every_room_can_be_imported_first(tmp_path):
    """No room works only after another one was imported: each is imported in a fresh process."""
    root = Path(__file__).resolve().parents[1] / "cesped"
    rooms = sorted(path.parent.name for path in root.glob("*/__init__.py"))
    for room in rooms:
        finished = run(f"import cesped.{room}; {LOADED}", tmp_path)
        assert finished.stdout == ""
        assert not HEAVY & set(json.loads(finished.stderr)), room


def test_scoring_loads_neither_torch_nor_what_draws(tmp_path):
    """They take a second each, of a program that takes a few."""
    code = (
        "import cesped.evaluation.entry, cesped.reconstruction.native, cesped.report.html;"
        f"import cesped.data.opening, cesped.reconstruction.map_cache; {LOADED}"
    )
    loaded = set(json.loads(run(code, tmp_path).stderr))
    assert not {"torch", "healpy", "matplotlib", "plotly", "e3nn", "lightning"} & loaded
