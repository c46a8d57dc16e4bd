"""The embedded entries: made on first use, the same every time, by one process or two."""

import dataclasses
import hashlib
import json
import subprocess
import sys

import mrcfile
import numpy as np
import pytest

from cesped import errors
from cesped.data.conventions import read_particle_table
from cesped.data.dataset import ParticlesDataset
from cesped.data.demo_entry import ensure_demo_entry, make_entry
from cesped.data.demo_specifications import DEMO_SPECIFICATIONS
from cesped.data.opening import open_entry
from cesped.data.store import EntryStore
from cesped.geometry.symmetry import point_group, symmetric_distance_deg

SMALL = dataclasses.replace(
    DEMO_SPECIFICATIONS["DEMO"], name="SMALL", n_particles_per_half=40, box=32, n_atoms=200
)


def digest(folder):
    """Hash of everything an entry holds, by file name."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_both_halves_mask_and_truth(tmp_path):
    folder = make_entry(SMALL, tmp_path)
    assert EntryStore(tmp_path).list() == [("SMALL", 0), ("SMALL", 1)]
    assert [p.name for p in tmp_path.iterdir()] == ["SMALL"]
    halves = [EntryStore(tmp_path).locate("SMALL", half) for half in (0, 1)]
    tables = [read_particle_table(half.star_path, half.root_dir) for half in halves]
    assert [len(table) for table in tables] == [40, 40]
    assert np.abs(tables[0].poses.rotations - tables[1].poses.rotations).max() > 0.1
    astigmatism = tables[0].ctf.defocus_u_angst - tables[0].ctf.defocus_v_angst
    assert astigmatism.max() > 300
    assert np.abs(tables[0].poses.origins_angst).max() > 3
    for name in ("mask.mrc", "truth.mrc"):
        with mrcfile.open(folder / name) as mrc:
            assert mrc.data.shape == (32, 32, 32)
            assert mrc.voxel_size.x == pytest.approx(SMALL.pixel_size_angst)
    assert halves[0].mask_path == folder / "mask.mrc"
    assert json.loads((folder / "info_0.json").read_text())["simulated"]["snr"] == SMALL.snr


def test_the_constants_determine_every_byte(tmp_path):
    first = digest(make_entry(SMALL, tmp_path / "a"))
    assert first == digest(make_entry(SMALL, tmp_path / "b"))
    other = digest(make_entry(dataclasses.replace(SMALL, seed=1), tmp_path / "c"))
    assert all(first[name] != other[name] for name in first)


def test_an_entry_is_kept_until_its_constants_change(tmp_path):
    folder = make_entry(SMALL, tmp_path)
    stamp = (folder / "particles_0.mrcs").stat().st_mtime_ns
    make_entry(SMALL, tmp_path)
    assert (folder / "particles_0.mrcs").stat().st_mtime_ns == stamp
    make_entry(dataclasses.replace(SMALL, snr=0.25), tmp_path)
    assert json.loads((folder / "info_1.json").read_text())["simulated"]["snr"] == 0.25
    assert [p.name for p in tmp_path.iterdir()] == ["SMALL"]


def test_an_interrupted_entry_is_made_again(tmp_path):
    folder = make_entry(SMALL, tmp_path)
    before = digest(folder)
    (folder / "info_1.json").unlink()
    (folder / "particles_1.mrcs").write_bytes(b"half")
    make_entry(SMALL, tmp_path)
    assert digest(folder) == before


def test_failure_leaves_nothing(tmp_path, monkeypatch):
    def broken(*arguments, **options):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("cesped.data.simulation.stack.simulate_stack", broken)
    with pytest.raises(OSError, match="Input/output"):
        make_entry(SMALL, tmp_path / "bench")
    assert list((tmp_path / "bench").iterdir()) == []


def test_two_processes_at_once(tmp_path):
    code = (
        "import dataclasses, sys; from cesped.data.demo_entry import *;"
        "spec = dataclasses.replace(DEMO_SPECIFICATIONS['DEMO'], name='SMALL',"
        " n_particles_per_half=40, box=32, n_atoms=200); make_entry(spec, sys.argv[1])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "bench")]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    outcomes = [(run.communicate()[1], run.returncode) for run in runs]
    assert [code for _, code in outcomes] == [0, 0], outcomes
    assert [p.name for p in (tmp_path / "bench").iterdir()] == ["SMALL"]
    assert digest(tmp_path / "bench" / "SMALL") == digest(make_entry(SMALL, tmp_path / "alone"))


def test_demo_is_made_on_first_use(session_benchmark_dir):
    dataset = ParticlesDataset("DEMO", 1)
    specification = DEMO_SPECIFICATIONS["DEMO"]
    assert len(dataset) == specification.n_particles_per_half
    assert dataset.symmetry == "C1"
    assert open_entry("DEMO", 0).star_path.is_file()
    assert ensure_demo_entry() == session_benchmark_dir / "DEMO"


def test_d2_phantom_has_its_symmetry(tmp_path):
    specification = dataclasses.replace(
        DEMO_SPECIFICATIONS["DEMO-D2"], name="S2", n_particles_per_half=4, box=48, snr=1e9
    )
    folder = make_entry(specification, tmp_path)
    from cesped.io.mrc import read_volume
    from cesped.physics.projection import Projector

    volume, _ = read_volume(folder / "truth.mrc")
    group = point_group("D2")
    rotation = read_particle_table(folder / "particles_0.star").poses.rotations[:1]
    images = Projector(volume).project(group.operators @ rotation).reshape(4, -1).numpy()
    assert np.corrcoef(images).min() > 0.999
    mates = group.operators @ rotation
    assert symmetric_distance_deg(mates, mates[[0, 0, 0, 0]], group).max() < 1e-6


def test_unknown_embedded_entry(tmp_path):
    with pytest.raises(errors.EntryNotFoundError, match="DEMO, DEMO-D2"):
        ensure_demo_entry(tmp_path, "DEMO-O")
