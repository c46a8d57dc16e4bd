"""The recipe of "Simulated 10648" in one command, made tiny; its maps brought to the frame."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from fake_entry import fake_balls

from cesped.data.conventions import read_particle_table
from cesped.data.simulation.entry import SimulatedMap
from cesped.geometry.rotations import random_rotations
from cesped.io.mrc import read_volume, write_volume
from cesped.models.registry import build_model
from cesped.training.recipe import load_recipe

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "recipes" / "image2sphere"


@pytest.fixture(scope="module")
def recipe():
    sys.path.insert(0, str(FOLDER))  # as where the script is run
    try:
        path = FOLDER / "simulated_10648.py"
        specification = importlib.util.spec_from_file_location("simulated_10648", path)
        module = importlib.util.module_from_spec(specification)
        sys.modules["simulated_10648"] = module  # dataclasses look there
        specification.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(FOLDER))


def balls_map(symmetry, box, pixel_size_angst, turn=None):
    """Return soft balls sampled on a grid: the same density at any box and voxel size."""
    positions, weights = fake_balls(symmetry, n_balls=24, radius_angst=40.0)
    positions = positions if turn is None else positions @ turn.T
    axis = (np.arange(box) - box // 2) * pixel_size_angst
    volume = np.zeros((box, box, box))
    for (x, y, z), weight in zip(positions, weights, strict=True):
        profiles = (np.exp(-0.5 * ((axis - place) / 9.0) ** 2) for place in (z, y, x))
        volume += weight * np.einsum("z,y,x->zyx", *profiles)
    return volume.astype(np.float32)


@pytest.mark.parametrize(
    ("own_box", "own_angst", "box", "angst"),
    [
        (40, 4.0, 48, 3.0),
        (44, 3.0, 24, 6.0),
        (60, 3.0, 24, 5.0),
        (31, 5.0, 40, 3.5),
        (24, 6.0, 24, 6.0),
    ],
)
def test_a_map_in_the_frame_is_the_density_sampled_there(recipe, own_box, own_angst, box, angst):
    """Cut or padded, finer or coarser, of even and odd boxes: the origin voxel stays."""
    source = SimulatedMap(balls_map("D2", own_box, own_angst), own_angst, None, {"file": "a"})
    made = recipe.in_frame(source, box, angst)
    assert made.volume.shape == (box, box, box)
    assert made.pixel_size_angst == pytest.approx(angst, rel=0.03)
    expected = balls_map("D2", box, made.pixel_size_angst)
    assert np.corrcoef(made.volume.ravel(), expected.ravel())[0, 1] > 0.998
    moved_by_one = np.abs(made.volume - np.roll(expected, 1, axis=2)).max()
    assert np.abs(made.volume - expected).max() < 0.3 * moved_by_one


def test_the_axes_of_the_group_are_measured(recipe):
    volume = balls_map("D2", 32, 4.0)
    worst, mean = recipe.agreement(volume, "D2")
    assert 0.999 < worst <= mean <= 1.0
    turn = random_rotations(1, np.random.default_rng(1))[0]
    assert recipe.agreement(balls_map("D2", 32, 4.0, turn), "D2")[0] < 0.9
    assert recipe.agreement(volume, "C1") == (1.0, 1.0)


def test_a_turned_map_is_refused(recipe, tmp_path):
    write_volume(tmp_path / "c1.mrc", balls_map("C1", 32, 4.0), 4.0)
    words = ["--tiny", "--map", str(tmp_path / "c1.mrc"), "--benchmarkDir", str(tmp_path / "b")]
    with pytest.raises(SystemExit, match="axes of D2"):
        recipe.main([*words, "--outdir", str(tmp_path / "out")])


def test_one_command_from_a_map_to_figures(recipe, tmp_path, capsys):
    write_volume(tmp_path / "own.mrc", balls_map("D2", 48, 6.0), 6.0)
    words = ["--tiny", "--map", str(tmp_path / "own.mrc"), "--benchmarkDir", str(tmp_path / "b")]
    assert recipe.main([*words, "--outdir", str(tmp_path / "out")]) == 0
    table = capsys.readouterr().out
    assert "**simulated** (tiny)" in table
    assert "Simulated 10648 | 6.0" in table
    assert (tmp_path / "out" / "simulated_10648.md").read_text() == table
    result = json.loads((tmp_path / "out" / "simulated_10648.json").read_text())
    assert result["symmetry_worst"] > 0.99
    assert 0 < result["mean_deg"] < 130
    assert (result["particles"], result["steps"], result["images"]) == (24, 4, 32)
    provenance = json.loads((tmp_path / "out" / "half0" / "provenance.json").read_text())
    assert provenance["drawn"]["snr"] == pytest.approx(result["snr"])
    assert provenance["drawn"]["noise"] == "white"
    # training images are of the map, the strength and the optics of the entry
    folder = tmp_path / "b" / "SIM-10648-drawn"
    found = read_particle_table(folder / "particles_1.star", folder)
    assert found.image_size == result["box"] == len(read_volume(folder / "truth.mrc")[0])
    low, high = provenance["recipe"]["simulation"]["defocus_angst"]
    mean = (found.ctf.defocus_u_angst + found.ctf.defocus_v_angst) / 2
    assert low <= mean.min() < mean.max() <= high


def test_each_size_is_the_plain_baseline(recipe):
    """The paper's head and decoding; only the encoder and the images differ in size."""
    paper = build_model("image2sphere", "D2", "paper", encoder="compact").config
    for name, size in recipe.SIZES.items():
        if name == "tiny":
            continue
        chosen = load_recipe(FOLDER / size.recipe, size.settings)
        assert chosen.model.preset in ("paper", "small")
        options = {**chosen.model.options}
        if chosen.model.preset == "small":
            for key in ("l_max", "grid_order", "filter_order", "label_smoothing", "decoding"):
                assert options[key] == paper[key], key
            assert options["label_width_deg"] == 0.0
        assert chosen.augmentation.max_turn_deg == 0.0
        assert not chosen.augmentation.opposite_views
        assert not chosen.pretraining.projections
