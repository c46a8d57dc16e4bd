"""Whole chains that are taken out of a model: unknown, broken, clashing, or too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cesped.data.structures.components import UNKNOWN_RESIDUES

if TYPE_CHECKING:
    import gemmi

#: Two atoms of different chains that are nearer than this clash [angstrom].
CLASH_ANGST = 1.7
#: A chain clashes with another when more than this share of its atoms does.
CLASH_SHARE = 0.3
#: Neighbours in the sequence whose Ca atoms are farther apart are no chain [angstrom].
LARGEST_GAP_ANGST = 10.0
#: An assembly with more chains is cut down to this many.
MOST_CHAINS = 20
#: Tokens of two chains that are nearer than this are an interface [angstrom].
INTERFACE_ANGST = 15.0

Positions = NDArray[np.float64]


def chain_rank(name: str) -> tuple[int, str]:
    """Return what chain names are ordered by: A before B, B before AA."""
    return len(name), name


def unknown_chains(model: gemmi.Model) -> list[str]:
    """Return the chains all residues of which are unknown."""
    return [chain.name for chain in model if all(res.name in UNKNOWN_RESIDUES for res in chain)]


def broken_chains(model: gemmi.Model, largest_gap_angst: float = LARGEST_GAP_ANGST) -> list[str]:
    """Return the protein chains where neighbours in the sequence are too far apart.

    Neighbours are residues whose numbers follow each other; around a loop that is missing there
    are none.
    """
    broken = []
    for chain in model:
        before: tuple[int, gemmi.Position] | None = None
        for residue in chain:
            alpha = residue.get_ca()
            if alpha is None:
                continue
            number = residue.label_seq if residue.label_seq is not None else residue.seqid.num
            if number is None:
                continue
            is_next = before is not None and number == before[0] + 1
            if is_next and before is not None and before[1].dist(alpha.pos) > largest_gap_angst:
                broken.append(chain.name)
                break
            before = number, alpha.pos
    return broken


def clashing_chains(
    model: gemmi.Model, distance_angst: float = CLASH_ANGST, share: float = CLASH_SHARE
) -> list[str]:
    """Return the chains to remove so that no two clash.

    Two chains clash if more than `share` of the atoms of one are near an atom of the other. Of the
    two goes the one with the greater share; if those are equal, the one with fewer atoms; if those
    are equal too, the one whose name comes later. The worst pair is settled first, and a chain
    that is gone clashes with nobody.
    """
    from scipy.spatial import cKDTree

    names = [chain.name for chain in model]
    positions = [positions_of(chain) for chain in model]
    trees = [cKDTree(atoms) for atoms in positions]
    lows = np.array([atoms.min(axis=0) for atoms in positions]).reshape(-1, 3)
    highs = np.array([atoms.max(axis=0) for atoms in positions]).reshape(-1, 3)
    clashes = []
    for a in range(len(names)):
        apart = (lows[a] - distance_angst > highs) | (highs[a] + distance_angst < lows)
        near = np.flatnonzero(~apart.any(axis=1)).tolist()
        for b in near:
            if b <= a:
                continue
            shares = (
                _share_near(positions[a], trees[b], distance_angst),
                _share_near(positions[b], trees[a], distance_angst),
            )
            if max(shares) > share:
                clashes.append((a, b, shares))
    clashes.sort(key=lambda clash: (-max(clash[2]), clash[0], clash[1]))
    gone: set[int] = set()
    for a, b, (share_a, share_b) in clashes:
        if a in gone or b in gone:
            continue
        first = (share_a, -len(positions[a]), chain_rank(names[a]))
        second = (share_b, -len(positions[b]), chain_rank(names[b]))
        gone.add(a if first > second else b)
    return [names[index] for index in sorted(gone)]


def surplus_chains(
    model: gemmi.Model, generator: np.random.Generator, most: int = MOST_CHAINS
) -> list[str]:
    """Return the chains beyond `most`: those farthest from a token drawn at an interface.

    A token is a residue of a polymer, and its centre atom Ca, or C1' of a nucleotide; of anything
    else every atom is a token. One is drawn from those within `INTERFACE_ANGST` of a token of
    another chain; where there is none, from all. A chain is as near as its nearest atom.
    """
    from scipy.spatial import cKDTree

    chains = list(model)
    if len(chains) <= most:
        return []
    tokens = [_tokens_of(chain) for chain in chains]
    owner = np.repeat(np.arange(len(chains)), [len(rows) for rows in tokens])
    centres = np.concatenate(tokens)
    pairs = cKDTree(centres).query_pairs(INTERFACE_ANGST, output_type="ndarray")
    at_interface = np.unique(pairs[owner[pairs[:, 0]] != owner[pairs[:, 1]]])
    candidates = at_interface if len(at_interface) else np.arange(len(centres))
    token = int(generator.choice(candidates))
    distances = [
        np.linalg.norm(positions_of(chain) - centres[token], axis=1).min() for chain in chains
    ]
    distances[owner[token]] = -1.0  # its own chain stays
    nearest = np.argsort(distances, kind="stable")
    return [chains[index].name for index in sorted(nearest[most:])]


def positions_of(chain: gemmi.Chain) -> Positions:
    """Return the positions of all atoms of a chain, `(A, 3)`."""
    rows = [atom.pos.tolist() for residue in chain for atom in residue]
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def _share_near(positions: Positions, other: object, distance_angst: float) -> float:
    found, _ = other.query(positions, distance_upper_bound=distance_angst)  # type: ignore[attr-defined]
    return float(np.isfinite(found).mean())


def _tokens_of(chain: gemmi.Chain) -> Positions:
    rows = []
    for residue in chain:
        centre = residue.get_ca() or residue.find_atom("C1'", "*")
        atoms = [centre] if centre is not None else list(residue)
        rows += [atom.pos.tolist() for atom in atoms]
    return np.array(rows, dtype=np.float64).reshape(-1, 3)
