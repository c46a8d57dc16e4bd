"""Each filter of the curation, on a structure made for it and, where there is one, a real one."""

import datetime

import gemmi
import numpy as np
import pytest
from real_data import REAL_DATA, needs_real_data
from structure_files import HEADER, Writer

from cesped.data.structures import chains
from cesped.data.structures.components import read_dictionary, standard_definitions
from cesped.data.structures.curation import CurationOptions, curate_structure
from cesped.errors import MissingFileError, OptionError, StructureFileError
from cesped.io.atoms import read_structure
from cesped.vocabulary import Curated


@pytest.fixture
def writer():
    return Writer()


def curated(writer, tmp_path, **options):
    """Curate what a writer holds; return the record and the model that is left."""
    found = curate_structure(writer.save(tmp_path / "a.pdb"), CurationOptions(**options))
    return found.record, None if found.structure is None else found.structure[0]


def names(model):
    return [chain.name for chain in model]


def test_a_good_structure_is_kept_whole(writer, tmp_path):
    writer.protein("A")
    record, model = curated(writer, tmp_path)
    assert (record.outcome, record.reason) == (Curated.KEPT, "")
    assert (record.atoms_before, record.atoms, record.chains) == (100, 100, 1)
    assert (record.released, record.resolution_angst) == ("2010-02-01", 3.2)
    assert record.method == "ELECTRON MICROSCOPY"
    assert record.diameter_angst == pytest.approx(24 * 3.8, abs=4)
    assert names(model) == ["A"]


def test_release_date(writer, tmp_path):
    writer.protein("A")
    record, model = curated(writer, tmp_path, released_before=datetime.date(2010, 2, 1))
    assert record.outcome is Curated.REJECTED
    assert record.reason == "release date: 2010-02-01 is not before 2010-02-01"
    assert model is None
    record, _ = curated(writer, tmp_path, released_before=datetime.date(2010, 2, 2))
    assert record.outcome is Curated.KEPT


def test_resolution(writer, tmp_path):
    writer.protein("A")
    assert curated(writer, tmp_path, worst_resolution_angst=3.2)[0].outcome is Curated.KEPT
    record, _ = curated(writer, tmp_path, worst_resolution_angst=3.1)
    assert record.reason == "resolution: 3.2 A is above 3.1 A"


@pytest.mark.parametrize(
    ("lost", "reason"), [("REVDAT", "release date"), ("REMARK   2", "resolution")]
)
def test_what_is_not_stated(tmp_path, lost, reason):
    header = "".join(line for line in HEADER.splitlines(True) if not line.startswith(lost))
    writer = Writer(header)
    writer.protein("A")
    assert curated(writer, tmp_path)[0].reason.startswith(f"{reason}: not")
    assert curated(writer, tmp_path, takes_unstated=True)[0].outcome is Curated.KEPT


def test_hydrogens(writer, tmp_path):
    writer.protein("A")
    writer.atom("H", "ALA", "A", 1, (0, 5, 5), element="H")
    writer.atom("D", "ALA", "A", 2, (0, 5, 5), element="D")
    record, _ = curated(writer, tmp_path)
    assert (record.hydrogens, record.atoms) == (2, 100)


def test_waters_and_crystallisation_aids_go_even_where_ligands_stay(writer, tmp_path):
    writer.protein("A")
    writer.atom("O", "HOH", "A", 201, (9, 9, 9), element="O", het=True)
    writer.atom("O", "HOH", "A", 202, (9, 9, 9), element="O", het=True)
    writer.atom("S", "SO4", "A", 203, (9, 0, 9), element="S", het=True)
    writer.atom("FE", "HEM", "A", 204, (9, 0, 0), element="FE", het=True)
    record, model = curated(writer, tmp_path, keeps_ligands=True)
    assert (record.waters, record.crystallisation_aids, record.ligands) == (2, 1, 0)
    assert record.undefined_residues == "HEM"
    assert {residue.name for residue in model[0]} == {"ALA", "HEM"}
    record, model = curated(writer, tmp_path)
    assert (record.ligands, record.atoms) == (1, 100)


def test_alternative_atoms_by_occupancy(writer, tmp_path):
    writer.protein("A")
    for altloc, occupancy, x in (("A", 0.4, 1.0), ("B", 0.6, 2.0)):
        writer.atom("CB", "ALA", "A", 1, (x, 3, 3), occupancy=occupancy, altloc=altloc)
    record, model = curated(writer, tmp_path)
    assert (record.alternatives, record.atoms) == (1, 101)
    kept = next(iter(model[0])).find_atom("CB", "*")
    assert kept.pos.x == 2.0
    assert kept.altloc == "\0"


