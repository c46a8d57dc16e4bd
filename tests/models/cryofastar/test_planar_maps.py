"""Planar maps: what they mean, and that poses come back from them exactly."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cesped.errors import GeometryError
from cesped.geometry.rotations import random_rotations
from cesped.models.cryofastar.consensus import Ransac
from cesped.models.cryofastar.kabsch import weighted_kabsch
from cesped.models.cryofastar.planar_maps import (
    PlanarMaps,
    maps_of_poses,
    plane_points,
    relative_rotations,
)
from cesped.models.cryofastar.poses import poses_of_maps
from cesped.vocabulary import MapConvention

PAPER, RELEASED = MapConvention.PAPER, MapConvention.RELEASED


def some_poses(batch, views, seed=0, dtype=torch.float64):
    """Return rotations relative to the first view, and shifts x, y up to 10 px."""
    rng = np.random.default_rng(seed)
    rotations = torch.from_numpy(random_rotations(batch * views, rng)).view(batch, views, 3, 3)
    shifts = torch.from_numpy(rng.uniform(-10, 10, (batch, views, 2)))
    return relative_rotations(rotations).to(dtype), shifts.to(dtype)


def exact_maps(rotations, shifts, height, width, convention, seed=0):
    """Return maps of known poses, with confidences that are anything but symmetric."""
    points = maps_of_poses(rotations, shifts, height, width, convention)
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(points.shape[:-1], generator=generator, dtype=points.dtype)
    return PlanarMaps(points, 1 + torch.exp(logits), None)


@pytest.mark.parametrize("convention", list(MapConvention))
@pytest.mark.parametrize("from_reference", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_exact_maps_give_exact_poses(convention, from_reference, weighted):
    rotations, shifts = some_poses(2, 5)
    maps = exact_maps(rotations, shifts, 32, 32, convention)
    found = poses_of_maps(maps, convention, weighted=weighted, from_reference=from_reference)
    torch.testing.assert_close(found.rotations, rotations, atol=1e-12, rtol=0)
    torch.testing.assert_close(found.shifts_px, shifts, atol=1e-10, rtol=0)
    torch.testing.assert_close(found.confidence, maps.confidence.mean(dim=(2, 3)))
    torch.testing.assert_close(
        found.rotations[:, 0], torch.eye(3).double().expand(2, 3, 3), atol=1e-12, rtol=0
    )


@pytest.mark.parametrize("convention", list(MapConvention))
def test_single_precision_and_other_shapes(convention):
    rotations, shifts = some_poses(1, 3, dtype=torch.float32)
    maps = exact_maps(rotations, shifts, 48, 63, convention)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = poses_of_maps(maps, convention, weighted=convention is PAPER)
    torch.testing.assert_close(found.rotations, rotations, atol=2e-6, rtol=0)
    torch.testing.assert_close(found.shifts_px, shifts, atol=2e-4, rtol=0)


def test_a_map_says_where_the_transform_of_an_image_lies_in_that_of_the_volume():
    """Fourier slice theorem: F(image)[pixel] = F(volume)(X N/2), for the transform as it is."""
    box, width_px = 32, 1.6
    rng = np.random.default_rng(3)
    atoms = rng.uniform(-5, 5, (6, 3))  # x, y, z [voxel] from the centre
    (rotation,) = random_rotations(1, rng)
    seen = atoms @ rotation  # x_volume = R x_image
    axis = np.arange(box) - box // 2
    image = sum(
        np.exp(-((axis[:, None] - y) ** 2 + (axis - x) ** 2) / (2 * width_px**2))
        for x, y, _ in seen
    )
    transform = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(image)))
    pose = torch.from_numpy(rotation), torch.zeros(2, dtype=torch.float64)
    frequencies = maps_of_poses(*pose, box, box, PAPER).numpy() / 2  # cycles per voxel
    phases = np.exp(-2j * np.pi * frequencies @ atoms.T).sum(axis=-1)
    fall = np.exp(-2 * (np.pi * width_px * np.linalg.norm(frequencies, axis=-1)) ** 2)
    volume = 2 * np.pi * width_px**2 * fall * phases
    assert np.abs(transform - volume).max() < 1e-2 * np.abs(transform).max()


def test_the_released_convention_by_hand():
    """A shift in x moves component 1, maps lie about 0.5, and both ends are included."""
    plane = plane_points(5, 9, RELEASED)
    assert plane[0, 0].tolist() == [-1, -1, 0]
    assert plane[4, 8].tolist() == [1, 1, 0]
    assert plane[4, 0].tolist() == [-1, 1, 0]
    shift = torch.tensor([9.0, 0.0])
    point = maps_of_poses(torch.eye(3), shift, 5, 9, RELEASED)[0, 0]
    torch.testing.assert_close(point, torch.tensor([0.0, 0.5, 0.5]))
    paper = plane_points(4, 6, PAPER)
    assert paper[2, 3].tolist() == [0, 0, 0]
    torch.testing.assert_close(paper[0, 0], torch.tensor([-1.0, -1.0, 0.0]))


def test_confidence_of_released_maps_belongs_to_transposed_pixels():
    rotations, shifts = some_poses(1, 2)
    maps = exact_maps(rotations, shifts, 16, 16, RELEASED)
    wrong = torch.zeros(16, 16, dtype=torch.bool)
    wrong[2:5, 7:15] = True
    maps.points[:, :, wrong] = 0.3
    confidence = torch.where(wrong.T, 1e-9, 1.0).double().expand_as(maps.confidence)
    found = poses_of_maps(maps._replace(confidence=confidence), RELEASED)
    torch.testing.assert_close(found.rotations, rotations, atol=1e-6, rtol=0)
    other = poses_of_maps(maps._replace(confidence=confidence.transpose(-1, -2)), RELEASED)
    assert (other.rotations - rotations).abs().max() > 1e-3


def test_weights_reduce_what_noise_does():
    rotations, shifts = some_poses(1, 40)
    maps = exact_maps(rotations, shifts, 32, 32, PAPER)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(maps.points.shape, generator=generator, dtype=torch.float64)
    spread = torch.rand(maps.confidence.shape, generator=generator, dtype=torch.float64)
    spread = 0.02 + 2 * (spread > 0.5)
    noisy = PlanarMaps(maps.points + spread[..., None] * noise, spread**-2, None)
    noisy.confidence[:, 0] = 1.0
    errors = [
        (poses_of_maps(noisy, weighted=weighted).rotations - rotations).norm(dim=(2, 3)).mean()
        for weighted in (True, False)
    ]
    assert errors[0] < 0.1 * errors[1]


def test_a_pixel_counts_as_much_as_reference_and_view_trust_it():
    """Eq. 13 with its weights C_1 C_i, put into the least squares by hand."""
    rotations, shifts = some_poses(1, 3)
    maps = exact_maps(rotations, shifts, 8, 10, PAPER)
    noise = torch.randn(maps.points.shape, generator=torch.Generator().manual_seed(2))
    maps = maps._replace(points=maps.points + 0.3 * noise)
    found = poses_of_maps(maps)
    plane = plane_points(8, 10, PAPER, dtype=torch.float64).flatten(0, 1)
    for view in range(3):
        weights = (maps.confidence[0, 0] * maps.confidence[0, view]).flatten()
        wanted = weighted_kabsch(plane, maps.points[0, view].flatten(0, 1), weights)
        torch.testing.assert_close(found.rotations[0, view], wanted[0])
        x, y, _ = wanted[1].tolist()
        torch.testing.assert_close(found.shifts_px[0, view].tolist(), [10 * x, 8 * y])


def test_ransac_bears_pixels_that_contradict_the_others():
    rotations, shifts = some_poses(2, 3)
    maps = exact_maps(rotations, shifts, 32, 32, PAPER)
    maps.points[:, 1:, :12] = torch.tensor([0.5, -0.5, 0.9], dtype=torch.float64)
    plain = poses_of_maps(maps)
    assert (plain.rotations[:, 1:] - rotations[:, 1:]).norm(dim=(2, 3)).min() > 0.05
    for from_reference in (False, True):
        found = poses_of_maps(
            maps,
            from_reference=from_reference,
            ransac=Ransac(torch.Generator().manual_seed(0), tolerance=0.05),
        )
        errors = (found.rotations - rotations).norm(dim=(2, 3))
        assert errors.max() < 0.02
    again, once = (
        poses_of_maps(maps, ransac=Ransac(torch.Generator().manual_seed(5))) for _ in range(2)
    )
    assert torch.equal(again.rotations, once.rotations)


def test_ransac_keeps_all_where_nothing_agrees():
    generator = torch.Generator().manual_seed(0)
    points = 50 * torch.randn(1, 2, 8, 8, 3, generator=generator)
    maps = PlanarMaps(points, torch.full((1, 2, 8, 8), 2.0), None)
    found = poses_of_maps(maps, ransac=Ransac(generator, tolerance=1e-6))
    torch.testing.assert_close(found.rotations, poses_of_maps(maps).rotations)


def test_kabsch_is_scipys():
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(2, 7, 20, 3))
    weights = rng.uniform(0.1, 3, (7, 20))
    rotations, translations = weighted_kabsch(*map(torch.from_numpy, (source, target, weights)))
    for index in range(7):
        w = weights[index] / weights[index].sum()
        means = w @ source[index], w @ target[index]
        wanted, _ = Rotation.align_vectors(
            target[index] - means[1], source[index] - means[0], weights=weights[index]
        )
        np.testing.assert_allclose(rotations[index], wanted.as_matrix(), atol=1e-9)
        np.testing.assert_allclose(
            translations[index], means[1] - wanted.as_matrix() @ means[0], atol=1e-9
        )
    determinants = torch.linalg.det(rotations)
    torch.testing.assert_close(determinants, torch.ones(7).double())


def test_what_cannot_be_solved_is_refused():
    rotations, shifts = some_poses(1, 2)
    maps = exact_maps(rotations, shifts, 8, 8, PAPER)
    broken = maps.points.clone()
    broken[0, 1, 2, 3, 0] = torch.nan
    with pytest.raises(GeometryError, match="not finite"):
        poses_of_maps(maps._replace(points=broken))
    with pytest.raises(GeometryError, match="no weight at all"):
        poses_of_maps(maps._replace(confidence=torch.zeros_like(maps.confidence)))
    with pytest.raises(GeometryError, match=r"points \(1, 2, 8, 8, 3\) and confidence \(1, 2, 8\)"):
        poses_of_maps(maps._replace(confidence=maps.confidence[..., 0]))
    oblong = exact_maps(rotations, shifts, 8, 12, RELEASED)
    with pytest.raises(GeometryError, match=r"8 x 12 px does not have; .* weighted=False"):
        poses_of_maps(oblong, RELEASED)
    with pytest.raises(GeometryError, match="do not belong together"):
        maps_of_poses(rotations, shifts[0], 8, 8)


@pytest.mark.parametrize("third", ["other hand", "anything"])
def test_poses_do_not_depend_on_vectors_of_no_singular_value(monkeypatch, third):
    """Points lie on a plane: what libraries put there differs between devices."""
    decompose = torch.linalg.svd

    def elsewhere(matrices):
        left, values, right = decompose(matrices)
        left, right = left.clone(), right.clone()
        if third == "other hand":
            left[..., 2] *= -1
        else:
            left[..., 2], right[..., 2, :] = 7.0, torch.nan
        return left, values, right

    rotations, shifts = some_poses(2, 5)
    maps = exact_maps(rotations, shifts, 8, 8, PAPER)
    expected = poses_of_maps(maps)
    monkeypatch.setattr(torch.linalg, "svd", elsewhere)
    found = poses_of_maps(maps)
    torch.testing.assert_close(found.rotations, expected.rotations, atol=1e-12, rtol=0)
    torch.testing.assert_close(found.rotations, rotations, atol=1e-10, rtol=0)


@pytest.mark.gpu
def test_poses_on_a_gpu():
    rotations, shifts = some_poses(4, 16, dtype=torch.float32)
    maps = exact_maps(rotations, shifts, 32, 32, PAPER)
    on_gpu = PlanarMaps(maps.points.cuda(), maps.confidence.cuda(), None)
    found = poses_of_maps(on_gpu, ransac=Ransac(torch.Generator("cuda").manual_seed(0)))
    torch.testing.assert_close(found.rotations.cpu(), rotations, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.shifts_px.cpu(), shifts, atol=1e-3, rtol=0)
