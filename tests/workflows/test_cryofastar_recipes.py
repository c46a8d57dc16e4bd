"""The recipes that train CryoFastAR on one structure and set its figures out, at their least."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cesped.geometry.rotations import random_rotations, rotation_angle_deg
from cesped.io.mrc import write_volume
from cesped.models.cryofastar.config import PRESETS, CryoFastARConfig
from cesped.models.cryofastar.model import CryoFastAR
from cesped.models.cryofastar.weights import facts_of_weights
from cesped.physics.resampling import resize_band_limited
from cesped.physics.torch_projection import TorchProjector
from cesped.training.views.recipe import load_views_recipe

RECIPES = Path(__file__).parents[2] / "benchmarks/recipes/cryofastar"
LEAST = CryoFastARConfig(
    encoder_width=16,
    encoder_depth=1,
    encoder_heads=2,
    decoder_width=16,
    decoder_depth=1,
    decoder_heads=2,
    neck_width=8,
)


@pytest.fixture
def recipe(monkeypatch):
    """Return what imports a module of the recipes, which import each other."""
    monkeypatch.syspath_prepend(str(RECIPES))
    monkeypatch.setitem(PRESETS, "least", LEAST)
    return pytest.importorskip


@pytest.fixture
def atoms(tmp_path):
    path = tmp_path / "atoms.npz"
    positions = np.random.default_rng(0).normal(scale=40, size=(300, 3))
    np.savez(path, coords=positions, elements=np.full(300, "C"))
    return path


@pytest.fixture
def blob(tmp_path):
    """Return a map without symmetry, of 32 voxels a side."""
    axis = np.arange(32) - 16.0
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    one = np.exp(-((x - 4) ** 2 + (y + 3) ** 2 / 2 + z**2 / 3) / 20)
    other = np.exp(-((x + 3) ** 2 + y**2 + (z - 5) ** 2) / 10)
    write_volume(tmp_path / "blob.mrc", (one + other).astype(np.float32), 12.0)
    return tmp_path / "blob.mrc"


def least_weights(path):
    torch.manual_seed(0)
    model = CryoFastAR("least")
    for head in (model.reference_head, model.target_head):
        torch.nn.init.normal_(head.points.weight, std=0.3)
    model.save(path)
    return path


def test_a_ball_of_rotations_is_uniform_in_it(recipe):
    drawn = recipe("drawn_views")
    generator = np.random.default_rng(0)
    angles = rotation_angle_deg(drawn.ball_of_rotations(40_000, 60.0, generator))
    assert angles.max() <= 60.0 + 1e-6
    inside = rotation_angle_deg(random_rotations(400_000, generator))
    inside = inside[inside < 60.0]
    np.testing.assert_allclose(
        np.quantile(angles, [0.1, 0.5, 0.9]), np.quantile(inside, [0.1, 0.5, 0.9]), rtol=0.02
    )
    assert rotation_angle_deg(drawn.ball_of_rotations(5, 0.0, generator)).max() < 1e-3


def test_one_image_tells_something_only_while_the_reference_is_near_one_orientation(recipe):
    """The reason for the curriculum: E[R_ref^T R | R] is nothing for uniform references."""
    ball = recipe("drawn_views").ball_of_rotations
    means = [
        np.linalg.norm(ball(20_000, largest, np.random.default_rng(1)).mean(axis=0))
        for largest in (10.0, 90.0, 180.0)
    ]
    assert means[0] > 1.7  # sqrt(3) for one orientation
    assert 0.8 < means[1] < 1.4
    assert means[2] < 0.03


def test_the_small_map_is_what_remains_of_the_large_one_in_cropped_images(recipe, tmp_path):
    drawn = recipe("drawn_views")
    axis = np.arange(48) - 24.0
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    volume = np.exp(-((x - 4) ** 2 + (y + 3) ** 2 / 2 + z**2 / 3) / 30).astype(np.float32)
    write_volume(tmp_path / "large.mrc", volume, 2.0)
    small, pixel_size = drawn.map_at(tmp_path / "large.mrc", 24)
    assert (small.shape, pixel_size) == ((24, 24, 24), 4.0)
    rotations = random_rotations(4, np.random.default_rng(0))
    ours = TorchProjector(small, 4.0).project(rotations)
    wanted = resize_band_limited(TorchProjector(volume, 2.0).project(rotations), 24)
    for one, other in zip(ours.flatten(1), wanted.flatten(1), strict=True):
        assert np.corrcoef(one, other)[0, 1] > 0.995


def test_a_training_in_pieces_is_the_training_in_one(recipe, blob, tmp_path):
    two_views = recipe("two_views")
    steps = ["--batch", "2", "--views", "3", "6", "--box", "32", "--preset", "least"]
    noisy = ["--snr", "1", "4", "--max-shift", "2", "--ctf", "--check-every", "2"]
    whole = [str(blob), str(tmp_path / "whole"), *steps, *noisy, "--steps", "4"]
    curve = two_views.main(whole)
    assert [row["step"] for row in curve] == [2, 4]
    assert curve[-1]["targets"] == 2 * (2 * 2 + 1 * 5)  # two sets of 3, then one of 6, twice
    assert {name for name in curve[-1] if name.startswith("rotation_error")} == {
        f"rotation_error_{views}_views" for views in (2, 3, 6, 8)
    }
    assert 2.0 < curve[-1]["best_constant_2_views"] < 2.6
    assert curve[-1]["rotation_error_8_views"] < 2.83
    pixel_size = recipe("drawn_views").map_at(blob, 32)[1]
    facts = facts_of_weights(tmp_path / "whole" / "weights.safetensors")
    assert facts["pixel_sizes_angst"] == pytest.approx([pixel_size] * 2)
    parts = [str(blob), str(tmp_path / "parts"), *steps, *noisy, "--steps", "4"]
    for _ in range(4):
        again = two_views.main([*parts, "--piece-minutes", "0"])  # a step each
    assert len(again) == 2
    one, other = (CryoFastAR.load(tmp_path / run / "weights.safetensors").state_dict()
                  for run in ("whole", "parts"))  # fmt: skip
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_reference_widens_only_where_the_error_is_low(recipe, blob, tmp_path):
    two_views = recipe("two_views")
    words = [str(blob), str(tmp_path / "out"), "--batch", "1", "--preset", "least", "--steps", "3"]
    options = two_views.parsed([*words, "--reference-within", "30", "--widen", "5"])
    options.out.mkdir()
    volume, pixel_size = recipe("drawn_views").map_at(blob, 32)
    source = recipe("drawn_views").DrawnViews(volume, pixel_size)
    training = two_views.Training(options)
    training.learn(source)
    assert training.place["within_deg"] == 30.0
    options.tau = 10.0
    training.learn(source)
    assert training.place["within_deg"] == 35.0


def test_errors_against_views_and_noise(recipe, atoms, tmp_path):
    views = recipe("views_and_noise")
    words = [str(tmp_path / "out"), "--weights", str(least_weights(tmp_path / "w.safetensors")),
             "--structure", str(atoms), "--image-size", "16", "--particles", "12", "--box", "32",
             "--snr", "1", "--views", "4", "8", "--device", "cpu"]  # fmt: skip
    rows = views.main(words)
    found = [(row["snr"], row["views"], row["particles"]) for row in rows]
    assert found == [(1, 4, 12), (1, 8, 12)]
    for row in rows:
        assert 0 < row["rotation_error"] <= row["rotation_error_own_reference"] + 1e-4
    rows = views.main([*words, "--snr", "1", "4"])  # what is there is kept
    assert [row["snr"] for row in rows] == [1, 1, 4, 4]
    written = (tmp_path / "out" / "errors.md").read_text()
    assert f"| 4 | {rows[2]['rotation_error']:.3f} | {rows[3]['rotation_error']:.3f} |" in written
    assert (tmp_path / "out" / "errors.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_of_an_entry(recipe, tmp_path, monkeypatch):
    """The evaluation is another test's matter: here it is one that was written before."""
    from fake_entry import write_fake_entry

    tables = recipe("pose_tables")
    write_fake_entry(tmp_path, n_particles=16)
    entry = next(path.parent.name for path in tmp_path.glob("*/particles_0.star"))
    run, scored = tables.cesped, []
    monkeypatch.setattr(
        "cesped.report.abinitio_page.write_abinitio_page",
        lambda path, found: Path(path).write_text("a page"),
    )

    def without_evaluation(words):
        if words[0] != "evaluate-abinitio":
            return run(words)
        scored.append(words)
        rows = [
            {"poses": poses, "half": half, "metric": metric, "masked": masked, "value": 0.5}
            for poses, half in (("random", "all"), ("prediction", "0"), ("prediction", "all"))
            for _, metric, masked, _ in tables.FIGURES[:-1]
        ]
        scores = Path(words[words.index("--outdir") + 1])
        scores.mkdir(exist_ok=True)
        (scores / "metrics.json").write_text(json.dumps({"cesped": {"rows": rows}}))
        return 0

    monkeypatch.setattr(tables, "cesped", without_evaluation)
    monkeypatch.setitem(tables.PAPER, entry, (0.06, 0.6, None, "01:22"))
    weights = least_weights(tmp_path / "w.safetensors")
    words = [str(tmp_path / "out"), entry, "--weights", str(weights), "--benchmarkDir",
             str(tmp_path), "--device", "cpu", "--views", "8"]  # fmt: skip
    (row,) = tables.main(words)
    assert row["particles"] == 32  # both halves
    assert row["rotation error"] == 0.5
    assert row["Å at FSC 0.143"] is None
    again = tables.main(words)[0]
    assert again["seconds"] == row["seconds"]  # what was there took no time
    table = (tmp_path / "out" / "table.md").read_text()
    assert f"| {entry} | 32 | 0.5000 | 0.5000 | 0.500 | 0.50 | – | 00:" in table
    assert "| *the paper, all its particles* | | 0.0600 | – | 0.600 | – | – | 01:22 |" in table
    assert scored[0][1:3] == [entry, str(tmp_path / "out" / entry / "found/poses.star")]


def test_the_stages_of_the_gpu_recipe_are_understood():
    clean, noisy = (load_views_recipe(RECIPES / f"{name}.yaml") for name in ("clean", "noisy"))
    for recipe in (clean, noisy):  # neither image tells anything where all begins uniform
        assert recipe.stages[0].reference_within_deg == (0, 180)
        assert recipe.data.image_size == 128
    assert clean.stages[0].defocus_angst is None
    assert [stage.views for stage in noisy.stages] == [8, 32]
    assert noisy.stages[0].max_shift_px == 10