def test_one_alternative_of_a_residue_and_the_first_of_equals(writer, tmp_path):
    writer.protein("A", length=24)
    writer.lines.pop()  # the chain goes on
    for altloc, occupancy, x in (("A", 0.5, 0.0), ("B", 0.5, 1.0)):
        for name in ("N", "CA", "C", "O"):
            element = name[0]
            place = (90 + x + ord(element) / 50, 0, 0)
            writer.atom(
                name, "SER", "A", 25, place, element=element, occupancy=occupancy, altloc=altloc
            )
    writer.atom("OG", "SER", "A", 25, (93, 0, 0), element="O", occupancy=0.5, altloc="B")
    record, model = curated(writer, tmp_path)
    serine = list(model[0])[-1]
    assert {atom.name for atom in serine} == {"N", "CA", "C", "O", "OG"}
    assert serine.get_ca().pos.x == pytest.approx(90 + ord("C") / 50)
    assert record.alternatives == 4


def test_alternative_residues_by_occupancy(writer, tmp_path):
    writer.protein("A", length=24)
    writer.lines.pop()  # the chain goes on
    for altloc, residue, occupancy in (("A", "SER", 0.3), ("B", "THR", 0.7)):
        for name in ("N", "CA", "C", "O"):
            writer.atom(
                name, residue, "A", 25, (92, ord(name[0]) / 50, 0),
                element=name[0], occupancy=occupancy, altloc=altloc,
            )  # fmt: skip
    record, model = curated(writer, tmp_path)
    assert list(model[0])[-1].name == "THR"
    assert record.alternatives == 4


def test_unknown_chains(writer, tmp_path):
    writer.protein("A")
    writer.protein("X", residue="UNK", origin=(0, 30, 0))
    record, model = curated(writer, tmp_path)
    assert record.unknown_chains == "X"
    assert names(model) == ["A"]


def test_a_chain_with_some_unknown_residues_stays(writer, tmp_path):
    writer.protein("A", length=20)
    writer.lines.pop()  # the chain goes on
    writer.protein("A", length=5, residue="UNK", origin=(76, 0, 0), first=21)
    record, _ = curated(writer, tmp_path)
    assert (record.unknown_chains, record.atoms) == ("", 100)


def test_atoms_outside_the_definition_of_their_residue(writer, tmp_path):
    writer.protein("A")
    writer.atom("CB", "ALA", "A", 1, (0, 3, 0))
    writer.atom("CG", "ALA", "A", 1, (0, 4, 0))
    writer.atom("XX", "ALA", "A", 2, (3, 4, 0))
    record, model = curated(writer, tmp_path)
    assert (record.foreign_atoms, record.atoms) == (2, 101)
    assert next(iter(model[0])).find_atom("CB", "*") is not None


def test_a_dictionary_defines_further_residues(writer, tmp_path):
    writer.protein("A")
    writer.atom("C1", "LIG", "A", 201, (9, 0, 0), het=True)
    writer.atom("C9", "LIG", "A", 201, (9, 2, 0), het=True)
    path = tmp_path / "components.cif"
    path.write_text(
        "data_LIG\nloop_\n_chem_comp_atom.comp_id\n_chem_comp_atom.atom_id\nLIG C1\nLIG C2\n"
    )
    file = writer.save(tmp_path / "a.pdb")
    found = curate_structure(file, CurationOptions(keeps_ligands=True), read_dictionary(path))
    assert (found.record.foreign_atoms, found.record.undefined_residues) == (1, "")
    path.write_text("data_x\n_a.b 1\n")
    with pytest.raises(StructureFileError, match="defines no atoms"):
        read_dictionary(path)
    path.write_text("junk")
    with pytest.raises(StructureFileError, match="no CIF file"):
        read_dictionary(path)
    with pytest.raises(MissingFileError, match="does not exist"):
        read_dictionary(tmp_path / "none.cif")


def test_standard_definitions_count_the_heavy_atoms_of_the_residues():
    definitions = standard_definitions()
    # heavy atoms of the free residues: those of their formulas
    for code, count in {
        "GLY": 5, "ALA": 6, "TRP": 15, "ARG": 12, "HIS": 11, "MET": 9, "MSE": 9,
        "A": 23, "G": 24, "C": 21, "U": 21, "DA": 22, "DG": 23, "DC": 20, "DT": 21,
    }.items():  # fmt: skip
        assert len(definitions[code]) == count, code
    assert len(definitions) == 21 + 8


