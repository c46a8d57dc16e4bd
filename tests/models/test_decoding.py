"""Labels, loss and decoding: known distributions in, known poses out."""

import numpy as np
import pytest
import torch
from dense_so3 import spread_labels

from cesped.errors import GeometryError
from cesped.geometry.grids import So3Grid
from cesped.geometry.rotations import geodesic_distance_deg, random_rotations
from cesped.geometry.symmetry import point_group, symmetric_distance_deg
from cesped.models.image2sphere.decoding import PoseDecoder
from cesped.models.image2sphere.grid_nodes import GridNodes
from cesped.models.image2sphere.labels import nearest_nodes
from cesped.models.losses import weighted_cross_entropy
from cesped.models.prediction import PosePrediction

GRID = So3Grid(2)
NODES = torch.from_numpy(GRID.rotations()).float()


def decode(probabilities, name="C1", candidates=128):
    """Decode `(B, N)` probabilities of all nodes."""
    nodes = GridNodes(GRID, point_group(name))
    inside = torch.nonzero(nodes.domain.flatten()).flatten()
    weights, places = probabilities[:, inside].topk(min(candidates, len(inside)))
    decoder = PoseDecoder(nodes, 1.5 * GRID.inplane_step_deg)
    rotations, near = decoder.around_the_best(weights, nodes.rotations(inside[places]))
    return rotations, ((weights * near).sum(dim=1) * nodes.order).clamp(max=1.0)


@pytest.mark.parametrize("name", ["C1", "D2", "O"])
def test_spread_labels_decode_below_the_grid_spacing(name):
    truth = random_rotations(40, np.random.default_rng(0))
    group = point_group(name)
    labels = spread_labels(torch.from_numpy(truth).float(), group, NODES, 8.0)
    torch.testing.assert_close(labels.sum(dim=1), torch.ones(40))
    rotations, confidence = decode(labels, name)
    error_deg = symmetric_distance_deg(truth, rotations.double().numpy(), group)
    assert error_deg.mean() < 2.0  # nodes are 15 degrees apart
    assert error_deg.max() < 5.0
    # the share of this density within 22.5 degrees: chi-square with three degrees of freedom
    assert 0.85 < confidence.mean() <= 1.0


def test_labels_are_the_nodes_nearest_to_all_equal_poses():
    truth = random_rotations(6, np.random.default_rng(1))
    group = point_group("D2")
    labels = nearest_nodes(torch.from_numpy(truth).float(), group, GRID)
    for g, operator in enumerate(group.operators):
        distances = geodesic_distance_deg((operator @ truth)[:, None], GRID.rotations()[None])
        np.testing.assert_array_equal(labels[:, g], distances.argmin(axis=1))


def test_decision_prefers_the_heavier_neighbourhood_to_the_higher_peak():
    centre = 1000
    near = torch.from_numpy(
        np.flatnonzero(geodesic_distance_deg(GRID.rotations(), GRID.rotations()[centre]) < 20)
    )
    lone = int(geodesic_distance_deg(GRID.rotations(), GRID.rotations()[centre]).argmax())
    probabilities = torch.full((1, GRID.size), 1e-6)
    probabilities[0, near] = 0.6 / len(near)
    probabilities[0, lone] = 0.3
    rotations, confidence = decode(probabilities / probabilities.sum())
    error_deg = geodesic_distance_deg(rotations.double().numpy(), GRID.rotations()[[centre]])
    assert error_deg[0] < 5.0
    assert confidence[0] == pytest.approx(0.6, abs=0.05)


def test_decoding_is_the_same_for_equal_poses():
    group = point_group("D2")
    truth = random_rotations(5, np.random.default_rng(2))
    labels = [
        spread_labels(torch.from_numpy(g @ truth).float(), group, NODES, 8.0)
        for g in group.operators
    ]
    first, *others = (decode(label, "D2")[0].double().numpy() for label in labels)
    for other in others:
        assert symmetric_distance_deg(first, other, group).max() < 1e-2


def test_cross_entropy_is_equation_11():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 10, generator=generator)
    labels = torch.tensor([[1, 4], [0, 9], [2, 3]])
    confidence = torch.tensor([1.0, 0.5, 0.0])
    q = torch.softmax(logits, dim=1)
    expected = 0.0
    for i in range(3):
        for c in labels[i]:
            expected += -confidence[i] * 0.5 * torch.log(q[i, c]) / 3
    found = weighted_cross_entropy(logits, labels, confidence)
    torch.testing.assert_close(found, expected)
    dense = torch.zeros(3, 10).scatter(1, labels, 0.5)
    torch.testing.assert_close(weighted_cross_entropy(logits, dense, confidence), expected)


def test_label_smoothing_moves_probability_to_all_nodes():
    logits = torch.randn(2, 10, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([[1], [2]])
    smooth = torch.full((2, 10), 0.1 / 10).scatter_add(1, labels, torch.full((2, 1), 0.9))
    torch.testing.assert_close(
        weighted_cross_entropy(logits, labels, torch.ones(2), 0.1),
        weighted_cross_entropy(logits, smooth, torch.ones(2)),
    )


def test_a_prediction_of_the_wrong_shape_is_refused():
    with pytest.raises(GeometryError, match="confidence has shape"):
        PosePrediction(torch.eye(3).expand(4, 3, 3), torch.ones(4, 1))
