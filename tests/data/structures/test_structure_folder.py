"""Folders of structures: a table of all, faults reported, kills survived."""

import csv
import gzip
import json
import os
import shutil

import pytest
from structure_files import Writer

from cesped import errors
from cesped.cli.main import main
from cesped.data.structures import folder as folder_module
from cesped.data.structures.curation import CurationOptions
from cesped.data.structures.folder import curate_folder
from cesped.io.atoms import read_atoms
from cesped.vocabulary import Curated


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for name, length in (("good", 25), ("short", 4)):
        writer = Writer()
        writer.protein("A", length=length)
        writer.save(folder / f"{name}.pdb")
    packed = folder / "sub" / "pdb1abc.ent.gz"
    packed.write_bytes(gzip.compress((folder / "good.pdb").read_bytes()))
    (folder / "torn.cif.gz").write_bytes(gzip.compress(b"data_x\n" * 500)[:30])
    (folder / "notes.txt").write_text("not a structure")
    return folder


def rows_of(out):
    with (out / "curation.csv").open(newline="") as stream:
        return {row["file"]: row for row in csv.DictReader(stream)}


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_folder(source, tmp_path, jobs):
    out = tmp_path / "out"
    summary = curate_folder(source, out, CurationOptions(), jobs=jobs)
    assert summary.counts == {Curated.KEPT: 2, Curated.REJECTED: 1, Curated.FAILED: 1}
    assert dict(summary.reasons) == {"nothing is left": 1, "cannot be read or worked on": 1}
    rows = rows_of(out)
    assert list(rows) == ["good.pdb", "short.pdb", "sub/pdb1abc.ent.gz", "torn.cif.gz"]
    assert rows["good.pdb"]["outcome"] == "kept"
    assert rows["short.pdb"]["peptide_chains"] == "A"
    assert "cannot be read" in rows["torn.cif.gz"]["reason"]
    assert len(read_atoms(out / "good.cif.gz")) == 100
    assert len(read_atoms(out / "sub" / "pdb1abc.cif.gz")) == 100
    assert not (out / "short.cif.gz").exists()


class Counting:
    """Counts the files that are worked on; breaks off at one of them."""

    def __init__(self, monkeypatch, stop=None):
        self.seen, self.stop = [], stop
        self.real = folder_module.curate_file
        monkeypatch.setattr(folder_module, "curate_file", self)

    def __call__(self, name, *rest):
        if name == self.stop:
            raise KeyboardInterrupt
        self.seen.append(name)
        return self.real(name, *rest)


def test_goes_on_after_an_interruption_and_does_nothing_twice(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        Counting(patch, stop="sub/pdb1abc.ent.gz")
        with pytest.raises(KeyboardInterrupt):
            curate_folder(source, out, CurationOptions())
    with (out / "curation.jsonl").open("a") as stream:
        stream.write('{"name": "torn.cif.gz", "rec')  # killed while it wrote
    counting = Counting(monkeypatch)
    curate_folder(source, out, CurationOptions())
    assert counting.seen == ["sub/pdb1abc.ent.gz", "torn.cif.gz"]
    assert len(rows_of(out)) == 4
    curate_folder(source, out, CurationOptions())
    assert len(counting.seen) == 2


def test_a_changed_file_lost_output_or_other_options_are_done_again(source, tmp_path, monkeypatch):
    out = tmp_path / "out"
    curate_folder(source, out, CurationOptions())
    counting = Counting(monkeypatch)
    (out / "good.cif.gz").unlink()
    shutil.copy(source / "good.pdb", source / "short.pdb")
    curate_folder(source, out, CurationOptions())
    assert counting.seen == ["good.pdb", "short.pdb"]
    counting.seen.clear()
    curate_folder(source, out, CurationOptions(keeps_ligands=True))
    assert len(counting.seen) == 4


def test_what_is_kept_is_the_same_bytes_each_time(source, tmp_path):
    for name in ("a", "b"):
        curate_folder(source, tmp_path / name, CurationOptions())
    first, second = ((tmp_path / name / "good.cif.gz").read_bytes() for name in ("a", "b"))
    assert first == second


def test_a_full_disk_ends_the_work(source, tmp_path, monkeypatch):
    def no_room(*_):
        raise errors.DiskFullError(28, "no room")

    monkeypatch.setattr(folder_module, "write_bytes_atomic", no_room)
    with pytest.raises(errors.DiskFullError):
        curate_folder(source, tmp_path / "out", CurationOptions())


def test_folders_that_cannot_be(source, tmp_path):
    options = CurationOptions()
    with pytest.raises(errors.MissingFileError, match="is no folder"):
        curate_folder(tmp_path / "none", tmp_path / "out", options)
    with pytest.raises(errors.OptionError, match="another folder"):
        curate_folder(source, source, options)
    (tmp_path / "empty").mkdir()
    with pytest.raises(errors.MissingFileError, match="holds no mmCIF"):
        curate_folder(tmp_path / "empty", tmp_path / "out", options)
    shutil.copy(source / "good.pdb", source / "good.ent")
    with pytest.raises(errors.OptionError, match="would both become"):
        curate_folder(source, tmp_path / "out", options)


def test_a_name_that_is_not_utf8_costs_only_its_own_file(source, tmp_path):
    shutil.copy(source / "good.pdb", source / os.fsdecode(b"bad\xff.pdb"))
    out = tmp_path / "out"
    curate_folder(source, out, CurationOptions())
    rows = rows_of(out)
    assert rows["bad\\udcff.pdb"]["outcome"] == "failed"
    assert "not UTF-8" in rows["bad\\udcff.pdb"]["reason"]
    assert rows["good.pdb"]["outcome"] == "kept"


def test_the_output_may_lie_in_the_folder(source):
    for _ in range(2):
        summary = curate_folder(source, source / "out", CurationOptions())
        assert sum(summary.counts.values()) == 4


def test_the_door(source, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["structures", "curate", str(source), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert shown == (
        "4 structures: 2 kept, 1 rejected, 1 failed\n"
        "          1  nothing is left\n"
        "          1  cannot be read or worked on\n"
        f"Wrote {out / 'curation.csv'}\n"
    )
    words = ["structures", "curate", str(source), "--out", str(out), "--min-residues", "3"]
    assert main([*words, "--released-before", "2010-01-31"]) == 0
    assert "3  release date" in capsys.readouterr().out
    assert main([*words, "--released-before", "soon"]) == 2
    assert "2021-09-30" in capsys.readouterr().err
    assert main([*words, "--resolution", "0"]) == 1
    assert "must be positive" in capsys.readouterr().err
    assert main(["structures", "curate", str(source)]) == 0
    assert (tmp_path / "in_curated" / "good.cif.gz").is_file()
    lines = (out / "curation.jsonl").read_text().splitlines()
    assert set(json.loads(lines[0])) == {"label"}
