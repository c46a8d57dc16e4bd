"""Batches in parts, copies, lower precision, compiled parts: the same training in another way."""

import os
import shutil
from typing import ClassVar

import numpy as np
import pytest
import torch
from tiny_runs import TARGET, cnn_recipe, make_tiny_entry, tiny_recipe

from cesped.models import registry
from cesped.models.prediction import PosePrediction
from cesped.training.batch_augmentation import BatchAugmentation
from cesped.training.checkpoint import load_checkpoint, read_torch_file
from cesped.training.fit import train_half
from cesped.training.history import read_csv

NEEDS_COMPILER = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="there is no C++ compiler"
)
UNCHANGED = {
    "augmentation__max_turn_deg": 0.0,
    "augmentation__max_shift_px": 0.0,
    "augmentation__opposite_views": False,
}


@pytest.fixture(scope="module")
def entry_dir(session_benchmark_dir):
    make_tiny_entry(session_benchmark_dir)
    return session_benchmark_dir


@pytest.fixture
def plain_layer(monkeypatch):
    """A model without batch normalisation, whose gradient is the mean of those of the parts."""
    monkeypatch.setattr(registry, "_REGISTERED", dict(registry._REGISTERED))

    @registry.register_model("layer")
    class Layer(registry.PoseModel):
        """One layer."""

        batches: ClassVar = []

        def __init__(self, symmetry):
            super().__init__(symmetry)
            self.layer = torch.nn.Linear(256, 9)

        def loss(self, images, rotations, confidence):
            if torch.is_grad_enabled() and self.training:
                self.batches.append((images.clone(), rotations.clone()))
            found = self.layer(images.flatten(1)).view(-1, 3, 3)
            return (confidence * (found - rotations).square().mean(dim=(1, 2))).mean()

        def predict(self, images):
            left, _, right = torch.linalg.svd(self.layer(images.flatten(1)).view(-1, 3, 3))
            sign = torch.linalg.det(left @ right).sign()
            left = torch.cat([left[:, :, :2], left[:, :, 2:] * sign[:, None, None]], dim=2)
            return PosePrediction(left @ right, torch.ones(len(images)))

    return Layer


def weights_of(outcome):
    return load_checkpoint(outcome.checkpoint)[0].state_dict()


