"""Predicting the other half: the star file, and what is refused."""

import numpy as np
import pytest
import torch

from cesped.data.conventions import read_particle_table, read_predictions
from cesped.data.demo_entry import make_entry
from cesped.data.demo_specifications import DemoSpecification
from cesped.data.opening import open_entry
from cesped.errors import CheckpointError, OptionError
from cesped.inference.predict import chosen_device, predict_half, predict_particles
from cesped.io.star import read_star
from cesped.models.prediction import PosePrediction
from cesped.models.registry import PoseModel, build_model
from cesped.training.checkpoint import CheckpointCard, save_checkpoint
from cesped.training.prepared import (
    PreparedParticles,
    preprocessing_from_dict,
    preprocessing_from_recipe,
    preprocessing_to_dict,
)

TARGET = "TINY-PREDICTED"
PREPROCESSING = preprocessing_from_recipe(16, 0.25, "phase_flip", True)


@pytest.fixture(scope="module")
def entry_dir(session_benchmark_dir):
    make_entry(
        DemoSpecification(
            name=TARGET,
            symmetry="C1",
            n_particles_per_half=12,
            box=24,
            pixel_size_angst=6.0,
            n_atoms=120,
            radius_angst=50.0,
            resolution_angst=16.0,
        ),
        session_benchmark_dir,
    )
    return session_benchmark_dir


@pytest.fixture
def checkpoint(tmp_path):
    model = build_model(
        "image2sphere",
        "C1",
        encoder="compact",
        widths=[4, 4, 4],
        l_max=1,
        sphere_features=4,
        so3_features=2,
        projector_order=1,
        filter_order=0,
        grid_order=0,
    )
    card = CheckpointCard(model.config, TARGET, 0, preprocessing_to_dict(PREPROCESSING))
    return save_checkpoint(tmp_path / "model.ckpt", card, model.state_dict())


def table_of(entry_dir, halfset):
    entry = open_entry(TARGET, halfset, entry_dir)
    return read_particle_table(entry.star_path, entry.root_dir)


def test_predictions_keep_rows_ids_and_columns(checkpoint, entry_dir, tmp_path):
    path = predict_half(checkpoint, TARGET, 1, tmp_path / "out.star", entry_dir)
    truth = table_of(entry_dir, 1)
    ids, poses, has_confidence = read_predictions(path)
    assert list(ids) == list(truth.ids)
    assert has_confidence
    assert ((poses.confidence > 0) & (poses.confidence <= 1)).all()
    assert (poses.origins_angst == 0).all()  # not predicted, so no true origin is handed on
    particles = read_star(path)["particles"]
    assert {"rlnParticleFigureOfMerit", "rlnDefocusU"} <= set(particles.columns)
    assert len(read_star(path)["optics"]) == len(truth.optics)


def test_predicting_twice_gives_the_same_file(checkpoint, entry_dir, tmp_path):
    first = predict_half(checkpoint, TARGET, 1, tmp_path / "a.star", entry_dir)
    second = predict_half(checkpoint, TARGET, 1, tmp_path / "b.star", entry_dir)
    assert first.read_bytes() == second.read_bytes()


def test_predictions_follow_the_rows(entry_dir):
    """Rotations, shifts and confidence come back in the order of the table, batch or not."""

    class FirstPixel(PoseModel):
        """Tells images apart by their first pixel."""

        def loss(self, images, rotations, confidence): ...

        def predict(self, images):
            value = images[:, 0, 0, 0]
            count = len(images)
            return PosePrediction(torch.eye(3).expand(count, 3, 3), value, value[:, None] * 2)

        def __init__(self):
            super().__init__("C1")

    model = FirstPixel()
    particles = PreparedParticles(table_of(entry_dir, 1), PREPROCESSING)
    with pytest.raises(Exception, match="shifts_angst"):
        predict_particles(model, particles)
    model.predict = lambda images: PosePrediction(
        torch.eye(3).expand(len(images), 3, 3), images[:, 0, 0, 0], images[:, 0, 0, :2]
    )
    found = predict_particles(model, particles)
    images = particles.read(np.arange(len(particles)))
    torch.testing.assert_close(found.confidence, images[:, 0, 0, 0])
    torch.testing.assert_close(found.shifts_angst, images[:, 0, 0, :2])


def test_the_half_a_model_was_trained_on_is_refused(checkpoint, entry_dir, tmp_path):
    with pytest.raises(CheckpointError, match="knows the answers"):
        predict_half(checkpoint, TARGET, 0, tmp_path / "out.star", entry_dir)
    assert not (tmp_path / "out.star").exists()


def test_names_and_devices_are_checked(checkpoint, entry_dir, tmp_path):
    with pytest.raises(OptionError, match=r"does not end in \.star"):
        predict_half(checkpoint, TARGET, 1, tmp_path / "out.csv", entry_dir)
    with pytest.raises(OptionError, match="use cpu"):
        predict_half(checkpoint, TARGET, 1, tmp_path / "o.star", entry_dir, device="abacus")
    if not torch.cuda.is_available():
        with pytest.raises(OptionError, match="sees no GPU"):
            predict_half(checkpoint, TARGET, 1, tmp_path / "o.star", entry_dir, device="cuda")


def test_preparation_survives_a_checkpoint_and_memory(entry_dir):
    assert preprocessing_from_dict(preprocessing_to_dict(PREPROCESSING)) == PREPROCESSING
    table = table_of(entry_dir, 0)
    kept, read = (PreparedParticles(table, PREPROCESSING, limit) for limit in (1.0, 0.0))
    kept.load()
    read.load()
    assert kept.fits_in_memory
    assert not read.fits_in_memory
    rows = np.array([5, 0, 11])
    torch.testing.assert_close(kept.read(rows), read.read(rows))
    assert kept.read(rows).shape == (3, 1, 16, 16)


def test_a_gpu_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert chosen_device("cuda") == torch.device("cuda")
    assert chosen_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(OptionError, match="'cuda:2': there are 2 GPUs here, counted from cuda:0"):
        chosen_device("cuda:2")
