"""Odd but good: line ends, spaces, letters of all alphabets, relative paths, a single particle."""

import os

import numpy as np
import pytest
from fault_doors import DOORS, NAME, go_through, read_dataset, refuse

from cesped.cli.main import main
from cesped.data.conventions import read_particle_table
from cesped.data.store import EntryStore
from cesped.io.mrc import read_volume
from cesped.io.star import read_star

LINES = [door for door in DOORS if door not in ("dataset", "train")]


def run(*words):
    return main([str(word) for word in words])


def test_line_ends_of_windows(project):
    for star in [project.star, *map(project.predictions, (0, 1))]:
        star.write_bytes(star.read_bytes().replace(b"\n", b"\r\n"))
    for door in ("add", "reconstruct", "project"):
        assert go_through(door, project) == 0
    read_dataset(project)


def keep_one_particle(project):
    for half in (0, 1):
        for star in (project.entry / f"particles_{half}.star", project.predictions(half)):
            project.edit_star(lambda rows: rows[:1], star)


@pytest.mark.parametrize("door", LINES)
def test_a_single_particle(project, door):
    keep_one_particle(project)
    assert go_through(door, project) == 0
    read_dataset(project)
    for path in project.out.rglob("*.mrc"):
        assert np.isfinite(read_volume(path)[0]).all()


def test_a_single_particle_is_too_few_to_learn_from(project, capsys):
    keep_one_particle(project)
    message = refuse("train", project, capsys)
    assert "particles_0.star has 1 particle; training and validation need at least" in message


def test_spaces_and_other_alphabets_in_every_path(project, capsys):
    folder = project.folder / "Ångström 粒子 [1] (#2)"
    folder.mkdir()
    stack = folder / "my particles é.mrcs"
    project.stack.rename(stack)
    star = folder / "half zero – ½.star"
    project.star.rename(star)
    project.edit_star(
        lambda rows: rows.assign(rlnImageName=[f"{i}@{stack.name}" for i in range(1, 7)]), star
    )
    bench, out = folder / "bench mark", folder / "out put"
    add = ["--name", "NEW", "--halfset", 0, "--symmetry", "C1", "--benchmarkDir", bench]
    assert run("add", star, *add) == 0
    assert run("show", "NEW", "--benchmarkDir", bench, "--out", out / "see me.png") == 0
    assert run("reconstruct", "--star", star, "--out", out / "map é.mrc") == 0
    words = ["project", "--map", out / "map é.mrc", "--star", star, "--out", out / "p r.mrcs"]
    assert run(*words) == 0
    assert read_particle_table(out / "p r.star").ids[5] == "000006@p r.mrcs"
    assert run("fsc", out / "map é.mrc", out / "map é.mrc", "--out", out / "f s c") == 0
    half = EntryStore(bench).locate("NEW", 0)
    table = read_particle_table(half.star_path, half.root_dir)
    assert table.ids[0] == "1@my particles é.mrcs"


def test_image_names_with_spaces_are_not_torn(project):
    """A name with a space is quoted on writing, and read back as one."""
    spaced = project.entry / "my stack.mrcs"
    project.stack.rename(spaced)
    names = [f"{number}@my stack.mrcs" for number in range(1, 7)]
    project.edit_star(lambda rows: rows.assign(rlnImageName=names))
    assert list(read_star(project.star)["particles"]["rlnImageName"]) == names
    assert go_through("infer", project) == 0
    assert list(read_star(project.out / "predicted.star")["particles"]["rlnImageName"]) == names


def test_relative_paths_from_another_folder(project, monkeypatch):
    monkeypatch.chdir(project.entry)
    add = ["--name", "NEW", "--symmetry", "C1", "--benchmarkDir", "../../bench"]
    assert run("add", "particles_0.star", *add, "--halfset", 0, "--root", ".") == 0
    monkeypatch.chdir(project.folder)
    star = os.path.relpath(project.entry / "particles_1.star")
    assert run("add", star, *add[:-1], "bench", "--halfset", 1) == 0
    monkeypatch.chdir("/")
    assert run("show", "NEW", "--benchmarkDir", project.bench, "--out", project.out / "a.png") == 0
    for half in (0, 1):
        entry = EntryStore(project.bench).locate("NEW", half)
        assert read_particle_table(entry.star_path, entry.root_dir).stacks[0].is_file()
    monkeypatch.chdir(project.out)
    assert run("reconstruct", "--star", "../bench/E/particles_0.star", "--out", "map.mrc") == 0
    words = ["--map", "map.mrc", "--star", "../bench/E/particles_0.star", "--out", "p.mrcs"]
    assert run("project", *words) == 0
    assert run("fsc", "map.mrc", "map.mrc") == 0
    assert {path.name for path in project.out.iterdir()} == {
        *("a.png", "map.mrc", "p.mrcs", "p.star", "fsc.csv", "fsc.png"),
    }


@pytest.mark.parametrize(("first", "second", "name"), [("c1", "C1", "C1"), ("d2", "D2", "D2")])
def test_the_case_of_a_symmetry_does_not_matter(project, first, second, name):
    for half, symmetry in enumerate((first, second)):
        star = project.entry / f"particles_{half}.star"
        words = ["--name", "NEW", "--halfset", half, "--benchmarkDir", project.bench]
        assert run("add", star, *words, "--symmetry", symmetry) == 0
        assert EntryStore(project.bench).locate("NEW", half).symmetry == name


def test_an_entry_behind_a_link(project):
    real = project.folder / "elsewhere"
    project.entry.rename(real)
    project.entry.symlink_to(real)
    assert ("E", 0) in EntryStore(project.bench).list()
    assert go_through("show", project) == 0
    read_dataset(project)


def test_a_broken_entry_does_not_hide_the_others(project, capsys):
    broken = project.bench / "BROKEN"
    broken.mkdir()
    for name in ("particles_0.star", "info_0.json"):
        (broken / name).write_text("nothing")
    assert run("list", "--benchmarkDir", project.bench) == 0
    printed = capsys.readouterr()
    assert NAME in printed.out
    assert "BROKEN" in printed.out + printed.err


def test_an_entry_of_ones_own_is_never_taken_for_the_embedded_one(project, capsys):
    own = project.bench / "DEMO"
    project.entry.rename(own)
    before = project.listing()
    assert run("show", "DEMO", "--benchmarkDir", project.bench) == 1
    assert "was not made by this program; move it" in capsys.readouterr().err
    assert project.listing() == before


def test_many_columns_that_nobody_knows(project):
    extra = {f"rlnExtra{number}": 1.5 for number in range(60)}
    project.edit_star(lambda rows: rows.assign(**extra))
    assert go_through("add", project) == 0
    copy = EntryStore(project.bench).locate("NEW", 0).star_path
    assert set(extra) <= set(read_star(copy)["particles"])
