"""`list`, `add`, `show`, and the same under their published names."""

import pytest
from fake_entry import write_fake_entry, write_star_30

from cesped.cli.main import main, particles_dataset_face


@pytest.fixture
def entry(benchmark_dir):
    return write_fake_entry(benchmark_dir)


def test_an_empty_folder_says_what_to_do(benchmark_dir, capsys):
    assert main(["list"]) == 0
    assert "cesped demo" in capsys.readouterr().out


def test_list_shows_what_an_entry_is(entry, capsys):
    assert main(["list", "--benchmarkDir", str(entry.benchmark_dir)]) == 0
    row = capsys.readouterr().out.splitlines()[2].split()
    assert row == ["FAKE", "0", "24", "32", "3.000", "C1", "no", "103.4", "kB", "complete"]


def test_list_takes_the_box_from_the_images_where_the_star_file_does_not_say_it(entry, capsys):
    poses, ctf = entry.poses[0], entry.ctf[0]
    write_star_30(entry.star(0), poses, ctf, "particles_0.mrcs")
    assert main(["list"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[:4] == ["FAKE", "0", "24", "32"]


def test_add_makes_an_entry_of_ones_own(entry, tmp_path, capsys):
    other = tmp_path / "other"
    for half in ("0", "1"):
        words = ["add", str(entry.star(half)), "--name", "mine", "--halfset", half]
        words += ["--symmetry", "c1", "--root", str(entry.folder), "-b", str(other)]
        assert main(words) == 0
    assert "Added half 1 of entry mine, symmetry C1" in capsys.readouterr().out
    assert main([*words, "--force"]) == 0
    assert main(words) == 1
    assert "exists" in capsys.readouterr().err


def test_a_wrong_symmetry_is_an_error_that_lists_the_right_ones(entry, tmp_path, capsys):
    words = ["add", str(entry.star(0)), "--name", "mine", "--halfset", "0", "--symmetry", "Q7"]
    assert main([*words, "-b", str(tmp_path / "b")]) == 1
    assert "Q7" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_show_writes_a_picture(entry, tmp_path, capsys):
    picture = tmp_path / "sheet.png"
    words = ["show", "FAKE", "--halfset", "1", "--count", "10", "--image-size", "24"]
    assert main([*words, "--out", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert str(picture) in capsys.readouterr().out


def test_show_draws_augmented_particles_too(entry, tmp_path, capsys):
    words = ["show", "FAKE", "--count", "4", "--augment", "paper", "--out"]
    pictures = [tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png"]
    for picture, seed in zip(pictures, ("1", "1", "2"), strict=True):
        assert main([*words, str(picture), "--seed", seed]) == 0
    same, again, other = (picture.read_bytes() for picture in pictures)
    assert same == again
    assert same != other
    capsys.readouterr()
    assert main(["show", "FAKE", "--augment", "papre"]) == 1
    assert "there is no augmentation recipe 'papre'; use paper, published" in (
        capsys.readouterr().err
    )


def test_show_of_no_particle_is_an_error(entry, capsys):
    assert main(["show", "FAKE", "--count", "0"]) == 1
    assert "use 1 or more" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["sheet.jpg", "sheet", "sheet.svg"])
def test_show_writes_no_other_kind_of_picture(entry, tmp_path, capsys, name):
    assert main(["show", "FAKE", "--out", str(tmp_path / name)]) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"{name} is not the name of a PNG picture" in said
    assert "name it sheet.png" in said
    assert not (tmp_path / name).exists()


def test_the_published_names_do_the_same(entry, tmp_path, capsys):
    folder = ["-b", str(entry.benchmark_dir)]
    words = ["add_entry", "--newTargetName", "mine", "-p", "0", "--symmetry", "C1"]
    words += ["--starFname", str(entry.star(0)), "--particlesRootDir", str(entry.folder)]
    assert particles_dataset_face([*words, *folder]) == 0
    assert particles_dataset_face(["list_entries", *folder]) == 0
    assert "mine" in capsys.readouterr().out
    picture = tmp_path / "seen.png"
    assert particles_dataset_face(["visualize", "-t", "mine", "-p", "0", "-o", str(picture)]) == 0
    assert picture.exists()


def test_the_class_of_the_papers_comes_from_their_module():
    from cesped.data.dataset import ParticlesDataset as original
    from cesped.particlesDataset import ParticlesDataset

    assert ParticlesDataset is original
