"""`cesped doctor`: what it prints, and by which code a script knows."""

import json

import numpy as np
import pytest
from fake_entry import fake_ctf, fake_poses, write_fake_entry, write_star_31

from cesped.cli.main import main
from cesped.geometry.poses import Poses
from cesped.workflows import doctor

FEW = ["--threads", "1"]


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    return write_fake_entry(tmp_path_factory.mktemp("doctor"), n_particles=120, snr=1.0)


def write_changed(entry, path, change):
    """Write the star file of half 0 with other poses, beside the stack that it names."""
    rotations, origins = change(entry.poses[0].rotations, entry.poses[0].origins_angst)
    poses = Poses(rotations, origins, np.ones(len(rotations)))
    write_star_31(path, poses, entry.ctf[0], 32)
    text = path.read_text().replace(f"@{path.stem}.mrcs", "@particles_0.mrcs")
    path.write_text(text)
    return path


def test_a_healthy_entry(entry, capsys):
    words = ["doctor", "FAKE", "-b", str(entry.benchmark_dir), *FEW]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert out.startswith("FAKE, half 0: 120 particles at 32 px of 3 Å\n")
    assert "orientations  healthy      certain   Right as given: all 11 other readings" in out
    assert "Nothing wrong was found (certain, z " in out
    assert "To do" not in out


def test_a_transposed_star_file_is_a_fault_with_a_remedy(entry, tmp_path, capsys):
    star = write_changed(entry, tmp_path / "t.star", lambda r, o: (r.transpose(0, 2, 1), o))
    picture = tmp_path / "doctor.png"
    words = ["doctor", str(star), "--root", str(entry.folder), "--readings", *FEW]
    assert main([*words, "--figure", str(picture)]) == 3
    out = " ".join(capsys.readouterr().out.split())
    assert "Something is wrong (certain, z " in out
    assert "The rotations are transposed: inverse rotations were written." in out
    assert "To do: Write the transposed matrix of each pose" in out
    assert "transposed and mirrored" in out  # one of the readings
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_json_is_all_that_is_printed(entry, capsys):
    words = ["doctor", "FAKE", "-b", str(entry.benchmark_dir), "-p", "1", "--json", *FEW]
    assert main([*words, "--particles", "60", "--box", "24"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["subject"] == "FAKE, half 1"
    assert found["health"] == "healthy"
    assert found["particles"] == 60
    readings = {item["suspicion"]: item["readings"] for item in found["findings"]}
    assert readings["orientations"][0]["name"] == "as given"
    assert readings["orientations"][0]["z"] is None


def test_noise_is_a_case_of_its_own(tmp_path, capsys):
    noisy = write_fake_entry(tmp_path, n_particles=40, snr=0.001)
    assert main(["doctor", "FAKE", "-b", str(noisy.benchmark_dir), *FEW]) == 4
    assert "Cannot tell." in capsys.readouterr().out


def test_predictions_are_held_against_the_truth(entry, tmp_path, capsys):
    words = ["doctor", "FAKE", "-b", str(entry.benchmark_dir), *FEW, "--predictions"]
    good = write_changed(entry, tmp_path / "good.star", lambda r, o: (r, o))
    assert main([*words, str(good)]) == 0
    assert "The frame is that of the known poses" in capsys.readouterr().out
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    turned = write_changed(entry, tmp_path / "turned.star", lambda r, o: (turn @ r, o))
    assert main([*words, str(turned)]) == 3
    assert "another frame: their map is turned by 90.0 degrees" in " ".join(
        capsys.readouterr().out.split()
    )
    # nothing says that they are of half 0, and half 1 is not theirs
    assert main([*words, str(good), "--halfset", "1"]) == 1
    assert "does not hold one pose for each particle" in capsys.readouterr().err


def test_predictions_of_the_second_half_are_recognised(entry, tmp_path, capsys):
    words = ["doctor", "FAKE", "-b", str(entry.benchmark_dir), *FEW, "--predictions"]
    assert main([*words, str(entry.star(1))]) == 0
    assert "against FAKE, half 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["particles.star", "--halfset", "1"], "not with a star file"),
        (["FAKE", "--symmetry", "D2"], "go with a star file"),
    ],
)
def test_options_of_the_other_kind_are_wrong_usage(words, said, capsys):
    assert main(["doctor", *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("file/doctor.png", "is a file; name another folder"),
        ("doctor.jpg", "doctor.jpg is not the name of a PNG picture"),
    ],
)
def test_a_figure_that_cannot_be_written_is_told_before_the_work(
    entry, tmp_path, capsys, monkeypatch, name, said
):
    monkeypatch.setattr(doctor, "diagnose_entry", lambda *_: pytest.fail("worked first"))
    (tmp_path / "file").write_text("")
    words = ["doctor", "FAKE", "-b", str(entry.benchmark_dir), "--figure", str(tmp_path / name)]
    assert main(words) == 1
    assert said in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_contradicting_pixel_sizes_are_a_fault_and_the_images_say_which_is_right(tmp_path, capsys):
    made = write_fake_entry(tmp_path, n_particles=160, box=64, snr=1.0)
    path = made.star(0)
    write_star_31(path, made.poses[0], made.ctf[0], 64, rlnImagePixelSize=[4.0])
    assert main(["doctor", "FAKE", "-b", str(made.benchmark_dir), *FEW]) == 3
    said = "".join(capsys.readouterr().out.split())
    stack = made.folder / "particles_0.mrcs"
    both = f"row 1 of {path} says 4 angstrom/px, the header of {stack} says 3"
    for sentence in (
        f"Star file and headers contradict each other ({both}); the rings of the CTF fit 3",
        "Correct the pixel size of the star file, if the headers state what fits.",
    ):
        assert "".join(sentence.split()) in said


def test_errors_are_errors_and_not_diagnoses(tmp_path, capsys):
    assert main(["doctor", str(tmp_path / "none.star")]) == 1
    assert "none.star" in capsys.readouterr().err
    few = write_fake_entry(tmp_path, n_particles=5)
    assert main(["doctor", "FAKE", "-b", str(few.benchmark_dir)]) == 1
    assert "at least 8 are needed" in capsys.readouterr().err
    rng = np.random.default_rng(0)
    write_star_31(few.star(0), fake_poses(9, rng), fake_ctf(9, rng), 32)
    assert main(["doctor", "FAKE", "-b", str(few.benchmark_dir)]) == 1
    assert "particles_0.mrcs" in capsys.readouterr().err
