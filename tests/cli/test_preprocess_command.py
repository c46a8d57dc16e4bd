"""`cesped preprocess`, and the same under its published name."""

import json

import mrcfile
import numpy as np
import pytest
import starfile
from fake_entry import write_fake_entry

from cesped.cli.main import main, particles_dataset_face
from cesped.data.dataset import ParticlesDataset
from cesped.data.prepared.dataset import PreparedDataset


@pytest.fixture
def entry(benchmark_dir):
    return write_fake_entry(benchmark_dir, symmetry="D2")


def test_both_halves_are_prepared_and_said(entry, tmp_path, capsys):
    out = tmp_path / "prepared"
    assert main(["preprocess", "FAKE", "--out", str(out), "--image-size", "20"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Prepared 24 images of 20 x 20 px, float32:",
        f"  {out}/particles_0.star",
        f"  {out}/particles_0.mrcs",
        "Prepared 24 images of 20 x 20 px, float32:",
        f"  {out}/particles_1.star",
        f"  {out}/particles_1.mrcs",
        "The images are phase flipped. RELION does not see that by itself: give its programs "
        "--ctf_phase_flipped, or their CTF correction flips the phases back.",
    ]
    raw = ParticlesDataset("FAKE", 1, image_size=20)
    prepared = PreparedDataset(out / "particles_1.star")
    assert prepared.symmetry == "D2"
    np.testing.assert_allclose(prepared[3][1], raw[3][1], atol=2e-5)


def test_options_reach_the_images(entry, tmp_path, capsys):
    words = ["preprocess", "FAKE", "-o", str(tmp_path / "p"), "-p", "1", "--dtype", "float16"]
    words += ["--crop", "0", "--ctf-correction", "ctf_multiply", "--normalization", "subtractMean"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "RELION 3.1 and later read that from the star file" in said
    assert "float16 stacks are read by RELION 4" in said
    card = json.loads((tmp_path / "p" / "particles_1.prepared.json").read_text())
    assert card["stored_as"] == "float16"
    assert card["options"]["ctf_correction"] == "ctf_multiply"
    assert card["options"]["normalization"] == "subtractMean"
    assert card["image_size"] == 32
    assert not (tmp_path / "p" / "particles_0.star").exists()


def test_the_folder_is_an_entry_whose_images_are_not_corrected_again(entry, tmp_path, capsys):
    assert main(["preprocess", "FAKE", "--out", str(tmp_path / "b" / "fast")]) == 0
    capsys.readouterr()
    assert main(["list", "-b", str(tmp_path / "b")]) == 0
    assert "fast" in capsys.readouterr().out
    plain = ParticlesDataset("fast", 0, tmp_path / "b", None, False, "none", 0.0)
    assert plain.symmetry == "D2"
    assert main(["show", "fast", "-b", str(tmp_path / "b"), "-o", str(tmp_path / "a.png")]) == 1
    assert "phase flipped" in capsys.readouterr().err


def test_a_star_file_is_prepared_under_its_own_name(entry, tmp_path, capsys):
    words = ["preprocess", str(entry.star(0)), "--root", str(entry.folder), "--symmetry", "d2"]
    assert main([*words, "--out", str(tmp_path / "p"), "--ctf-correction", "none"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert PreparedDataset(tmp_path / "p" / "particles_0.star").symmetry == "D2"
    assert not (tmp_path / "p" / "info_0.json").exists()


def test_checking_says_whether_it_is_current(entry, tmp_path, capsys):
    words = ["preprocess", "FAKE", "-p", "0", "--out", str(tmp_path / "p")]
    assert main([*words, "--check"]) == 1
    assert "prepare them first" in capsys.readouterr().err
    assert main(words) == 0
    assert main([*words, "--check"]) == 0
    assert "particles_0 in" in capsys.readouterr().out
    assert main([*words, "--check", "--image-size", "16"]) == 1
    assert "image_size is None, asked for is 16" in capsys.readouterr().err
    entry.star(0).write_text(entry.star(0).read_text() + "\n")
    assert main([*words, "--check"]) == 1
    assert "star file is not what it was" in capsys.readouterr().err


def test_another_set_is_replaced_only_by_force(entry, tmp_path, capsys):
    words = ["preprocess", "FAKE", "-p", "0", "--out", str(tmp_path / "p")]
    assert main(words) == 0
    assert main([*words, "--image-size", "16"]) == 1
    assert "holds another prepared set" in capsys.readouterr().err
    assert main([*words, "--image-size", "16", "--force"]) == 0
    assert len(PreparedDataset(tmp_path / "p" / "particles_0.star")[0][1][0]) == 16


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["FAKE", "--root", "/"], "--root and --symmetry are for star files"),
        (["FAKE.star", "-p", "0"], "a star file has no halves"),
        (["FAKE", "--dtype", "float8"], "float8"),
    ],
)
def test_words_that_do_not_fit_are_wrong_usage(entry, tmp_path, capsys, words, said):
    assert main(["preprocess", *words, "--out", str(tmp_path / "p")]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("command", [["doctor"], ["preprocess", "--out", "prepared"]])
@pytest.mark.parametrize(
    ("name", "first_bytes"), [("a.cs", b"\x93NUMPY"), ("a.pkl", b"\x80\x04")], ids=["cs", "pkl"]
)
def test_files_of_other_programs_are_to_be_converted(tmp_path, capsys, command, name, first_bytes):
    foreign = tmp_path / name
    foreign.write_bytes(first_bytes + bytes(100))
    assert main([*command, str(foreign)]) == 1
    assert "make one of it with `cesped convert`" in capsys.readouterr().err


def test_an_entry_is_not_prepared_into_itself(entry, capsys):
    assert main(["preprocess", "FAKE", "--out", str(entry.folder), "--force"]) == 1
    assert "another folder" in capsys.readouterr().err


def test_the_published_command_writes_star_and_stack(entry, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["preprocess_entry", "--t", "FAKE", "-p", "0", "--o", str(out)]  # as on their page
    assert particles_dataset_face(words) == 0
    with mrcfile.open(out / "particles_0.mrcs") as mrc:
        assert mrc.data.shape == (24, 32, 32)
        assert mrc.data.dtype == np.float32
        assert mrc.voxel_size.x == pytest.approx(3.0 * 25 / 32, rel=1e-6)
    table = starfile.read(out / "particles_0.star")
    assert table["particles"]["rlnImageName"][0] == "000001@particles_0.mrcs"
    assert "rlnCtfDataArePhaseFlipped" not in table["optics"]
    assert particles_dataset_face([*words, "-s", "20", "-f", "phase_flip", "-c", "0.25"]) == 0
    table = starfile.read(out / "particles_0.star")
    assert table["optics"]["rlnImageSize"][0] == 20
    assert table["optics"]["rlnImagePixelSize"][0] == pytest.approx(3.6)
    assert "phase flipped" in capsys.readouterr().out


def test_the_published_picture_takes_the_published_options(entry, tmp_path, capsys):
    words = ["visualize", "-t", "FAKE", "-p", "1", "-f", "-s", "48", "-c", "0.1"]
    assert particles_dataset_face([*words, "-i", "0", "-o", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert particles_dataset_face([*words, "-i", "1"]) == 2
    assert "one channel" in capsys.readouterr().err
