"""README and docs run: their Python on a small entry, their commands against the program."""

import re
import shlex
from pathlib import Path

import pytest
from fake_entry import write_fake_entry

from cesped.cli.main import COMMANDS, main

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```(?:sh|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def shell_commands(path):
    """Return the words of each `cesped` command line of a document, continuation lines joined."""
    blocks = SHELL.findall(path.read_text("utf-8"))
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("cesped ")]


#: Published spellings of options that are no settings of a recipe.
DECLARED_WITH_A_DOT = {"--data.targetName", "--data.halfset", "--data.benchmarkDir"}
COMMAND_LINES = [(path.name, words) for path in DOCUMENTS for words in shell_commands(path)]


@pytest.mark.parametrize(
    ("document", "words"), COMMAND_LINES, ids=[" ".join(words) for _, words in COMMAND_LINES]
)
def test_every_option_of_a_documented_command_exists(document, words, capsys):
    first_option = next((n for n, word in enumerate(words) if word.startswith("-")), len(words))
    assert main([*words[:first_option], "--help"]) == 0, document
    text = capsys.readouterr().out
    for option in [word for word in words[1:] if word.startswith("--")]:
        if "." in option and option not in DECLARED_WITH_A_DOT:
            continue  # a setting of the recipe: the next test
        assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text), f"{document}: {option}"


def test_every_recipe_setting_of_the_documents_exists():
    from cesped.cli.learning import dotted_options
    from cesped.training.recipe import load_recipe

    for _, words in COMMAND_LINES:
        pairs = list(zip(words, [*words[1:], ""], strict=True))
        dotted = [w for p in pairs if p[0].startswith("--") and "." in p[0] for w in p]
        load_recipe("demo", dotted_options(dotted))


def test_the_table_of_commands_is_complete():
    readme = (ROOT / "README.md").read_text("utf-8")
    named = set(re.findall(r"^\| `cesped ([\w-]+)`", readme, re.MULTILINE))
    assert named == {command.name for command in COMMANDS}


def test_the_python_of_the_readme_runs_from_top_to_bottom(benchmark_dir, tmp_path, monkeypatch):
    """On a small entry of the same name, since only the size of DEMO is in the way."""
    write_fake_entry(benchmark_dir, name="FAKE")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text("utf-8")
    blocks = PYTHON.findall(text)
    assert len(blocks) == 3
    scope = {}
    for block in blocks:
        exec(block.replace("ParticlesDataset.getCESPEDEntries()[0]", '("FAKE", 0)'), scope)
    assert scope["img"].shape == (24, 1, 32, 32)
    assert 60 < scope["evaluation_metrics"]["meanAngularError"] < 180
    assert (tmp_path / "output" / "report.html").is_file()


def test_the_first_published_entry_is_the_embedded_one():
    from cesped.particlesDataset import ParticlesDataset

    assert ParticlesDataset.getCESPEDEntries()[0] == ("DEMO", 0)


def test_the_euler_convention_of_the_documents_is_that_of_the_code():
    from cesped.geometry.euler import euler_to_rotation

    scope = {}
    (block,) = PYTHON.findall((ROOT / "docs" / "conventions.md").read_text("utf-8"))
    exec(block, scope)
    assert abs(scope["R"] - euler_to_rotation([30.0, 40.0, 50.0])).max() < 1e-12
