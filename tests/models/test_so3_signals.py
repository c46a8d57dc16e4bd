"""Separable transforms on SO(3) against e3nn's dense matrices, and the laws of convolutions."""

import e3nn.nn
import numpy as np
import pytest
import torch
from dense_so3 import dense_values
from e3nn import o3

from cesped.geometry.euler import rotation_to_euler
from cesped.geometry.healpix import pixel_directions
from cesped.geometry.rotations import random_rotations
from cesped.models.image2sphere.activation import RELU_GAIN, EulerGridTransform, So3Activation
from cesped.models.image2sphere.convolutions import (
    So3Convolution,
    SphereConvolution,
    near_identity_deg,
)
from cesped.models.image2sphere.harmonics import (
    so3_size,
    so3_slices,
    sphere_slices,
    wigner_matrices,
)


def signals(l_max, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(so3_size(l_max), count, generator=generator)


def euler_grid(transform_values, l_max):
    n_outer, _, n_beta, _ = transform_values.shape
    outer = torch.arange(n_outer, dtype=torch.float64) * (2 * np.pi / n_outer)
    nodes, weights = np.polynomial.legendre.leggauss(n_beta)
    beta = torch.from_numpy(np.arccos(nodes))
    return *torch.meshgrid(outer, outer, beta, indexing="ij"), torch.from_numpy(weights)


@pytest.mark.parametrize("l_max", [0, 1, 2])
def test_euler_grid_twin_of_dense_wigner_matrices(l_max):
    coefficients = signals(l_max, 3)
    values = EulerGridTransform(l_max).to_grid(coefficients)
    alpha, gamma, beta, _ = euler_grid(values, l_max)
    expected = dense_values(coefficients, l_max, alpha, beta, gamma)
    torch.testing.assert_close(values.double(), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("l_max", [0, 3, 6])
def test_grid_and_back_is_the_identity(l_max):
    coefficients = signals(l_max, 4)
    transform = EulerGridTransform(l_max)
    back = transform.from_grid(transform.to_grid(coefficients))
    torch.testing.assert_close(back, coefficients, atol=1e-5, rtol=0)


def test_activation_twin_of_dense_quadrature():
    l_max = 2
    coefficients = signals(l_max, 2)
    activation = So3Activation(l_max, oversampling=2.0)
    result = activation(coefficients)
    grid = activation.transform.to_grid(coefficients)
    alpha, gamma, beta, weights = euler_grid(grid, l_max)
    values = dense_values(coefficients, l_max, alpha, beta, gamma).clamp(min=0) * RELU_GAIN
    values = values * (weights / (2 * grid.shape[0] ** 2))[None, None, :, None]
    for degree, part in enumerate(so3_slices(l_max)):
        matrices = o3.wigner_D(degree, alpha, beta, gamma)
        expected = torch.einsum("agbmn,agbf->mnf", matrices, values) * (2 * degree + 1) ** 0.5
        torch.testing.assert_close(
            result[part].double(), expected.reshape(-1, 2), atol=2e-5, rtol=0
        )


def test_activation_twin_of_e3nns_own():
    """A square has no degree beyond twice l_max, so that both grids are exact, to rounding."""
    l_max = 2
    coefficients = signals(l_max, 3)
    transform = EulerGridTransform(l_max, oversampling=2.0)
    found = transform.from_grid(transform.to_grid(coefficients).square())
    activation = e3nn.nn.SO3Activation(l_max, l_max, act=torch.square, resolution=10)
    constant = torch.zeros(1, 1, len(coefficients))
    constant[..., 0] = 1.0  # e3nn's signals have a scale of their own; a constant tells it
    scale = float(activation(constant)[0, 0, 0])
    expected = activation(coefficients.T[:, None]).squeeze(1).T / scale
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
    assert float(expected.std()) > 0.1


def test_rectifier_is_that_of_e3nns_own_to_what_aliases():
    """At the resolutions that both packages use, the results differ by aliasing alone."""
    l_max = 3
    coefficients = signals(l_max, 16)
    activation = e3nn.nn.SO3Activation(l_max, l_max, act=torch.relu, resolution=10)
    expected = activation(coefficients.T[:, None]).squeeze(1).T

    def disagreement(oversampling):
        found = So3Activation(l_max, oversampling)(coefficients)
        return float((found - expected).norm() / expected.norm())

    assert disagreement(1.0) < 0.15
    assert disagreement(2.0) < 0.7 * disagreement(1.0)


def turned(coefficients, l_max, wigner, columns):
    """Act with a rotation on the first order of signals on the sphere or on SO(3)."""
    parts = []
    slices = sphere_slices(l_max) if columns is None else so3_slices(l_max)
    for degree, part in enumerate(slices):
        block = coefficients[part].view(2 * degree + 1, -1)
        parts.append((wigner[degree][0].float() @ block).view(coefficients[part].shape))
    return torch.cat(parts)


def test_convolutions_commute_with_turning_the_camera():
    l_max = 3
    angles_deg = rotation_to_euler(random_rotations(1, np.random.default_rng(3)))
    wigner = wigner_matrices(l_max, angles_deg)
    torch.manual_seed(0)
    sphere = SphereConvolution(5, 4, l_max, pixel_directions(1))
    so3 = So3Convolution(4, 2, l_max, near_identity_deg(n_rot=4, n_tilt=2, n_inplane=4))
    maps = torch.randn((l_max + 1) ** 2, 3 * 5)

    def network(x):
        return so3(sphere(x.view(-1, 3, 5).permute(1, 2, 0)))

    after = network(turned(maps, l_max, wigner, None))
    torch.testing.assert_close(
        after, turned(network(maps), l_max, wigner, "so3"), atol=1e-5, rtol=0
    )


def test_sphere_convolution_twin_of_e3nn_linear():
    """In harmonics the convolution is e3nn's linear layer from (l, in) to (l, out x (2 l + 1))."""
    l_max, n_in, n_out = 2, 3, 2
    torch.manual_seed(0)
    layer = SphereConvolution(n_in, n_out, l_max, pixel_directions(1))
    maps = torch.randn(4, n_in, (l_max + 1) ** 2)
    result = layer(maps)
    filters = layer.weight @ layer.basis
    for degree, part in enumerate(sphere_slices(l_max)):
        width = 2 * degree + 1
        parity_free = o3.Irreps(f"{n_in}x{degree}e"), o3.Irreps(f"{n_out * width}x{degree}e")
        linear = o3.Linear(*parity_free, internal_weights=False, shared_weights=True)
        weights = filters[:, :, part].permute(0, 2, 1).reshape(-1)  # in, n, out
        # e3nn divides by sqrt(fan in); ours also by sqrt(l_max + 1), for the power of the sum
        expected = linear(maps[:, :, part].flatten(1), weights) / (l_max + 1) ** 0.5
        expected = expected.view(4, width, n_out, width).permute(3, 1, 0, 2)  # m, n, B, out
        found = result[so3_slices(l_max)[degree]].view(width, width, 4, n_out)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_filters_near_the_identity_hold_the_papers_support():
    angles_deg = near_identity_deg()
    assert angles_deg.shape == (8 * 3 * 8, 3)
    assert angles_deg[:, 1].max() == pytest.approx(22.5)
    assert angles_deg[:, 1].min() > 0
