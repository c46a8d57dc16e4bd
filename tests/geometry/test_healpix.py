import subprocess
import sys

import numpy as np
import pytest

from cesped.errors import OptionError
from cesped.geometry import healpix
from cesped.geometry.euler import euler_to_rotation
from cesped.geometry.rotations import direction_distance_deg, random_rotations, viewing_directions


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_angles_directions_and_pixels_agree(order):
    n = healpix.pixel_count(order)
    assert n == 12 * 4**order
    angles = healpix.pixel_angles_deg(order)
    directions = healpix.pixel_directions(order)
    seen = viewing_directions(euler_to_rotation(np.column_stack([angles, np.zeros(n)])))
    np.testing.assert_allclose(seen, directions, atol=1e-14)
    assert np.array_equal(healpix.pixels_of_directions(order, directions), np.arange(n))
    assert np.array_equal(healpix.pixels_of_angles(order, *angles.T), np.arange(n))


@pytest.mark.parametrize("order", range(healpix.MAX_ORDER + 1))
def test_pixels_in_closed_form_are_those_of_healpy(order):
    healpy = pytest.importorskip("healpy")
    nside, pixels = 2**order, np.arange(healpix.pixel_count(order))
    expected = np.stack(healpy.pix2vec(nside, pixels, nest=True), axis=-1)
    np.testing.assert_allclose(healpix.pixel_directions(order), expected, atol=1e-14)
    np.testing.assert_allclose(
        np.radians(healpix.pixel_angles_deg(order)),
        np.stack(healpy.pix2ang(nside, pixels, nest=True)[::-1], axis=-1),
        atol=1e-13,
    )
    generator = np.random.default_rng(order)
    directions = generator.normal(size=(20_000, 3))
    directions[:5000, :2] *= 1e-3  # about the poles
    directions[5000:10_000, 2] *= 1e-3  # about the equator
    directions[10_000:15_000] = expected[generator.integers(0, len(expected), 5000)]
    found = healpix.pixels_of_directions(order, directions)
    assert np.array_equal(found, healpy.vec2pix(nside, *directions.T, nest=True))


@pytest.mark.parametrize("order", [0, 3])
def test_poles_corners_and_seams_lie_in_a_pixel_that_they_touch(order):
    quarters = np.arange(-4, 5) * 45.0
    rot, tilt = np.meshgrid(quarters, [0.0, 48.18968510422141, 90.0, 131.81031489577862, 180.0])
    pixels = healpix.pixels_of_angles(order, rot, tilt)
    assert pixels.min() >= 0
    assert pixels.max() < healpix.pixel_count(order)
    angles = np.column_stack([rot.ravel(), tilt.ravel(), np.zeros(rot.size)])
    seen = viewing_directions(euler_to_rotation(angles))
    centres = healpix.pixel_directions(order)[pixels.ravel()]
    radius = healpix.pixel_radius_deg(order)
    assert direction_distance_deg(seen, centres).max() <= radius + 1e-6


def test_pixels_are_nested():
    directions = healpix.pixel_directions(3)
    parents = healpix.pixels_of_directions(2, directions)
    assert np.array_equal(parents, np.arange(len(directions)) // 4)


def test_pixels_have_equal_areas():
    directions = viewing_directions(random_rotations(240_000, np.random.default_rng(1)))
    counts = np.bincount(healpix.pixels_of_directions(1, directions), minlength=48)
    assert np.abs(counts / 5000 - 1).max() < 0.07


@pytest.mark.parametrize("order", [0, 1, 3])
def test_no_direction_is_farther_from_its_pixel_than_the_radius(order):
    directions = viewing_directions(random_rotations(50_000, np.random.default_rng(2)))
    centres = healpix.pixel_directions(order)[healpix.pixels_of_directions(order, directions)]
    radius = healpix.pixel_radius_deg(order)
    assert direction_distance_deg(directions, centres).max() <= radius + 1e-9


def test_neighbours_are_mutual_and_24_pixels_have_seven():
    neighbours = healpix.pixel_neighbours(2)
    assert neighbours.shape == (192, 8)
    assert (neighbours < 0).sum() == 24
    pairs = {(p, int(q)) for p, row in enumerate(neighbours) for q in row if q >= 0}
    assert all((q, p) in pairs for p, q in pairs)
    assert not any(p == q for p, q in pairs)


@pytest.mark.parametrize("points_per_side", [1, 4])
def test_outlines_surround_their_pixel_and_stay_together(points_per_side):
    outlines = healpix.pixel_boundaries_deg(2, points_per_side)
    assert outlines.shape == (192, 4 * points_per_side, 2)
    centres = healpix.pixel_angles_deg(2)[:, None]
    assert np.abs(outlines[..., 0] - centres[..., 0]).max() <= 180.0
    angles = np.concatenate([outlines, np.zeros_like(outlines[..., :1])], axis=-1)
    corners = viewing_directions(euler_to_rotation(angles))
    inside = 0.98 * corners + 0.02 * healpix.pixel_directions(2)[:, None]
    pixels = healpix.pixels_of_directions(2, inside)
    assert (pixels == np.arange(192)[:, None]).all()


@pytest.mark.parametrize("order", [-1, 1.5, 9, True])
def test_orders_that_are_none_are_refused(order):
    with pytest.raises(OptionError, match="HEALPix order"):
        healpix.pixel_count(order)


def test_healpy_is_loaded_by_use_alone():
    code = (
        "import sys, cesped.geometry.grids, cesped.geometry.healpix;"
        "sys.exit('healpy' in sys.modules or 'matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
