"""`reconstruct`, `project` and `fsc`, each on files that another one made."""

import csv

import numpy as np
import pytest
from fake_entry import PIXEL_SIZE_ANGST, apply_ctf, project_balls, write_fake_entry

from cesped.cli.main import main
from cesped.io.mrc import read_volume, write_volume
from cesped.io.stack import StackReader
from cesped.io.star import read_star


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    return write_fake_entry(tmp_path_factory.mktemp("maps"), n_particles=300)


@pytest.fixture(scope="module")
def half_maps(entry, tmp_path_factory):
    folder = tmp_path_factory.mktemp("half-maps")
    paths = []
    for half in (0, 1):
        paths.append(folder / f"half{half}.mrc")
        words = ["reconstruct", "--star", str(entry.star(half)), "--root", str(entry.folder)]
        assert main([*words, "--symmetry", "C1", "--out", str(paths[-1])]) == 0
    return paths


def test_half_maps_agree_and_fsc_says_so(half_maps, tmp_path, capsys):
    words = ["fsc", *map(str, half_maps), "--out", str(tmp_path / "halves")]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "resolution at FSC 0.143" in printed
    assert "Pearson correlation" in printed
    with (tmp_path / "halves.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == 17
    assert float(rows[2]["fsc"]) > 0.95
    assert float(rows[2]["resolution_angst"]) == pytest.approx(32 * PIXEL_SIZE_ANGST / 2)
    assert (tmp_path / "halves.png").exists()


def test_fsc_inside_a_mask(half_maps, tmp_path, capsys):
    mask = write_volume(tmp_path / "mask.mrc", np.ones((32, 32, 32)), PIXEL_SIZE_ANGST)
    words = ["fsc", *map(str, half_maps), "--out", str(tmp_path / "f")]
    main(words)
    without = capsys.readouterr().out.splitlines()[2]
    assert main([*words, "--mask", str(mask)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "(inside the mask)" in printed[0]
    assert printed[2] == without  # a mask of ones changes nothing


def test_maps_of_other_pixel_sizes_are_not_compared(half_maps, tmp_path, capsys):
    volume, _ = read_volume(half_maps[0])
    other = write_volume(tmp_path / "other.mrc", volume, 2.0)
    assert main(["fsc", str(half_maps[0]), str(other), "--out", str(tmp_path / "f")]) == 1
    assert "other.mrc has 2" in capsys.readouterr().err
    assert not (tmp_path / "f.csv").exists()


def test_projections_are_the_images_without_noise(entry, half_maps, tmp_path):
    """Against balls projected by their formula, not by the package."""
    stack = tmp_path / "projections.mrcs"
    words = ["project", "--map", str(half_maps[0]), "--star", str(entry.star(1))]
    assert main([*words, "--out", str(stack)]) == 0
    poses, ctf = entry.poses[1], entry.ctf[1]
    exact = apply_ctf(project_balls(entry.balls_angst, entry.weights, poses, 32), ctf)
    images = StackReader().read(stack, np.arange(len(poses)))
    pairs = zip(images, exact, strict=True)
    correlations = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]
    assert np.median(correlations) > 0.95
    table = read_star(stack.with_suffix(".star"))["particles"]
    assert table["rlnImageName"].iloc[4] == "000005@projections.mrcs"


def test_projections_without_ctf_differ(entry, half_maps, tmp_path):
    for name, more in (("with", []), ("without", ["--no-ctf"])):
        words = ["project", "--map", str(half_maps[0]), "--star", str(entry.star(0))]
        assert main([*words, "--out", str(tmp_path / f"{name}.mrcs"), *more]) == 0
    with_ctf, without = (
        StackReader().read(tmp_path / f"{name}.mrcs", [0]) for name in ("with", "without")
    )
    assert np.corrcoef(with_ctf.ravel(), without.ravel())[0, 1] < 0.95


def test_a_map_of_another_pixel_size_is_not_projected(entry, tmp_path, capsys):
    noise = np.random.default_rng(0).normal(size=(32, 32, 32))
    other = write_volume(tmp_path / "other.mrc", noise, 2.0)
    words = ["project", "--map", str(other), "--star", str(entry.star(0))]
    assert main([*words, "--out", str(tmp_path / "p.mrcs")]) == 1
    assert "per pixel" in capsys.readouterr().err
    assert not (tmp_path / "p.mrcs").exists()


def test_weights_that_are_not_there_are_an_error(entry, tmp_path, capsys):
    words = ["reconstruct", "--star", str(entry.star(0)), "--root", str(entry.folder)]
    assert main([*words, "--out", str(tmp_path / "m.mrc"), "--confidence-weights"]) == 1
    assert "--confidence-weights" in capsys.readouterr().err


@pytest.mark.relion
def test_the_relion_backend_makes_the_same_map(entry, half_maps, tmp_path):
    words = ["reconstruct", "--star", str(entry.star(0)), "--root", str(entry.folder)]
    assert main([*words, "--out", str(tmp_path / "r.mrc"), "--backend", "relion"]) == 0
    ours, theirs = read_volume(half_maps[0])[0], read_volume(tmp_path / "r.mrc")[0]
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999
