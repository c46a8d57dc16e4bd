"""Many maps, a window of which is on the device; what a set is stays a matter of its number."""

import numpy as np
import pytest
import torch
from second_device import ELSEWHERE, back, second_device
from tiny_views import BOX, PIXEL

from cesped.geometry.rotations import rotation_angle_deg
from cesped.physics.torch_projection import TorchProjector
from cesped.training.views.map_window import HostMaps, MapWindow
from cesped.training.views.sets import TRAINING, VALIDATION, generator_of
from cesped.training.views.simulated import ReferenceBall, SimulatedViews

STREAM = (0, 1, TRAINING)
GIB_OF_ONE = TorchProjector.bytes_of(BOX) / 2**30


def volume(index):
    values = np.zeros((BOX,) * 3, np.float32)
    values[BOX // 2, BOX // 2, BOX // 2 + 1 + index % 8] = 1 + index
    return values, PIXEL


def window(count=12, fits=3.5, sets_per_map=4, device="cpu"):
    return MapWindow(count, volume, BOX, device, fits * GIB_OF_ONE, sets_per_map)


def test_the_stated_memory_is_that_of_the_grid():
    projector = TorchProjector(*volume(0))
    assert projector._grid.numel() * projector._grid.element_size() == TorchProjector.bytes_of(BOX)


def test_no_more_maps_than_fit_are_held_and_each_serves_many_sets():
    maps = window()
    source = SimulatedViews(maps)
    assert (maps.width, len(maps)) == (3, 12)
    used = []
    for step in range(24):
        source.draw([4 * step + place for place in range(4)], 2, STREAM)
        assert len(maps._held) <= 3
        used += [maps.choose(4 * step + place, generator_of(STREAM, 4 * step + place))
                 for place in range(4)]  # fmt: skip
    assert set(used) == set(range(12))  # 96 sets, 4 for a map: through all of them twice
    assert maps.reads <= 24 + 3


def test_a_set_is_the_same_whatever_was_drawn_before():
    fresh, used = SimulatedViews(window(), (1, 2)), SimulatedViews(window(), (1, 2))
    for number in (0, 90, 5, 41):
        used.draw([number], 2, STREAM)
    torch.testing.assert_close(
        used.draw([17, 60], 3, STREAM).images, fresh.draw([17, 60], 3, STREAM).images
    )


def test_sets_that_validate_come_from_the_same_few_maps():
    maps = window(count=200, fits=100)
    chosen = {maps.choose(0, generator_of((0, 1, VALIDATION), n)) for n in range(300)}
    assert len(chosen) == 16
    SimulatedViews(maps).draw(list(range(60)), 2, (0, 1, VALIDATION))
    assert maps.reads <= 16


def test_where_all_fit_all_are_drawn_from():
    maps = window(count=3)
    drawn = {maps.choose(10**6, generator_of(STREAM, n)) for n in range(40)}
    assert drawn == {0, 1, 2}


def test_main_memory_keeps_what_it_is_told_to():
    read = []

    def reader(index):
        return lambda: read.append(index) or volume(index)

    maps = HostMaps([reader(index) for index in range(4)], BOX, 2.5 * 4 * BOX**3 / 2**30)
    assert (maps.most, len(maps)) == (2, 4)
    for index in (0, 1, 2, 3, 0, 1, 2, 3):
        assert maps(index)[0].max() == 1 + index
    assert read == [0, 1, 2, 3, 2, 3]


def test_a_second_device_gets_the_same_sets():
    here = SimulatedViews(window(), (1, 2), 2.0).draw([3, 44], 3, STREAM)
    with second_device():
        there = SimulatedViews(window(device=ELSEWHERE), None, 2.0).draw([3, 44], 3, STREAM)
    torch.testing.assert_close(back(there.images), here.clean_images, rtol=0, atol=1e-4)
    torch.testing.assert_close(back(there.rotations), here.rotations)


@pytest.mark.parametrize(("number", "largest_deg"), [(0, 20.0), (50, 100.0), (100, 180.0)])
def test_references_look_within_a_growing_angle(number, largest_deg):
    ball = ReferenceBall(20.0, 180.0, 100)
    turns = np.stack([ball.draw(number, generator_of(STREAM, n)) for n in range(2000)])
    angles = np.sort(rotation_angle_deg(turns))
    assert largest_deg - 10 < angles[-1] <= largest_deg + 1e-6
    a = np.deg2rad(angles)
    top = np.deg2rad(largest_deg)
    share = (a - np.sin(a)) / (top - np.sin(top))  # of a uniform draw: uniform
    np.testing.assert_allclose(share, np.linspace(0, 1, 2000), atol=0.05)


def test_only_references_and_only_those_learned_from_are_held_back():
    source = SimulatedViews(window(), reference=ReferenceBall(5.0, 5.0, 10))
    learned = source.draw(list(range(30)), 3, STREAM).rotations.numpy()
    assert rotation_angle_deg(learned[:, 0]).max() <= 5.001
    assert rotation_angle_deg(learned[:, 1:].reshape(-1, 3, 3)).max() > 120
    judged = source.draw(list(range(30)), 3, (0, 1, VALIDATION)).rotations.numpy()
    assert rotation_angle_deg(judged[:, 0]).max() > 120