def test_gaps_between_neighbours_in_the_sequence(writer, tmp_path):
    writer.protein("A")
    writer.protein("B", length=12, origin=(0, 30, 0))
    writer.lines.pop()
    writer.protein("B", length=13, origin=(0, 45, 0), first=13)  # 15 A off and far behind
    writer.protein("C", length=12, origin=(0, 70, 0))
    writer.lines.pop()
    writer.protein("C", length=13, origin=(0, 85, 0), first=33)  # a loop is missing here
    record, model = curated(writer, tmp_path)
    assert record.broken_chains == "B"
    assert names(model) == ["A", "C"]


@pytest.mark.parametrize(("distance", "gone"), [(1.5, True), (1.9, False)])
def test_clashes_are_nearer_than_1_7_angstrom(writer, tmp_path, distance, gone):
    writer.protein("A", length=30)
    writer.protein("B", length=25, origin=(0, 0, distance))
    record, _ = curated(writer, tmp_path)
    assert record.clashing_chains == ("B" if gone else "")


@pytest.mark.parametrize(("share", "gone"), [(7, ""), (8, "A")])
def test_clashes_need_more_than_30_percent_of_the_atoms(writer, tmp_path, share, gone):
    writer.protein("A", length=25)  # 7 of 25 residues are 28 %, 8 are 32 %
    writer.protein("B", length=40, origin=((25 - share) * 3.8, 0, 1.0))
    record, _ = curated(writer, tmp_path)
    assert record.clashing_chains == gone


def test_of_two_clashing_chains_goes_the_one_with_the_greater_share(writer, tmp_path):
    writer.protein("B", length=60)
    writer.protein("C", length=30, origin=(0, 0, 1.0))
    record, _ = curated(writer, tmp_path)
    assert record.clashing_chains == "C"


def test_of_equal_shares_goes_the_chain_with_fewer_atoms(writer, tmp_path):
    # all atoms of both clash, and the smaller one has the earlier name
    writer.protein("A", length=25)
    writer.protein("B", length=25, origin=(0, 0, 1.0))
    writer.atom("CB", "ALA", "B", 1, (0, 0, 1.4))
    record, _ = curated(writer, tmp_path)
    assert record.clashing_chains == "A"


def test_of_equal_chains_goes_the_one_whose_name_is_later(writer, tmp_path):
    writer.protein("B", length=25)
    writer.protein("A", length=25, origin=(0, 0, 1.0))
    record, _ = curated(writer, tmp_path)
    assert record.clashing_chains == "B"
    assert sorted(["AA", "B", "A"], key=chains.chain_rank) == ["A", "B", "AA"]


def test_a_chain_that_is_gone_clashes_with_nobody(writer, tmp_path):
    # B lies on A and on C; without B the others are apart
    writer.protein("A", length=30)
    writer.protein("B", length=25, origin=(0, 0, 1.5))
    writer.protein("C", length=30, origin=(0, 0, 3.0))
    record, model = curated(writer, tmp_path)
    assert record.clashing_chains == "B"
    assert names(model) == ["A", "C"]


def test_nucleic_acids_and_peptides(writer, tmp_path):
    writer.protein("A")
    writer.protein("P", length=19, origin=(0, 20, 0))
    for number in range(1, 26):
        writer.atom("P", "DA", "N", number, (6 * number, 40, 0), element="P")
        writer.atom("C1'", "DA", "N", number, (6 * number, 42, 0))
    record, model = curated(writer, tmp_path)
    assert (record.peptide_chains, record.nucleic_acid_chains) == ("P", "N")
    assert names(model) == ["A"]
    _, model = curated(writer, tmp_path, keeps_peptides=True, keeps_nucleic_acids=True)
    assert names(model) == ["A", "P", "N"]


def test_nothing_left(writer, tmp_path):
    writer.protein("P", length=5)
    record, model = curated(writer, tmp_path)
    assert (record.outcome, record.reason, model) == (Curated.REJECTED, "nothing is left", None)


def many_chains(writer, count=24):
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:count]
    for index, name in enumerate(letters):
        writer.protein(name, origin=(0, 12.0 * index, 0))
    return letters


def test_assemblies_of_more_than_20_chains_are_cut_around_an_interface(writer, tmp_path):
    letters = many_chains(writer)
    path = writer.save(tmp_path / "a.pdb")
    first = curate_structure(path, CurationOptions()).record
    assert first.chains == 20
    gone = first.surplus_chains.split()
    assert len(gone) == 4
    kept = [name for name in letters if name not in gone]
    places = [letters.index(name) for name in kept]
    assert places == list(range(places[0], places[0] + 20))  # those that are nearest: a run
    assert curate_structure(path, CurationOptions()).record.surplus_chains == first.surplus_chains
    cuts = {
        curate_structure(path, CurationOptions(seed=seed)).record.surplus_chains
        for seed in range(6)
    }
    assert len(cuts) > 1


