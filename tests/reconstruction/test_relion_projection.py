"""Our noise-free images and those of RELION's own program, of the same plan."""

import numpy as np
import pytest

from cesped.data.simulation.entry import SimulatedMap, native_images, simulate_entry
from cesped.data.simulation.optics import OpticsRanges
from cesped.data.simulation.plan import SimulationPlan, draw_halves
from cesped.errors import ProgramNotFoundError
from cesped.physics.density import density_from_atoms
from cesped.physics.phantom import chain_phantom
from cesped.reconstruction.relion_projection import relion_images
from cesped.vocabulary import Simulator

PIXEL = 3.0


def phantom_volume(box):
    phantom = chain_phantom(300, 0.3 * box * PIXEL, np.random.default_rng(0))
    return density_from_atoms(phantom.positions_angst, phantom.weights, box, PIXEL, 8.0)


def inner(box):
    """Whether a frequency is inside the outermost shell, which RELION leaves out."""
    k = np.fft.fftfreq(box, 1 / box)
    return np.hypot(k[:, None], k) < box // 2 - 1


@pytest.mark.relion
@pytest.mark.parametrize(
    "options",
    [
        {"has_ctf": False},
        {"optics": OpticsRanges((5e3, 2e4), (0, 2e3), (0, 90), (0, 150)), "scale_spread": 0.4},
    ],
)
def test_images_are_those_of_relion(tmp_path, options):
    plan = SimulationPlan(n_particles=12, max_shift_px=5.0, **options)
    halves = draw_halves(plan, PIXEL)
    volume = phantom_volume(64)
    ours = native_images(volume, PIXEL, halves, tmp_path)
    theirs = relion_images(volume, PIXEL, halves, tmp_path)
    rows = np.arange(12)
    for our_half, their_half in zip(ours, theirs, strict=True):
        a, b = (np.fft.fft2(half.images(rows).numpy()) for half in (our_half, their_half))
        assert np.abs(a - b)[:, inner(64)].max() < 2e-4 * np.abs(b).max()
        assert np.linalg.norm((a - b)[:, inner(64)]) < 1e-4 * np.linalg.norm(b)


@pytest.mark.relion
def test_an_entry_of_the_second_engine_has_the_same_noise(tmp_path):
    volume = phantom_volume(48)
    source = SimulatedMap(volume, PIXEL, None, {})
    entries = {}
    for simulator, simulating in (
        (Simulator.NATIVE, native_images),
        (Simulator.RELION, relion_images),
    ):
        plan = SimulationPlan(n_particles=10, snr=0.5, simulator=simulator)
        made = simulate_entry(plan, source, f"SIM-{simulator}", tmp_path, simulating=simulating)
        raw = (made.folder / "particles_1.mrcs").read_bytes()[1024:]
        entries[simulator] = np.fft.fft2(np.frombuffer(raw, "<f4").reshape(10, 48, 48))
        assert not (made.folder / "relion").exists()
    ours, theirs = (images[:, inner(48)] for images in entries.values())
    assert np.linalg.norm(ours - theirs) < 1e-3 * np.linalg.norm(ours)


def test_without_relion_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    halves = draw_halves(SimulationPlan(n_particles=1), PIXEL)
    with pytest.raises(ProgramNotFoundError, match="apt-get install relion"):
        relion_images(np.zeros((16, 16, 16), np.float32), PIXEL, halves, tmp_path)
