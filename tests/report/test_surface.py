"""Surfaces: on the density's level, closed, and turned outwards."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cesped.report.surface import surface_of_density

BOX = 24


def distance_from(centre_xyz, box=BOX):
    z, y, x = np.indices((box,) * 3)
    return np.sqrt((x - centre_xyz[0]) ** 2 + (y - centre_xyz[1]) ** 2 + (z - centre_xyz[2]) ** 2)


def enclosed_volume(vertices, triangles):
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    return float(np.einsum("ti,ti->t", a, np.cross(b, c)).sum() / 6)


@given(
    centre=st.tuples(*[st.floats(9, 14)] * 3),
    radius=st.floats(3, 7),
)
def test_a_ball_gives_a_sphere_that_encloses_its_volume(centre, radius):
    vertices, triangles = surface_of_density(-distance_from(centre), -radius)
    # the mean of a cell's crossings lies a little inside a curved surface: errors of 1 / radius
    assert np.abs(np.linalg.norm(vertices - centre, axis=1) - radius).max() < 0.5 / radius
    # positive only if every normal points outwards
    share = enclosed_volume(vertices, triangles) / (4 / 3 * np.pi * radius**3)
    assert 1 - 1.6 / radius**2 < share < 1.01


def test_every_edge_is_shared_by_two_triangles_even_at_the_border():
    generator = np.random.default_rng(0)
    _, triangles = surface_of_density(generator.normal(size=(9, 9, 9)), 0.3)
    edges = np.concatenate([triangles[:, pair] for pair in ([0, 1], [1, 2], [2, 0])])
    _, count = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
    assert np.all(count % 2 == 0)


def test_nothing_above_the_level_gives_no_triangle():
    vertices, triangles = surface_of_density(np.zeros((4, 4, 4)), 1.0)
    assert vertices.shape == (0, 3)
    assert triangles.shape == (0, 3)
