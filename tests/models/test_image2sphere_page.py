"""docs/image2sphere.md: its example runs, and its table says what the presets hold."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from cesped.geometry.rotations import random_rotations
from cesped.models.image2sphere.model import Image2Sphere
from cesped.models.image2sphere.presets import PRESETS
from cesped.models.registry import build_model
from cesped.training import checkpoint

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "image2sphere.md").read_text("utf-8")


def test_the_example_runs(tmp_path, monkeypatch):
    options = {"encoder": "compact", "widths": [4, 4, 4], "l_max": 3, "sphere_features": 4}
    options |= {"so3_features": 2, "projector_order": 1, "filter_order": 1, "grid_order": 1}
    model = build_model("image2sphere", "D2", **options).eval()
    monkeypatch.setattr(checkpoint, "load_checkpoint", lambda path: (model, None))
    monkeypatch.chdir(tmp_path)
    rotations = torch.from_numpy(random_rotations(2, np.random.default_rng(0))).float()
    scope = {"images": torch.randn(2, 1, 16, 16), "rotations": rotations}
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    exec(block, scope)
    assert scope["probabilities"].shape == (2, 10)
    assert (tmp_path / "pose.png").is_file()


def preset_rows():
    rows = re.findall(r"^\| (`[a-z].*?) \| (.*?) \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)
    return {row[0]: row[1:] for row in rows}


@pytest.mark.parametrize("column", range(3))
def test_the_table_says_what_the_presets_hold(column):
    name = ["small", "paper", "strong"][column]
    defaults = Image2Sphere.__init__.__kwdefaults__
    assert len(preset_rows()) == 12
    for names, cells in preset_rows().items():
        options = re.findall(r"`(\w+)`", names)
        stated = re.findall(r"[\d.]+|`\w+`|half|as given", cells[column])
        for number, option in enumerate(options):
            value = PRESETS[name].get(option, defaults[option])
            if isinstance(value, (list, tuple)):
                assert [float(word) for word in stated] == list(value), (name, option)
                continue
            word = {"half": "0.5", "as given": "None"}.get(stated[number], stated[number])
            shown = f"{value:g}" if isinstance(value, float) else f"{value}"
            assert word.strip("`") == shown, (name, option)
