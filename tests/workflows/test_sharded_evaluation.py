"""`torchrun -m cesped.evaluateEntry`: two processes share the particles of an entry.

Processes talk over this machine's loopback by gloo; no network and no GPU is needed.
"""

import json
import math
import os
import subprocess
import sys

import mrcfile
import numpy as np
import pytest
from fake_entry import write_fake_entry
from scipy.spatial.transform import Rotation

from cesped.evaluateEntry import evaluate
from cesped.io.star import read_star, write_star

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
#: Figures of maps that are summed in another order; beside them float32 of the maps themselves.
CLOSE = 1e-5


@pytest.fixture
def entry(tmp_path):
    return write_fake_entry(tmp_path / "entries", symmetry="C2", n_particles=40, snr=0.5)


@pytest.fixture
def predictions(entry, tmp_path):
    """Star files with poses that are off by about 5 degrees, and confidences."""
    rng = np.random.default_rng(1)
    paths = []
    for half in (0, 1):
        tables = dict(read_star(entry.star(half)))
        particles = tables["particles"].copy()
        names = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
        truth = Rotation.from_euler("ZYZ", particles[names].to_numpy(float), degrees=True)
        off = Rotation.from_rotvec(np.deg2rad(5) * rng.normal(size=(len(particles), 3)) / 1.7)
        particles[names] = (off * truth).as_euler("ZYZ", degrees=True)
        particles["rlnParticleFigureOfMerit"] = rng.uniform(0.2, 1, len(particles))
        tables["particles"] = particles
        paths.append(tmp_path / f"predicted_{half}.star")
        write_star(paths[-1], tables)
    return paths


def run_on_two_ranks(entry, predictions, outdir, *options):
    command = [*TORCHRUN, "-m", "cesped.evaluateEntry", "--predictionType", "SO3"]
    command += ["--targetName", entry.name, "--benchmarkDir", str(entry.benchmark_dir)]
    command += ["--half0PredsFname", str(predictions[0]), "--half1PredsFname", str(predictions[1])]
    command += ["--outdir", str(outdir), "--n_cpus", "1", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1800)


@pytest.mark.parametrize("backend", ["native", pytest.param("torch", marks=pytest.mark.slow)])
def test_two_ranks_find_what_one_finds(entry, predictions, tmp_path, backend):
    alone = evaluate(
        entry.name,
        *predictions,
        "SO3",
        benchmarkDir=entry.benchmark_dir,
        outdir=tmp_path / "alone",
        n_cpus=1,
        backend=backend,
    )
    shared = tmp_path / "shared"
    done = run_on_two_ranks(entry, predictions, shared, "--backend", backend)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Report: ") == 1  # only the first rank speaks
    assert done.stderr.count("Writing the report: done") == 1
    found = json.loads((shared / "metrics.json").read_text())
    for key, expected in alone.items():
        if math.isnan(expected):
            assert found[key] is None
        else:
            assert found[key] == pytest.approx(expected, rel=CLOSE, abs=CLOSE), key
    for name in ("truth", "prediction_half0", "prediction_half1", "random"):
        one, other = (
            mrcfile.read(folder / f"{entry.name}_{name}.mrc").astype(float)
            for folder in (tmp_path / "alone", shared)
        )
        assert np.abs(one - other).max() < CLOSE * np.abs(one).max()


def test_an_error_of_one_rank_ends_all_with_one_message(entry, predictions, tmp_path):
    stack = entry.folder / "particles_1.mrcs"
    with mrcfile.mmap(stack, mode="r+") as mrc:
        mrc.data[38, 5, 5] = np.nan  # in the part of the second rank
    done = run_on_two_ranks(entry, predictions, tmp_path / "out")
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if "evaluateEntry: error:" in line]
    assert len(errors) == 1
    assert "rank 1 of 2 failed: " in errors[0]
    assert "section 39 of" in errors[0]
    assert "Report" not in done.stdout
    assert not (tmp_path / "out" / "metrics.json").exists()


@pytest.mark.slow
def test_an_error_of_all_ranks_is_told_once(entry, predictions, tmp_path):
    done = run_on_two_ranks(entry, (predictions[0], tmp_path / "none.star"), tmp_path / "out")
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if "evaluateEntry: error:" in line]
    assert len(errors) == 1
    assert "none.star" in errors[0]


@pytest.mark.slow
def test_relion_is_not_started_twice(entry, predictions, tmp_path):
    done = run_on_two_ranks(entry, predictions, tmp_path / "out", "--backend", "relion")
    errors = [line for line in done.stderr.splitlines() if "evaluateEntry: error:" in line]
    assert len(errors) == 1
    assert "RELION brings its own (MPI)" in errors[0]
