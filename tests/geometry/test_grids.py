import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cesped.errors import GeometryError, OptionError
from cesped.geometry import healpix
from cesped.geometry.euler import euler_to_rotation
from cesped.geometry.grids import So3Grid
from cesped.geometry.rotations import (
    check_rotations,
    direction_distance_deg,
    geodesic_distance_deg,
    random_rotations,
    rotations_about_random_axes,
)

GRIDS = {order: So3Grid(order) for order in range(5)}
NODES = {order: GRIDS[order].rotations() for order in range(4)}


def brute_distance_deg(order, rotations):
    """Distance to the nearest node, by search over the whole grid in blocks."""
    nodes = NODES[order].reshape(-1, 9)
    distances = np.empty(len(rotations))
    for start in range(0, len(rotations), 256):
        block = rotations[start : start + 256]
        nearest = np.argmax(block.reshape(-1, 9) @ nodes.T, axis=1)
        distances[start : start + 256] = geodesic_distance_deg(block, NODES[order][nearest])
    return distances


def assert_nearest(order, rotations):
    grid = GRIDS[order]
    found = grid.nearest(rotations)
    assert found.dtype == np.int64
    distances = geodesic_distance_deg(grid.rotations(found), rotations)
    np.testing.assert_allclose(distances, brute_distance_deg(order, rotations), atol=1e-6)


@pytest.mark.parametrize("order", range(5))
def test_the_grid_is_a_product_in_the_stated_order(order):
    grid = GRIDS[order]
    assert grid.n_directions == 12 * 4**order
    assert grid.n_inplane == 6 * 2**order
    assert grid.size == grid.n_directions * grid.n_inplane
    some = np.random.default_rng(order).integers(0, grid.size, 50)
    direction, inplane = some // grid.n_inplane, some % grid.n_inplane
    angles = np.column_stack([grid.direction_angles_deg()[direction], grid.inplane_deg()[inplane]])
    np.testing.assert_allclose(grid.rotations(some), euler_to_rotation(angles), atol=1e-15)
    np.testing.assert_allclose(
        grid.rotations(some)[:, :, 2], grid.directions()[direction], atol=1e-14
    )


def test_all_nodes_come_in_index_order():
    grid = GRIDS[1]
    assert np.array_equal(NODES[1], grid.rotations(np.arange(grid.size)))
    check_rotations(NODES[1], "nodes")


@pytest.mark.parametrize("order", range(5))
def test_every_node_is_its_own_nearest(order):
    grid = GRIDS[order]
    nodes = np.arange(grid.size)
    if grid.size > 50_000:
        nodes = np.random.default_rng(order).choice(nodes, 50_000, replace=False)
    assert np.array_equal(grid.nearest(grid.rotations(nodes)), nodes)


@pytest.mark.parametrize(("order", "n"), [(0, 4000), (1, 4000), (2, 2000), (3, 400)])
def test_nearest_is_exact_for_random_rotations(order, n):
    assert_nearest(order, random_rotations(n, np.random.default_rng(order)))


@pytest.mark.parametrize("order", [4, 5])
def test_nearest_is_exact_on_fine_grids(order):
    """All directions with all in-plane angles, by the angle formula alone, one rotation a time."""
    grid = So3Grid(order)
    angles, psi = grid.direction_angles_deg(), grid.inplane_deg()
    frames = euler_to_rotation(np.column_stack([angles, np.zeros(len(angles))]))
    turns = euler_to_rotation(np.column_stack([psi, np.zeros((len(psi), 2))])).reshape(-1, 9)
    rotations = random_rotations(5, np.random.default_rng(order))
    for rotation, found in zip(rotations, grid.nearest(rotations), strict=True):
        relative = np.swapaxes(frames, 1, 2) @ rotation
        traces = relative.reshape(-1, 9) @ turns.T  # trace(turn' frame' rotation), every node
        assert traces.flatten()[found] == pytest.approx(traces.max(), abs=1e-12)


@pytest.mark.parametrize(("order", "n"), [(0, 600), (1, 600), (2, 400), (3, 150)])
def test_nearest_is_exact_at_the_corners_of_the_cells(order, n):
    """Pixel corners with in-plane angles half way between steps: the farthest from any node."""
    rng = np.random.default_rng(order)
    grid = GRIDS[order]
    corners = healpix.pixel_boundaries_deg(order).reshape(-1, 2)
    angles = corners[rng.integers(0, len(corners), n)]
    psi = (rng.integers(0, grid.n_inplane, n) + 0.5) * grid.inplane_step_deg
    worst = euler_to_rotation(np.column_stack([angles, psi]))
    assert_nearest(order, worst)
    assert_nearest(order, worst @ rotations_about_random_axes(n, 1e-3, rng))


