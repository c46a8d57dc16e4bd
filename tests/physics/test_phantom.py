"""Phantoms: seeded, of the size asked for, symmetric when asked and clearly not otherwise."""

import numpy as np
import pytest

from cesped.errors import OptionError, SymmetryError
from cesped.geometry.rotations import random_rotations
from cesped.geometry.symmetry import point_group, symmetric_distance_deg
from cesped.physics.density import density_from_atoms
from cesped.physics.phantom import chain_phantom


def test_a_seed_decides_the_phantom():
    first = chain_phantom(600, 50.0, np.random.default_rng(4))
    again = chain_phantom(600, 50.0, np.random.default_rng(4))
    other = chain_phantom(600, 50.0, np.random.default_rng(5))
    np.testing.assert_array_equal(first.positions_angst, again.positions_angst)
    assert not np.allclose(first.positions_angst, other.positions_angst)


@pytest.mark.parametrize("symmetry", ["C1", "C3", "D2", "D7", "T", "O"])
def test_size_and_centre(symmetry):
    positions, weights = chain_phantom(2400, 55.0, np.random.default_rng(1), symmetry)
    order = point_group(symmetry).order
    assert positions.shape == (2400 // order * order, 3)
    assert weights.shape == positions.shape[:1]
    assert np.linalg.norm(positions, axis=1).max() == pytest.approx(55)
    np.testing.assert_allclose(np.average(positions, axis=0, weights=weights), 0, atol=1e-9)


@pytest.mark.parametrize("symmetry", ["C2", "D2", "D3", "T", "I1"])
def test_operators_map_the_phantom_onto_itself(symmetry):
    positions, weights = chain_phantom(3000, 60.0, np.random.default_rng(2), symmetry)
    map_ = density_from_atoms(positions, weights, 32, 4.5, 12.0)
    for operator in point_group(symmetry).operators[1:4]:
        moved = density_from_atoms(positions @ operator.T, weights, 32, 4.5, 12.0)
        np.testing.assert_allclose(moved, map_, atol=1e-4 * map_.max())


@pytest.mark.parametrize(("symmetry", "seed"), [("C1", 0), ("C1", 1), ("C1", 7), ("D2", 0)])
def test_no_turn_outside_the_group_makes_it_look_the_same(symmetry, seed):
    positions, weights = chain_phantom(2000, 60.0, np.random.default_rng(seed), symmetry)
    map_ = density_from_atoms(positions, weights, 32, 5.0, 20.0).ravel()
    turns = random_rotations(300, np.random.default_rng(9))
    identity = np.broadcast_to(np.eye(3), turns.shape)
    far = symmetric_distance_deg(identity, turns, point_group(symmetry)) > 50
    likeness = [
        np.corrcoef(map_, density_from_atoms(positions @ t.T, weights, 32, 5.0, 20.0).ravel())[0, 1]
        for t in turns[far]
    ]
    assert len(likeness) > 50
    assert max(likeness) < 0.8


def test_impossible_phantoms_are_refused():
    generator = np.random.default_rng(0)
    with pytest.raises(OptionError, match="at least 200"):
        chain_phantom(100, 50.0, generator, "D2")
    with pytest.raises(OptionError, match="radius"):
        chain_phantom(100, 0.0, generator)
    with pytest.raises(SymmetryError):
        chain_phantom(100, 50.0, generator, "Q9")
