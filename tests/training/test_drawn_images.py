"""Training images drawn on the fly: exact labels, other ones in each step, the same ones again."""

import json
import os
import shutil
from dataclasses import replace

import mrcfile
import numpy as np
import pytest
import torch
from fake_entry import write_fake_entry
from second_device import ELSEWHERE, back, second_device
from test_several_processes import run_python
from tiny_runs import TARGET, KillAt, KilledError, cnn_recipe, make_tiny_entry

from cesped.cli.main import main
from cesped.data.conventions import read_particle_table
from cesped.data.opening import open_entry
from cesped.data.simulation.stack import simulate_stack
from cesped.errors import (
    CheckpointError,
    GeometryError,
    MetadataError,
    MissingFileError,
    OptionError,
    PixelSizeError,
    SymmetryError,
)
from cesped.geometry.poses import Poses
from cesped.io.mrc import read_volume, write_volume
from cesped.io.star import read_star, write_star
from cesped.physics.noise_spectrum import NoiseSpectrum, colour_noise
from cesped.training.batches import StepRows
from cesped.training.checkpoint import load_checkpoint
from cesped.training.data_module import PoseDataModule
from cesped.training.drawn import DrawnParticles
from cesped.training.drawn_map import mirror_hand, read_drawn_map
from cesped.training.fit import train_half
from cesped.training.prepared import PreparedParticles, preprocessing_from_recipe
from cesped.training.raw_channel import particles_of
from cesped.training.recipe import TrainingRecipe
from cesped.training.sections import SimulationRecipe

CORRECTIONS = ["none", "phase_flip", "ctf_multiply"]


@pytest.fixture(scope="module")
def entry_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    make_tiny_entry(folder)
    return folder


@pytest.fixture(scope="module")
def own_map(entry_dir):
    """The map of the entry, where nothing of the entry is beside it."""
    path = entry_dir / "map.mrc"
    shutil.copy(entry_dir / TARGET / "truth.mrc", path)
    return path


@pytest.fixture(scope="module")
def half(entry_dir):
    entry = open_entry(TARGET, 0, entry_dir)
    return entry, read_particle_table(entry.star_path, entry.root_dir)


def recipe_with(own_map, **changes):
    return cnn_recipe(**{"simulation__map": str(own_map), **changes})


def options_of(recipe):
    data = recipe.data
    return preprocessing_from_recipe(
        data.image_size, data.image_size_factor_for_crop, data.ctf_correction,
        data.apply_perImg_normalization,
    )  # fmt: skip


def drawn_from(half, own_map, **changes):
    recipe = recipe_with(own_map, **changes)
    return DrawnParticles(recipe, *half, options_of(recipe))


def rows(step, count=8, share=0):
    return StepRows(step, np.arange(count), share)


@pytest.mark.parametrize(
    ("correction", "raw"), [*((each, False) for each in CORRECTIONS), ("phase_flip", True)]
)
def test_a_batch_is_what_the_simulator_makes_of_its_labels(
    half, own_map, tmp_path, correction, raw
):
    """Poses, shifts and CTFs that were drawn, given to the simulator of entries, and read back."""
    drawn = drawn_from(
        half, own_map, simulation__snr=1e12, data__ctf_correction=correction,
        data__apply_perImg_normalization=False, data__raw_channel=raw,
    )  # fmt: skip
    batch = drawn.draw(rows(3), "cpu")
    ctf = drawn.source("cpu").draw(8, np.random.default_rng([0, 101, 3, 0])).ctf
    poses = Poses(batch.rotations.numpy(), batch.origins_angst.numpy(), np.ones(8))
    volume = drawn.map.volume
    star = tmp_path / "made.star"
    simulate_stack(
        star, volume, 6.0, poses, ctf, snr=None, generator=np.random.default_rng(0)
    )  # fmt: skip
    table = read_particle_table(star, tmp_path)
    recipe = recipe_with(
        own_map, data__ctf_correction=correction, data__apply_perImg_normalization=False
    )
    expected = particles_of(table, options_of(recipe), raw).read(np.arange(8))
    assert expected.shape == (8, 2 if raw else 1, 16, 16)
    assert expected.std() > 0
    error = (batch.images - expected).abs().max() / expected.std()
    assert error < 2e-3
    other = drawn.draw(rows(4), "cpu").images
    assert (other - expected).abs().max() > expected.std()  # the law has teeth


