"""The scripts that simulate the paper's D2 entry and take the strong recipe apart, made tiny."""

import csv
import importlib.util
import subprocess
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch
from fake_entry import apply_ctf, fake_ctf, fake_poses, write_stack, write_star_31

from cesped.data.conventions import read_particle_table
from cesped.data.demo_entry import make_entry as make_demo
from cesped.data.demo_specifications import DemoSpecification
from cesped.geometry.rotations import random_rotations
from cesped.io.mrc import write_volume
from cesped.io.star_writer import write_star
from cesped.models.registry import build_model
from cesped.physics.projection import Projector
from cesped.physics.resampling import resize_band_limited
from cesped.training.checkpoint import CheckpointCard, save_checkpoint
from cesped.training.prepared import preprocessing_from_recipe, preprocessing_to_dict
from cesped.workflows.learning import read_recipe

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "recipes" / "image2sphere"
RECIPES = ("--plain", str(FOLDER / "cpu_plain.yaml"), "--strong", str(FOLDER / "cpu_strong.yaml"))
TINY = {
    "data.image_size": 16,
    "data.batch_size": 8,
    "model.widths": [4, 4, 4],
    "model.sphere_features": 4,
    "model.so3_features": 2,
    "model.projector_order": 1,
    "model.filter_order": 1,
    "model.grid_order": 1,
    "trainer.steps_per_round": 1,
    "pretraining.max_steps": 1,
}


def script(name):
    specification = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def make_entry():
    return script("make_entry")


@pytest.fixture(scope="module")
def ablation():
    return script("ablation")


@pytest.fixture(scope="module")
def source(make_entry):
    return make_entry.phantom(48, 3.0, "D2", 50.0, 8.0, 3)


