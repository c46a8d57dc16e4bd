"""Simulated entries: the images that the plan says, whole or not at all, resumed to the bit."""

import os
import signal
import subprocess
import sys

import fake_entry as fake
import numpy as np
import pytest
import torch
from test_simulation import ball_volume

from cesped import errors
from cesped.data.conventions import read_particle_table
from cesped.data.dataset import ParticlesDataset
from cesped.data.images import ImageSource
from cesped.data.simulation import entry as simulation_entry
from cesped.data.simulation import images as simulation_images
from cesped.data.simulation.entry import SimulatedMap, native_images, simulate_entry
from cesped.data.simulation.images import NativeImages, NoiseRecipe, chunks_in_order, make_chunk
from cesped.data.simulation.plan import SimulationPlan, draw_halves
from cesped.data.simulation.symmetry_check import check_symmetry
from cesped.geometry.rotations import geodesic_distance_deg
from cesped.io.mrc import read_volume
from cesped.physics.batch_projection import BatchProjector
from cesped.physics.density import density_from_atoms
from cesped.physics.masks import mask_from_density
from cesped.physics.phantom import chain_phantom
from cesped.physics.threads import torch_threads
from cesped.vocabulary import NoiseKind

BOX, PIXEL = 32, 3.0
NAME = "SIM-balls"


@pytest.fixture(scope="module")
def balls():
    return fake.fake_balls(radius_angst=30.0)


@pytest.fixture(scope="module")
def source(balls):
    volume = ball_volume(*balls, box=BOX)
    return SimulatedMap(volume, PIXEL, mask_from_density(volume), {"file": "balls"})


def symmetric_map(symmetry):
    phantom = chain_phantom(1200, 36.0, np.random.default_rng(0), symmetry)
    volume = density_from_atoms(phantom.positions_angst, phantom.weights, BOX, PIXEL, 8.0)
    return SimulatedMap(volume, PIXEL, mask_from_density(volume), {"file": "phantom"})


def plan_of(**options):
    return SimulationPlan(**{"n_particles": 40, "max_shift_px": 2.0, "snr": 0.5, **options})


def read_half(folder, half):
    table = read_particle_table(folder / f"particles_{half}.star")
    return table, ImageSource(table).read(np.arange(len(table)))


def test_noise_free_images_are_the_exact_projections(tmp_path, balls, source):
    made = simulate_entry(plan_of(snr=None, scale_spread=0.2), source, NAME, tmp_path)
    assert made.counts == (40, 40)
    assert made.noise_sigma == 0
    for half, drawn in enumerate(draw_halves(plan_of(snr=None, scale_spread=0.2), PIXEL)):
        table, images = read_half(made.folder, half)
        exact = fake.apply_ctf(fake.project_balls(*balls, drawn.poses, BOX), drawn.ctf)
        for image, reference in zip(images, exact, strict=True):
            assert np.corrcoef(image.ravel(), reference.ravel())[0, 1] > 0.998
        assert geodesic_distance_deg(table.poses.rotations, drawn.poses.rotations).max() < 1e-6
        np.testing.assert_allclose(table.poses.origins_angst, drawn.poses.origins_angst)
        np.testing.assert_allclose(table.ctf.scale, drawn.ctf.scale)


def test_it_is_an_entry_with_truth_and_mask(tmp_path):
    twofold = symmetric_map("D2")
    made = simulate_entry(plan_of(symmetry="d2"), twofold, NAME, tmp_path)
    dataset = ParticlesDataset(NAME, halfset=1, benchmarkDir=str(tmp_path))
    assert len(dataset) == 40
    assert dataset.symmetry == "D2"
    truth, voxel = read_volume(made.folder / "truth.mrc")
    np.testing.assert_array_equal(truth, twofold.volume)
    assert voxel == pytest.approx(PIXEL)
    names = {path.name for path in made.folder.iterdir()}
    assert names == {
        "info_0.json", "info_1.json", "mask.mrc", "truth.mrc",
        "particles_0.star", "particles_1.star", "particles_0.mrcs", "particles_1.mrcs",
    }  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == [NAME]  # nothing hidden is left


