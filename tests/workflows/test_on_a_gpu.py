"""The one command that does all work for a GPU, without one."""

import importlib.util
import sys
from argparse import Namespace
from pathlib import Path

import pytest

SPEED = Path(__file__).parents[2] / "benchmarks/speed"


@pytest.fixture(scope="module")
def on_a_gpu():
    spec = importlib.util.spec_from_file_location("on_a_gpu", SPEED / "on_a_gpu.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["on_a_gpu"] = module  # its records look for it
    spec.loader.exec_module(module)
    yield module
    del sys.modules["on_a_gpu"]


@pytest.mark.parametrize("tiny", [True, False])
def test_parts_are_programs_that_know_their_options(on_a_gpu, tmp_path, tiny):
    options = Namespace(out=tmp_path, tiny=tiny, structure=tmp_path / "atoms.cif")
    parts = on_a_gpu.parts_of(options)
    assert len({part.name for part in parts}) == len(parts) >= 6
    for part in parts:
        if part.name == "tests":
            files = [word for word in part.words if word.endswith(".py")]
            assert files
            assert all((SPEED.parents[1] / file).is_file() for file in files)
            continue
        script = Path(part.words[0])
        text = script.read_text("utf-8")
        for word in part.words[1:]:
            assert not word.startswith("--") or f'"{word}"' in text, (script, word)


def test_what_fails_or_takes_too_long_is_said_and_the_rest_is_done(
    on_a_gpu, tmp_path, monkeypatch, capsys
):
    part = on_a_gpu.Part
    script = tmp_path / "once.py"
    script.write_text("import sys\nprint('a | b')\nsys.exit(3)\n")
    parts = [
        part("bad", "fails", (str(script),), 60),
        part(
            "slow", "sleeps", ("-c", "import time; print('here', flush=True); time.sleep(600)"), 1
        ),
        part("good", "prints", ("-c", "print('a figure')"), 60),
    ]
    monkeypatch.setattr(on_a_gpu, "parts_of", lambda options: parts)
    words = [str(tmp_path / "out"), "--tiny"]
    assert on_a_gpu.main(words) == 1
    table = (tmp_path / "out/table.md").read_text("utf-8")
    assert "| bad | fails | failed (3): a   b |" in table
    assert "| slow | sleeps | not finished in 1 s |" in table
    assert "| good | prints | done |" in table
    assert "a figure" in table
    script.write_text("print('mended')\n")
    capsys.readouterr()
    assert on_a_gpu.main([*words, "--only", "bad", "good"]) == 0
    said = capsys.readouterr().out
    assert "bad: done" in said
    assert "good" not in said  # it was done before
    assert "mended" in (tmp_path / "out/table.md").read_text("utf-8")
    assert on_a_gpu.main([*words, "--only", "good", "--again", "good"]) == 0
    assert "good: done" in capsys.readouterr().out
    assert on_a_gpu.main([*words, "--again", "bad", "--minutes", "0"]) == 1  # no time for it
    assert "| bad | fails | not begun |" in (tmp_path / "out/table.md").read_text("utf-8")
    with pytest.raises(SystemExit):
        on_a_gpu.main([*words, "--only", "nothing"])


def test_without_a_gpu_it_says_so(on_a_gpu, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(on_a_gpu.torch.cuda, "is_available", lambda: False)
    assert on_a_gpu.main([str(tmp_path)]) == 1
    assert "no GPU here; --tiny" in capsys.readouterr().out


@pytest.mark.slow
def test_all_parts_run_at_their_least(on_a_gpu, tmp_path):
    assert on_a_gpu.main([str(tmp_path), "--tiny"]) == 0, (tmp_path / "table.md").read_text()
    table = (tmp_path / "table.md").read_text("utf-8")
    for figure in ("TFLOP/s", "images/s", "samples/s", "from star file to map", "GB/s"):
        assert figure in table
