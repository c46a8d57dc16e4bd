"""Atoms out of mmCIF, PDB and npz files: packed, hybrid-36, assemblies, and files that are none."""

import gzip
import os

import numpy as np
import pytest
from real_data import REAL_DATA, needs_real_data

from cesped.errors import MissingFileError, OptionError, StructureFileError
from cesped.io.atoms import is_structure_file, read_atoms, read_structure, structure_files

PDB = (
    "ATOM      1  N   ALA A   1      11.000  12.000  13.000  1.00 10.00           N\n"
    "ATOM      2  CA  ALA A   1      12.500  12.000  13.000  0.50 10.00           C\n"
    "ATOM      3  C   ALA A   1      13.000  13.000  14.000  1.00 10.00           C\n"
    "HETATM    4 ZN    ZN B   2      20.000   0.000  -5.000  1.00 10.00          ZN\n"
    "END\n"
)
ASSEMBLY = (
    "REMARK 350 BIOMOLECULE: 1\n"
    "REMARK 350 APPLY THE FOLLOWING TO CHAINS: A, B\n"
    "REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000\n"
    "REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000\n"
    "REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000\n"
    "REMARK 350   BIOMT1   2 -1.000000  0.000000  0.000000        0.00000\n"
    "REMARK 350   BIOMT2   2  0.000000 -1.000000  0.000000        0.00000\n"
    "REMARK 350   BIOMT3   2  0.000000  0.000000  1.000000        0.00000\n"
)


@pytest.fixture
def pdb(tmp_path):
    path = tmp_path / "a.pdb"
    path.write_text(PDB)
    return path


def check_atoms(atoms):
    assert atoms.atomic_numbers.tolist() == [7, 6, 6, 30]
    np.testing.assert_allclose(atoms.positions_angst[1], [12.5, 12, 13])
    np.testing.assert_allclose(atoms.positions_angst[3], [20, 0, -5])
    assert atoms.occupancies.tolist() == [1, 0.5, 1, 1]


def test_pdb_mmcif_and_packed_say_the_same(pdb, tmp_path):
    check_atoms(read_atoms(pdb))
    packed = tmp_path / "a.pdb.gz"
    packed.write_bytes(gzip.compress(PDB.encode()))
    check_atoms(read_atoms(packed))
    cif = tmp_path / "a.cif"
    read_structure(pdb).make_mmcif_document().write_file(str(cif))
    check_atoms(read_atoms(cif))


def test_tables(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, coords=np.eye(3), elements=np.array(["C", "ZN", "n"]))
    atoms = read_atoms(path)
    assert atoms.atomic_numbers.tolist() == [6, 30, 7]
    np.testing.assert_array_equal(atoms.positions_angst, np.eye(3))
    with pytest.raises(OptionError, match="no assemblies"):
        read_atoms(path, assembly="1")


def test_assembly(tmp_path, pdb):
    path = tmp_path / "b.pdb"
    path.write_text(ASSEMBLY + PDB)
    atoms = read_atoms(path, assembly="1")
    assert len(atoms) == 8
    found = {tuple(row) for row in atoms.positions_angst.round(3).tolist()}
    assert (-20.0, 0.0, -5.0) in found
    with pytest.raises(OptionError, match="no assembly '7'; it has: 1"):
        read_atoms(path, assembly="7")
    with pytest.raises(OptionError, match="it has: none"):
        read_atoms(pdb, assembly="1")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.pdb", b"", "no atoms"),
        ("a.cif", b"", "cannot be read|no atoms"),
        ("a.cif", b"not a cif at all", "cannot be read"),
        ("a.cif.gz", gzip.compress(b"data_x\n" * 999, mtime=0)[:20], "cannot be read"),
        ("a.pdb.gz", b"no gzip", "cannot be read|no atoms"),
        ("a.xyz", b"1\n\nC 0 0 0\n", "cannot be read"),
        ("a.npz", b"", "no table of atoms"),
    ],
)
def test_files_that_are_none(tmp_path, name, content, complaint):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(StructureFileError, match=complaint):
        read_atoms(path)


def test_tables_that_are_none(tmp_path):
    path = tmp_path / "a.npz"
    for arrays, complaint in (
        ({"coords": np.eye(3)}, "needs arrays"),
        ({"coords": np.eye(2), "elements": np.array(["C", "C"])}, "are needed"),
        ({"coords": np.zeros((0, 3)), "elements": np.array([], "U1")}, "no atoms"),
        ({"coords": np.eye(3), "elements": np.array(["C", "C", "?"])}, "atom 3 of 3"),
        ({"coords": np.eye(3) * np.nan, "elements": np.array(["C"] * 3)}, "atom 1 of 3"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(StructureFileError, match=complaint):
            read_atoms(path)


def test_a_missing_file(tmp_path):
    for name in ("a.cif", "a.npz"):
        with pytest.raises(MissingFileError, match="does not exist"):
            read_atoms(tmp_path / name)


def test_names():
    assert is_structure_file("x/1ABC.cif.gz")
    assert is_structure_file("pdb1abc.ent.GZ")
    assert not is_structure_file("x.mrc")


@needs_real_data("3sn6.cif.gz", "4v8r_hybrid36.pdb.gz", "7pbl.pdb.gz")
@pytest.mark.parametrize(
    ("name", "count"),
    [("3sn6.cif.gz", 10_274), ("4v8r_hybrid36.pdb.gz", 128_780), ("7pbl.pdb.gz", 31_396)],
)
def test_real_structures(name, count):
    atoms = read_atoms(REAL_DATA / name)
    assert len(atoms) == count
    spread = np.linalg.norm(atoms.positions_angst - atoms.positions_angst.mean(axis=0), axis=1)
    assert 20 < spread.max() < 300  # one molecule, in angstrom


def test_a_packed_file_that_was_damaged(tmp_path):
    """gemmi reads a damaged packed PDB file up to the damage, and says nothing."""
    whole = gzip.compress(PDB.encode())
    path = tmp_path / "a.pdb.gz"
    path.write_bytes(whole[:-6] + bytes([whole[-6] ^ 1]) + whole[-5:])
    with pytest.raises(StructureFileError, match="cannot be read"):
        read_structure(path)
    path.write_bytes(whole[:-8])
    with pytest.raises(StructureFileError, match="cannot be read"):
        read_structure(path)


def test_a_name_that_is_not_utf8(tmp_path):
    path = tmp_path / os.fsdecode(b"bad\xff.pdb")
    path.write_text(PDB)
    with pytest.raises(StructureFileError, match="not UTF-8"):
        read_structure(path)


def test_structure_files_of_a_folder(tmp_path, monkeypatch):
    (tmp_path / "sub" / "dir.pdb").mkdir(parents=True)
    for name in ("b.cif", "a.pdb", "sub/c.ent.gz", "notes.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "gone.pdb").symlink_to(tmp_path / "nowhere.pdb")
    (tmp_path / "round").symlink_to(tmp_path)
    assert structure_files(tmp_path) == ["a.pdb", "b.cif", "sub/c.ent.gz"]
    with pytest.raises(MissingFileError, match="is no folder"):
        structure_files(tmp_path / "a.pdb")

    real = os.scandir

    def closed(path):
        if os.fspath(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", closed)  # whoever runs the tests may be root
    with pytest.raises(MissingFileError, match="sub cannot be looked into"):
        structure_files(tmp_path)
