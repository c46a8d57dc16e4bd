"""`cesped convert`: what it says, and what it refuses."""

import pickle
import re
from pathlib import Path

import fake_entry as fake
import numpy as np
import pytest

from cesped.cli.main import main


@pytest.fixture
def entry(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return fake.write_fake_entry(tmp_path / "bench", n_particles=5)


def test_it_says_what_it_wrote_and_what_it_left_out(entry, capsys):
    fake.write_star_31(
        entry.star(0), entry.poses[0], entry.ctf[0], 32, rlnMaxValueProbDistribution=[0.5] * 5
    )
    assert main(["convert", str(entry.star(0)), "out.cs"]) == 0
    assert capsys.readouterr().out == (
        "Wrote 5 particles:\n"
        "  out.cs\n"
        "Left out:\n"
        "  - rlnMaxValueProbDistribution: the confidence of the poses, which the other format "
        "cannot hold\n"
        "Note:\n"
        "  - blob/sign is written as 1, for images in which particles are bright; dark ones are to "
        "be inverted, or marked by -1\n"
    )


def test_to_cryodrgn_and_back(entry, capsys):
    star = str(entry.star(0))
    assert main(["convert", star, "run.pkl"]) == 0
    shown = capsys.readouterr().out
    assert "  run.poses.pkl\n  run.ctf.pkl\n" in shown
    assert f"rows are in the order of {star}" in shown
    assert main(["convert", "run.poses.pkl", star, "new.star", "--form", "5.0"]) == 0
    assert "Left out" not in capsys.readouterr().out
    again = fake.starfile.read("new.star")["particles"]
    np.testing.assert_allclose(
        again["rlnOriginXAngst"], entry.poses[0].origins_angst[:, 0], atol=1e-4
    )


def test_the_python_of_the_document_runs(entry, tmp_path, capsys):
    document = Path(__file__).resolve().parents[2] / "docs" / "converting.md"
    block, *_ = re.findall(r"^```python\n(.*?)^```", document.read_text("utf-8"), re.M | re.S)
    entry.star(0).rename(tmp_path / "run_data.star")
    exec(block, {})
    assert capsys.readouterr().out.startswith("5 (")


def test_wrong_usage(entry, capsys):
    assert main(["convert", str(entry.star(0))]) == 2
    assert "name at least one file to read and, last, the file" in capsys.readouterr().err
    assert main(["convert", str(entry.star(0)), "out.star", "--form", "2.0"]) == 2


def test_an_existing_file_needs_force(entry, capsys):
    words = ["convert", str(entry.star(0)), "out.star"]
    assert main(words) == 0
    assert main(words) == 1
    assert "out.star exists; choose another name, or use --force" in capsys.readouterr().err
    assert main([*words, "--force"]) == 0


def test_a_hostile_pickle_is_one_line_of_error(entry, tmp_path, capsys):
    class Bomb:
        def __reduce__(self):
            return (tmp_path / "sprung").mkdir, ()

    (tmp_path / "poses.pkl").write_bytes(pickle.dumps(Bomb()))
    assert main(["convert", "poses.pkl", str(entry.star(0)), "out.star"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("cesped: error: poses.pkl: ")
    assert "was not loaded" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("command", ["add", "reconstruct"])
def test_other_commands_name_this_one(entry, tmp_path, capsys, command):
    assert main(["convert", str(entry.star(0)), "mine.cs"]) == 0
    words = {
        "add": ["add", "mine.cs", "--name", "X", "--halfset", "0", "--symmetry", "C1"],
        "reconstruct": ["reconstruct", "--star", "mine.cs", "--out", "m.mrc"],
    }
    assert main(words[command]) == 1
    said = "mine.cs is a CryoSPARC .cs file, no star file: make one of it with `cesped convert`"
    assert said in capsys.readouterr().err