def test_projections_of_a_corrected_half_are_corrected_as_it_is(half, own_map):
    """Drawn images come with their whole CTF, those of the files without its sign."""
    entry, table = half
    flipped = replace(table, ctf_correction_done=type(table.ctf_correction_done)("phase_flip"))
    settings = {"simulation__snr": 1e12, "simulation__coloured_noise": False}
    asked = drawn_from(half, own_map, data__ctf_correction="phase_flip", **settings)
    done = drawn_from((entry, flipped), own_map, data__ctf_correction="none", **settings)
    torch.testing.assert_close(
        asked.draw(rows(0), "cpu").images, done.draw(rows(0), "cpu").images, atol=1e-4, rtol=1e-4
    )


def test_noise_has_one_strength_and_the_snr_asked_for(half, own_map):
    settings = {
        "data__apply_perImg_normalization": False, "data__image_size_factor_for_crop": 0.0,
        "data__image_size": 24, "data__ctf_correction": "none", "simulation__coloured_noise": False,
    }  # fmt: skip
    noisy, clean = (
        drawn_from(half, own_map, simulation__snr=snr, **settings) for snr in (0.5, 1e12)
    )
    ratios, strengths = [], []
    for step in range(4):
        signal = clean.draw(rows(step, 64), "cpu").images
        noise = noisy.draw(rows(step, 64), "cpu").images - signal
        strengths.append(float(noise.std()))
        ratios.append(float(signal.double().var(dim=(-2, -1)).mean() / noise.double().var()))
    assert np.mean(ratios) == pytest.approx(0.5, rel=0.1)
    assert np.ptp(strengths) < 0.03 * np.mean(strengths)


def test_noise_has_the_spectrum_of_the_half_unless_it_is_to_be_white(entry_dir, own_map, tmp_path):
    shutil.copytree(entry_dir / TARGET, tmp_path / TARGET)
    colour = NoiseSpectrum.falling(corner_angst=60.0, floor=0.02).amplitudes(24, 6.0)
    with mrcfile.open(tmp_path / TARGET / "particles_0.mrcs", "r+") as stack:
        white = np.random.default_rng(3).normal(size=stack.data.shape).astype(np.float32)
        coloured = colour_noise(torch.from_numpy(white), colour).numpy()
        stack.data[:] += 2 * stack.data.std() * coloured
    entry = open_entry(TARGET, 0, tmp_path)
    table = read_particle_table(entry.star_path, entry.root_dir)
    ratios = []
    for is_coloured in (True, False):
        settings = {"simulation__coloured_noise": is_coloured, "simulation__snr": 1e-3}
        source = drawn_from((entry, table), own_map, **settings).source("cpu")
        images = source.draw(200, np.random.default_rng(0)).images
        power = torch.fft.rfft2(images).abs().square().mean(dim=0)
        ratios.append(float(power[1, 1:3].mean() / power[10:13, 10:].mean()))
    assert ratios[1] < 1.5
    assert ratios[0] > 3


def test_unless_told_otherwise_all_is_as_in_the_half(half, own_map):
    _, table = half
    drawn = drawn_from(half, own_map)
    assert drawn.map.snr == pytest.approx(1.0, rel=0.35)  # of the tiny entry
    batch = drawn.draw(rows(0, 200), "cpu")
    own = {tuple(np.round(origin, 2)) for origin in table.poses.origins_angst}
    assert {tuple(np.round(origin, 2)) for origin in batch.origins_angst.double().numpy()} <= own
    directions = batch.rotations[:, :, 2].double().numpy()
    assert np.linalg.norm(directions.mean(axis=0)) < 0.2
    ranged = drawn_from(
        half, own_map, simulation__shift_sigma_px=1.0, simulation__defocus_angst=[8000, 9000]
    )
    source = ranged.source("cpu").draw(200, np.random.default_rng(0))
    assert float(source.origins_angst.std()) == pytest.approx(6.0, rel=0.15)  # 6 angstrom/px
    mean = (source.ctf.defocus_u_angst + source.ctf.defocus_v_angst) / 2
    assert 8000 <= mean.min() < mean.max() <= 9000
    assert set(source.ctf.voltage_kv) == set(table.ctf.voltage_kv)


