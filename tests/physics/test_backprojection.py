"""The accumulated sums and the maps: against plain float64 loops, and against their own laws."""

import numpy as np
import pytest
import torch
from dense_sums import to_dense
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cesped.errors import GeometryError, OptionError
from cesped.geometry.symmetry import point_group
from cesped.physics.backprojection import BackProjector
from cesped.physics.edge_samples import last_columns
from cesped.physics.fourier import images_to_half_plane
from cesped.physics.grid_symmetry import complete_plane, cosets, symmetrise
from cesped.physics.half_ball import FourierSums
from cesped.physics.insertion import insert_slices, slab_bounds
from cesped.physics.projection import Projector


def random_batch(box, n_images, seed):
    rng = np.random.default_rng(seed)
    shape = (n_images, box, box // 2 + 1)
    planes = (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
    planes[:, 0, 0] = planes[:, 0, 0].real  # the sum of a real image
    ctf = rng.normal(size=shape).astype(np.float32)
    rotations = Rotation.random(n_images, random_state=rng).as_matrix()
    weights = rng.uniform(0.1, 2, n_images).astype(np.float32)
    origins_px = rng.normal(size=(n_images, 2))
    return planes, ctf, rotations, weights, origins_px


def insert_slowly(box, padding, planes, ctf, rotations, weights, origins_px):
    """The definition, one sample and one voxel after the other, in float64."""
    radius = padding * (box // 2)
    centre = radius + 1
    sums = np.zeros((2 * radius + 3, 2 * radius + 3, radius + 2, 3))
    rows = [row if row <= box // 2 else row - box for row in range(box)]
    last = last_columns(rotations, box, padding)
    for p, rotation in enumerate(rotations):
        for row, ky in enumerate(rows):
            for kx in range(box // 2 + 1):
                if kx > last[p, row] or (kx == 0 and ky < 0):
                    continue
                x, y = origins_px[p]
                value = planes[p, row, kx] * np.exp(-2j * np.pi * (kx * x + ky * y) / box)
                value = complex(value) * float(ctf[p, row, kx]) * float(weights[p])
                square = float(ctf[p, row, kx]) ** 2 * float(weights[p])
                at = padding * rotation @ [kx, ky, 0]
                if at[0] < 0:
                    at, value = -at, value.conjugate()
                low = np.floor(at).astype(int)
                for corner in np.ndindex(2, 2, 2):
                    i, j, k = low + corner
                    share = np.prod(1 - np.abs(at - (i, j, k)))
                    sums[k + centre, j + centre, i] += (
                        share * value.real,
                        share * value.imag,
                        share * square,
                    )
    return sums


@pytest.mark.parametrize(
    ("box", "padding", "threads"), [(8, 2, 1), (9, 2, 3), (10, 1, 2), (6, 3, 1)]
)
def test_sums_are_those_of_the_definition(box, padding, threads):
    batch = random_batch(box, 12, seed=box)
    sums = FourierSums.empty(box, padding)
    insert_slices(sums, *batch, padding, threads)
    expected = insert_slowly(box, padding, *batch)
    np.testing.assert_allclose(to_dense(sums), expected, atol=2e-5 * np.abs(expected).max())


@given(st.integers(1, 200), st.integers(1, 40))
def test_slabs_cover_every_plane_once(radius, n_slabs):
    bounds = slab_bounds(radius, n_slabs)
    assert bounds[0] == -radius
    assert bounds[-1] == radius + 1
    assert np.all(np.diff(bounds) > 0)


def test_the_number_of_threads_changes_nothing():
    batch = random_batch(16, 20, seed=1)
    one, many = FourierSums.empty(16, 2), FourierSums.empty(16, 2)
    insert_slices(one, *batch, 2, 1)
    insert_slices(many, *batch, 2, 5)
    np.testing.assert_array_equal(one.values, many.values)


def ball_volume(box, seed=3):
    """A smooth asymmetric volume well inside the sphere."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[:box, :box, :box] - box // 2
    volume = np.zeros((box,) * 3)
    for centre in rng.uniform(-0.2 * box, 0.2 * box, size=(8, 3)):
        square = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
        volume += np.exp(-square / (2 * 1.8**2))
    return volume.astype(np.float32)


def correlation(first, second):
    return np.corrcoef(first.ravel(), second.ravel())[0, 1]


@pytest.mark.parametrize("box", [24, 25])
@pytest.mark.parametrize("gridding", [True, False])
def test_a_volume_comes_back_from_its_projections(box, gridding):
    volume = ball_volume(box)
    rotations = Rotation.random(600, random_state=0).as_matrix()
    projector = BackProjector(box, threads=1)
    projector.insert(Projector(volume).slices(rotations), None, rotations)
    recovered = projector.reconstruct(gridding)
    inside = volume > 0.05
    assert correlation(recovered[inside], volume[inside]) > 0.999
    assert np.polyfit(volume[inside], recovered[inside], 1)[0] == pytest.approx(1, abs=0.06)


def test_displaced_images_with_their_origins_give_the_same_sums():
    rng = np.random.default_rng(5)
    images = torch.from_numpy(rng.normal(size=(6, 16, 16)).astype(np.float32))
    _, ctf, rotations, *_ = random_batch(16, 6, seed=5)
    moved = torch.roll(images, shifts=(3, -2), dims=(1, 2))  # content moves 3 px in y, -2 px in x
    still, shifted = BackProjector(16, threads=1), BackProjector(16, threads=1)
    still.insert(images_to_half_plane(images), ctf, rotations)
    origins_px = np.tile([2.0, -3.0], (6, 1))
    shifted.insert(images_to_half_plane(moved), ctf, rotations, origins_px=origins_px)
    # the Nyquist row and column have no sign, so a shift about them is ambiguous: compare maps
    assert correlation(still.reconstruct(False), shifted.reconstruct(False)) > 0.999


def test_a_weight_of_two_counts_as_two_particles():
    planes, ctf, rotations, _, origins_px = random_batch(12, 5, seed=6)
    weighted, doubled = BackProjector(12, threads=1), BackProjector(12, threads=1)
    weighted.insert(planes, ctf, rotations, [2, 1, 1, 1, 0], origins_px)
    for rows in ([0, 1, 2, 3], [0]):
        doubled.insert(planes[rows], ctf[rows], rotations[rows], None, origins_px[rows])
    np.testing.assert_allclose(weighted._sums.values, doubled._sums.values, atol=1e-4)


@pytest.mark.parametrize("symmetrised_first", [True, False])
def test_merged_halves_are_the_whole(symmetrised_first):
    planes, ctf, rotations, weights, origins_px = random_batch(12, 20, seed=7)
    parts = [BackProjector(12, threads=1) for _ in range(3)]
    for part, rows in zip(parts, (slice(0, 9), slice(9, 20), slice(0, 20)), strict=True):
        part.insert(planes[rows], ctf[rows], rotations[rows], weights[rows], origins_px[rows])
    group = point_group("D2")
    if symmetrised_first:
        for part in parts:
            part.symmetrise(group)
    first, second, whole = parts
    first.merge(second)
    if not symmetrised_first:
        first.symmetrise(group)
        whole.symmetrise(group)
    expected = whole.reconstruct()
    np.testing.assert_allclose(first.reconstruct(), expected, atol=1e-4 * np.abs(expected).max())


def test_reconstructing_leaves_the_sums_as_they_are():
    planes, ctf, rotations, *_ = random_batch(12, 9, seed=8)
    projector = BackProjector(12)
    projector.insert(planes, ctf, rotations)
    first = projector.reconstruct()
    projector.reconstruct(gridding=False)
    np.testing.assert_array_equal(projector.reconstruct(), first)


def rotate_slowly(sums, operators):
    """Sum over the group by trilinear reading, in float64, with Friedel's law outside the half."""
    centre = (len(sums) - 1) // 2
    summed = sums.astype(np.float64).copy()
    for z, y, x in np.ndindex(len(sums), len(sums), centre + 1):
        k = np.array([x, y - centre, z - centre], dtype=float)
        if k @ k > (centre - 1) ** 2:
            continue
        for operator in operators[1:]:
            at = operator @ k
            sign = 1.0 if at[0] >= 0 else -1.0
            at *= sign
            low = np.floor(at).astype(int)
            for corner in np.ndindex(2, 2, 2):
                i, j, m = low + corner
                share = np.prod(1 - np.abs(at - (i, j, m)))
                summed[z, y, x] += share * sums[m + centre, j + centre, i] * (1, sign, 1)
    return summed


@pytest.mark.parametrize("name", ["C3", "C6", "D2", "D3", "T", "O", "I1", "I3"])
def test_symmetrised_sums_are_those_of_the_definition(name):
    planes, ctf, rotations, weights, origins_px = random_batch(8, 10, seed=9)
    sums = FourierSums.empty(8, 1)
    insert_slices(sums, planes, ctf, rotations, weights, origins_px, 1, 1)
    complete_plane(sums)
    operators = point_group(name).operators
    expected = rotate_slowly(to_dense(sums), operators)
    found = to_dense(symmetrise(sums, operators, threads=2))
    centre = (len(found) - 1) // 2
    z, y, x = np.ogrid[-centre : centre + 1, -centre : centre + 1, : centre + 1]
    # on the sphere and the plane x = 0 rounding decides which of two equal ways is taken
    inside = ((z**2 + y**2 + x**2) < (centre - 1) ** 2) & (x > 0)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-4 * scale)


@pytest.mark.parametrize(("name", "n_whole"), [("C3", 1), ("D7", 2), ("O", 24), ("I1", 12)])
def test_cosets_make_up_the_group(name, n_whole):
    operators = point_group(name).operators
    whole, others = cosets(operators)
    assert len(whole) == n_whole
    assert len(whole) * len(others) == len(operators)
    np.testing.assert_array_equal(whole[0], np.eye(3))
    products = np.einsum("aij,bjk->abik", whole, others).reshape(-1, 3, 3)
    distance = np.abs(products[:, None] - operators).max(axis=(2, 3))
    assert (distance.min(axis=0) < 1e-6).all()


def test_the_mean_is_gone_before_the_symmetry_spreads_it():
    planes, ctf, rotations, *_ = random_batch(12, 20, seed=14)
    brighter = planes.copy()
    brighter[:, 0, 0] += 1e3  # the sum over the pixels of each image
    maps = []
    for batch in (planes, brighter):
        projector = BackProjector(12, threads=1)
        projector.insert(batch, ctf, rotations)
        projector.symmetrise(point_group("C3"))
        maps.append(projector.reconstruct())
    np.testing.assert_array_equal(*maps)


def test_a_symmetrised_map_has_the_symmetry():
    planes, ctf, rotations, *_ = random_batch(16, 30, seed=10)
    projector = BackProjector(16)
    projector.insert(planes, ctf, rotations)
    projector.symmetrise(point_group("D2"))
    volume = projector.reconstruct(gridding=False)[1:, 1:, 1:]  # odd: the origin is its middle
    for axes in ((0, 1), (0, 2), (1, 2)):
        turned = np.flip(volume, axes)  # a half turn about the third axis
        np.testing.assert_allclose(turned, volume, atol=1e-4 * np.abs(volume).max())


def test_what_does_not_fit_is_named():
    planes, ctf, rotations, *_ = random_batch(8, 4, seed=11)
    projector = BackProjector(8)
    with pytest.raises(GeometryError, match=r"ctf have shape \(3, 8, 5\); for this batch give"):
        projector.insert(planes, ctf[:3], rotations)
    with pytest.raises(GeometryError, match="half_planes"):
        projector.insert(planes[:, :6], None, rotations)
    with pytest.raises(GeometryError, match="weights"):
        projector.insert(planes, ctf, rotations, weights=[1.0])
    projector.insert(planes, ctf, rotations)
    projector.symmetrise()
    with pytest.raises(OptionError, match="symmetrised already; insert all images before"):
        projector.insert(planes, ctf, rotations)
    with pytest.raises(OptionError, match="once"):
        projector.symmetrise()
    with pytest.raises(OptionError, match="do not add up"):
        projector.merge(BackProjector(8))
    with pytest.raises(OptionError, match="at least"):
        BackProjector(8, padding=0)
