"""The curation of one structure: every filter in turn, and an account of what each removed.

CryoFastAR, section E of its supplement, which follows the data pipeline of AlphaFold 3.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cesped.data.structures import chains, cleaning
from cesped.data.structures.components import Definitions, definitions_of, standard_definitions
from cesped.data.structures.metadata import StructureFacts, facts_of
from cesped.errors import OptionError
from cesped.io.atoms import assembled, read_structure
from cesped.vocabulary import Curated

if TYPE_CHECKING:
    import gemmi

_FIRST_ASSEMBLY, _NO_ASSEMBLY = "first", "none"


@dataclass(frozen=True)
class CurationOptions:
    """What is kept; the defaults are the paper's.

    Parameters
    ----------
    released_before : date that a structure must have been released before
    worst_resolution_angst : largest reported resolution
    takes_unstated : whether a structure may be silent about its release or resolution
    assembly : biological assembly that is built: `first`, `none`, or a name
    most_chains : an assembly with more is cut around an interface
    least_residues : a protein chain with fewer is a peptide
    keeps_peptides, keeps_nucleic_acids, keeps_ligands : what is not removed
    seed : of the interface that is drawn, together with the file's name

    Raises
    ------
    OptionError
        If a number is out of range.
    """

    released_before: datetime.date = datetime.date(2021, 9, 30)
    worst_resolution_angst: float = 9.0
    takes_unstated: bool = False
    assembly: str = _FIRST_ASSEMBLY
    most_chains: int = chains.MOST_CHAINS
    least_residues: int = 20
    keeps_peptides: bool = False
    keeps_nucleic_acids: bool = False
    keeps_ligands: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.worst_resolution_angst > 0:
            raise OptionError(f"resolution {self.worst_resolution_angst:g} A; it must be positive")
        if self.most_chains < 1 or self.least_residues < 1 or self.seed < 0:
            raise OptionError(
                f"at most {self.most_chains} chains, at least {self.least_residues} residues, seed "
                f"{self.seed}; use 1 or more, and a seed of 0 or more"
            )


@dataclass
class CurationRecord:
    """What became of one file; a row of the table.

    Atoms, residues and chains that filters removed are counted by filter; chains are named too.
    """

    file: str
    outcome: Curated = Curated.KEPT
    reason: str = ""
    released: str = ""
    resolution_angst: float | None = None
    method: str = ""
    atoms_before: int = 0
    atoms: int = 0
    chains_before: int = 0
    chains: int = 0
    hydrogens: int = 0
    alternatives: int = 0
    waters: int = 0
    crystallisation_aids: int = 0
    ligands: int = 0
    nucleic_acid_chains: str = ""
    peptide_chains: str = ""
    foreign_atoms: int = 0
    undefined_residues: str = ""
    unknown_chains: str = ""
    broken_chains: str = ""
    clashing_chains: str = ""
    surplus_chains: str = ""
    diameter_angst: float | None = None

    def to_row(self) -> dict[str, Any]:
        """Return the record as plain values, in the order of the table's columns."""
        row = dataclasses.asdict(self)
        row["outcome"] = str(self.outcome)
        return row

    def rejected(self, reason: str) -> CurationRecord:
        """Note why the structure is not kept."""
        self.outcome, self.reason = Curated.REJECTED, reason
        return self


@dataclass
class CuratedStructure:
    """A structure and its record; the structure is None unless it is kept."""

    record: CurationRecord
    structure: gemmi.Structure | None = None


@dataclass
class _Work:
    """One structure while it is curated."""

    options: CurationOptions
    record: CurationRecord
    definitions: Definitions
    model: gemmi.Model
    removed: list[str] = field(default_factory=list)

    def remove_chains(self, names: list[str]) -> str:
        for name in names:
            self.model.remove_chain(name)
        return " ".join(names)


def curate_structure(
    path: Path, options: CurationOptions, dictionary: Definitions | None = None
) -> CuratedStructure:
    """Take one file through all filters.

    Parameters
    ----------
    path : mmCIF or PDB file
    options : what is kept
    dictionary : definitions of components beyond the standard residues and those that the file
        itself has

    Raises
    ------
    MissingFileError, StructureFileError
        If the file cannot be read.
    OptionError
        If a named assembly is not in the file.
    """
    structure = read_structure(path)
    block = _block_of(path)
    record = CurationRecord(path.name)
    reason = _unfit(facts_of(path, structure, block), options, record)
    record.atoms_before = structure[0].count_atom_sites()
    record.chains_before = len(structure[0])
    if reason:
        return CuratedStructure(record.rejected(reason))
    definitions = standard_definitions() | (dictionary or {})
    if block is not None:
        definitions = definitions | definitions_of(block)
    structure.merge_chain_parts()
    work = _Work(options, record, definitions, structure[0])
    _clean(work, structure)
    _remove_bad_chains(work)
    if len(work.model):
        work.model = _assembly_of(structure, options, path)
        _thin_out(work, path)
    record.atoms, record.chains = work.model.count_atom_sites(), len(work.model)
    if record.atoms == 0:
        return CuratedStructure(record.rejected("nothing is left"))
    record.diameter_angst = _diameter_angst(work.model)
    return CuratedStructure(record, _structure_of(work.model, structure))