def test_every_step_and_every_process_draws_others_and_the_same_again(half, own_map):
    drawn = drawn_from(half, own_map, augmentation__copies=2)
    batch = drawn.draw(rows(2, share=1), "cpu")
    again = drawn_from(half, own_map, augmentation__copies=2).draw(rows(2, share=1), "cpu")
    assert torch.equal(batch.images, again.images)
    assert torch.equal(batch.rotations, again.rotations)
    assert torch.equal(batch.images[:4], batch.images[4:])  # two copies of four
    seen = [batch.images[:4]]
    seen += [
        drawn.draw(rows(step, share=share), "cpu").images[:4] for step, share in ((2, 0), (3, 1))
    ]
    flat = torch.cat(seen).flatten(1)
    assert len(torch.unique(flat, dim=0)) == 12
    other_seed = drawn_from(half, own_map, augmentation__copies=2, trainer__seed=1)
    assert not torch.equal(other_seed.draw(rows(2, share=1), "cpu").rotations, batch.rotations)


class Place:
    """What a data module asks its trainer."""

    def __init__(self, rank, world_size):
        self.global_rank, self.world_size = rank, world_size
        self.strategy = self
        self.root_device = torch.device("cpu")


def test_two_processes_draw_what_one_draws_in_two_parts(half, own_map):
    entry, table = half

    def seen(rank, world_size, parts):
        recipe = recipe_with(own_map, trainer__accumulate_grad_batches=parts)
        drawn = DrawnParticles(recipe, entry, table, options_of(recipe))
        particles = PreparedParticles(table, options_of(recipe))
        module = PoseDataModule(particles, np.arange(30), np.arange(4), recipe, drawn)
        module.trainer = Place(rank, world_size)
        return [module.on_after_batch_transfer(each, 0) for each in module.train_dataloader()]

    one, two = seen(0, 2, 1), seen(1, 2, 1)
    alone = seen(0, 1, 2)
    assert [batch.step for batch in one] == [0, 1, 2, 3]
    for first, second, (a, b) in zip(
        one, two, zip(alone[::2], alone[1::2], strict=True), strict=True
    ):
        assert len(first.images) == 4
        assert torch.equal(first.images, a.images)
        assert torch.equal(second.images, b.images)
        assert not torch.equal(first.rotations, second.rotations)


def test_validation_batches_pass_as_they_are(half, own_map):
    recipe = recipe_with(own_map)
    drawn = DrawnParticles(recipe, *half, options_of(recipe))
    particles = PreparedParticles(half[1], options_of(recipe))
    module = PoseDataModule(particles, np.arange(30), np.arange(4), recipe, drawn)
    module.trainer = Place(0, 1)
    (batch,) = module.val_dataloader()
    assert module.on_after_batch_transfer(batch, 0) is batch
    assert torch.equal(batch.images, particles.read(np.arange(4)))


@pytest.mark.parametrize(
    ("accelerator", "has_gpu", "pinned"),
    [("auto", True, True), ("gpu", True, True), ("cpu", True, False), ("auto", False, False)],
)
def test_workers_hand_a_gpu_batches_that_it_can_take_while_it_computes(
    half, own_map, monkeypatch, accelerator, has_gpu, pinned
):
    recipe = recipe_with(own_map, data__num_data_workers=1, trainer__accelerator=accelerator)
    particles = PreparedParticles(half[1], options_of(recipe))
    module = PoseDataModule(particles, np.arange(30), np.arange(4), recipe)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert module.val_dataloader().pin_memory is pinned


@pytest.mark.parametrize("coloured", [True, False])
def test_images_are_drawn_on_the_device_that_trains(half, own_map, monkeypatch, coloured):
    """The way that a GPU takes, without one."""
    real = torch.Generator  # it and torch.randn know real devices alone

    def randn(*shape, generator, device):
        values = np.random.default_rng(generator.initial_seed()).normal(size=shape[0])
        return torch.from_numpy(values.astype(np.float32)).to(device)

    monkeypatch.setattr("cesped.data.simulation.on_device.torch.Generator", lambda *_: real())
    monkeypatch.setattr("cesped.data.simulation.on_device.torch.randn", randn)
    here, far = (drawn_from(half, own_map, simulation__coloured_noise=coloured) for _ in range(2))
    here = here.draw(rows(0), "cpu")
    with second_device():
        far = far.draw(rows(0), ELSEWHERE)
    for a, b in zip(here[:4], far[:4], strict=True):
        torch.testing.assert_close(back(b), a, atol=1e-4, rtol=1e-4)
    assert (far.step, far.share) == (0, 0)


