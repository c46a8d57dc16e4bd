"""Which samples at Nyquist exactly are taken: the geometry here, RELION's choice in the twins."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cesped.physics.edge_samples import last_columns


def row_of(n):
    return np.array([row if row <= n // 2 else row - n for row in range(n)])


@pytest.mark.parametrize("n", [8, 9, 50, 51])
def test_only_samples_on_the_circle_itself_are_in_doubt(n):
    rotations = Rotation.random(40, random_state=n).as_matrix()
    last = last_columns(rotations, n, 2)
    rows = row_of(n)
    inside = np.array([max(k for k in range(n) if k**2 + row**2 <= (n // 2) ** 2) for row in rows])
    on_circle = inside**2 + rows**2 == (n // 2) ** 2
    assert last.shape == (40, n)
    np.testing.assert_array_equal(last[:, ~on_circle], np.tile(inside[~on_circle], (40, 1)))
    dropped = inside[on_circle] - last[:, on_circle]
    assert set(np.unique(dropped)) == {0, 1}
    assert 0.2 < dropped.mean() < 0.8


def test_whole_right_triangles_are_in_doubt_too():
    rows = row_of(50)  # 25^2 = 7^2 + 24^2 = 15^2 + 20^2
    last = last_columns(Rotation.random(60, random_state=0).as_matrix(), 50, 2)
    assert np.ptp(last[:, np.abs(rows) == 7], axis=0).min() == 1
    assert np.ptp(last[:, np.abs(rows) == 8], axis=0).max() == 0


def test_unrotated_images_are_taken_whole():
    last = last_columns(np.eye(3)[None], 10, 2)[0]
    assert last[0] == 5
    assert last[5] == 0
