"""`PoseDistribution`: what can be asked of it, on its grid, off it and on finer ones."""

import dataclasses

import numpy as np
import pytest
import torch

from cesped.errors import OptionError
from cesped.geometry.euler import rotation_to_euler
from cesped.geometry.grids import So3Grid
from cesped.geometry.rotations import (
    geodesic_distance_deg,
    random_rotations,
)
from cesped.geometry.symmetry import point_group, symmetric_distance_deg
from cesped.models.image2sphere.calibration import fitted_temperature
from cesped.models.image2sphere.distribution import PoseDistribution, PoseSpace
from cesped.models.image2sphere.harmonics import so3_slices, wigner_matrices
from cesped.models.image2sphere.series import RotationSeries, label_factors
from cesped.vocabulary import Decoding


def peaks(rotations, weights, l_max, width_deg, group):
    """Harmonics `(coefficients, B)` with peaks of a width at `(B, P, 3, 3)` rotations."""
    factors = label_factors(width_deg, l_max)
    parts = []
    batch, count = rotations.shape[:2]
    for degree in range(l_max + 1):
        mean = 0.0
        for operator in group.operators:
            angles = rotation_to_euler((operator @ rotations).reshape(-1, 3, 3))
            matrices = wigner_matrices(degree, angles)[degree].view(batch, count, -1)
            width = 2 * degree + 1
            # D_mn(R^-1) = D_nm(R)
            block = matrices.view(batch, count, width, width).transpose(2, 3).flatten(2)
            mean = mean + torch.einsum("bpc,bp->cb", block.float(), weights) / group.order
        parts.append(mean * float(factors[degree]) * width**0.5)
    return torch.cat(parts)


def distribution(order, rotations, name="C1", weights=None, l_max=6, width_deg=25.0, height=None):
    group = point_group(name)
    rotations = rotations[:, None] if rotations.ndim == 3 else rotations
    weights = torch.ones(rotations.shape[:2]) if weights is None else weights
    harmonics = peaks(rotations, weights, l_max, width_deg, group)
    if height is not None:
        asked = torch.from_numpy(rotations).float()
        harmonics = harmonics * (height / RotationSeries(l_max)(harmonics, asked)[:, 0])
    return PoseDistribution(harmonics, PoseSpace.of_order(order, l_max, group))


TRUTH = random_rotations(6, np.random.default_rng(0))


def test_peaks_are_where_they_were_put():
    """The helper of this file, and that a signal's harmonics are those of its class."""
    found = distribution(2, TRUTH, height=12.0)
    assert found.harmonics.shape[0] == so3_slices(6)[-1].stop
    assert geodesic_distance_deg(found.decode("mean")[0].double().numpy(), TRUTH).max() < 3.0


@pytest.mark.parametrize("name", ["C1", "D2"])
@pytest.mark.parametrize("order", [1, 2])
def test_probabilities_sum_to_one_and_log_prob_is_their_logarithm(order, name):
    found = distribution(order, TRUTH, name, height=8.0)
    probabilities = found.probabilities()
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(6))
    nodes = torch.arange(0, found.grid.size, 37)
    asked = torch.from_numpy(found.grid.rotations(nodes.numpy())).float()
    found_here = found.log_prob(asked.expand(6, -1, -1, -1))
    torch.testing.assert_close(found_here, probabilities[:, nodes].log(), atol=2e-4, rtol=1e-4)
    assert found.log_prob(torch.from_numpy(TRUTH).float()).shape == (6,)


def test_equal_poses_are_equally_likely():
    group = point_group("O")
    found = distribution(1, TRUTH, "O", height=8.0)
    others = np.einsum(
        "gij,bjk->bgik", group.operators, random_rotations(6, np.random.default_rng(1))
    )
    values = found.log_prob(torch.from_numpy(others).float())
    torch.testing.assert_close(values, values[:, :1].expand_as(values), atol=1e-4, rtol=0)


def test_the_same_distribution_on_a_finer_grid():
    coarse = distribution(2, TRUTH, height=8.0)
    fine = coarse.at_order(3)
    assert fine.grid.size == 36_864
    asked = torch.from_numpy(TRUTH).float()
    # the density relative to the uniform one is no matter of the grid
    densities = [found.log_prob(asked) + np.log(found.grid.size) for found in (coarse, fine)]
    torch.testing.assert_close(*densities, atol=0.1, rtol=0)
    error_deg = geodesic_distance_deg(fine.decode("argmax")[0].double().numpy(), TRUTH)
    assert error_deg.max() < 6.0  # coarse nodes are 15 degrees apart, fine ones 7.5
    with pytest.raises(OptionError, match="HEALPix order 99"):
        coarse.at_order(99)


def test_order_5_can_be_asked_for():
    found = distribution(1, TRUTH[:1], l_max=3, height=8.0).at_order(5)
    rotations, weights = found.top_k(4)
    assert found.grid.size == 2_359_296
    assert geodesic_distance_deg(rotations[0, 0].double().numpy(), TRUTH[0]) < 2.0
    assert bool((weights[:, :-1] >= weights[:, 1:]).all())