@pytest.mark.gpu
def test_images_are_drawn_on_a_gpu(half, own_map):
    drawn = drawn_from(half, own_map, simulation__snr=1e12)
    here, there = drawn.draw(rows(0), "cpu"), drawn.draw(rows(0), "cuda")
    assert there.images.is_cuda
    assert there.rotations.is_cuda
    torch.testing.assert_close(there.images.cpu(), here.images, atol=1e-2, rtol=1e-3)


def test_a_run_repeats_to_the_byte_also_if_it_was_killed(entry_dir, own_map, tmp_path):
    recipe = recipe_with(own_map, trainer__max_steps=12, augmentation__copies=2)
    whole = train_half(TARGET, 0, tmp_path / "whole", recipe, entry_dir)
    with pytest.raises(KilledError):
        train_half(TARGET, 0, tmp_path / "killed", recipe, entry_dir, KillAt(7))
    resumed = train_half(TARGET, 0, tmp_path / "killed", recipe, entry_dir)
    assert resumed.resumed_at_step == 4
    assert resumed.checkpoint.read_bytes() == whole.checkpoint.read_bytes()
    other = recipe_with(own_map, trainer__max_steps=12, augmentation__copies=2, trainer__seed=1)
    changed = train_half(TARGET, 0, tmp_path / "other", other, entry_dir)
    assert changed.checkpoint.read_bytes() != whole.checkpoint.read_bytes()


def test_provenance_says_what_was_learned_from(entry_dir, own_map, tmp_path):
    recipe = recipe_with(own_map, trainer__max_steps=4)
    outcome = train_half(TARGET, 0, tmp_path / "run", recipe, entry_dir)
    facts = json.loads((outcome.run_dir / "provenance.json").read_text())
    assert facts["drawn"]["images"] == 4 * 8
    assert facts["drawn"]["entry_is_simulated"] is True
    assert facts["drawn_from"] == facts["drawn"]["map"]
    assert facts["drawn_from"]["name"] == "map.mrc"
    assert facts["drawn_from"]["checksum"].startswith("sha256:")
    assert facts["n_train"] == 0
    split = (outcome.run_dir / "split.csv").read_text()
    assert split.count("validation") == 4
    assert "training" not in split
    assert str(own_map.parent) not in (outcome.run_dir / "run.json").read_text()
    recorded = load_checkpoint(outcome.checkpoint)[1].recipe
    assert TrainingRecipe.from_dict(recorded).simulation.map == "map.mrc"
    # the same name with other content is another run
    changed = tmp_path / "map.mrc"
    volume, pixel_size_angst = read_volume(own_map)
    write_volume(changed, 2 * volume, pixel_size_angst)
    with pytest.raises(CheckpointError, match="it differs in drawn_from"):
        train_half(
            TARGET, 0, tmp_path / "run", recipe_with(changed, trainer__max_steps=4), entry_dir
        )


def test_nothing_of_the_other_half_reaches_the_model(entry_dir, own_map, tmp_path):
    recipe = recipe_with(own_map, trainer__max_steps=8)
    expected = train_half(TARGET, 0, tmp_path / "before", recipe, entry_dir).checkpoint
    shutil.copytree(entry_dir / TARGET, tmp_path / TARGET)
    rng = np.random.default_rng(0)
    star = tmp_path / TARGET / "particles_1.star"
    tables = read_star(star)
    for column in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnDefocusU", "rlnOriginXAngst"):
        tables["particles"][column] = rng.uniform(0, 90, len(tables["particles"]))
    write_star(star, tables)
    for name in ("particles_1.mrcs", "truth.mrc", "mask.mrc"):
        with mrcfile.open(tmp_path / TARGET / name, "r+") as file:
            file.data[:] = rng.normal(7, 100, file.data.shape)
    poisoned = train_half(TARGET, 0, tmp_path / "poisoned", recipe, tmp_path).checkpoint
    assert poisoned.read_bytes() == expected.read_bytes()
    # and the test would notice: the noise of the images is measured in the half's own
    with mrcfile.open(tmp_path / TARGET / "particles_0.mrcs", "r+") as file:
        file.data[:] += rng.normal(0, 2 * file.data.std(), file.data.shape)
    own = train_half(TARGET, 0, tmp_path / "own", recipe, tmp_path).checkpoint
    assert own.read_bytes() != expected.read_bytes()


