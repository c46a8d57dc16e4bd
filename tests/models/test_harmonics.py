"""The one place where e3nn's axes meet ours."""

import numpy as np
import pytest
import torch

from cesped.geometry.euler import euler_to_rotation, rotation_to_euler
from cesped.geometry.rotations import random_rotations
from cesped.geometry.symmetry import point_group
from cesped.models.image2sphere.harmonics import (
    group_means,
    so3_index,
    so3_size,
    so3_slices,
    sphere_harmonics,
    sphere_slices,
    wigner_matrices,
)


def test_harmonics_turn_with_our_rotations():
    """Y(R x) = D(R) Y(x) with R = Rz(rot) Ry(tilt) Rz(psi) and vectors (x, y, z)."""
    generator = np.random.default_rng(1)
    angles_deg = generator.uniform(-180, 180, (5, 3))
    rotations = euler_to_rotation(angles_deg)
    points = generator.standard_normal((7, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    before = sphere_harmonics(points, 4)
    wigner = wigner_matrices(4, angles_deg)
    for number, rotation in enumerate(rotations):
        after = sphere_harmonics(points @ rotation.T, 4)
        for degree, part in enumerate(sphere_slices(4)):
            turned = before[:, part] @ wigner[degree][number].T
            torch.testing.assert_close(after[:, part], turned, atol=2e-6, rtol=0)


def test_degree_one_is_the_vector_itself():
    values = sphere_harmonics(np.eye(3), 1)[:, 1:]
    # e3nn's (x, y, z) are our (y, z, x)
    expected = torch.from_numpy(np.eye(3)[:, [1, 2, 0]]) * 3**0.5
    torch.testing.assert_close(values, expected)


def test_wigner_matrices_compose_as_rotations_do():
    a, b = random_rotations(2, np.random.default_rng(2))
    both = np.stack([a, b, a @ b])
    for matrices in wigner_matrices(3, rotation_to_euler(both)):
        torch.testing.assert_close(matrices[2], matrices[0] @ matrices[1], atol=2e-6, rtol=0)


@pytest.mark.parametrize("l_max", [0, 2, 5])
def test_coefficients_lie_where_the_index_says(l_max):
    places = [
        so3_index(degree, m, n)
        for degree in range(l_max + 1)
        for m in range(-degree, degree + 1)
        for n in range(-degree, degree + 1)
    ]
    assert places == list(range(so3_size(l_max)))
    assert so3_slices(l_max)[-1].stop == so3_size(l_max)


@pytest.mark.parametrize("name", ["C3", "D2", "T", "O", "I1"])
def test_group_means_are_projections_on_invariants(name):
    group = point_group(name)
    means = group_means(4, rotation_to_euler(group.operators))
    wigner = wigner_matrices(4, rotation_to_euler(group.operators))
    for mean, matrices in zip(means, wigner, strict=True):
        torch.testing.assert_close(mean @ mean, mean, atol=2e-6, rtol=0)
        torch.testing.assert_close(matrices @ mean, mean.expand_as(matrices), atol=2e-6, rtol=0)
