"""Poses without a reference, from star file to page, with a network that knows the answer."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_entry import PIXEL_SIZE_ANGST, write_fake_entry
from known_network import KnownNetwork

from cesped.data.conventions import read_particle_table, read_predictions
from cesped.errors import OptionError
from cesped.io.mrc import read_volume, write_volume
from cesped.io.star import read_star
from cesped.io.star_writer import write_star
from cesped.physics.fsc import pearson
from cesped.physics.masks import soft_sphere
from cesped.reconstruction.native import NativeReconstructor
from cesped.workflows import abinitio
from cesped.workflows.abinitio import AbinitioOptions, find_poses
from cesped.workflows.abinitio_products import halves_of

COUNT = 150


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    return write_fake_entry(tmp_path_factory.mktemp("abinitio"), n_particles=COUNT, snr=5.0)


@pytest.fixture
def table(entry):
    return read_particle_table(entry.star(0), entry.folder)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A file that no network is read from, and that says nothing of pixel sizes."""
    monkeypatch.setattr(abinitio, "fit_of_images", lambda images, path: None)
    path = tmp_path / "known.safetensors"
    path.write_text("known by heart")
    return path


def run(entry, weights, out, model, monkeypatch, **options):
    monkeypatch.setattr(abinitio, "read_weights", lambda path: model)
    said = []
    found = find_poses(
        entry.star(0), entry.folder, weights, out, NativeReconstructor(),
        AbinitioOptions(threads=1, device="cpu", **options), tell=said.append,
    )  # fmt: skip
    return found, said


def leave_the_page_out(monkeypatch):
    monkeypatch.setattr(
        "cesped.report.abinitio_page.write_abinitio_page",
        lambda path, found: Path(path).write_text("a page"),
    )


def balls_in_frame(entry, rotation, box=32, sigma_px=1.3):
    """Return the density of the balls on a grid, turned into the frame of one particle."""
    axis = np.arange(box) - box // 2
    centres = entry.balls_angst @ rotation / PIXEL_SIZE_ANGST  # R^T b for each
    parts = [np.exp(-0.5 * ((axis - c[:, None]) / sigma_px) ** 2) for c in centres.T]
    x, y, z = parts
    return np.einsum("a,az,ay,ax->zyx", entry.weights, z, y, x, optimize=True)


def test_exact_maps_give_exact_poses_and_the_map_of_the_particle(
    entry, table, weights, tmp_path, monkeypatch
):
    confidence = 2 + torch.rand(COUNT, generator=torch.Generator().manual_seed(0))
    found, said = run(entry, weights, tmp_path, KnownNetwork(table, None, confidence), monkeypatch)
    reference = found["reference"]["row"] - 1
    ids, poses, has_confidence = read_predictions(tmp_path / "poses.star")
    assert list(ids) == list(table.ids)
    assert has_confidence
    truth = table.poses
    wanted = truth.rotations[reference].T @ truth.rotations
    np.testing.assert_allclose(poses.rotations, wanted, atol=1e-4)
    np.testing.assert_allclose(poses.origins_angst, truth.origins_angst, atol=5e-3)
    np.testing.assert_allclose(poses.confidence, 1 - 1 / confidence, atol=1e-5)
    volume, voxel = read_volume(tmp_path / "map.mrc")
    assert voxel == pytest.approx(PIXEL_SIZE_ANGST)
    balls = balls_in_frame(entry, truth.rotations[reference])
    assert pearson(volume, balls) > 0.96
    assert pearson(volume, balls[::-1]) < 0.85  # the same hand, the same axes
    assert found["quarter_turns"]["poses_follow"]
    assert found["quarter_turns"]["median_error_deg"] < 0.1
    assert found["confidence"]["is_informative"]
    assert found["notes"] == []
    assert found["resolution_angst"]["0.143"] < 10.5
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "Poses follow their images, and confidence tells" in page
    assert "nothing, nor does the map" not in page
    assert not (tmp_path / "encodings").exists()
    assert any("images/s" in line for line in said)


def test_images_are_resized_for_the_network_alone(entry, table, weights, tmp_path, monkeypatch):
    leave_the_page_out(monkeypatch)
    model, mask = KnownNetwork(table, image_size=24), tmp_path / "mask.mrc"
    write_volume(mask, soft_sphere(32, 11, 4), PIXEL_SIZE_ANGST)
    options = {"image_size": 24, "views": 20, "mask": mask}
    found, said = run(entry, weights, tmp_path, model, monkeypatch, **options)
    _, poses, _ = read_predictions(tmp_path / "poses.star")
    assert found["resolution_inside_mask"]
    assert found["resolution_angst"]["0.5"] < 10.5
    truth = table.poses
    reference = found["reference"]["row"] - 1
    np.testing.assert_allclose(
        poses.rotations, truth.rotations[reference].T @ truth.rotations, atol=1e-4
    )
    np.testing.assert_allclose(poses.origins_angst, truth.origins_angst, atol=5e-3)
    assert read_volume(tmp_path / "map.mrc")[0].shape == (32, 32, 32)
    # a network that is equally sure of all says nothing by it, and poses are right all the same
    assert not found["confidence"]["is_informative"]
    assert found["quarter_turns"]["poses_follow"]
    assert any(line.startswith("note: Confidence is uninformative: it is 3 for") for line in said)