def test_the_token_is_one_of_an_interface(writer, tmp_path):
    many_chains(writer, 21)
    writer.protein("Z", origin=(0, 5000, 0))  # has no neighbour
    path = writer.save(tmp_path / "a.pdb")
    for seed in range(8):
        record = curate_structure(path, CurationOptions(seed=seed)).record
        assert "Z" in record.surplus_chains.split()


def test_twenty_chains_are_not_cut(writer, tmp_path):
    many_chains(writer, 20)
    record, _ = curated(writer, tmp_path)
    assert (record.surplus_chains, record.chains) == ("", 20)


def test_the_assembly_is_built_of_what_is_left(tmp_path):
    writer = Writer(
        HEADER + "REMARK 350 BIOMOLECULE: 1\n"
        "REMARK 350 APPLY THE FOLLOWING TO CHAINS: A, P\n"
        "REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000\n"
        "REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000\n"
        "REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000\n"
        "REMARK 350   BIOMT1   2  1.000000  0.000000  0.000000        0.00000\n"
        "REMARK 350   BIOMT2   2  0.000000  1.000000  0.000000       30.00000\n"
        "REMARK 350   BIOMT3   2  0.000000  0.000000  1.000000        0.00000\n"
    )
    writer.protein("A")
    writer.protein("P", length=4, origin=(0, 10, 0))
    record, model = curated(writer, tmp_path)
    assert (record.chains, record.atoms, record.peptide_chains) == (2, 200, "P")
    centres = [chains.positions_of(chain).mean(axis=0) for chain in model]
    np.testing.assert_allclose(np.abs(centres[1] - centres[0]), [0, 30, 0], atol=1e-3)
    assert curated(writer, tmp_path, assembly="none")[0].chains == 1
    with pytest.raises(OptionError, match="no assembly '9'"):
        curated(writer, tmp_path, assembly="9")


def test_options_that_cannot_be():
    for options in ({"worst_resolution_angst": 0}, {"most_chains": 0}, {"seed": -1}):
        with pytest.raises(OptionError):
            CurationOptions(**options)


def test_mmcif_says_the_same_as_pdb(writer, tmp_path):
    writer.protein("A")
    writer.protein("P", length=4, origin=(0, 10, 0))
    structure = read_structure(writer.save(tmp_path / "a.pdb"))
    document = structure.make_mmcif_document()
    block = document.sole_block()
    loop = block.init_loop("_pdbx_audit_revision_history.", ["ordinal", "revision_date"])
    block.set_pair("_em_3d_reconstruction.resolution", "3.2")
    loop.add_row(["1", "2010-02-01"])
    loop.add_row(["2", "2015-05-05"])
    document.write_file(str(tmp_path / "a.cif"))
    found = curate_structure(tmp_path / "a.cif", CurationOptions()).record
    assert (found.outcome, found.released, found.resolution_angst) == (
        Curated.KEPT, "2010-02-01", 3.2,
    )  # fmt: skip
    assert (found.atoms, found.peptide_chains) == (100, "P")


@needs_real_data("3sn6.cif.gz", "7pbl.pdb.gz", "4v8r_hybrid36.pdb.gz")
def test_real_structures():
    record = curate_structure(REAL_DATA / "3sn6.cif.gz", CurationOptions()).record
    assert (record.outcome, record.released) == (Curated.KEPT, "2011-07-20")
    assert (record.chains, record.ligands, record.atoms) == (5, 1, 10_247)
    late = curate_structure(REAL_DATA / "7pbl.pdb.gz", CurationOptions()).record
    assert late.reason == "release date: 2022-09-14 is not before 2021-09-30"
    options = CurationOptions(takes_unstated=True, released_before=datetime.date(2030, 1, 1))
    ruvab = curate_structure(REAL_DATA / "7pbl.pdb.gz", options).record
    assert (ruvab.nucleic_acid_chains, ruvab.hydrogens) == ("U V", 15_517)
    chaperonin = curate_structure(REAL_DATA / "4v8r_hybrid36.pdb.gz", options)
    assert (chaperonin.record.chains_before, chaperonin.record.chains) == (32, 20)
    assert isinstance(chaperonin.structure, gemmi.Structure)