@pytest.mark.parametrize("noise", list(NoiseKind))
def test_snr_holds_for_any_spectrum(tmp_path, source, noise):
    many = {"n_particles": 300, "noise": noise, "scale_spread": 0.3}
    noisy = simulate_entry(plan_of(snr=0.1, **many), source, "SIM-a", tmp_path)
    clean = simulate_entry(plan_of(snr=None, **many), source, "SIM-b", tmp_path)
    signal_power, noise_power = [], []
    for half in (0, 1):
        _, with_noise = read_half(noisy.folder, half)
        _, without = read_half(clean.folder, half)
        signal_power.append(without.var(axis=(1, 2), dtype=np.float64).mean())
        noise_power.append((with_noise.astype(np.float64) - without).var())
    assert np.mean(signal_power) / np.mean(noise_power) == pytest.approx(0.1, rel=0.02)
    assert noisy.noise_sigma == pytest.approx(np.sqrt(np.mean(noise_power)), rel=0.01)
    np.testing.assert_allclose(noise_power[0], noise_power[1], rtol=0.02)


def test_threads_do_not_change_a_bit(source, monkeypatch):
    monkeypatch.setattr(simulation_images, "CHUNK", 16)
    plan = plan_of()
    half = draw_halves(plan, PIXEL)[0]
    clean = NativeImages(BatchProjector(source.volume, PIXEL), half)
    recipe = NoiseRecipe(2.0)
    one, three = (
        np.concatenate(list(chunks_in_order(plan, 0, 0, 40, clean, recipe, threads)))
        for threads in (1, 3)
    )
    np.testing.assert_array_equal(one, three)
    assert one.shape == (40, BOX, BOX)
    with torch_threads(1):  # the FFT of a chunk knows one thread from several, in its last bit
        np.testing.assert_array_equal(make_chunk(plan, 0, 2, 40, clean, recipe), one[32:])


def test_noise_of_chunks_halves_and_seeds_is_independent(source):
    half = draw_halves(plan_of(), PIXEL)[0]
    clean = NativeImages(BatchProjector(source.volume * 0, PIXEL), half)
    recipe = NoiseRecipe(1.0)
    streams = [
        make_chunk(plan_of(n_particles=512, seed=seed), halfset, 0, 40, clean, recipe).ravel()
        for seed in (0, 1)
        for halfset in (0, 1)
    ]
    correlations = np.corrcoef(streams)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 0.02


def test_done_is_done(tmp_path, source):
    first = simulate_entry(plan_of(), source, NAME, tmp_path)
    stack = first.folder / "particles_0.mrcs"
    before = stack.stat().st_mtime_ns
    again = simulate_entry(plan_of(), source, NAME, tmp_path)
    assert again.was_there
    assert again.noise_sigma == first.noise_sigma
    assert stack.stat().st_mtime_ns == before


def test_another_simulation_is_replaced_only_if_allowed(tmp_path, source):
    first = simulate_entry(plan_of(), source, NAME, tmp_path)
    with pytest.raises(errors.EntryExistsError, match="--force"):
        simulate_entry(plan_of(seed=1), source, NAME, tmp_path)
    simulate_entry(plan_of(seed=1, n_particles=10), source, NAME, tmp_path, replace=True)
    assert len(read_half(first.folder, 0)[0]) == 10


def test_what_was_not_simulated_is_never_replaced(tmp_path, source):
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "results.txt").write_text("precious")
    with pytest.raises(errors.EntryExistsError, match="was not simulated"):
        simulate_entry(plan_of(), source, NAME, tmp_path, replace=True)
    with pytest.raises(errors.OptionError, match="embedded"):
        simulate_entry(plan_of(), source, "DEMO", tmp_path)


class StopsAfter:
    """Makes images until it has been asked `calls` times."""

    def __init__(self, calls):
        self.calls = calls

    def __call__(self, volume, pixel_size_angst, halves, folder):
        made = native_images(volume, pixel_size_angst, halves, folder)
        for clean in made:
            clean.images = self.wrapped(clean.images)
        return made

    def wrapped(self, images):
        def limited(rows):
            self.calls -= 1
            if self.calls < 0:
                raise KeyboardInterrupt
            return images(rows)

        return limited