def test_what_was_known_of_other_poses_is_not_kept(entry, table, weights, tmp_path, monkeypatch):
    leave_the_page_out(monkeypatch)
    star = tmp_path / "refined.star"
    sure = table.particles.assign(rlnMaxValueProbDistribution=0.9)
    write_star(star, {"optics": table.optics, "particles": sure})
    monkeypatch.setattr(abinitio, "read_weights", lambda path: KnownNetwork(table))
    options = AbinitioOptions(threads=1, device="cpu")
    find_poses(star, entry.folder, weights, tmp_path / "out", NativeReconstructor(), options)
    written = read_star(tmp_path / "out" / "poses.star")["particles"]
    assert "rlnMaxValueProbDistribution" not in written
    assert set(table.particles) - {"rlnMaxValueProbDistribution"} <= set(written)


def test_what_is_there_is_not_done_again_unless_something_changed(
    entry, table, weights, tmp_path, monkeypatch
):
    leave_the_page_out(monkeypatch)
    model, out = KnownNetwork(table), tmp_path / "out"
    first, _ = run(entry, weights, out, model, monkeypatch)
    encoded = model.encoded
    again, said = run(entry, weights, out, model, monkeypatch)
    assert again == first
    assert model.encoded == encoded
    assert said == [f"{out / 'report.html'} is up to date: nothing was done again"]
    (out / "half1.mrc").unlink()
    run(entry, weights, out, model, monkeypatch, resumable=False)
    assert (out / "half1.mrc").exists()
    weights.write_text("others")
    run(entry, weights, out, model, monkeypatch, resumable=False)
    assert model.encoded == 3 * encoded
    run(entry, weights, out, model, monkeypatch, seed=1)
    assert model.encoded == 4 * encoded
    assert json.loads((out / "abinitio.json").read_text())["made_from"]["seed"] == 1


def test_half_maps_are_those_of_the_star_file_or_of_every_other_row(table):
    first, second = halves_of(table)
    assert first.tolist() == list(range(0, COUNT, 2))
    assert second.tolist() == list(range(1, COUNT, 2))
    subset = np.where(np.arange(COUNT) < 60, 2, 1)
    table.particles["rlnRandomSubset"] = subset
    first, second = halves_of(table)
    assert first.tolist() == list(range(60, COUNT))
    assert second.tolist() == list(range(60))
    table.particles["rlnRandomSubset"] = 1  # one half of an entry
    assert len(halves_of(table)[0]) == COUNT // 2


def test_particles_without_ctf_get_poses_and_an_uncorrected_map(
    entry, table, weights, tmp_path, monkeypatch
):
    leave_the_page_out(monkeypatch)
    star = tmp_path / "no_ctf.star"
    text = Path(entry.star(0)).read_text()
    for name in ("rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle"):
        text = text.replace(name, name.replace("Defocus", "Other"))
    star.write_text(text)
    bare = read_particle_table(star, entry.folder)
    assert bare.ctf is None
    monkeypatch.setattr(abinitio, "read_weights", lambda path: KnownNetwork(table))
    found = find_poses(
        star, entry.folder, weights, tmp_path / "out", NativeReconstructor(),
        AbinitioOptions(threads=1, device="cpu"),
    )  # fmt: skip
    assert any("states no CTF" in note for note in found["notes"])
    assert (tmp_path / "out" / "map.mrc").exists()
    assert len(read_star(tmp_path / "out" / "poses.star")["particles"]) == COUNT


def test_the_star_file_that_is_read_is_not_written_over(entry, weights, tmp_path):
    star = tmp_path / "poses.star"
    star.write_bytes(Path(entry.star(0)).read_bytes())
    with pytest.raises(OptionError, match="is read here and would be lost"):
        find_poses(star, entry.folder, weights, tmp_path, NativeReconstructor())


def test_features_that_do_not_fit_the_memory_are_kept_in_a_file(
    entry, table, weights, tmp_path, monkeypatch
):
    leave_the_page_out(monkeypatch)
    model = KnownNetwork(table)
    found, _ = run(entry, weights, tmp_path / "in_memory", model, monkeypatch)
    monkeypatch.setattr("cesped.inference.abinitio.feature_room.available_bytes", lambda: 1000)
    again, said = run(entry, weights, tmp_path / "in_file", model, monkeypatch, resumable=False)
    assert again == found
    # 16 tokens of 2 numbers of 4 bytes
    assert said[0].startswith("features take 128 bytes a particle, 19.2 kB in all, more than half")
    assert not (tmp_path / "in_file" / "encodings").exists()
    one, other = ((tmp_path / out / "poses.star").read_bytes() for out in ("in_memory", "in_file"))
    assert one == other


def killed(folder, *renamings):
    program = Path(__file__).with_name("killed_abinitio.py")
    command = [sys.executable, program, folder, *map(str, renamings)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    story = json.loads(done.stdout)
    assert {"poses.star", "map.mrc", "half0.mrc", "half1.mrc", "report.html"} <= set(story["whole"])
    for kill in story["kills"]:
        assert kill["again"] == story["whole"], kill["left"]
    return [kill["reused"] for kill in story["kills"]]


def test_a_killed_run_ends_in_the_same_bytes_without_encoding_twice(tmp_path):
    # chunks of 16 of 80 particles: after one, after three, and when maps were being written
    assert killed(tmp_path) == [16, 48, 80]


@pytest.mark.slow
def test_a_run_may_be_killed_at_any_step(tmp_path):
    # the label, five chunks, the star file, three maps, the curve, the figures, the page's label
    reused = killed(tmp_path, *range(1, 13))
    assert reused[:7] == [0, 0, 16, 32, 48, 64, 80]
