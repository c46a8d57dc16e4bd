"""From Fourier sums to a map: the pruned transform, the mask and the fall-off."""

import numpy as np
import pytest
from dense_sums import to_fft_layout

from cesped.physics.half_ball import FourierSums
from cesped.physics.weighted_map import central_box, finish_map


@pytest.mark.parametrize(("box", "padding"), [(8, 2), (9, 2), (7, 3), (10, 1)])
def test_the_pruned_transform_is_the_middle_of_the_whole(box, padding):
    size = padding * box
    rng = np.random.default_rng(4)
    sums = FourierSums.empty(box, padding)
    sums.values[:] = rng.normal(size=sums.values.shape)
    weights = rng.uniform(size=len(sums.values)).astype(np.float32)
    real, imag = (to_fft_layout(sums.ball, sums.values[:, part], size) for part in (0, 1))
    grid = to_fft_layout(sums.ball, weights, size) * (real + 1j * imag)
    # as a real transform reads it: of the plane x = 0 the part that is Hermitian
    whole = np.fft.irfftn(grid, s=(size,) * 3, axes=(0, 1, 2))
    shifted = np.roll(whole, (box // 2,) * 3, axis=(0, 1, 2))[:box, :box, :box]
    found = central_box(sums, weights, box, size, threads=2)
    np.testing.assert_allclose(found, shifted, atol=1e-6)


def finish_slowly(volume, padding):
    """The definition in float64, voxel by voxel."""
    box = len(volume)
    axis = np.arange(box) - box // 2
    distance = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    edge = 0.5 - 0.5 * np.cos(np.pi * (distance - box // 2) / 3)
    share = np.select([distance < box // 2, distance > box // 2 + 3], [0, 1], edge)
    mean = (share * volume).sum() / share.sum()
    return ((1 - share) * volume + share * mean) / np.sinc(distance / (padding * box)) ** 2


@pytest.mark.parametrize("box", [24, 25])
def test_the_end_of_a_map_is_that_of_the_definition(box):
    volume = np.random.default_rng(5).normal(size=(box,) * 3).astype(np.float32)
    expected = finish_slowly(volume.astype(np.float64), 2)
    finish_map(volume, 2, threads=3)
    np.testing.assert_allclose(volume, expected, atol=1e-5)


def test_a_flat_map_stays_flat_but_for_the_fall_off():
    level = np.full((16,) * 3, 0.5, np.float32)
    finish_map(level, 1000, threads=1)
    np.testing.assert_allclose(level, 0.5, atol=1e-4)
