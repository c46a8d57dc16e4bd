"""The packed half ball: every voxel once, none missing, none idle."""

import numpy as np
import pytest

from cesped.errors import OptionError
from cesped.physics.half_ball import FourierSums, HalfBall


@pytest.mark.parametrize("radius", [1, 2, 7, 24, 33])
def test_rows_follow_each_other_without_gap(radius):
    ball = HalfBall.of_radius(radius)
    ends = ball.starts + ball.lengths
    held = ball.lengths.ravel() > 0
    np.testing.assert_array_equal(ball.starts.ravel()[held][1:], ends.ravel()[held][:-1])
    assert ball.starts.min() == 0
    assert ends.max() == ball.n_voxels
    np.testing.assert_array_equal(ball.lengths, ball.lengths[::-1, ::-1])  # mates have a place


@pytest.mark.parametrize("radius", [3, 16])
def test_every_point_of_the_ball_finds_its_eight_voxels(radius):
    rng = np.random.default_rng(radius)
    points = rng.normal(size=(20000, 3))
    points *= radius / np.linalg.norm(points, axis=1, keepdims=True)  # the outermost samples
    points[:9000] *= rng.uniform(0, 1, (9000, 1))
    points = np.concatenate([points, radius * np.eye(3), -radius * np.eye(3)])
    points[points[:, 0] < 0] *= -1
    points *= 1 + 1e-6  # rounding
    ball = HalfBall.of_radius(radius)
    low = np.floor(points).astype(int)
    for corner in np.ndindex(2, 2, 2):
        x, y, z = (low + corner).T
        assert (x < ball.lengths[z + radius + 1, y + radius + 1]).all()


def test_half_of_the_cube_is_saved():
    ball = HalfBall.of_radius(128)
    assert ball.n_voxels < 0.55 * 259 * 259 * 130


def test_sums_of_different_sizes_do_not_add_up():
    first, second = FourierSums.empty(8, 2), FourierSums.empty(8, 2)
    second.values[:] = 1
    first.add(second)
    first.add(second)
    assert (first.values == 2).all()
    with pytest.raises(OptionError, match="radius 8 and 10 voxels"):
        first.add(FourierSums.empty(10, 2))
