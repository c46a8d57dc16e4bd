"""The recipe of the CryoFastAR paper's simulated sets: its numbers, and that it runs."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from cesped.data.conventions import read_particle_table

RECIPE = Path(__file__).parents[2] / "benchmarks/recipes/cryofastar_sets/make_set.py"


@pytest.fixture(scope="module")
def recipe():
    spec = importlib.util.spec_from_file_location("make_set", RECIPE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_numbers_are_the_papers(recipe):
    assert recipe.PIXEL_SIZES_ANGST == {"5nrl": 4.00, "7sbr": 2.03, "7kzp": 2.54}
    words = recipe.command_of("7kzp", "x.cif", recipe.PARTICLES, None, None)
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert options == {
        "--name": "SIM-7KZP", "--structure": "x.cif", "--pixel-size": "2.54", "--box": "128",
        "--particles": "25000", "--snr": "0.1", "--max-shift": "10",
    }  # fmt: skip


def test_it_makes_an_entry(recipe, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(recipe, "BOX", 48)
    positions = np.random.default_rng(0).normal(scale=15, size=(200, 3))
    atoms = tmp_path / "atoms.npz"
    np.savez(atoms, coords=positions, elements=np.full(200, "C"))
    words = ["5nrl", str(atoms), "--particles", "8", "--benchmarkDir", str(tmp_path)]
    assert recipe.main(words) == 0
    assert "SIM-5NRL was simulated: 4 + 4 images of 48 x 48 px" in capsys.readouterr().out
    table = read_particle_table(tmp_path / "SIM-5NRL" / "particles_1.star")
    assert table.sampling_rate == 4.0
    assert np.abs(table.require_poses().origins_angst).max() <= 40.0