@pytest.mark.slow
def test_two_processes_train_one_model(entry_dir, own_map, tmp_path):
    """As one process that takes each batch in two parts."""
    settings = {
        "data.image_size": 16, "data.batch_size": 8, "model.widths": [4, 4, 4], "model.l_max": 2,
        "model.sphere_features": 4, "model.so3_features": 2, "model.projector_order": 1,
        "model.filter_order": 1, "model.grid_order": 0, "trainer.max_steps": 4,
        "trainer.steps_per_round": 2, "trainer.accelerator": "cpu", "simulation.map": own_map,
    }  # fmt: skip
    words = ["train", "--target", TARGET, "--halfset", "0", "-b", entry_dir, "--recipe", "demo"]
    words += [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    words += ["--skip_other_half_inference"]
    together = ["--outdir", tmp_path / "two", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    run_python([*launcher, "cesped", *words, *together], tmp_path)
    alone = ["--outdir", tmp_path / "one", "--trainer.accumulate_grad_batches", "2"]
    assert main([*map(str, words), *map(str, alone)]) == 0
    models = [load_checkpoint(tmp_path / name / "model.ckpt")[0] for name in ("one", "two")]
    for name, value in models[0].named_parameters():
        torch.testing.assert_close(
            dict(models[1].named_parameters())[name], value, atol=2e-3, rtol=1e-3
        )


def test_maps_that_teach_other_poses_are_refused(half, own_map, tmp_path):
    entry, table = half
    volume, pixel_size_angst = read_volume(own_map)

    def read(changed, pixel=pixel_size_angst, **settings):
        path = tmp_path / "changed.mrc"
        write_volume(path, np.ascontiguousarray(changed, np.float32), pixel)
        return read_drawn_map(SimulationRecipe(map=str(path), **settings), entry, table)

    assert read(volume).snr > 0
    turned = np.ascontiguousarray(volume.transpose(1, 0, 2)[::-1])
    for wrong in (-volume, turned, np.random.default_rng(0).normal(size=volume.shape)):
        with pytest.raises(MetadataError, match=r"look .*like projections of .*changed\.mrc"):
            read(wrong)
    with pytest.raises(GeometryError, match=r"20 x 20 x 20 voxels, and the images of .* 24 px"):
        read(volume[2:22, 2:22, 2:22])
    with pytest.raises(PixelSizeError, match=r"has 5 A per voxel, .* 6; bring"):
        read(volume, 5.0)
    with pytest.raises(SymmetryError, match="point group D2"):
        read_drawn_map(SimulationRecipe(map=str(own_map)), replace(entry, symmetry="D2"), table)
    with pytest.raises(MissingFileError, match=r"nowhere\.mrc does not exist"):
        read_drawn_map(SimulationRecipe(map="nowhere.mrc"), entry, table)
    with pytest.raises(MetadataError, match="rlnDefocusU"):
        read_drawn_map(SimulationRecipe(map=str(own_map)), entry, replace(table, ctf=None))
    several = replace(table.ctf, voltage_kv=np.linspace(200, 300, len(table)))
    with pytest.raises(OptionError, match="several microscopes"):
        drawn_from(
            (entry, replace(table, ctf=several)), own_map, simulation__defocus_angst=[1e4, 2e4]
        )


def map_of_balls(fake, pixel_size_angst):
    offsets = np.stack(np.meshgrid(*3 * [np.arange(24) - 12], indexing="ij"), axis=-1)[..., ::-1]
    return sum(
        weight * np.exp(-((offsets - ball / pixel_size_angst) ** 2).sum(-1) / 2 / 1.3**2)
        for ball, weight in zip(fake.balls_angst, fake.weights, strict=True)
    )


def test_axes_of_d2_in_another_order_are_refused(tmp_path):
    """The map has the symmetry, and any order of its axes is a D2 as good as another."""
    fake = write_fake_entry(tmp_path / "bench", symmetry="D2", n_particles=60, box=24, snr=5.0)
    entry = open_entry(fake.name, 0, fake.benchmark_dir)
    table = read_particle_table(entry.star_path, entry.root_dir)
    volume, path = map_of_balls(fake, table.sampling_rate), tmp_path / "map.mrc"
    stated = SimulationRecipe(map=str(path), free_of_other_half=True)
    write_volume(path, volume.astype(np.float32), table.sampling_rate)
    assert read_drawn_map(stated, entry, table).snr == pytest.approx(5.0, rel=0.35)
    cycled = np.ascontiguousarray(volume.transpose(1, 2, 0), np.float32)
    write_volume(path, cycled, table.sampling_rate)
    with pytest.raises(MetadataError, match=r"look (more )?like projections of .*map\.mrc"):
        read_drawn_map(stated, entry, table)


def test_a_map_beside_real_particles_needs_a_statement(tmp_path):
    """Nothing says that its own file of the fake entry is not of both halves."""
    fake = write_fake_entry(tmp_path / "bench", n_particles=60, box=24, snr=5.0)
    entry = open_entry(fake.name, 0, fake.benchmark_dir)
    table = read_particle_table(entry.star_path, entry.root_dir)
    volume, path = map_of_balls(fake, table.sampling_rate), tmp_path / "map.mrc"
    write_volume(path, volume.astype(np.float32), table.sampling_rate)
    with pytest.raises(OptionError, match=r"may hold particles of half 1 of FAKE.*on_the_fly"):
        read_drawn_map(SimulationRecipe(map=str(path)), entry, table)
    stated = SimulationRecipe(map=str(path), free_of_other_half=True)
    facts = read_drawn_map(stated, entry, table).facts
    assert facts["stated_free_of_other_half"] is True
    assert facts["entry_is_simulated"] is False
    swapped = np.ascontiguousarray(volume.transpose(0, 2, 1))[:, :, ::-1]
    for other in (np.roll(swapped, 1, axis=2), mirror_hand(volume)):
        write_volume(path, np.ascontiguousarray(other, np.float32), table.sampling_rate)
        with pytest.raises(MetadataError, match=r"look (more )?like projections of .*map\.mrc"):
            read_drawn_map(stated, entry, table)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"snr": 1}, r"simulation\.snr has no effect without simulation\.map"),
        ({"map": "a.mrc", "snr": 0}, r"simulation\.snr is 0\.0; it must be above 0"),
        ({"map": "a.mrc", "epoch_images": 0}, r"simulation\.epoch_images is 0"),
        ({"map": "a.mrc", "max_shift_px": 1, "shift_sigma_px": 1}, "not both"),
        ({"map": "a.mrc", "shift_sigma_px": -1}, r"shift_sigma_px is -1\.0; it must be 0 or more"),
        ({"map": "a.mrc", "defocus_angst": [2, 1]}, r"defocus_angst is \[2, 1\]; give the lower"),
        ({"mp": "a.mrc"}, "did you mean 'map'"),
        ({"map": "a.mrc", "pretraining": 4}, r"simulation\.map takes their place; leave one out"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message):
    names = {"pretraining": "pretraining__projections"}
    dotted = {names.get(key, f"simulation__{key}"): value for key, value in settings.items()}
    with pytest.raises(OptionError, match=message):
        cnn_recipe(**dotted)


def test_from_the_command_line(entry_dir, own_map, tmp_path, capsys):
    words = ["train", "--target", TARGET, "--halfset", "0", "-b", str(entry_dir)]
    words += ["--outdir", str(tmp_path / "run"), "--recipe", "demo", "--model.name", "plain_cnn"]
    words += ["--data.image_size", "16", "--data.batch_size", "8", "--trainer.max_steps", "2"]
    words += ["--trainer.accelerator", "cpu", "--simulation.map", os.fspath(own_map)]
    words += ["--simulation.snr", "0.5", "--simulation.defocus_angst", "[9000, 12000]"]
    assert main([*words, "--simulation.epoch_images", "16"]) == 0
    capsys.readouterr()
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["recipe"]["simulation"]["defocus_angst"] == [9000.0, 12000.0]
    assert (tmp_path / "run" / "predictions_1.star").is_file()
