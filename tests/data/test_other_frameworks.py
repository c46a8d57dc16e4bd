"""The code of the documents on the dataset runs, with numpy for frameworks that are not here."""

import importlib.util
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import starfile
from fake_entry import write_fake_entry

DOCS = Path(__file__).resolve().parents[2] / "docs"


def python_of(name):
    """Return the Python blocks of a document, on an entry FAKE in place of DEMO."""
    text = (DOCS / name).read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    return [block.replace('"DEMO"', '"FAKE"') for block in blocks]


BLOCKS = python_of("other_frameworks.md")


def value_and_grad(function, step=1e-3):
    """Finite differences in the first argument: exact for a quadratic function."""

    def both(weights, *others):
        weights = np.asarray(weights, dtype=np.float64)
        gradient = np.empty_like(weights)
        for place in np.ndindex(weights.shape):
            shift = np.zeros_like(weights)
            shift[place] = step
            higher, lower = function(weights + shift, *others), function(weights - shift, *others)
            gradient[place] = (higher - lower) / (2 * step)
        return function(weights, *others), gradient

    return both


def stand_in_for_jax():
    jax = types.ModuleType("jax")
    jax.numpy, jax.jit, jax.value_and_grad = np, lambda function: function, value_and_grad
    return {"jax": jax, "jax.numpy": np}


class TensorSpec:
    def __init__(self, shape, kind):
        self.shape, self.kind = shape, kind

    def check(self, array):
        assert len(array.shape) == len(self.shape)
        assert all(want in (None, got) for want, got in zip(self.shape, array.shape, strict=True))
        assert array.dtype.kind == "U" if self.kind is str else array.dtype == self.kind


class Pipeline:
    def __init__(self, generator, signature):
        self.generator, self.signature = generator, signature

    def prefetch(self, _):
        return self

    def __iter__(self):
        for batch in self.generator():
            assert batch.keys() == self.signature.keys()
            for name, spec in self.signature.items():
                spec.check(batch[name])
            yield batch


def stand_in_for_tensorflow():
    tensorflow = types.ModuleType("tensorflow")
    tensorflow.TensorSpec = TensorSpec
    tensorflow.float32, tensorflow.int64, tensorflow.string = np.float32, np.int64, str
    tensorflow.data = types.SimpleNamespace(
        Dataset=types.SimpleNamespace(
            from_generator=lambda generator, output_signature: Pipeline(generator, output_signature)
        )
    )
    return {"tensorflow": tensorflow}


@pytest.fixture
def frameworks(monkeypatch):
    for name, make in (("jax", stand_in_for_jax), ("tensorflow", stand_in_for_tensorflow)):
        if importlib.util.find_spec(name) is None:
            for module, stand_in in make().items():
                monkeypatch.setitem(sys.modules, module, stand_in)


@pytest.mark.usefixtures("frameworks")
def test_the_document_runs_from_top_to_bottom(benchmark_dir, tmp_path, monkeypatch):
    """On a small entry of another name, since only the size of DEMO is in the way."""
    write_fake_entry(benchmark_dir, n_particles=72)
    monkeypatch.chdir(tmp_path)
    scope = {}
    assert len(BLOCKS) == 7
    for block in BLOCKS:
        exec(block, scope)
    assert scope["losses"][-1] < scope["losses"][0]
    np.testing.assert_allclose(scope["jax_losses"], scope["losses"], rtol=1e-3)
    assert scope["n_seen"] == 72
    saved = starfile.read(tmp_path / "predictions_1.star")["particles"]
    assert len(saved) == 72
    assert saved["rlnParticleFigureOfMerit"].tolist() == [1.0] * 72
    assert scope["images"].shape == (72, 32, 32)
    expected = scope["train"].batch(range(72)).images[:, 0]
    np.testing.assert_allclose(scope["images"], expected, atol=2e-5)


def test_the_viewing_directions_that_the_document_saves_are_those_of_the_model(
    benchmark_dir, tmp_path, monkeypatch
):
    """With the truth for a model, the angles it writes have the true viewing directions."""
    entry = write_fake_entry(benchmark_dir)
    monkeypatch.chdir(tmp_path)
    truth = entry.poses[1].rotations[:, :, 2]
    scope = {"model": types.SimpleNamespace(predict_directions=lambda _: truth)}
    saving = next(block for block in BLOCKS if "saveMd" in block)
    for block in (BLOCKS[0], BLOCKS[1], saving):
        exec(block, scope)
    found = scope["other"].particles.poses.rotations[:, :, 2]
    np.testing.assert_allclose(found, truth, atol=1e-6)


def test_the_python_of_the_document_on_preparing_runs(benchmark_dir, tmp_path, monkeypatch):
    from cesped.cli.main import main

    write_fake_entry(benchmark_dir)
    monkeypatch.chdir(tmp_path)
    assert main(["preprocess", "FAKE", "--out", "prepared/DEMO"]) == 0
    (block,) = python_of("preparing.md")
    scope = {}
    exec(block, scope)
    assert scope["img"].shape == (1, 32, 32)
    assert scope["iid"] == "000001@particles_0.mrcs"


def test_the_document_on_the_dataset_runs_and_says_what_is_so(benchmark_dir, tmp_path, monkeypatch):
    write_fake_entry(benchmark_dir, n_particles=36)
    monkeypatch.chdir(tmp_path)
    scope = {}
    for block in python_of("dataset.md"):
        exec(block, scope)
    assert scope["img"].shape == (1, 48, 48)
    assert scope["metadata"]["pixel_size_angst"].shape == (32,)
    assert scope["dataset"].sampling_rate == pytest.approx(3.0 * 24 / 48)
    same = scope["same"]
    assert (same.ctf_correction, same.image_size_factor_for_crop) == ("none", 0.0)
    assert len(starfile.read(tmp_path / "predictions_1.star")["particles"]) == 36
