"""The door: help that teaches, exit codes, and errors without a traceback."""

import os
import subprocess
import sys

import pytest

from cesped.cli.main import COMMANDS, main

NAMES = [command.name for command in COMMANDS]
WANTED = {
    "demo", "list", "add", "show", "train", "infer", "evaluate", "reconstruct", "project", "fsc",
    "convert", "preprocess", "download", "verify", "align", "compare", "abinitio",
    "evaluate-abinitio",
    "submit", "leaderboard", "doctor", "simulate", "structures", "shards",
    "convert-weights", "campaign", "train-views",
}  # fmt: skip
FACES = (
    "cesped.evaluateEntry",
    "cesped.trainEntry",
    "cesped.inferEntry",
    "cesped.particlesDataset",
)


def test_all_commands_of_the_package_are_offered():
    assert set(NAMES) == WANTED


def test_without_words_it_shows_where_to_start(capsys):
    main([])
    shown = capsys.readouterr()
    assert "cesped demo" in shown.out + shown.err
    assert "Exit codes" in shown.out + shown.err


@pytest.mark.parametrize("name", NAMES)
def test_every_command_teaches_by_example(name, capsys):
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Examples:" in text
    assert f"cesped {name}" in text
    assert "\n    cesped" in text  # one example a line, not filled into a paragraph


@pytest.mark.parametrize("name", NAMES)
def test_the_list_of_commands_does_not_cut_their_first_lines(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    main(["--help"])
    line = next(row for row in capsys.readouterr().out.splitlines() if row.startswith(f"  {name} "))
    assert not line.endswith("...")


def test_version_is_the_installed_one(capsys):
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == version("cesped")


@pytest.mark.parametrize(
    "words",
    [
        ["nosuch"],
        ["list", "--nosuch"],
        ["evaluate", "--targetName", "T"],
        ["show", "T", "--halfset", "2"],
        ["reconstruct", "--star", "a.star", "--out", "b.mrc", "--backend", "xmipp"],
    ],
)
def test_wrong_usage_is_2_and_explained_on_standard_error(words, capsys):
    assert main(words) == 2
    shown = capsys.readouterr()
    assert "Error" in shown.err
    assert "Traceback" not in shown.err


def test_an_error_is_1_with_its_message_and_no_traceback(benchmark_dir, capsys):
    assert main(["show", "NOSUCH"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("cesped: error: half 0 of entry NOSUCH is not in ")
    assert str(benchmark_dir) in shown.err
    assert "Traceback" not in shown.err


@pytest.mark.parametrize("words", [["--debug", "show", "NOSUCH"], ["show", "NOSUCH", "--debug"]])
def test_debug_lets_the_traceback_through(words, benchmark_dir):
    from cesped.errors import EntryNotFoundError

    with pytest.raises(EntryNotFoundError):
        main(words)


@pytest.mark.parametrize("face", FACES)
def test_help_of_the_papers_modules_names_them(face, tmp_path):
    finished = subprocess.run(
        [sys.executable, "-m", face, "--help"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
        env=os.environ | {"COLUMNS": "80"},
    )
    assert f"Usage: python -m {face}" in finished.stdout


def test_the_published_flags_of_the_evaluation_are_all_there(capsys):
    main(["evaluate", "--help"])
    text = capsys.readouterr().out
    for flag in (
        "--targetName", "--half0PredsFname", "--half1PredsFname", "--predictionType",
        "--usePredConfidence", "--NOT_usePredConfidence", "--benchmarkDir", "--relionBinDir",
        "--mpirun", "--relionSingularity", "--NOT_rm_prev_reconstructions", "--ignore_symmetry",
        "--NOT_use_gt_mask", "--n_cpus", "--outdir", "--maskFname", "--backend",
    ):  # fmt: skip
        assert flag in text


def test_the_published_flags_of_training_and_inference_are_all_there(capsys):
    main(["train", "--help"])
    main(["infer", "--help"])
    text = capsys.readouterr().out
    for flag in (
        "--data.halfset", "--data.targetName", "--trainer.default_root_dir", "--config",
        "--ckpt_path", "--skip_other_half_inference", "--outFname", "--data.benchmarkDir",
    ):  # fmt: skip
        assert flag in text
