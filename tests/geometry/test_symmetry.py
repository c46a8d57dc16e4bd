import subprocess

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cesped.errors import GeometryError, SymmetryError
from cesped.geometry.rotations import (
    check_rotations,
    direction_distance_deg,
    geodesic_distance_deg,
    random_rotations,
    rotations_about_random_axes,
    viewing_directions,
)
from cesped.geometry.symmetry import (
    point_group,
    symmetric_direction_distance_deg,
    symmetric_distance_deg,
)

ORDERS = {
    **{f"C{n}": n for n in (1, 2, 5, 7, 13)},
    **{f"D{n}": 2 * n for n in (1, 2, 3, 4, 5, 6, 7)},
    **{"T": 12, "O": 24, "I": 60, "I1": 60, "I2": 60, "I3": 60, "I4": 60},
}


def farthest_pairing(a, b):
    """Largest distance, by matrix entry, from an element of one set to the nearest of the other."""
    gaps = np.abs(a[:, None] - b[None]).max(axis=(2, 3))
    return max(gaps.min(axis=0).max(), gaps.min(axis=1).max())


def relion_operators(name):
    command = ["relion_refine", "--print_symmetry_ops", "--sym", name]
    printed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    rows = []
    for line in printed.splitlines():
        words = line.split()
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            continue
        if len(numbers) == 3:
            rows.append(numbers)
    return np.array(rows).reshape(-1, 3, 3)


@pytest.mark.relion
@pytest.mark.parametrize("name", ORDERS)
def test_operators_are_relions(name):
    printed = relion_operators(name)
    assert len(printed) == ORDERS[name]
    assert farthest_pairing(point_group(name).operators, printed) < 2e-5


@pytest.mark.relion
def test_relion_has_no_axes_for_i5():
    assert len(relion_operators("I5")) == 0


@pytest.mark.parametrize("name", ORDERS)
def test_a_group_is_closed_has_inverses_and_starts_with_the_identity(name):
    g = point_group(name).operators
    assert g.shape == (ORDERS[name], 3, 3)
    assert point_group(name).order == ORDERS[name]
    assert np.array_equal(g[0], np.eye(3))
    check_rotations(g, name)
    np.testing.assert_allclose(np.linalg.det(g), 1.0, atol=1e-14)
    products = (g[:, None] @ g[None]).reshape(-1, 3, 3)
    assert farthest_pairing(products, g) < 1e-14
    assert farthest_pairing(np.swapaxes(g, 1, 2), g) < 1e-14
    apart = geodesic_distance_deg(g[:, None], g[None]) + 360 * np.eye(len(g))
    assert apart.min() > 20.0


@pytest.mark.parametrize(("name", "scipy_name"), [("C7", "C7"), ("D5", "D5"), ("O", "O")])
def test_scipy_agrees_where_it_has_the_same_axes(name, scipy_name):
    theirs = Rotation.create_group(scipy_name).as_matrix()
    assert farthest_pairing(point_group(name).operators, theirs) < 1e-14


@pytest.mark.parametrize("name", ["T", "I"])
def test_scipys_axes_would_be_wrong(name):
    theirs = Rotation.create_group(name).as_matrix()
    assert farthest_pairing(point_group(name).operators, theirs) > 0.1


def test_i_is_i2_and_the_other_settings_differ():
    groups = {name: point_group(name).operators for name in ("I", "I1", "I2", "I3", "I4")}
    assert np.array_equal(groups["I"], groups["I2"])
    for a, b in [("I1", "I2"), ("I2", "I3"), ("I2", "I4"), ("I3", "I4"), ("I1", "I3")]:
        assert farthest_pairing(groups[a], groups[b]) > 0.1


def test_names_are_read_in_any_case_and_operators_are_protected():
    assert point_group(" d2 ") is point_group("D2")
    assert point_group("i1").name == "I1"
    with pytest.raises(ValueError, match="read-only"):
        point_group("C2").operators[0, 0, 0] = 5.0


@pytest.mark.parametrize("name", ["", "C", "C0", "D0", "C01", "C100", "E3", "TD", "I6", "C2h", "2"])
def test_unknown_names_are_refused_with_the_valid_ones(name):
    with pytest.raises(SymmetryError, match=r"C1 to C99.*I4"):
        point_group(name)


def test_i5_is_refused_with_its_reason():
    with pytest.raises(SymmetryError, match="defines no axes"):
        point_group("I5")


@pytest.mark.parametrize("name", ["C1", "C5", "D2", "T", "O", "I1", "I3"])
def test_symmetric_distance_is_the_least_over_the_group(name):
    rng = np.random.default_rng(1)
    group = point_group(name)
    a, b = random_rotations(500, rng), random_rotations(500, rng)
    brute = geodesic_distance_deg(group.operators[:, None] @ a[None], b[None]).min(axis=0)
    np.testing.assert_allclose(symmetric_distance_deg(a, b, group), brute, atol=1e-6)
    u, v = viewing_directions(a), viewing_directions(b)
    turned = np.einsum("gij,bj->gbi", group.operators, u)
    brute = direction_distance_deg(turned, v[None]).min(axis=0)
    np.testing.assert_allclose(symmetric_direction_distance_deg(u, v, group), brute, atol=1e-6)


@pytest.mark.parametrize("name", ["C1", "D7", "I2", "I4"])
def test_equivalent_poses_are_at_distance_zero_and_small_errors_are_exact(name):
    rng = np.random.default_rng(2)
    group = point_group(name)
    truth = random_rotations(3000, rng)
    equivalent = group.operators[rng.integers(0, group.order, 3000)] @ truth
    assert symmetric_distance_deg(truth, equivalent, group).max() < 1e-6
    seen = viewing_directions(truth), viewing_directions(equivalent)
    assert symmetric_direction_distance_deg(*seen, group).max() < 1e-6
    perturbed = equivalent @ rotations_about_random_axes(3000, 3.0, rng)
    np.testing.assert_allclose(symmetric_distance_deg(truth, perturbed, group), 3.0, atol=1e-9)


def test_blocks_do_not_show():
    rng = np.random.default_rng(3)
    group = point_group("D2")
    truth = random_rotations(70_000, rng)
    distances = symmetric_distance_deg(truth, truth[::-1], group)
    np.testing.assert_allclose(distances, distances[::-1], atol=1e-9)
    tail = symmetric_distance_deg(truth[-100:], truth[99::-1], group)
    np.testing.assert_allclose(distances[-100:], tail, atol=1e-9)


def test_random_poses_have_the_known_mean_errors():
    rng = np.random.default_rng(4)
    a, b = random_rotations(100_000, rng), random_rotations(100_000, rng)
    assert abs(symmetric_distance_deg(a, b, point_group("C1")).mean() - 126.5) < 0.5
    assert abs(symmetric_distance_deg(a, b, point_group("D2")).mean() - 75.4) < 0.5


def test_shapes_that_do_not_match_are_refused():
    group = point_group("C1")
    with pytest.raises(GeometryError, match="B, 3, 3"):
        symmetric_distance_deg(np.zeros((4, 3, 3)), np.zeros((5, 3, 3)), group)
    with pytest.raises(GeometryError, match="B, 3"):
        symmetric_direction_distance_deg(np.zeros((4, 3, 3)), np.zeros((4, 3, 3)), group)
    assert symmetric_distance_deg(np.zeros((0, 3, 3)), np.zeros((0, 3, 3)), group).shape == (0,)
