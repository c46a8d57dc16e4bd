"""The small network learns 64 particles by heart, to below the spacing of its grid."""

import numpy as np
import pytest
import torch

from cesped.data.conventions import read_particle_table
from cesped.data.demo_entry import make_entry
from cesped.data.demo_specifications import DemoSpecification
from cesped.geometry.symmetry import point_group, symmetric_distance_deg
from cesped.training.batches import split_rows
from cesped.training.checkpoint import load_checkpoint
from cesped.training.fit import train_half
from cesped.training.prepared import PreparedParticles, preprocessing_from_dict
from cesped.training.recipe import load_recipe

BY_HEART = {
    "data.image_size": 24,
    "data.batch_size": 64,
    "data.train_share": 64 / 66,
    "model.widths": [16, 32, 64],
    "model.l_max": 4,
    "augmentation.max_turn_deg": 0,
    "augmentation.max_shift_px": 0,
    "augmentation.opposite_views": False,
    "optimizer.lr": 0.01,
    "trainer.average_decay": 0,
    "trainer.max_steps": 50,
    "trainer.steps_per_round": 25,
}


def learn_by_heart(symmetry, benchmark_dir, run_dir, **settings):
    """Return the errors of the 64 particles [degrees] and the spacing of the grid [degrees]."""
    name = f"LEARN-{symmetry}"
    folder = make_entry(
        DemoSpecification(
            name=name,
            symmetry=symmetry,
            n_particles_per_half=66,
            box=32,
            pixel_size_angst=6.0,
            n_atoms=200,
            radius_angst=60.0,
            resolution_angst=15.0,
        ),
        benchmark_dir,
    )
    values = {key.replace("__", "."): value for key, value in settings.items()}
    recipe = load_recipe("demo", BY_HEART, values)
    outcome = train_half(name, 0, run_dir, recipe, benchmark_dir)
    model, card = load_checkpoint(outcome.checkpoint)
    table = read_particle_table(folder / "particles_0.star", folder)
    rows, _ = split_rows(66, 64 / 66, recipe.data.split_seed)
    assert len(rows) == 64
    images = PreparedParticles(table, preprocessing_from_dict(card.preprocessing)).read(rows)
    with torch.no_grad():
        found = model.predict(images).rotations.double().numpy()
    truth = table.poses.rotations[rows]
    return symmetric_distance_deg(truth, found, point_group(symmetry)), model.grid.inplane_step_deg


@pytest.mark.parametrize("symmetry", ["C1", pytest.param("D2", marks=pytest.mark.slow)])
def test_64_particles_are_learned_to_below_the_grid_spacing(symmetry, tmp_path):
    errors_deg, spacing_deg = learn_by_heart(symmetry, tmp_path, tmp_path / "run")
    assert spacing_deg == pytest.approx(15.0)
    assert errors_deg.max() < spacing_deg
    assert errors_deg.mean() < spacing_deg / 2


@pytest.mark.gpu
def test_a_gpu_learns_them_in_bf16(tmp_path):
    settings = {"trainer__accelerator": "gpu", "trainer__precision": "bf16-mixed"}
    errors_deg, spacing_deg = learn_by_heart("C1", tmp_path, tmp_path / "run", **settings)
    assert np.median(errors_deg) < spacing_deg