def test_a_batch_in_parts_gives_the_same_weights(plain_layer, entry_dir, tmp_path):
    whole, parts = (
        train_half(
            TARGET,
            0,
            tmp_path / str(count),
            cnn_recipe(model__name="layer", trainer__accumulate_grad_batches=count, **UNCHANGED),
            entry_dir,
        )
        for count in (1, 4)
    )
    assert whole.steps == parts.steps == 12
    assert len(plain_layer.batches[0][0]) == 8
    assert len(plain_layer.batches[-1][0]) == 2
    assert len(plain_layer.batches) == 12 + 4 * 12
    for name, value in weights_of(whole).items():
        torch.testing.assert_close(weights_of(parts)[name], value, atol=1e-5, rtol=1e-4)
    assert len(read_csv(tmp_path / "4" / "log.csv")) == 3
    losses = [[row.train_loss for row in read_csv(tmp_path / n / "log.csv")] for n in ("1", "4")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_copies_of_a_particle_are_augmented_each_by_itself(plain_layer, entry_dir, tmp_path):
    recipe = cnn_recipe(model__name="layer", augmentation__copies=4, trainer__max_steps=4)
    train_half(TARGET, 0, tmp_path, recipe, entry_dir)
    assert len(plain_layer.batches) == 4
    for images, rotations in plain_layer.batches:
        assert len(images) == 8
        for particle in (0, 1):  # two particles, each four times
            directions = rotations[particle::2, :, 2].abs()
            assert torch.allclose(directions, directions[:1].expand(4, 3), atol=1e-5)
            for a, b in ((0, 1), (1, 2), (2, 3)):
                first, second = images[particle::2][a], images[particle::2][b]
                assert not torch.allclose(first, second, atol=0.1)
                assert not torch.allclose(rotations[particle::2][a], rotations[particle::2][b])


@pytest.mark.parametrize("make_recipe", [tiny_recipe, cnn_recipe], ids=["image2sphere", "cnn"])
def test_bf16_learns_about_the_same(make_recipe, entry_dir, tmp_path):
    full, half = (
        train_half(TARGET, 0, tmp_path / p, make_recipe(trainer__precision=p), entry_dir)
        for p in ("32-true", "bf16-mixed")
    )
    assert {v.dtype for v in weights_of(half).values() if v.is_floating_point()} == {torch.float32}
    expected = [row.train_loss for row in read_csv(full.run_dir / "log.csv")]
    found = [row.train_loss for row in read_csv(half.run_dir / "log.csv")]
    assert found != expected  # it was used
    assert found == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(
    ("make_recipe", "backend"),
    [
        (cnn_recipe, "eager"),
        pytest.param(cnn_recipe, None, marks=[pytest.mark.slow, NEEDS_COMPILER]),
        pytest.param(tiny_recipe, "eager", marks=pytest.mark.slow),
        pytest.param(tiny_recipe, None, marks=[pytest.mark.slow, NEEDS_COMPILER]),
    ],
)
def test_compiled_parts_learn_the_same(make_recipe, backend, entry_dir, tmp_path, monkeypatch):
    """The translator sees all parts; to have it make code of them takes long, minutes for some."""
    compiled = []
    by_torch = torch.nn.Module.compile

    def watched(module):
        compiled.append(module)
        by_torch(module, **({"backend": backend} if backend else {}))

    monkeypatch.setattr(torch.nn.Module, "compile", watched)
    plain, fast = (
        train_half(TARGET, 0, tmp_path / str(on), make_recipe(trainer__compile=on), entry_dir)
        for on in (False, True)
    )
    assert compiled
    assert read_torch_file(plain.checkpoint)["weights"].keys() == weights_of(fast).keys()
    for name, value in weights_of(plain).items():
        torch.testing.assert_close(weights_of(fast)[name], value, atol=1e-3, rtol=1e-2)


@pytest.mark.gpu
def test_a_gpu_learns_with_all_of_it(entry_dir, tmp_path):
    recipe = tiny_recipe(
        trainer__accelerator="gpu",
        trainer__precision="bf16-mixed",
        trainer__compile=True,
        trainer__accumulate_grad_batches=2,
        augmentation__copies=2,
        optimizer__lr=0.01,
    )
    outcome = train_half(TARGET, 0, tmp_path, recipe, entry_dir)
    rows = read_csv(outcome.run_dir / "log.csv")
    assert np.isfinite([row.val_loss for row in rows]).all()
    assert rows[-1].train_loss < rows[0].train_loss


def test_origins_reach_a_model_that_learns_them(plain_layer, entry_dir, tmp_path):
    """In angstrom, and moved with the image: of an unmoved one they are those of the star file."""
    seen = []

    class WithShifts(plain_layer):
        learns_shifts = True

        def loss(self, images, rotations, confidence, shifts_angst):
            seen.append((rotations, shifts_angst))
            return super().loss(images, rotations, confidence)

    registry.register_model("with_shifts")(WithShifts)
    recipe = cnn_recipe(model__name="with_shifts", trainer__max_steps=4, **UNCHANGED)
    train_half(TARGET, 0, tmp_path, recipe, entry_dir)
    from cesped.data.conventions import read_particle_table
    from cesped.data.opening import open_entry

    entry = open_entry(TARGET, 0, entry_dir)
    poses = read_particle_table(entry.star_path, entry.root_dir).poses
    for rotations, shifts_angst in seen:
        gap = (rotations.numpy()[:, None] - poses.rotations).reshape(len(rotations), -1, 9)
        rows = np.abs(gap).max(axis=2).argmin(axis=1)
        np.testing.assert_allclose(shifts_angst.numpy(), poses.origins_angst[rows], atol=1e-4)
    recipe = cnn_recipe(model__name="with_shifts", trainer__max_steps=4)
    seen.clear()
    train_half(TARGET, 0, tmp_path / "moved", recipe, entry_dir)
    lengths = np.linalg.norm(seen[0][1].numpy(), axis=1)
    true_lengths = np.linalg.norm(poses.origins_angst, axis=1)
    assert (
        np.abs(lengths[:, None] - true_lengths).min(axis=1).max() > 0.1
    )  # shifted by up to 0.5 px


def test_augmentation_moves_origins_with_the_images():
    origins = torch.tensor([[1.0, 2.0]]).expand(6, 2)
    recipe = cnn_recipe(augmentation__max_shift_px=0.0).augmentation
    images, poses = torch.zeros(6, 1, 8, 8), torch.eye(3).expand(6, 3, 3)
    *_, moved = BatchAugmentation(recipe)(images, poses, origins, torch.Generator().manual_seed(0))
    assert torch.allclose(moved.norm(dim=1), origins.norm(dim=1))
    assert not torch.allclose(moved, origins)


def test_a_shift_head_learns_shifts_of_the_prepared_images(entry_dir, tmp_path):
    recipe = tiny_recipe(model__shift_head=True, trainer__max_steps=4)
    outcome = train_half(TARGET, 0, tmp_path, recipe, entry_dir)
    model, card = load_checkpoint(outcome.checkpoint)
    assert model.learns_shifts
    # 24 px of 6 A, of which a quarter is cut off, on 16 px
    assert card.model["pixel_size_angst"] == pytest.approx(6.0 * 18 / 16)
    assert card.pixel_size_angst == card.model["pixel_size_angst"]
    with torch.no_grad():
        found = model.predict(torch.randn(3, 1, 16, 16))
    assert found.shifts_angst.shape == (3, 2)
