"""Atoms and residues that are taken out of a model, whatever chain they are in.

Each function changes the model and returns how much it removed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cesped.data.structures.components import CRYSTALLISATION_AIDS, Definitions

if TYPE_CHECKING:
    import gemmi

_NO_ALTERNATIVE = "\0"


def remove_hydrogens(model: gemmi.Model) -> int:
    """Remove hydrogen and deuterium; return the number of atoms."""
    before = model.count_atom_sites()
    model.remove_hydrogens()
    remove_empty(model)
    return int(before - model.count_atom_sites())


def resolve_alternatives(model: gemmi.Model) -> int:
    """Keep of alternative residues and atoms those of the largest occupancy; return those removed.

    Where several residues share a place in the chain, the one with the largest mean occupancy
    stays. Of a residue, the alternative with the largest mean occupancy stays, and atoms that it
    lacks are taken from the one that has most of them; the first of equals wins.
    """
    before = model.count_atom_sites()
    for chain in model:
        places: dict[str, list[int]] = {}
        for index, residue in enumerate(chain):
            places.setdefault(f"{residue.seqid} {residue.subchain}", []).append(index)
        doomed = []
        for indices in places.values():
            # a file may list many waters or ions at one number: only alternatives are rivals
            rivals = {index: chain[index] for index in indices if _has_alternatives(chain[index])}
            if len({residue.name for residue in rivals.values()}) > 1:
                occupancies = {index: _mean_occupancy(found) for index, found in rivals.items()}
                best = max(occupancies, key=occupancies.__getitem__)
                doomed += [index for index in rivals if index != best]
        for index in sorted(doomed, reverse=True):
            del chain[index]
        for residue in chain:
            _keep_one_alternative(residue)
    return int(before - model.count_atom_sites())


def remove_residues(model: gemmi.Model, is_unwanted: Callable[[gemmi.Residue], bool]) -> int:
    """Remove the residues that a function points out; return their number."""
    removed = 0
    for chain in model:
        for index in reversed(range(len(chain))):
            if is_unwanted(chain[index]):
                del chain[index]
                removed += 1
    remove_empty(model)
    return removed


def is_water(residue: gemmi.Residue) -> bool:
    """Return whether a residue is water."""
    return bool(residue.is_water())


def is_crystallisation_aid(residue: gemmi.Residue) -> bool:
    """Return whether a residue is one of `CRYSTALLISATION_AIDS`."""
    return residue.name in CRYSTALLISATION_AIDS


def remove_foreign_atoms(model: gemmi.Model, definitions: Definitions) -> tuple[int, set[str]]:
    """Remove atoms that the definition of their residue does not have.

    Returns
    -------
    number of atoms removed, and the codes of residues that no definition is known of
    """
    removed, undefined = 0, set()
    for chain in model:
        for residue in chain:
            names = definitions.get(residue.name)
            if names is None:
                undefined.add(residue.name)
                continue
            for index in reversed(range(len(residue))):
                if residue[index].name not in names:
                    del residue[index]
                    removed += 1
    remove_empty(model)
    return removed, undefined


def remove_empty(model: gemmi.Model) -> None:
    """Remove residues without atoms, and chains without residues."""
    for number in reversed(range(len(model))):
        chain = model[number]
        for index in reversed(range(len(chain))):
            if len(chain[index]) == 0:
                del chain[index]
        if len(chain) == 0:
            del model[number]


def _has_alternatives(residue: gemmi.Residue) -> bool:
    return any(atom.altloc != _NO_ALTERNATIVE for atom in residue)


def _mean_occupancy(residue: gemmi.Residue) -> float:
    return sum(atom.occ for atom in residue) / max(1, len(residue))


def _keep_one_alternative(residue: gemmi.Residue) -> None:
    labels: dict[str, list[float]] = {}
    for atom in residue:
        if atom.altloc != _NO_ALTERNATIVE:
            labels.setdefault(atom.altloc, []).append(atom.occ)
    if not labels:
        return
    chosen = max(labels, key=lambda label: sum(labels[label]) / len(labels[label]))
    best: dict[str, tuple[bool, float, int]] = {}
    for index, atom in enumerate(residue):
        # an atom without alternatives, or of the chosen one, comes before any other of its name
        rank = (atom.altloc in (chosen, _NO_ALTERNATIVE), float(atom.occ), -index)
        if atom.name not in best or rank > best[atom.name]:
            best[atom.name] = rank
    kept = {-rank[2] for rank in best.values()}
    for index in reversed(range(len(residue))):
        if index not in kept:
            del residue[index]
    for atom in residue:
        atom.altloc = _NO_ALTERNATIVE
