"""Translated blocks in a training whose stages have more and more views."""

import os
import shutil

import pytest
import torch
from tiny_views import LEAST, phantom_source, tiny_stages

from cesped.models.cryofastar.model import CryoFastAR
from cesped.training.views.blocks import prepare_blocks
from cesped.training.views.learning import train_views

pytestmark = pytest.mark.filterwarnings("ignore")  # torch about its own steps
counters = torch._dynamo.utils.counters


@pytest.fixture(autouse=True)
def nothing_translated():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def test_numbers_of_views_and_sets_share_translations(monkeypatch):
    """Torch makes eight of a kind and then none without a word, judging between rounds counted."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f, **options: real(f, backend="eager", **options))
    torch.manual_seed(0)
    model, plain = CryoFastAR("tiny"), CryoFastAR("tiny")
    plain.load_state_dict(model.state_dict())
    prepare_blocks(model, checkpointing=False, compiled=True)
    made = []
    for sets, views in [(4, 2), (4, 3), (3, 5), (2, 8), (2, 12)]:
        images = torch.randn(sets, views, 1, 32, 32)
        found, wanted = (each(images, with_images=False) for each in (model, plain))
        torch.testing.assert_close(found.points, wanted.points)
        with torch.no_grad():
            model.eval()(images[:1], with_images=False)
        model.train()
        made.append(counters["stats"]["unique_graphs"])
    assert made[-1] == made[2]  # pairs, triples, and the rest
    assert not counters["graph_break"]
    assert not counters["unimplemented"]


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="there is no C++ compiler"
)
def test_code_of_a_compiler_learns_the_same(tmp_path):
    stage = {"steps": 2, "views": 3, "batch": 2, "lr": 1e-3}
    rows = {
        compiled: train_views(
            tmp_path / str(compiled),
            tiny_stages(stage, preset=LEAST, compile=compiled),
            phantom_source(),
        ).rows
        for compiled in (False, True)
    }
    assert counters["inductor"]
    assert not counters["unimplemented"]
    for one, other in zip(rows[False], rows[True], strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, rel=1e-4)
        assert other.rotation_error == pytest.approx(one.rotation_error, rel=1e-3)
