"""The door of `cesped abinitio`: what it writes and says, and what it refuses."""

import json
import os
import pickle

import mrcfile
import numpy as np
import pytest
import torch
from fake_entry import PIXEL_SIZE_ANGST, write_fake_entry

from cesped.cli.main import main
from cesped.io.mrc import write_volume
from cesped.io.star import read_star
from cesped.models.cryofastar.model import CryoFastAR


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    return write_fake_entry(tmp_path_factory.mktemp("abinitio"), n_particles=20)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    torch.manual_seed(0)
    CryoFastAR("tiny").save(path)
    return path


@pytest.fixture
def words(entry, untrained, tmp_path):
    """Return the command line; options that are given again count."""

    def line(*more, star=None, weights=untrained, root=None):
        star, root = star or entry.star(0), root or entry.folder
        start = ["abinitio", "--star", str(star), "--root", str(root)]
        end = ["--weights", str(weights), "--out", str(tmp_path / "out"), "--threads", "1"]
        return [*start, *end, "--device", "cpu", *map(str, more)]

    return line


def refused(words, capsys, tmp_path, code=1):
    """Return the message of a refusal, which leaves no results behind."""
    assert main(words) == code
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    assert not list((tmp_path / "out").glob("*.star"))
    assert not list((tmp_path / "out").glob("*.mrc"))
    return shown.err


def test_untrained_weights_are_said_to_know_nothing(words, tmp_path, capsys):
    assert main(words()) == 0
    printed = capsys.readouterr().out
    out = tmp_path / "out"
    assert "note: These poses mean nothing: when 19 images were turned by a quarter" in printed
    assert "note: Confidence is uninformative (mean 2; 2 is what weights that know" in printed
    assert "(no mask, of poses that mean nothing)" in printed
    assert "mean confidence              :    2.000, uninformative" in printed
    assert "20 images in " in printed
    assert f"Report: {out / 'report.html'}" in printed
    page = (out / "report.html").read_text("utf-8")
    assert "These poses mean nothing, nor does the map that was made of them." in page
    assert str(tmp_path) not in page
    assert {path.name for path in out.iterdir()} == {
        "poses.star", "map.mrc", "half0.mrc", "half1.mrc", "fsc_halves.csv", "abinitio.json",
        "report.html", "report.html.made_from.json",
    }  # fmt: skip
    figures = json.loads((out / "abinitio.json").read_text())
    assert not figures["confidence"]["weights_the_map"]
    particles = read_star(out / "poses.star")["particles"]
    np.testing.assert_allclose(particles["rlnParticleFigureOfMerit"].astype(float), 0.5)
    assert main(words()) == 0
    assert "is up to date" in capsys.readouterr().out


def test_words_of_the_scoring_command_are_sent_there(capsys):
    assert main(["abinitio", "DEMO", "poses.star"]) == 1
    assert "use: cesped evaluate-abinitio DEMO poses.star" in capsys.readouterr().err


def test_options_are_not_optional(capsys):
    assert main(["abinitio", "--star", "a.star"]) == 2
    assert "--weights" in capsys.readouterr().err


def test_too_few_particles(untrained, words, tmp_path, capsys):
    few = write_fake_entry(tmp_path, n_particles=15)
    message = refused(words(star=few.star(0), root=few.folder), capsys, tmp_path)
    assert "has 15 particles, too few for poses and a map; give 16 or more" in message


def test_a_box_that_the_patches_do_not_divide(words, tmp_path, capsys):
    odd = write_fake_entry(tmp_path, n_particles=16, box=36)
    message = refused(words(star=odd.star(0), root=odd.folder), capsys, tmp_path)
    assert "with 36 px, but these weights take multiples of 8 px" in message
    assert "--image-size, such as 32" in message
    again = words("--image-size", 33, star=odd.star(0), root=odd.folder)
    assert "with 33 px" in refused(again, capsys, tmp_path)


def test_images_that_are_not_square(entry, words, tmp_path, capsys):
    images = np.random.default_rng(0).normal(size=(20, 32, 40)).astype(np.float32)
    (tmp_path / "particles_0.star").write_bytes(entry.star(0).read_bytes())
    with mrcfile.new(tmp_path / "particles_0.mrcs", data=images) as mrc:
        mrc.set_image_stack()
        mrc.voxel_size = PIXEL_SIZE_ANGST
    line = words(star=tmp_path / "particles_0.star", root=tmp_path)
    assert "must be square" in refused(line, capsys, tmp_path)


def test_a_pickle_with_code_is_refused_and_not_run(words, tmp_path, capsys):
    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "pwned"),)

    path = tmp_path / "hostile.pth"
    torch.save({"model": Hostile()}, path)
    message = refused(words(weights=path), capsys, tmp_path)
    assert "hostile.pth were not loaded" in message
    assert "nothing of it was run" in message
    path.write_bytes(pickle.dumps(Hostile()))
    assert "nothing of it was run" in refused(words(weights=path), capsys, tmp_path)
    assert not (tmp_path / "pwned").exists()


def test_weights_of_something_else(words, tmp_path, capsys):
    path = tmp_path / "other.pth"
    torch.save({"model": {"conv1.weight": torch.zeros(4, 1, 3, 3)}}, path)
    assert "another architecture" in refused(words(weights=path), capsys, tmp_path)
    path = tmp_path / "other.safetensors"
    path.write_bytes(b"no weights")
    assert "no safetensors file" in refused(words(weights=path), capsys, tmp_path)
    missing = tmp_path / "missing.safetensors"
    assert "missing.safetensors" in refused(words(weights=missing), capsys, tmp_path)


def test_a_mask_of_another_box(words, tmp_path, capsys):
    write_volume(tmp_path / "mask.mrc", np.ones((24, 24, 24), np.float32), PIXEL_SIZE_ANGST)
    message = refused(words("--mask", tmp_path / "mask.mrc"), capsys, tmp_path)
    assert "mask.mrc has 24 voxels a side and the images of" in message
    assert "is not a file" in refused(words("--mask", tmp_path / "no.mrc"), capsys, tmp_path)


def test_a_place_where_nothing_can_be_written(words, tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    assert "is a file; name another folder" in refused(words(), capsys, tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(words, tmp_path, capsys):
    message = refused(words("--device", "cuda"), capsys, tmp_path)
    assert "no GPU" in message or "CUDA" in message
    assert "torch sees no GPU here" in refused(words("--device", "cuda:1"), capsys, tmp_path)
    assert "use cpu, cuda or auto" in refused(words("--device", "abacus"), capsys, tmp_path)


@pytest.mark.gpu
def test_a_gpu_is_as_confident_as_the_processor(words, untrained, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "cesped.report.abinitio_page.write_abinitio_page",
        lambda path, found: path.write_text("a page"),
    )
    model = CryoFastAR.load(untrained)
    torch.manual_seed(1)
    for head in (model.reference_head, model.target_head):
        torch.nn.init.normal_(head.points.weight, std=0.1)
    model.save(tmp_path / "random.safetensors")
    means = []
    for device in ("cpu", "cuda"):
        out = tmp_path / device
        line = words("--device", device, "--float32", weights=tmp_path / "random.safetensors")
        assert main([*line, "--out", str(out)]) == 0
        means.append(json.loads((out / "abinitio.json").read_text())["confidence"]["mean"])
    assert means[1] == pytest.approx(means[0], rel=1e-2)


def test_the_usage_line_names_no_argument_that_is_refused(capsys):
    assert main(["abinitio", "--help"]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("abinitio [OPTIONS]")
