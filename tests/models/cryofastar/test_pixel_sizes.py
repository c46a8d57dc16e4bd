"""What weights say of the pixel sizes that they learned from, and what is made of it."""

import math

import numpy as np
import pytest
import torch

from cesped.models.cryofastar.model import CryoFastAR
from cesped.models.cryofastar.pixel_sizes import (
    PixelSizeFit,
    PixelSizes,
    pixel_size_fit,
    pixel_sizes_of_facts,
    states_pixel_sizes,
)
from cesped.training.views.sets import ViewBatch


def fit(given_angst, known, side_px=32, box_px=128, patch_px=16):
    return PixelSizeFit(given_angst, side_px, box_px, patch_px, PixelSizes(*known), "--image-size")


def test_a_range_grows_and_what_is_not_known_stays_unknown():
    sizes = PixelSizes().with_sizes([2.0, 3.0]).with_sizes([1.5])
    assert sizes.as_fact() == {"pixel_sizes_angst": [1.5, 3.0]}
    assert pixel_sizes_of_facts(sizes.as_fact()) == sizes
    for unknown in ((), (math.nan,), (2.0, math.nan)):
        assert sizes.with_sizes(unknown).with_sizes([2.0]).as_fact() == {}
    assert PixelSizes().as_fact() == PixelSizes().with_sizes([0.0, 2.0]).as_fact() == {}


@pytest.mark.parametrize("value", [None, [], [1.0], [2, 1], ["a", "b"], [0, 1], [1, math.inf], 3])
def test_facts_without_a_range_say_nothing(value):
    assert pixel_sizes_of_facts({"pixel_sizes_angst": value}) is None
    assert pixel_sizes_of_facts({}) is None


@pytest.mark.parametrize(
    ("given", "is_known"),
    [(2, True), (3, True), (1.965, True), (3.055, True), (1.95, False), (3.07, False)],
)  # fmt: skip
def test_two_percent_outside_are_borne(given, is_known):
    found = fit(given, (2.0, 3.0))
    assert found.is_known is is_known
    assert (found.warning is None) is is_known


def test_the_advice_is_the_side_that_comes_nearest():
    generator = np.random.default_rng(0)
    for given, least, wider in generator.uniform([1, 1, 1], [8, 8, 1.5], (50, 3)):
        found = fit(given, (least, least * wider), patch_px=8)
        misses = {
            side: found.known.miss(given * 32 / side) for side in range(8, 600, 8)
        }  # every side
        assert misses[found.best_side_px] == pytest.approx(min(misses.values()), abs=1e-12)


def test_a_warning_has_the_numbers_and_what_to_do():
    assert fit(3.0, (4.0, 4.0), patch_px=8).warning == (
        "The network is given images of 3 Å a pixel (32 px), but its weights learned from 4 Å a "
        "pixel: poses may be wrong with nothing else to show it; use --image-size 24, which makes "
        "it 4 Å."
    )
    other = fit(14.77, (16.0, 16.0))  # multiples of 16 px: 32 px is the nearest there is
    assert other.best_side_px == 32
    assert "no other --image-size comes nearer (multiples of 16 px); for a" in other.warning
    assert "pad the images from 128 to 138 px first, and keep --image-size 32." in other.warning
    assert fit(14.77 * 138 / 128, (16.0, 16.0)).is_known
    assert "learned from 1 to 2.5 Å a pixel" in fit(5.0, (1.0, 2.5)).warning


def test_a_file_of_weights_is_asked_and_one_that_says_nothing_gives_nothing(tmp_path):
    torch.manual_seed(0)
    model, path = CryoFastAR("tiny"), tmp_path / "w.safetensors"
    model.save(path, {"pixel_sizes_angst": [4.0, 5.0]})
    found = pixel_size_fit(path, 3.0, 32, 64, "--image-size")
    assert (found.patch_px, found.known) == (8, PixelSizes(4.0, 5.0))
    assert found.to_dict()["weights_know_angst"] == [4.0, 5.0]
    model.save(path, {"recipe": "another"})
    assert pixel_size_fit(path, 3.0, 32, 64, "--image-size") is None
    assert not states_pixel_sizes(path)
    assert not states_pixel_sizes(tmp_path / "released.pth")


def test_a_part_of_a_batch_keeps_the_pixel_sizes_of_its_sets():
    one = torch.zeros(3, 2, 1, 8, 8)
    batch = ViewBatch(one, torch.zeros(3, 2, 3, 3), torch.zeros(3, 2, 2), None, None, (1, 2, 3))
    assert batch.part(1, 3).pixel_sizes_angst == (2, 3)
