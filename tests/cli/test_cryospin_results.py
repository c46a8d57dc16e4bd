"""Results of cryoSPIN by the words of docs/converting.md: from its checkpoint to a score."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_entry import write_fake_entry
from scipy.spatial.transform import Rotation

from cesped.cli.main import main
from cesped.data.conventions import read_particle_table
from cesped.evaluation.outputs import read_metrics

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "converting.md"


def cryospin_matrices(angles_deg):
    """The matrices `(N, 3, 3)` by which cryoSPIN multiplies row vectors of the image plane.

    By its loader's rule: about z by -rot, then about y by +tilt, then about z by -psi, columns.
    """
    rot, tilt, psi = angles_deg.T
    return Rotation.from_euler(
        "ZYZ", np.stack([-psi, tilt, -rot], axis=1), degrees=True
    ).as_matrix()


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    return write_fake_entry(tmp_path_factory.mktemp("spin"), n_particles=40, snr=2.0)


def test_a_checkpoint_becomes_a_score(entry, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (snippet,) = [
        text
        for text in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
        if "pose_model" in text
    ]
    stars = []
    frame = Rotation.random(random_state=4)  # it chose a frame of its own
    for half in (0, 1):
        table = read_particle_table(entry.star(half), entry.folder)
        true = frame * Rotation.from_matrix(table.require_poses().rotations)
        matrices = torch.from_numpy(cryospin_matrices(true.as_euler("ZYZ", degrees=True)))
        state = {"rots.rotations": matrices.float(), "rots.perturbations_w": torch.zeros(40, 3)}
        torch.save({"epoch": 3, "total_time": 1.0, "pose_model": state}, "checkpoint.pth")
        exec(compile(snippet, str(DOCUMENT), "exec"), {})
        stars.append(f"cryospin_{half}.star")
        assert main(["convert", "poses.pkl", str(entry.star(half)), stars[-1]]) == 0
    words = ["evaluate-abinitio", "FAKE", *stars, "--predictionType", "SO3", "--n_cpus", "1"]
    assert main([*words, "-b", str(entry.benchmark_dir), "--outdir", "scores"]) == 0
    capsys.readouterr()
    found = read_metrics("scores/metrics.json")
    assert found.metrics["mean_angular_error_deg"] < 0.01
    assert all(stamp["is_found"] and stamp["is_hand_known"] for stamp in found.stamps["frames"])
    # its rule is that of the other hand
    assert all(stamp["is_mirrored"] for stamp in found.stamps["frames"])
    np.testing.assert_allclose(found.metrics["frobenius_error_aligned"], 0.0, atol=1e-3)
