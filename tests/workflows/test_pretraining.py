"""Learning on projections of the half's own map: of that half alone, and of nothing else."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import mrcfile
import numpy as np
import pytest
import starfile
import torch
from fake_entry import project_balls, write_fake_entry
from killed_campaign import RECIPE as KILLED_RECIPE

from cesped.data.conventions import read_particle_table
from cesped.data.opening import open_entry
from cesped.errors import MetadataError, OptionError
from cesped.evaluation.stamps import sha256_of_file
from cesped.physics.noise_spectrum import NoiseSpectrum, colour_noise
from cesped.training.checkpoint import load_checkpoint
from cesped.training.recipe import load_recipe
from cesped.vocabulary import CtfCorrection
from cesped.workflows.learning import train_and_predict
from cesped.workflows.pretraining import pretrain, project_half, recipe_on_projections

RECIPE = {
    **KILLED_RECIPE,
    "pretraining.projections": 24,
    "pretraining.lr": 0.001,
}


def recipe(**changes):
    return load_recipe("demo", RECIPE, changes)


@pytest.fixture
def entry(tmp_path):
    return write_fake_entry(tmp_path / "bench", n_particles=60, box=24, snr=2.0)


def poison(entry, halfset, with_noise=True):
    """Give half an entry other poses and optics, and images of nothing."""
    rng = np.random.default_rng(99)
    star = entry.star(halfset)
    tables = starfile.read(star)
    for angle in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"):
        tables["particles"][angle] = rng.uniform(-179, 179, len(tables["particles"]))
    tables["particles"]["rlnDefocusU"] *= 2
    starfile.write(tables, star, overwrite=True)
    if not with_noise:
        return
    with mrcfile.open(star.with_suffix(".mrcs"), "r+") as stack:
        stack.data[:] = 1000 * rng.normal(size=stack.data.shape)


def learned(entry, folder, **changes):
    outcome = train_and_predict(
        entry.name, 0, folder, recipe(**changes), benchmark_dir=entry.benchmark_dir
    )
    return load_checkpoint(outcome.checkpoint)[0].state_dict()


def test_poisoning_the_other_half_changes_no_bit_of_the_model(entry, tmp_path):
    before = learned(entry, tmp_path / "before")
    poison(entry, 1)
    after = learned(entry, tmp_path / "after")
    for name, value in before.items():
        assert torch.equal(value, after[name]), name
    poison(entry, 0, with_noise=False)  # the test can fail
    other = pretrain(entry.name, 0, tmp_path / "o", recipe(), benchmark_dir=entry.benchmark_dir)
    first = tmp_path / "before" / "pretraining" / "run" / "model.ckpt"
    assert other.read_bytes() != first.read_bytes()


def test_no_file_of_the_other_half_is_needed(entry, tmp_path):
    for path in entry.folder.glob("*_1.*"):
        path.unlink()
    checkpoint = pretrain(
        entry.name, 0, tmp_path / "run", recipe(), benchmark_dir=entry.benchmark_dir
    )
    assert checkpoint.is_file()


def test_projections_show_the_particle_from_everywhere_with_the_half_s_optics(entry, tmp_path):
    half = open_entry(entry.name, 0, entry.benchmark_dir)
    star = tmp_path / "made" / "particles_0.star"
    project_half(half, star, recipe(**{"pretraining.projections": 200}))
    made = read_particle_table(star, star.parent)
    given = read_particle_table(half.star_path, half.root_dir)
    assert len(made) == 200
    assert made.sampling_rate == given.sampling_rate
    assert set(np.round(made.ctf.defocus_u_angst, 1)) <= set(np.round(given.ctf.defocus_u_angst, 1))
    shifts = {tuple(np.round(origin, 2)) for origin in given.poses.origins_angst}
    assert {tuple(np.round(origin, 2)) for origin in made.poses.origins_angst} <= shifts
    assert np.linalg.norm(made.poses.rotations[:, :, 2].mean(axis=0)) < 0.2  # from everywhere
    facts = json.loads(star.with_name("info_0.json").read_text())
    assert facts["snr"] == pytest.approx(2.0, rel=0.35)
    # they are images of the particle in the poses that they claim
    truth = project_balls(entry.balls_angst, entry.weights, made.poses, 24)
    with mrcfile.open(star.with_suffix(".mrcs")) as stack:
        images = stack.data.copy()
    shuffled = np.roll(truth, 1, axis=0)
    agreement, chance = (
        np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(images, t, strict=True)])
        for t in (truth, shuffled)
    )
    assert agreement > chance + 0.1


def test_the_training_begins_with_what_was_learned_and_the_images_go(entry, tmp_path):
    run = tmp_path / "run"
    learned(entry, run)
    first = run / "pretraining" / "run" / "model.ckpt"
    identity = json.loads((run / "run.json").read_text())
    assert f"sha256:{identity['start_from_sha256']}" == sha256_of_file(first)
    assert load_checkpoint(first)[1].target == "FAKE-projections"
    assert not list(run.rglob("*.mrcs"))
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    learned(entry, run)
    after = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    assert after == before


def test_projections_drawn_on_the_fly_are_of_the_half_s_own_map_and_none_is_stored(entry, tmp_path):
    drawn = {"pretraining.on_the_fly": True, "pretraining.projections": 40}
    run = tmp_path / "run"
    learned(entry, run, **drawn)
    first = run / "pretraining" / "run"
    assert not list(run.rglob("*.mrcs"))
    facts = json.loads((first / "provenance.json").read_text())
    assert facts["drawn_from"]["name"] == "own_map_0.mrc"
    assert facts["drawn_from"]["checksum"] == sha256_of_file(run / "pretraining/own_map_0.mrc")
    assert facts["drawn"]["stated_free_of_other_half"] is True
    assert facts["drawn"]["images"] == 2 * 8
    assert facts["drawn"]["snr"] == pytest.approx(2.0, rel=0.35)
    assert facts["recipe"]["simulation"]["epoch_images"] == 40
    identity = json.loads((run / "run.json").read_text())
    assert f"sha256:{identity['start_from_sha256']}" == sha256_of_file(first / "model.ckpt")
    assert "simulation" not in identity["recipe"]  # the training itself is on the particles
    card = load_checkpoint(run / "model.ckpt")[1]
    assert card.learned_before == (("FAKE", 0),)
    # nothing of the other half has a share in it
    poison(entry, 1)
    again = pretrain(
        entry.name, 0, tmp_path / "again", recipe(**drawn), benchmark_dir=entry.benchmark_dir
    )
    assert again.read_bytes() == (first / "model.ckpt").read_bytes()
    poison(entry, 0, with_noise=False)  # the test can fail
    other = pretrain(
        entry.name, 0, tmp_path / "o", recipe(**drawn), benchmark_dir=entry.benchmark_dir
    )
    assert other.read_bytes() != again.read_bytes()


def test_noise_of_projections_is_coloured_as_the_images_or_white(entry, tmp_path):
    half = open_entry(entry.name, 0, entry.benchmark_dir)
    with mrcfile.open(entry.star(0).with_suffix(".mrcs"), "r+") as stack:
        images = torch.from_numpy(stack.data.copy())
        colour = NoiseSpectrum.falling(corner_angst=40.0, floor=0.02).amplitudes(24, 3.0)
        white = torch.from_numpy(np.random.default_rng(2).normal(size=images.shape)).float()
        stack.data[:] = (images + 2 * images.std() * colour_noise(white, colour)).numpy()
    ratios = []
    for coloured in (True, False):
        star = tmp_path / f"{coloured}" / "particles_0.star"
        settings = {"pretraining.projections": 200, "pretraining.coloured_noise": coloured}
        project_half(half, star, recipe(**settings))
        with mrcfile.open(star.with_suffix(".mrcs")) as stack:
            power = np.abs(np.fft.rfft2(stack.data)).astype(float) ** 2
        ratios.append(power[:, 1, 1:3].mean() / power[:, 10:13, 10:].mean())
    assert ratios[0] > 2 * ratios[1]


def test_a_lost_model_is_made_again_from_the_same_images(entry, tmp_path):
    first, second = (
        pretrain(entry.name, 0, tmp_path / name, recipe(), benchmark_dir=entry.benchmark_dir)
        for name in ("one", "two")
    )
    assert first.read_bytes() == second.read_bytes()
    weights = first.read_bytes()
    first.unlink()
    pretrain(entry.name, 0, tmp_path / "one", recipe(), benchmark_dir=entry.benchmark_dir)
    assert first.read_bytes() == weights


@pytest.mark.slow
def test_two_processes_wait_for_each_other(entry, tmp_path):
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "cesped"]
    words += ["train", "--target", entry.name, "--halfset", "0", "-b", str(entry.benchmark_dir)]
    words += ["--outdir", str(tmp_path / "run"), "--recipe", "demo", "--trainer.devices", "2"]
    words += [word for key, value in RECIPE.items() for word in (f"--{key}", str(value))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words, "--trainer.strategy", "ddp"],
        capture_output=True, env=environment, timeout=1800, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert b"predictions_1.star" in done.stdout
    assert not list((tmp_path / "run").rglob("*.mrcs"))
    assert load_checkpoint(tmp_path / "run" / "model.ckpt")[1].steps == 4


def test_only_one_beginning(entry, tmp_path):
    with pytest.raises(OptionError, match=r"set pretraining\.projections 0"):
        train_and_predict(
            entry.name,
            0,
            tmp_path / "run",
            recipe(),
            start_from=tmp_path / "some.ckpt",
            benchmark_dir=entry.benchmark_dir,
        )


def test_particles_without_optics_are_refused(entry, tmp_path):
    tables = starfile.read(entry.star(0))
    tables["particles"] = tables["particles"].drop(columns=["rlnDefocusU", "rlnDefocusV"])
    starfile.write(tables, entry.star(0), overwrite=True)
    with pytest.raises(MetadataError, match="rlnDefocusU"):
        pretrain(
            entry.name,
            0,
            tmp_path / "run",
            recipe(**{"data.ctf_correction": "none"}),
            benchmark_dir=entry.benchmark_dir,
        )


def test_what_was_corrected_in_the_particles_is_corrected_in_projections(entry):
    half = open_entry(entry.name, 0, entry.benchmark_dir)
    plain = recipe(**{"data.ctf_correction": "none"})
    assert recipe_on_projections(plain, half).data.ctf_correction == "none"
    tables = starfile.read(entry.star(0))
    tables["optics"]["rlnCtfDataArePhaseFlipped"] = 1
    starfile.write(tables, entry.star(0), overwrite=True)
    flipped = recipe_on_projections(plain, half)
    assert flipped.data.ctf_correction == CtfCorrection.PHASE_FLIP
    assert flipped.pretraining.projections == 0
    assert (flipped.trainer.max_steps, flipped.optimizer.lr) == (2, 0.001)
    assert replace(flipped.trainer, max_steps=4) == plain.trainer