def test_projections_of_the_binned_map_are_binned_projections(make_entry, source):
    small = make_entry.binned(source, 24)
    assert small.pixel_size_angst == 6.0
    rotations = random_rotations(8, np.random.default_rng(0))
    wanted = resize_band_limited(Projector(source.volume).project(rotations), 24)
    found = Projector(small.volume).project(rotations)
    ratio = 48 / 24  # a sum over half as many voxels
    for one, other in zip(found * ratio, wanted, strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.99
        assert float(one.std() / other.std()) == pytest.approx(1.0, abs=0.05)


def test_binning_raises_the_snr_by_the_noise_that_it_cuts(make_entry, source):
    """Of signal within the band of 24 px nothing is lost, and 3 of 4 parts of the noise."""
    found = make_entry.snr_after_binning(source, 24, 0.1, 0)
    assert 0.3 < found <= 0.4
    assert make_entry.snr_after_binning(source, 48, 0.1, 0) == pytest.approx(0.1)


@pytest.mark.relion
def test_relion_s_factor_multiplies_the_amplitude_of_the_signal(make_entry, tmp_path):
    """What makes the SNR of the paper's entry four times that of its input, not twice."""
    rng, count, box = np.random.default_rng(0), 12, 48
    volume = make_entry.phantom(box, 3.0, "C1", 50.0, 10.0, 3).volume
    poses = fake_poses(count, rng, shift_angst=0.0)
    ctf = fake_ctf(count, rng)
    clean = apply_ctf(Projector(volume).project(poses.rotations).numpy(), ctf)
    noise = 2 * clean.std() * rng.normal(size=clean.shape)
    write_volume(tmp_path / "map.mrc", volume, 3.0)
    write_stack(tmp_path / "in.mrcs", (clean + noise).astype(np.float32))
    write_star_31(tmp_path / "in.star", poses, ctf, box)
    table = read_particle_table(tmp_path / "in.star", tmp_path)
    write_star(tmp_path / "sim.star", {"particles": table.particles})  # RELION reads one table
    strengths = []
    for factor in (1, 2):
        words = [
            *("relion_project", "--i", "map.mrc", "--ang", "in.star", "--ang_simulate", "sim.star"),
            *("--simulate", "--adjust_simulation_SNR", str(factor), "--ctf", "--angpix", "3.0"),
            *("--o", f"out{factor}"),
        ]
        subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
        images = mrcfile.read(tmp_path / f"out{factor}.mrcs").astype(np.float64)
        terms = np.stack([clean.ravel(), noise.ravel(), np.ones(clean.size)], axis=1)
        strengths.append(np.linalg.lstsq(terms, images.ravel(), rcond=None)[0])
    assert strengths[1][0] / strengths[0][0] == pytest.approx(2.0, rel=0.02)
    assert strengths[1][1] == pytest.approx(1.0, abs=0.02)  # the noise stays as it is


def test_each_ingredient_switched_off_is_as_in_the_plain_recipe(ablation):
    for plain_name, strong_name in (RECIPES[1::2], ("paper", "strong")):
        plain, strong = read_recipe(plain_name), read_recipe(strong_name)
        for ingredient, names in ablation.INGREDIENTS.items():
            off = read_recipe(strong_name, (), ablation.switched_off(plain, ingredient))
            for name in names:
                assert ablation.setting(off, name) == ablation.setting(plain, name)
                assert ablation.setting(off, name) != ablation.setting(strong, name), name
        for recipe in (plain, strong):
            fitted = ablation.with_steps(recipe, 30)
            ahead = fitted.pretraining
            on_projections = ahead.max_steps if ahead.projections else 0
            assert fitted.trainer.max_steps + on_projections == 30


def test_both_scripts_from_map_to_table(make_entry, ablation, tmp_path, capsys):
    entry = ["--name", "SIM-tiny", "--box", "48", "--pixel-size", "3", "--radius", "50"]
    entry += ["--resolution", "8", "--binned-box", "24", "--particles", "16", "--input-snr", "1"]
    bench = ["--benchmarkDir", str(tmp_path / "bench")]
    assert make_entry.main([*entry, *bench]) == 0
    assert "16 + 16 particles of 24 px at 6 angstrom/px, SNR" in capsys.readouterr().out
    words = ["--target", "SIM-tiny", "--steps", "2", "--particles", "8", *RECIPES, *bench]
    words += [word for key, value in TINY.items() for word in ("--set", f"{key}={value}")]
    words += ["--outdir", str(tmp_path / "out"), "--only", "plain", "--only", "strong"]
    with pytest.raises(SystemExit, match="decoding below the grid"):
        ablation.main([*words, "--set", "model.decoding=mean"])  # of the plain recipe as well
    words += ["--only", "with pre-training", "--set", "pretraining.projections=16"]
    assert ablation.main(words) == 0
    with (tmp_path / "out" / "ablation.csv").open() as file:
        rows = {row["variant"]: row for row in csv.DictReader(file)}
    off = [f"without {name}" for name in ablation.AT_TEST_TIME]
    assert list(rows) == ["plain", "strong", *off, "with pre-training"]
    assert all(0 < float(row["mean_deg"]) < 130 for row in rows.values())
    assert (tmp_path / "out" / "ablation.md").read_text().count("\n") == len(rows) + 2
    kept = tmp_path / "out" / "seed0" / "strong" / "model.ckpt"
    before = kept.stat().st_mtime_ns
    assert ablation.main(words) == 0  # goes on where it stood: at the end
    assert kept.stat().st_mtime_ns == before
    with (tmp_path / "out" / "ablation.csv").open() as file:
        again = {row["variant"]: row for row in csv.DictReader(file)}
    assert all(float(again[name]["cpu_s"]) >= float(row["cpu_s"]) for name, row in rows.items())
    assert (kept.parents[1] / "with_pre-training" / "pretraining" / "run" / "model.ckpt").is_file()


def test_the_table_of_several_seeds_says_how_far_apart_they_came_out(ablation):
    rows = [
        ablation.figures("strong", seed, np.array([4.0, 12.0 + seed]), 9, 1.0) for seed in (0, 2)
    ]
    assert ablation.as_markdown(rows[:1], header=False) == (
        "| strong | 8.0 | 8.0 | 50.0% | 50.0% | 1 |\n"
    )
    assert "| strong | 8.5 (8.0 to 9.0) |" in ablation.as_markdown(rows)


def test_additions_are_off_in_the_strong_recipe(ablation):
    for name in ("strong", RECIPES[3]):
        recipe = read_recipe(name)
        for settings in ablation.ADDITIONS.values():
            for dotted, value in settings.items():
                assert ablation.setting(recipe, dotted) != value


def test_a_map_of_one_s_own(make_entry, source, tmp_path):
    write_volume(tmp_path / "own.mrc", source.volume, 3.0)
    words = ["--name", "SIM-own", "--map", str(tmp_path / "own.mrc"), "--particles", "4"]
    assert make_entry.main([*words, "--benchmarkDir", str(tmp_path)]) == 0
    table = read_particle_table(tmp_path / "SIM-own" / "particles_0.star", tmp_path / "SIM-own")
    assert (len(table), table.image_size, table.sampling_rate) == (4, 48, 3.0)


def test_settings_are_those_of_the_model(ablation):
    recipe = read_recipe("strong")
    assert ablation.setting(recipe, "model.l_max") == 12
    assert ablation.setting(recipe, "model.filter_order") == 3
    assert torch.tensor(ablation.setting(recipe, "model.sigmas_px")).numel() == 6


def test_a_model_on_other_samplings_of_its_particle(tmp_path, capsys, monkeypatch):
    cross = script("cross_sample")
    tiny = DemoSpecification(
        name="TINY", symmetry="D2", n_particles_per_half=4, box=24, pixel_size_angst=6.0,
        n_atoms=240, radius_angst=50.0, resolution_angst=16.0,
    )  # fmt: skip
    make_demo(tiny, tmp_path)
    monkeypatch.setattr(cross, "DEMO_SPECIFICATIONS", {"TINY": tiny})
    monkeypatch.setattr(cross, "SAMPLINGS", ((36, 4.0), (40, 4.4)))
    model = build_model(
        "image2sphere", "D2", encoder="compact", widths=[4, 4, 4], l_max=1, sphere_features=4,
        so3_features=2, projector_order=1, filter_order=0, grid_order=0,
    )  # fmt: skip
    preprocessing = preprocessing_to_dict(preprocessing_from_recipe(16, 0.25, "phase_flip", True))
    card = CheckpointCard(model.config, "TINY", 0, preprocessing, pixel_size_angst=6.75, box=24)
    save_checkpoint(tmp_path / "m.ckpt", card, model.state_dict())
    words = ["--ckpt_path", str(tmp_path / "m.ckpt"), "--benchmarkDir", str(tmp_path)]
    assert cross.main([*words, "--particles", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.count("±") for line in lines[2:]] == [1, 3, 3]
    # noise of the same power per area, signal spread over the frame
    assert cross.resampled(tiny, 36, 4.0, 4).snr == pytest.approx(tiny.snr * (4 / 6) ** 2)
