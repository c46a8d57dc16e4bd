"""`align` on a map moved by known amounts, `evaluate-abinitio` on poses in another frame."""

import re

import numpy as np
import pytest
from fake_entry import write_fake_entry

from cesped.cli.main import main
from cesped.data.conventions import read_particle_table, write_particle_table
from cesped.evaluation.abinitio.pose_alignment import Frame, displaced
from cesped.geometry.euler import euler_to_rotation
from cesped.geometry.rotations import random_rotations, rotations_about_random_axes
from cesped.io.mrc import read_volume, write_volume
from cesped.physics.phantom import chain_phantom
from cesped.physics.volume_sampling import moved_volume

BOX = 40
VOXEL_ANGST = 2.5
SHIFT_PX = np.array([1.5, -2.0, 0.5])


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """A map and its mirror image, turned and moved; their paths and the rotation."""
    generator = np.random.default_rng(0)
    phantom = chain_phantom(300, 0.32 * BOX, generator)
    axis = np.arange(BOX) - BOX // 2
    x, y, z = (np.exp(-0.5 * ((axis - p[:, None]) / 1.2) ** 2) for p in phantom.positions_angst.T)
    volume = np.einsum("az,ay,ax->zyx", z * phantom.weights[:, None], y, x, optimize=True)
    rotation = random_rotations(1, generator)[0]
    folder = tmp_path_factory.mktemp("align")
    moved = moved_volume(volume, rotation, SHIFT_PX, is_mirrored=True)
    fixed = write_volume(folder / "a.mrc", moved, VOXEL_ANGST)
    return fixed, write_volume(folder / "b.mrc", volume, VOXEL_ANGST), rotation


def numbers(line):
    return [float(word) for word in re.findall(r"-?\d+\.\d+(?!\S*\))", line)]


def test_align_prints_the_transform_and_writes_the_moved_map(maps, tmp_path, capsys):
    fixed, moving, rotation = maps
    out = tmp_path / "moved.mrc"
    assert main(["align", str(fixed), str(moving), "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("hand                   : mirrored: x_A = -R x_B + shift (the other")
    found = euler_to_rotation(numbers(lines[1])[:3])
    np.testing.assert_allclose(found, rotation, atol=0.003)
    np.testing.assert_allclose(numbers(lines[2])[:3], SHIFT_PX, atol=0.05)
    np.testing.assert_allclose(numbers(lines[3])[:3], SHIFT_PX * VOXEL_ANGST, atol=0.1)
    assert lines[4].startswith("resolution at FSC 0.143:")
    before, after = re.findall(r"([\d.]+) Å (?:before|after)", lines[5])
    assert float(after) < 0.7 * float(before)
    assert re.search(r"(0\.99\d\d|1\.0000) after$", lines[6])
    assert lines[7] == f"Wrote {out}"
    moved, voxel_angst = read_volume(out)
    assert voxel_angst == pytest.approx(VOXEL_ANGST)
    expected, _ = read_volume(fixed)
    assert np.corrcoef(moved.ravel(), expected.ravel())[0, 1] > 0.995


def test_align_never_writes_over_what_it_reads(maps, capsys):
    fixed, moving, _ = maps
    content = moving.read_bytes()
    assert main(["align", str(fixed), str(moving), "--out", str(moving)]) == 1
    assert "b.mrc is read here and would be lost; write to another name" in capsys.readouterr().err
    assert moving.read_bytes() == content


def test_align_refuses_maps_of_other_voxels(maps, tmp_path, capsys):
    fixed, moving, _ = maps
    volume, _ = read_volume(moving)
    other = write_volume(tmp_path / "other.mrc", volume, 2.0)
    out = str(tmp_path / "moved.mrc")
    assert main(["align", str(fixed), str(other), "--out", out]) == 1
    assert "other.mrc has 2" in capsys.readouterr().err
    small = write_volume(tmp_path / "small.mrc", volume[1:, 1:, 1:], VOXEL_ANGST)
    assert main(["align", str(fixed), str(small), "--out", out]) == 1
    assert "give files of one box" in capsys.readouterr().err
    assert not (tmp_path / "moved.mrc").exists()


def test_abinitio_scores_poses_of_the_other_hand(benchmark_dir, tmp_path, capsys):
    entry = write_fake_entry(benchmark_dir, name="FAKE", n_particles=150)
    generator = np.random.default_rng(1)
    frame = Frame(random_rotations(1, generator)[0], True, np.array([4.0, 5.0, -6.0]))
    paths = []
    for half in (0, 1):
        table = read_particle_table(entry.star(half), entry.folder)
        turns = rotations_about_random_axes(len(table), 2.0, generator)
        poses = displaced(table.poses, frame)
        noisy = type(poses)(poses.rotations @ turns, poses.origins_angst, poses.confidence)
        paths.append(write_particle_table(tmp_path / f"p{half}.star", table.with_poses(noisy)))
    files = [str(tmp_path / f"p{half}.star") for half in (0, 1)]
    out = tmp_path / "out"
    assert main(["evaluate-abinitio", "FAKE", *files, "--outdir", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "note: Half 0 of the predictions is of the other hand; 100 % of the poses" in printed
    assert re.search(r"rotation error \(F-norm\), aligned +0\.0[45]", printed)
    assert re.search(r"mean angular error \(MAnE\) +(1\.9|2\.0)", printed)
    names = {path.name for path in out.iterdir()}
    assert {"metrics.json", "report.html", "aligned_0.star", "aligned_1.star"} <= names
    assert "Figures of the ab initio track".lower() in (out / "report.html").read_text().lower()


def test_abinitio_wants_one_file_or_two(benchmark_dir, capsys):
    write_fake_entry(benchmark_dir, name="FAKE")
    assert main(["evaluate-abinitio", "FAKE", "a.star", "b.star", "c.star"]) == 1
    assert "3 files of predictions; give one of all, or one per half" in capsys.readouterr().err
    assert main(["evaluate-abinitio", "FAKE"]) == 2
