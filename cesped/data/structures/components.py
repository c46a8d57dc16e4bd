"""What residues are made of, and which molecules are there only because crystals needed them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from cesped.errors import MissingFileError, StructureFileError

if TYPE_CHECKING:
    import gemmi

#: Component codes of molecules that help to grow or to freeze crystals (AlphaFold 3, its table of
#: crystallisation aids, whose curation the CryoFastAR paper follows).
CRYSTALLISATION_AIDS = frozenset(
    {
        "SO4", "GOL", "EDO", "PO4", "ACT", "PEG", "DMS", "TRS",
        "PGE", "PG4", "FMT", "EPE", "MPD", "MES", "CD", "IOD",
    }
)  # fmt: skip

#: Component codes of residues whose kind is not known.
UNKNOWN_RESIDUES = frozenset({"UNK", "UNX", "UNL", "N", "DN"})

_BACKBONE = "N CA C O OXT"
_SIDE_CHAINS = {
    "ALA": "CB", "ARG": "CB CG CD NE CZ NH1 NH2", "ASN": "CB CG OD1 ND2", "ASP": "CB CG OD1 OD2",
    "CYS": "CB SG", "GLN": "CB CG CD OE1 NE2", "GLU": "CB CG CD OE1 OE2", "GLY": "",
    "HIS": "CB CG ND1 CD2 CE1 NE2", "ILE": "CB CG1 CG2 CD1", "LEU": "CB CG CD1 CD2",
    "LYS": "CB CG CD CE NZ", "MET": "CB CG SD CE", "MSE": "CB CG SE CE",
    "PHE": "CB CG CD1 CD2 CE1 CE2 CZ", "PRO": "CB CG CD", "SER": "CB OG", "THR": "CB OG1 CG2",
    "TRP": "CB CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2", "TYR": "CB CG CD1 CD2 CE1 CE2 CZ OH",
    "VAL": "CB CG1 CG2",
}  # fmt: skip
_SUGAR = "OP3 P OP1 OP2 O5' C5' C4' O4' C3' O3' C2' C1'"
_PURINE, _PYRIMIDINE = "N9 C8 N7 C5 C6 N1 C2 N3 C4", "N1 C2 O2 N3 C4 C5 C6"
_BASES = {
    "A": f"{_PURINE} N6", "G": f"{_PURINE} O6 N2", "C": f"{_PYRIMIDINE} N4",
    "U": f"{_PYRIMIDINE} O4",
}  # fmt: skip

Definitions = dict[str, frozenset[str]]


def standard_definitions() -> Definitions:
    """Return the names of the heavy atoms of the standard residues, by component code."""
    found = {code: frozenset(f"{_BACKBONE} {side}".split()) for code, side in _SIDE_CHAINS.items()}
    for code, base in _BASES.items():
        found[code] = frozenset(f"{_SUGAR} O2' {base}".split())
        if code != "U":
            found[f"D{code}"] = frozenset(f"{_SUGAR} {base}".split())
    found["DT"] = frozenset(f"{_SUGAR} {_PYRIMIDINE} O4 C7".split())
    return found


def definitions_of(block: gemmi.cif.Block) -> Definitions:
    """Return the atom names that an mmCIF block itself defines (`_chem_comp_atom`)."""
    names: dict[str, set[str]] = {}
    for row in block.find("_chem_comp_atom.", ["comp_id", "atom_id"]):
        names.setdefault(row.str(0), set()).add(row.str(1))
    return {code: frozenset(atoms) for code, atoms in names.items()}


def read_dictionary(path: str | os.PathLike[str]) -> Definitions:
    """Read the Chemical Component Dictionary (`components.cif`, packed or not), or a part of it.

    Raises
    ------
    MissingFileError, StructureFileError
        If it is not there, or defines no atoms.
    """
    import gemmi

    file = Path(path)
    if not file.is_file():
        raise MissingFileError(f"{file} does not exist; correct the name")
    try:
        document = gemmi.cif.read(str(file))
    except (ValueError, RuntimeError, OSError) as error:
        reason = (str(error).splitlines() or ["no details"])[0]
        raise StructureFileError(f"{file} is no CIF file: {reason}") from error
    found: Definitions = {}
    for block in document:
        found |= definitions_of(block)
    if not found:
        raise StructureFileError(f"{file} defines no atoms of components (_chem_comp_atom)")
    return found
