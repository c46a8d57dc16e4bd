"""Densities of molecules against a direct float64 sum, and against gemmi's own calculator."""

import gemmi
import numpy as np
import pytest
from real_data import REAL_DATA, needs_real_data

from cesped.errors import GeometryError, OptionError
from cesped.physics.atom_density import (
    VOLT_ANGST2,
    centre_of_scattering,
    electron_form_factors,
    molecule_density,
    voxel_size_for,
)
from cesped.physics.density import density_from_atoms
from cesped.vocabulary import Scattering

BOX, VOXEL, RESOLUTION = 24, 1.5, 4.0


def some_atoms(count=25, seed=0):
    generator = np.random.default_rng(seed)
    positions = generator.normal(scale=5, size=(count, 3))
    return positions, generator.choice([6, 7, 8, 16, 30], count), generator.uniform(0.3, 1, count)


def restated(positions, numbers, occupancies, box, voxel, resolution):
    """Every term of every atom on every voxel, in float64."""
    z, y, x = (np.mgrid[:box, :box, :box] - box // 2) * voxel
    volume = np.zeros((box,) * 3)
    for (px, py, pz), number, occupancy in zip(positions, numbers, occupancies, strict=True):
        squared = (x - px) ** 2 + (y - py) ** 2 + (z - pz) ** 2
        table = gemmi.Element(int(number)).c4322
        for a, b in zip(table.a, table.b, strict=True):
            total = b + 4 * resolution**2  # exp(-B s^2 / 4) is 1/e at s = 1/resolution
            gaussian = (4 * np.pi / total) ** 1.5 * np.exp(-4 * np.pi**2 * squared / total)
            volume += 47.87801 * occupancy * a * gaussian
    return volume


@pytest.mark.parametrize("box", [24, 25])
@pytest.mark.parametrize("threads", [1, 3])
def test_electron_density_is_the_direct_sum(box, threads):
    positions, numbers, occupancies = some_atoms()
    made = molecule_density(
        positions, numbers, box, VOXEL, RESOLUTION, occupancies=occupancies, threads=threads
    )
    expected = restated(positions, numbers, occupancies, box, VOXEL, RESOLUTION)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, expected, atol=1e-4 * expected.max())


def test_electron_density_is_that_of_gemmis_calculator():
    positions, numbers, _ = some_atoms(12)
    model = gemmi.Model(1) if gemmi.__version__ >= "0.7" else gemmi.Model("1")
    residue = gemmi.Residue()
    for position, number in zip(positions, numbers, strict=True):
        atom = gemmi.Atom()
        atom.element = gemmi.Element(int(number))
        atom.pos = gemmi.Position(*(position + BOX * VOXEL / 2))
        atom.occ, atom.b_iso = 1.0, 0.0
        residue.add_atom(atom)
    chain = gemmi.Chain("A")
    chain.add_residue(residue)
    model.add_chain(chain)
    calculator = gemmi.DensityCalculatorE()
    side = BOX * VOXEL
    calculator.grid.set_unit_cell(gemmi.UnitCell(side, side, side, 90, 90, 90))
    calculator.grid.spacegroup = gemmi.SpaceGroup("P1")
    calculator.grid.set_size(BOX, BOX, BOX)
    calculator.blur = 4 * RESOLUTION**2
    calculator.cutoff = 1e-7
    calculator.add_model_density_to_grid(model)
    theirs = calculator.grid.array.transpose(2, 1, 0) * VOLT_ANGST2
    ours = molecule_density(positions, numbers, BOX, VOXEL, RESOLUTION)
    inner = (slice(2, -2),) * 3  # theirs is periodic
    assert np.abs(ours - theirs)[inner].max() < 2e-3 * ours.max()


def test_integral_is_the_form_factor_at_zero():
    volume = molecule_density(np.zeros((1, 3)), [8], 48, 1.0, 4.0).astype(np.float64)
    a, b = electron_form_factors([8])
    assert a.shape == b.shape == (1, 5)
    assert volume.sum() == pytest.approx(VOLT_ANGST2 * a.sum(), rel=1e-4)


def test_atomic_numbers_are_weights_of_one_gaussian():
    positions, numbers, occupancies = some_atoms()
    made = molecule_density(
        positions, numbers, BOX, VOXEL, RESOLUTION,
        scattering=Scattering.ATOMIC_NUMBER, occupancies=occupancies,
    )  # fmt: skip
    direct = density_from_atoms(positions, numbers * occupancies, BOX, VOXEL, RESOLUTION)
    np.testing.assert_array_equal(made, direct)


def test_both_kinds_look_alike():
    positions, numbers, _ = some_atoms(60)
    one, other = (
        molecule_density(positions, numbers, BOX, VOXEL, 6.0, scattering=kind)
        for kind in Scattering
    )
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.97


def test_voxel_size_encloses_what_is_turned_and_moved():
    assert voxel_size_for(200.0, 128) == 3.13
    assert voxel_size_for(200.0, 128, margin_px=12) * (128 - 24) / 2 >= 200
    assert voxel_size_for(5.0, 128) == 1.0
    with pytest.raises(OptionError, match="larger box"):
        voxel_size_for(2000.0, 128)
    with pytest.raises(OptionError, match="leaves nothing"):
        voxel_size_for(20.0, 128, margin_px=64)


def test_centre_is_that_of_the_electrons():
    centre = centre_of_scattering([[0, 0, 0], [1, 2, 3]], [6, 18])
    np.testing.assert_allclose(centre, [0.75, 1.5, 2.25])


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(GeometryError, match="needed"):
        molecule_density(np.zeros((3, 3)), [6, 6], BOX, VOXEL, RESOLUTION)
    with pytest.raises(GeometryError, match="needed"):
        molecule_density([[0, 0, np.nan]], [6], BOX, VOXEL, RESOLUTION)
    with pytest.raises(GeometryError, match="needed"):
        molecule_density(np.zeros((1, 3)), [6], BOX, VOXEL, RESOLUTION, occupancies=[1, 1])
    with pytest.raises(OptionError, match="resolution"):
        molecule_density(np.zeros((1, 3)), [6], BOX, VOXEL, 2.0)
    with pytest.raises(OptionError, match="element number 99"):
        molecule_density(np.zeros((1, 3)), [99], BOX, VOXEL, RESOLUTION)


@needs_real_data("5nrl_atoms.npz")
def test_a_real_complex_against_the_direct_sum_where_it_is_dense():
    from cesped.io.atoms import read_atoms

    atoms = read_atoms(REAL_DATA / "5nrl_atoms.npz")
    assert len(atoms) == 118_701
    positions = atoms.positions_angst - centre_of_scattering(
        atoms.positions_angst, atoms.atomic_numbers
    )
    volume = molecule_density(positions, atoms.atomic_numbers, 128, 4.0, 10.0)
    near = np.linalg.norm(positions, axis=1) < 25  # what reaches the middle voxels
    expected = restated(
        positions[near], atoms.atomic_numbers[near], np.ones(near.sum()), 5, 4.0, 10.0
    )
    middle = volume[62:67, 62:67, 62:67]
    np.testing.assert_allclose(middle, expected, rtol=1e-3, atol=1e-4 * volume.max())
