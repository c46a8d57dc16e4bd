"""Logits, their sums and their largest ones, against e3nn's dense table of Wigner matrices."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from dense_so3 import dense_logits, spread_labels

from cesped.geometry.grids import So3Grid
from cesped.geometry.rotations import random_rotations
from cesped.geometry.symmetry import point_group
from cesped.models.image2sphere import grid_logits
from cesped.models.image2sphere.grid_logits import GridLogits
from cesped.models.image2sphere.grid_nodes import GridNodes
from cesped.models.image2sphere.harmonics import so3_size
from cesped.models.image2sphere.labels import nearest_nodes
from cesped.models.image2sphere.series import RotationSeries, label_factors
from cesped.models.losses import weighted_cross_entropy
from cesped.models.registry import build_model


def signals(l_max, count, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(so3_size(l_max), count, generator=generator) / so3_size(l_max) ** 0.5


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(grid_logits, "_BLOCK_LOGITS", {"cpu": 500})


@pytest.mark.parametrize(("order", "l_max"), [(2, 8), (3, 4), (2, 0)])
def test_twin_of_the_dense_table(order, l_max):
    """Every node; probabilities too, as they are what a model is asked for."""
    coefficients = signals(l_max, 2, scale=3.0)
    grid = So3Grid(order)
    logits = GridLogits(l_max, grid)(coefficients).flatten(1).double()
    expected = dense_logits(coefficients, l_max, grid.rotations())
    torch.testing.assert_close(logits, expected, atol=5e-5, rtol=0)
    torch.testing.assert_close(
        torch.softmax(logits, dim=1), torch.softmax(expected, dim=1), atol=1e-8, rtol=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize(("order", "l_max"), [(3, 8), (2, 12)])
def test_twin_of_the_dense_table_at_the_papers_degree(order, l_max):
    test_twin_of_the_dense_table(order, l_max)


def test_nodes_asked_for_singly_are_those_of_the_grid():
    coefficients, grid = signals(5, 3), So3Grid(2)
    table = GridLogits(5, grid)
    logits = table(coefficients).flatten(1)
    nodes = torch.from_numpy(np.random.default_rng(0).integers(0, grid.size, (3, 40)))
    torch.testing.assert_close(table.at_nodes(coefficients, nodes), logits.gather(1, nodes))
    torch.testing.assert_close(table.mean(coefficients), logits.mean(dim=1), atol=1e-6, rtol=0)


def test_sum_of_exp_and_its_gradient_in_blocks(small_blocks):
    grid = So3Grid(1)
    table = GridLogits(4, grid)
    assert len(list(table.blocks(3))) > 3
    found, twin = (signals(4, 3, scale=6.0).requires_grad_() for _ in range(2))
    weights = torch.tensor([1.0, -0.5, 0.0])
    value = table.log_normaliser(found)
    expected = torch.logsumexp(table(twin).flatten(1), dim=1)
    torch.testing.assert_close(value, expected)
    (value * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(found.grad, twin.grad, atol=1e-6, rtol=1e-4)
    assert float(twin.grad.abs().max()) > 0.01


def test_far_apart_logits_neither_overflow_nor_vanish():
    table = GridLogits(3, So3Grid(1))
    coefficients = signals(3, 2, scale=2000.0)
    value = table.log_normaliser(coefficients)
    torch.testing.assert_close(value, torch.logsumexp(table(coefficients).flatten(1), dim=1))


@pytest.mark.parametrize("name", ["C1", "D2", "T"])
def test_the_best_nodes_are_those_of_a_sorted_table(name, small_blocks):
    grid, coefficients = So3Grid(1), signals(4, 3, scale=4.0)
    table, nodes = GridLogits(4, grid), GridNodes(grid, point_group(name))
    values, places, normaliser = table.best(coefficients, 9, nodes.domain)
    logits = table(coefficients).flatten(1)
    inside = torch.where(nodes.domain.flatten(), logits, -torch.inf)
    torch.testing.assert_close(values, inside.topk(9, dim=1).values)
    torch.testing.assert_close(logits.gather(1, places), values)
    assert bool(nodes.domain.flatten()[places].all())
    torch.testing.assert_close(normaliser, torch.logsumexp(logits, dim=1))
    everything = table.best(coefficients, 10**9, nodes.domain)[1]
    assert everything.shape == (3, int(nodes.domain.sum()))


@pytest.mark.parametrize("name", ["C1", "C4", "D2", "T", "O", "I1"])
def test_the_domain_holds_one_of_equal_poses(name):
    grid, group = So3Grid(2), point_group(name)
    nodes = GridNodes(grid, group)
    rotations = grid.rotations()
    torch.testing.assert_close(
        nodes.rotations(torch.arange(grid.size)), torch.from_numpy(rotations).float()
    )
    traces = np.einsum("gij,nij->ng", group.operators, rotations)
    expected = traces[:, 0] >= traces.max(axis=1) - 1e-6
    np.testing.assert_array_equal(nodes.domain.flatten().numpy(), expected)
    share = float(nodes.domain.float().mean())
    # nodes on the border are in it with their mates
    assert 1 / group.order - 1e-9 <= share < 1.35 / group.order + 1e-9


@pytest.mark.parametrize("l_max", [0, 8])
def test_series_at_any_rotation(l_max):
    coefficients = signals(l_max, 2)
    rotations = random_rotations(20, np.random.default_rng(1))
    flat = np.diag([1.0, 1.0, 1.0]), np.diag([-1.0, 1.0, -1.0]), np.diag([1.0, -1.0, -1.0])
    rotations = np.concatenate([rotations, np.stack(flat)])
    expected = dense_logits(coefficients, l_max, rotations)
    asked = torch.from_numpy(rotations).float().expand(2, -1, -1, -1)
    found = RotationSeries(l_max)(coefficients, asked)
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", ["C1", "D2"])
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}])
def test_the_loss_is_equation_11(name, options):
    """What training computes without a table, against its definition with one."""
    model, rotations, confidence, coefficients = loss_parts(name, **options)
    labels = nearest_nodes(rotations, model.group, model.grid)
    logits = model.logits_at_nodes(coefficients).flatten(1)
    expected = weighted_cross_entropy(logits, labels, confidence, model.label_smoothing)
    found = (confidence * model._rotation_losses(coefficients, rotations)).mean()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("name", "width_deg"), [("C1", 8.0), ("D2", 6.0)])
def test_soft_labels_are_those_of_a_density_on_the_grid(name, width_deg):
    model, rotations, confidence, coefficients = loss_parts(
        name, label_width_deg=width_deg, grid_order=3
    )
    nodes = torch.from_numpy(model.grid.rotations()).float()
    labels = spread_labels(rotations, model.group, nodes, width_deg)
    logits = model.logits_at_nodes(coefficients).flatten(1)
    expected = weighted_cross_entropy(logits, labels, confidence)
    hard = nearest_nodes(rotations, model.group, model.grid)
    unlike = weighted_cross_entropy(logits, hard, confidence)
    found = (confidence * model._rotation_losses(coefficients, rotations)).mean()
    assert abs(float(found - expected)) < 2e-3
    assert abs(float(unlike - expected)) > 1e-2


def loss_parts(name, order=2, **options):
    torch.manual_seed(0)
    tiny = {"encoder": "compact", "widths": [4, 4, 4], "l_max": 5, "sphere_features": 4}
    tiny |= {"so3_features": 2, "projector_order": 1, "filter_order": 1, "grid_order": order}
    model = build_model("image2sphere", name, **{**tiny, **options})
    rotations = torch.from_numpy(random_rotations(6, np.random.default_rng(2))).float()
    confidence = torch.rand(6, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        coefficients = model._symmetrise(signals(5, 6, scale=5.0))
    return model, rotations, confidence, coefficients


@pytest.mark.parametrize("width_deg", [2.0, 10.0, 40.0])
def test_label_factors_shrink_as_a_gaussian_does(width_deg):
    factors = label_factors(width_deg, 6).numpy()
    assert factors[0] == pytest.approx(1.0)
    degree = np.arange(7)
    heat = np.exp(-degree * (degree + 1) * np.radians(width_deg) ** 2 / 2)
    assert (np.diff(factors) < 0).all()
    if width_deg <= 10:  # of larger angles a matrix Fisher density has its own
        np.testing.assert_allclose(factors, heat, rtol=0.03)


ORDER_5_STEP = """
import pathlib, sys, torch
from cesped.models.registry import build_model
torch.set_num_threads(1)
encoder, pixels = sys.argv[1], int(sys.argv[2])
options = {"encoder": encoder, "widths": [8, 8, 8], "input_px": None}
options["grid_order"] = int(sys.argv[3])
model = build_model("image2sphere", "D2", preset="paper", **options)
images = torch.randn(4, 1, pixels, pixels)
model.loss(images, torch.eye(3).expand(4, 3, 3), torch.ones(4)).backward()
model.eval().predict(images)
# not ru_maxrss, which remembers the process that this one was forked from
status = pathlib.Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) / 2**20)
"""


def memory_of_a_step_gib(*arguments):
    command = [sys.executable, "-W", "ignore", "-c", ORDER_5_STEP, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def test_a_step_at_order_5_needs_no_table_of_its_2_million_nodes():
    """A table would have 969 x 2,359,296 entries, 8.5 GiB; the libraries alone take 0.5."""
    assert memory_of_a_step_gib("compact", 32, 5) < 1.1


@pytest.mark.slow
@pytest.mark.parametrize(("order", "limit_gib"), [(4, 2.0), (5, 3.0)])
def test_memory_of_a_step_of_the_papers_size(order, limit_gib):
    assert memory_of_a_step_gib("resnet50", 256, order) < limit_gib