@pytest.mark.parametrize("name", ["C1", "D2"])
def test_top_k_names_one_of_equal_poses_with_the_probability_of_all(name):
    group = point_group(name)
    found = distribution(2, TRUTH, name, height=10.0)
    rotations, weights = found.top_k(5)
    assert rotations.shape == (6, 5, 3, 3)
    assert bool((weights[:, :-1] >= weights[:, 1:]).all())
    torch.testing.assert_close(
        weights[:, 0], found.probabilities().amax(dim=1) * group.order, rtol=1e-4, atol=0
    )
    turned = geodesic_distance_deg(rotations.double().numpy(), np.eye(3))
    for operator in group.operators:
        mate = geodesic_distance_deg(operator @ rotations.double().numpy(), np.eye(3))
        assert (turned <= mate + 1e-2).all()
    with pytest.raises(OptionError, match="at least one"):
        found.top_k(0)


@pytest.mark.parametrize("name", ["C1", "D2"])
def test_decodings_from_coarse_to_fine(name):
    """The truth lies between nodes 15 degrees apart; averaging over them finds it."""
    group = point_group(name)
    truth = random_rotations(60, np.random.default_rng(4))
    found = distribution(2, truth, name, height=10.0)
    error_deg = {}
    for decoding in Decoding:
        rotations, confidence = found.decode(decoding)
        error_deg[decoding] = symmetric_distance_deg(truth, rotations.double().numpy(), group)
        assert bool(((confidence > 0) & (confidence <= 1)).all())
    node = So3Grid(2).rotations(So3Grid(2).nearest(truth))
    quantisation_deg = geodesic_distance_deg(truth, node).mean()
    assert error_deg[Decoding.ARGMAX].mean() == pytest.approx(quantisation_deg, abs=1.0)
    assert error_deg[Decoding.NEIGHBOURS].mean() < 0.5 * quantisation_deg
    assert error_deg[Decoding.MEAN].mean() < 0.5 * quantisation_deg


def test_a_batch_is_cut_by_slices():
    found = distribution(1, TRUTH)
    part = found[2:4]
    assert len(part) == 2
    torch.testing.assert_close(part.probabilities(), found.probabilities()[2:4])
    with pytest.raises(TypeError, match="slice"):
        found[0]


@pytest.mark.parametrize("decoding", list(Decoding))
def test_a_temperature_makes_confidences_come_true(decoding):
    """Poses drawn from a distribution, which is then stated three times too sharply."""
    true = distribution(2, random_rotations(400, np.random.default_rng(6)), height=7.0)
    generator = torch.Generator().manual_seed(0)
    nodes = torch.multinomial(true.probabilities(), 1, generator=generator)[:, 0]
    poses = torch.from_numpy(true.grid.rotations(nodes.numpy())).float()
    sharp = dataclasses.replace(true, harmonics=3 * true.harmonics)
    fitted = fitted_temperature(sharp, poses, decoding)
    rotations, stated = dataclasses.replace(sharp, temperature=fitted).decode(decoding)
    error_deg = geodesic_distance_deg(rotations.double().numpy(), poses.double().numpy())
    right = (error_deg < sharp.radius_of_deg(decoding)).mean()
    assert fitted > 1.5
    assert float(stated.mean()) == pytest.approx(right, abs=0.07)
    assert float(sharp.decode(decoding)[1].mean()) > right + 0.1


def test_calibrated_confidence_is_the_share_of_predictions_near_the_truth():
    true = distribution(2, random_rotations(300, np.random.default_rng(7)), height=7.0)
    generator = torch.Generator().manual_seed(1)
    nodes = torch.multinomial(true.probabilities(), 1, generator=generator)[:, 0]
    poses = true.grid.rotations(nodes.numpy())
    rotations, confidence = true.decode("mean")
    error_deg = geodesic_distance_deg(rotations.double().numpy(), poses)
    near = (error_deg < 1.5 * true.grid.inplane_step_deg).mean()
    assert 0.1 < near < 0.95
    assert float(confidence.mean()) == pytest.approx(near, abs=0.1)


def test_a_temperature_changes_no_rotation_but_what_is_stated_of_it():
    """A fitted one may be so low that one node were left: its average would be that node."""
    truth = random_rotations(40, np.random.default_rng(8))
    warm = distribution(2, truth, height=10.0)
    cold = dataclasses.replace(warm, temperature=0.1)
    for decoding in Decoding:
        (expected, before), (found, after) = warm.decode(decoding), cold.decode(decoding)
        torch.testing.assert_close(found, expected)
        assert bool((after > before).all())
    torch.testing.assert_close(cold.probabilities(), (10 * warm.probabilities().log()).softmax(1))
    torch.testing.assert_close(cold.top_k(1)[1][:, 0], cold.probabilities().amax(dim=1))


def test_right_predictions_alone_do_not_freeze_the_temperature():
    truth = random_rotations(100, np.random.default_rng(9))
    found = distribution(2, truth, height=10.0)
    fitted = fitted_temperature(found, torch.from_numpy(truth).float(), "mean")
    assert 0.13 < fitted < 2.0