@pytest.mark.parametrize("calls", [0, 3, 4, 6])
def test_goes_on_after_an_interruption_to_the_same_bit(tmp_path, source, monkeypatch, calls):
    monkeypatch.setattr(simulation_images, "CHUNK", 16)
    monkeypatch.setattr(simulation_entry, "CHUNK", 16)
    whole = simulate_entry(plan_of(), source, "SIM-whole", tmp_path)
    with pytest.raises(KeyboardInterrupt):
        simulate_entry(plan_of(), source, NAME, tmp_path, simulating=StopsAfter(calls))
    assert not (tmp_path / NAME).exists()
    counting = StopsAfter(99)
    made = simulate_entry(plan_of(), source, NAME, tmp_path, simulating=counting)
    assert 99 - counting.calls <= 8 - max(0, calls - 3)  # two for the SNR, three chunks a half
    for half in (0, 1):
        name = f"particles_{half}.mrcs"
        assert (made.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_the_leavings_of_another_plan_are_not_used(tmp_path, source):
    with pytest.raises(KeyboardInterrupt):
        simulate_entry(plan_of(seed=9), source, NAME, tmp_path, simulating=StopsAfter(3))
    made = simulate_entry(plan_of(), source, NAME, tmp_path)
    whole = simulate_entry(plan_of(), source, "SIM-whole", tmp_path)
    name = "particles_0.mrcs"
    assert (made.folder / name).read_bytes() == (whole.folder / name).read_bytes()


def test_killed_in_the_middle_and_run_again(tmp_path, source):
    np.save(tmp_path / "volume.npy", source.volume)
    code = (
        "import os, signal, sys, numpy as np\n"
        "from cesped.data.simulation import entry as simulation_entry\n"
        "from cesped.data.simulation import images as simulation_images\n"
        "from cesped.data.simulation.plan import SimulationPlan\n"
        "from cesped.io import partial_stack\n"
        "partial_stack._FLUSH_BYTES = 1\n"
        "simulation_images.CHUNK = simulation_entry.CHUNK = 16\n"
        "real = simulation_images.make_chunk\n"
        "def killer(plan, halfset, chunk, *rest):\n"
        "    if (halfset, chunk) == (1, 2): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(plan, halfset, chunk, *rest)\n"
        "simulation_images.make_chunk = killer\n"
        "volume = np.load(sys.argv[1] + '/volume.npy')\n"
        "source = simulation_entry.SimulatedMap(volume, 3.0, None, {})\n"
        "plan = SimulationPlan(n_particles=40, snr=0.5, seed=3)\n"
        "simulation_entry.simulate_entry(plan, source, 'SIM-k', sys.argv[1])\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, tmp_path], check=False)
    assert killed.returncode == -signal.SIGKILL
    work = tmp_path / ".SIM-k.simulating"
    assert (work / "particles_0.mrcs").is_file()
    plan = SimulationPlan(n_particles=40, snr=0.5, seed=3)
    made = simulate_entry(plan, SimulatedMap(source.volume, PIXEL, None, {}), "SIM-k", tmp_path)
    assert not work.exists()
    assert len(read_half(made.folder, 1)[0]) == 40
    assert not (made.folder / "mask.mrc").exists()


@pytest.mark.parametrize("symmetry", ["C1", "C3", "D2", "O"])
def test_the_symmetry_must_be_that_of_the_map(symmetry, source):
    check_symmetry(symmetric_map(symmetry).volume, symmetry)
    if symmetry != "C1":
        with pytest.raises(errors.SymmetryError, match=f"does not have point group {symmetry}"):
            check_symmetry(source.volume, symmetry)


def test_another_symmetry_leaves_nothing(tmp_path, source):
    with pytest.raises(errors.SymmetryError, match="C1"):
        simulate_entry(plan_of(symmetry="C2"), source, NAME, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_shifts_out_of_the_image_are_refused(tmp_path, source):
    with pytest.raises(errors.OptionError, match="out of its image of 32 px"):
        simulate_entry(plan_of(max_shift_px=100.0), source, NAME, tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_full_disk_is_seen_before_the_work(tmp_path, source, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(simulation_entry.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(errors.DiskFullError, match="GiB"):
        simulate_entry(plan_of(), source, NAME, tmp_path)


def test_a_map_without_signal_has_no_snr(tmp_path, source):
    empty = SimulatedMap(source.volume * 0, PIXEL, None, {})
    with pytest.raises(errors.OptionError, match="no signal"):
        simulate_entry(plan_of(), empty, NAME, tmp_path)


def test_other_threads_of_the_caller_are_left_as_they_were(tmp_path, source):
    before = torch.get_num_threads()
    simulate_entry(plan_of(), source, NAME, tmp_path, threads=os.cpu_count())
    assert torch.get_num_threads() == before