def _block_of(path: Path) -> gemmi.cif.Block | None:
    """Return the mmCIF block of a file; None if it is a PDB file."""
    import gemmi

    if not path.name.lower().removesuffix(".gz").endswith((".cif", ".mmcif")):
        return None
    return gemmi.cif.read(str(path))[0]


def _unfit(facts: StructureFacts, options: CurationOptions, record: CurationRecord) -> str:
    """Note what the file states, and return why that rules it out; empty if it does not."""
    released, resolution = facts.released, facts.resolution_angst
    record.released = "" if released is None else released.isoformat()
    record.resolution_angst, record.method = resolution, facts.method
    if released is None and not options.takes_unstated:
        return "release date: not stated"
    if released is not None and released >= options.released_before:
        return f"release date: {released} is not before {options.released_before}"
    if resolution is None and not options.takes_unstated:
        return "resolution: not reported"
    if resolution is not None and resolution > options.worst_resolution_angst:
        return f"resolution: {resolution:g} A is above {options.worst_resolution_angst:g} A"
    return ""


def _clean(work: _Work, structure: gemmi.Structure) -> None:
    """Remove atoms and residues that belong to no molecule of interest."""
    import gemmi

    record, options, model = work.record, work.options, work.model
    record.hydrogens = cleaning.remove_hydrogens(model)
    record.alternatives = cleaning.resolve_alternatives(model)
    record.waters = cleaning.remove_residues(model, cleaning.is_water)
    record.crystallisation_aids = cleaning.remove_residues(model, cleaning.is_crystallisation_aid)
    if not options.keeps_ligands:
        polymer = gemmi.EntityType.Polymer
        record.ligands = cleaning.remove_residues(model, lambda res: res.entity_type != polymer)
    record.foreign_atoms, undefined = cleaning.remove_foreign_atoms(model, work.definitions)
    record.undefined_residues = " ".join(sorted(undefined))
    kinds = {chain.name: _kind_of(chain, structure) for chain in model}
    proteins = (gemmi.PolymerType.PeptideL, gemmi.PolymerType.PeptideD)
    nucleic = (gemmi.PolymerType.Dna, gemmi.PolymerType.Rna, gemmi.PolymerType.DnaRnaHybrid)
    if not options.keeps_nucleic_acids:
        named = [name for name, kind in kinds.items() if kind in nucleic]
        record.nucleic_acid_chains = work.remove_chains(named)
    if not options.keeps_peptides:
        named = [
            chain.name
            for chain in model
            if kinds[chain.name] in proteins and len(chain.get_polymer()) < options.least_residues
        ]
        record.peptide_chains = work.remove_chains(named)


def _kind_of(chain: gemmi.Chain, structure: gemmi.Structure) -> gemmi.PolymerType:
    import gemmi

    polymer = chain.get_polymer()
    if len(polymer) == 0:
        return gemmi.PolymerType.Unknown
    entity = structure.get_entity_of(polymer)
    if entity is not None and entity.polymer_type != gemmi.PolymerType.Unknown:
        return entity.polymer_type
    return polymer.check_polymer_type()


def _remove_bad_chains(work: _Work) -> None:
    record, model = work.record, work.model
    record.unknown_chains = work.remove_chains(chains.unknown_chains(model))
    record.broken_chains = work.remove_chains(chains.broken_chains(model))


def _assembly_of(structure: gemmi.Structure, options: CurationOptions, path: Path) -> gemmi.Model:
    """Return the model of the assembly that is wanted, of the chains that are left."""
    if options.assembly == _NO_ASSEMBLY:
        return structure[0]
    if options.assembly != _FIRST_ASSEMBLY:
        return assembled(structure, options.assembly, str(path))
    if len(structure.assemblies) == 0:
        return structure[0]
    return assembled(structure, structure.assemblies[0].name, str(path))


def _thin_out(work: _Work, path: Path) -> None:
    """Remove chains that clash, and those that are too many, from the assembly."""
    cleaning.remove_empty(work.model)
    work.record.clashing_chains = work.remove_chains(chains.clashing_chains(work.model))
    generator = np.random.default_rng([work.options.seed, zlib.crc32(os.fsencode(path.name))])
    surplus = chains.surplus_chains(work.model, generator, work.options.most_chains)
    work.record.surplus_chains = work.remove_chains(surplus)


def _diameter_angst(model: gemmi.Model) -> float:
    """Return twice the largest distance of an atom from the mean of all."""
    positions = np.concatenate([chains.positions_of(chain) for chain in model])
    reach = np.linalg.norm(positions - positions.mean(axis=0), axis=1).max()
    return round(float(2 * reach), 2)


def _structure_of(model: gemmi.Model, source: gemmi.Structure) -> gemmi.Structure:
    """Return a structure of this model alone; nothing that its file says of others is kept."""
    import gemmi

    made = gemmi.Structure()
    made.name = source.name
    made.resolution = source.resolution
    made.add_model(model.clone())
    made.setup_entities()
    return made
