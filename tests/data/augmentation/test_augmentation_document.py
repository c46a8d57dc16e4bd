"""docs/augmentation.md runs, and its table is what the recipes say."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from fake_entry import write_fake_entry

from cesped.data.augmentation import load_plan, operation_names

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "augmentation.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_its_python_runs_from_top_to_bottom(benchmark_dir):
    write_fake_entry(benchmark_dir, name="FAKE")
    scope = {}
    for block in blocks("python"):
        exec(block.replace('"DEMO"', '"FAKE"'), scope)
    assert scope["img"].shape == (1, 32, 32)
    assert scope["images"].shape == (4, 1, 64, 64)
    images = torch.ones(40, 1, 8, 8)
    poses = torch.eye(3).expand(40, 3, 3)
    generator = torch.Generator().manual_seed(0)
    changed, rotations, _ = scope["mine"].augment(images, poses, generator=generator)
    assert np.unique(rotations[:, 0, 0].round().numpy()).tolist() == [-1, 1]
    stretched = changed.amax(dim=(1, 2, 3))
    assert 0.9 <= float(stretched.min()) < 1 < float(stretched.max()) <= 1.1


def test_its_recipe_is_one():
    (block,) = blocks("yaml")
    assert [one.name for one in load_plan(yaml.safe_load(block)).operations] == [
        "inPlaneRotations",
        "randomGaussNoise",
    ]


@pytest.mark.parametrize(("recipe", "column"), [("paper", 2), ("published", 3)])
def test_its_table_is_what_the_recipes_say(recipe, column):
    rows = [line.strip("|").split(" | ") for line in TEXT.splitlines() if line.startswith("| `")]
    said = {row[0].strip().strip("`"): row[column].strip().rstrip("|").strip() for row in rows}
    assert set(said) <= set(operation_names())
    planned = {one.name: one for one in load_plan(recipe).operations}
    for name, words in said.items():
        if words == "not used":
            assert name not in planned
        else:
            assert float(re.match(r"p ([\d.]+)", words)[1]) == planned[name].probability.start
    assert {name for name, words in said.items() if words != "not used"} == set(planned)
