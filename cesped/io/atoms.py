"""Atoms out of mmCIF and PDB files, packed or not, and out of npz files."""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingFileError, OptionError, StructureFileError

if TYPE_CHECKING:
    import gemmi

#: Ends of file names that `read_structure` takes, `.gz` after them or not.
STRUCTURE_SUFFIXES = (".cif", ".mmcif", ".pdb", ".ent")
_PIECE = 1 << 20


@dataclass(frozen=True)
class Atoms:
    """`A` atoms; the rows of all fields belong together.

    Parameters
    ----------
    positions_angst : `(A, 3)` float64 x, y, z [angstrom], in the frame of the file
    atomic_numbers : `(A,)` int64
    occupancies : `(A,)` float64
    """

    positions_angst: NDArray[np.float64]
    atomic_numbers: NDArray[np.int64]
    occupancies: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.atomic_numbers)


def is_structure_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is one of atoms, by the end of its name."""
    return os.fspath(path).lower().removesuffix(".gz").endswith(STRUCTURE_SUFFIXES)


def structure_files(folder: str | os.PathLike[str]) -> list[str]:
    """Return the structure files below a folder, sorted, relative to it; links to folders are left.

    Raises
    ------
    MissingFileError
        If there is no such folder, or one below it may not be looked into.
    """
    root = Path(folder)
    if not root.is_dir():
        raise MissingFileError(f"{root} is no folder; name the folder of mmCIF or PDB files")
    found = []
    for place, _, names in os.walk(root, onerror=_raise_closed):
        paths = (Path(place, name) for name in names if is_structure_file(name))
        found += [path.relative_to(root).as_posix() for path in paths if path.is_file()]
    return sorted(found)


def _raise_closed(error: OSError) -> None:
    # what is in it would be missing from every account of the folder
    raise MissingFileError(
        f"folder {error.filename} cannot be looked into: {error.strerror}; open it, or move it away"
    ) from error


def read_structure(path: str | os.PathLike[str]) -> gemmi.Structure:
    """Return what gemmi reads of an mmCIF or PDB file, with entities and chains set up.

    Hybrid-36 numbers of PDB files and gzip are understood.

    Raises
    ------
    MissingFileError
        If the file does not exist.
    StructureFileError
        If it cannot be read, or holds no atoms.
    """
    import gemmi

    file = Path(path)
    if not file.is_file():
        raise MissingFileError(f"{file} does not exist; correct the name")
    try:
        _check_packing(file)
        structure = gemmi.read_structure(os.fsencode(file).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise StructureFileError(
            f"{os.fsencode(file)!r} has a name or a text that is not UTF-8; rename or correct it"
        ) from error
    except (ValueError, RuntimeError, OSError, IndexError, EOFError, zlib.error) as error:
        reason = (str(error).splitlines() or ["no details"])[0]
        raise StructureFileError(
            f"{file} cannot be read as mmCIF or PDB: {reason}; fetch or unpack it again"
        ) from error
    if len(structure) == 0 or structure[0].count_atom_sites() == 0:
        raise StructureFileError(f"{file} holds no atoms; give an mmCIF or PDB file of a structure")
    structure.setup_entities()
    return structure


def _check_packing(file: Path) -> None:
    """Raise unless a packed PDB file is what was packed: gemmi reads up to where it is damaged."""
    name = file.name.lower()
    if name.endswith(".gz") and not name.endswith((".cif.gz", ".mmcif.gz")):
        with gzip.open(file, "rb") as stream:
            while stream.read(_PIECE):
                pass


def assembled(structure: gemmi.Structure, assembly: str, source: str) -> gemmi.Model:
    """Return the model of a biological assembly, its copies of chains renamed.

    Chains that the file lists for it, but that are not in the model, are left out.

    Raises
    ------
    OptionError
        If the file defines no such assembly.
    """
    import gemmi

    chains = {chain.name for chain in structure[0]}
    subchains = {part.subchain_id() for part in structure[0].subchains()}
    for candidate in structure.assemblies:
        if candidate.name == assembly:
            for generator in candidate.generators:  # what was removed cannot be copied
                generator.chains = [name for name in generator.chains if name in chains]
                generator.subchains = [name for name in generator.subchains if name in subchains]
            return gemmi.make_assembly(
                candidate, structure[0], gemmi.HowToNameCopiedChain.AddNumber
            )
    known = ", ".join(item.name for item in structure.assemblies) or "none"
    raise OptionError(f"{source} defines no assembly {assembly!r}; it has: {known}")


def atoms_of_model(model: gemmi.Model) -> Atoms:
    """Return all atoms of a model, alternative locations and waters among them."""
    rows = [
        (*site.atom.pos.tolist(), site.atom.element.atomic_number, site.atom.occ)
        for site in model.all()
    ]
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    return Atoms(
        np.ascontiguousarray(table[:, :3]), table[:, 3].astype(np.int64), table[:, 4].copy()
    )


def read_atoms(path: str | os.PathLike[str], assembly: str | None = None) -> Atoms:
    """Return the atoms of a structure: of its first model, or of one of its assemblies.

    Parameters
    ----------
    path : mmCIF or PDB file, or npz with `coords` `(A, 3)` [angstrom] and `elements` `(A,)`
    assembly : name of a biological assembly that the file defines; the coordinates as they stand
        in the file when None

    Raises
    ------
    MissingFileError, StructureFileError
        If the file is not there, or cannot be read, or an atom has no place or no element.
    OptionError
        If there is no such assembly.
    """
    if os.fspath(path).endswith(".npz"):
        if assembly is not None:
            raise OptionError(f"{path} is a table of atoms, which has no assemblies")
        atoms = _read_table(Path(path))
    else:
        structure = read_structure(path)
        source = os.fspath(path)
        model = structure[0] if assembly is None else assembled(structure, assembly, source)
        atoms = atoms_of_model(model)
    return _checked(atoms, os.fspath(path))


def _checked(atoms: Atoms, source: str) -> Atoms:
    finite = np.isfinite(atoms.positions_angst).all(axis=1) & np.isfinite(atoms.occupancies)
    for good, what in ((finite, "no position"), (atoms.atomic_numbers > 0, "no known element")):
        if not good.all():
            row = int(np.flatnonzero(~good)[0]) + 1
            raise StructureFileError(f"atom {row} of {len(atoms)} of {source} has {what}")
    return atoms


def _read_table(path: Path) -> Atoms:
    import gemmi

    if not path.is_file():
        raise MissingFileError(f"{path} does not exist; correct the name")
    try:
        with np.load(path, allow_pickle=False) as data:
            positions = np.asarray(data["coords"], dtype=np.float64)
            symbols = data["elements"].astype(str)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise StructureFileError(
            f"{path} is no table of atoms ({error}); it needs arrays coords and elements"
        ) from error
    if positions.ndim != 2 or positions.shape[1] != 3 or symbols.shape != positions.shape[:1]:
        raise StructureFileError(
            f"{path} has coords {positions.shape} and elements {symbols.shape}; "
            "(A, 3) and (A,) are needed"
        )
    if len(symbols) == 0:
        raise StructureFileError(f"{path} holds no atoms")
    kinds, which = np.unique(symbols, return_inverse=True)
    numbers = np.array([gemmi.Element(str(kind).capitalize()).atomic_number for kind in kinds])
    return Atoms(positions, numbers[which].astype(np.int64), np.ones(len(symbols)))