@pytest.mark.parametrize("order", range(4))
def test_nearest_is_exact_at_the_poles(order):
    angles = np.zeros((120, 3))
    angles[:, 0] = np.linspace(-180.0, 180.0, 120)
    angles[:, 1] = np.tile([0.0, 1e-9, 1e-3, 179.999, 180.0, 180.0], 20)
    angles[:, 2] = np.linspace(-360.0, 360.0, 120)
    assert_nearest(order, euler_to_rotation(angles))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2), st.floats(-360, 360), st.floats(-180, 180), st.floats(-360, 360))
def test_nearest_is_exact_anywhere(order, rot, tilt, psi):
    assert_nearest(order, euler_to_rotation([[rot, tilt, psi]]))


@pytest.mark.parametrize("order", range(5))
def test_no_rotation_needs_the_search_over_the_grid(order, monkeypatch):
    """The table's radius covers every rotation; the full comparison is a safeguard alone."""
    monkeypatch.delattr(So3Grid, "_nearest_of_all")
    GRIDS[order].nearest(random_rotations(50_000, np.random.default_rng(order)))


def test_the_safeguard_gives_the_same_nodes():
    rotations = random_rotations(40, np.random.default_rng(6))
    assert np.array_equal(GRIDS[2]._nearest_of_all(rotations), GRIDS[2].nearest(rotations))


def test_nearest_keeps_leading_axes_and_takes_float32():
    rotations = random_rotations(6, np.random.default_rng(7)).astype(np.float32)
    nodes = GRIDS[2].nearest(rotations.reshape(2, 3, 3, 3))
    assert nodes.shape == (2, 3)
    assert np.array_equal(nodes.ravel(), GRIDS[2].nearest(rotations))
    assert GRIDS[2].nearest(np.empty((0, 3, 3))).shape == (0,)


def test_nearest_refuses_what_is_not_a_rotation():
    with pytest.raises(GeometryError, match="placed on the grid: matrix 1"):
        GRIDS[1].nearest(np.full((2, 3, 3), np.nan))


def test_neighbours_hold_the_node_and_surround_it():
    grid = GRIDS[2]
    nodes = np.arange(grid.size)
    around = grid.neighbours(nodes)
    assert around.shape == (grid.size, 27)
    assert np.array_equal(around[:, 1], nodes)
    assert np.array_equal(around[:, 0] // grid.n_inplane, nodes // grid.n_inplane)
    there = around >= 0
    assert (there.sum(axis=1) >= 24).all()
    assert (~there).sum() == 24 * grid.n_inplane * 3
    centre = NODES[2][:, None].repeat(27, axis=1)[there]
    near = NODES[2][around[there]]
    touching = direction_distance_deg(centre[..., 2], near[..., 2]).max()
    assert geodesic_distance_deg(centre, near).max() < touching + 1.5 * grid.inplane_step_deg
    for row in around[::97]:
        assert len(set(row[row >= 0])) == (row >= 0).sum()


def test_the_nodes_closer_than_one_inplane_step_are_neighbours():
    """What a decoder averages over holds everything nearer than the in-plane step."""
    grid = GRIDS[1]
    close = geodesic_distance_deg(NODES[1][:, None], NODES[1][None]) < 0.99 * grid.inplane_step_deg
    around = grid.neighbours(np.arange(grid.size))
    for node, row in enumerate(close):
        assert set(np.flatnonzero(row)) <= set(around[node])


@pytest.mark.parametrize("index", [-1, 576])
def test_indices_outside_the_grid_are_refused(index):
    with pytest.raises(GeometryError, match=f"index {index} is outside 0 to 575"):
        GRIDS[1].rotations([0, index])
    with pytest.raises(GeometryError, match="outside"):
        GRIDS[1].neighbours([index])


def test_orders_are_checked_at_once():
    with pytest.raises(OptionError, match="HEALPix order -1"):
        So3Grid(-1)


def test_a_grid_can_be_sent_to_a_worker():
    rotations = random_rotations(10, np.random.default_rng(8))
    sent = pickle.loads(pickle.dumps(GRIDS[1]))
    assert np.array_equal(sent.nearest(rotations), GRIDS[1].nearest(rotations))
