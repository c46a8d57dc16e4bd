"""A phantom that was turned, moved and mirrored by known amounts is brought back."""

import numpy as np
import pytest

from cesped.errors import GeometryError, ImageValueError, OptionError
from cesped.evaluation.abinitio.volume_alignment import align_volumes
from cesped.geometry.rotations import (
    axis_angle_rotations,
    geodesic_distance_deg,
    random_rotations,
)
from cesped.geometry.symmetry import point_group
from cesped.physics.fsc import pearson
from cesped.physics.phantom import chain_phantom


def density(positions, weights, n, sigma_px=1.1):
    axis = np.arange(n) - n // 2
    x, y, z = (np.exp(-0.5 * ((axis - p[:, None]) / sigma_px) ** 2) for p in positions.T)
    volume = np.einsum("az,ay,ax->zyx", z * weights[:, None], y, x, optimize=True)
    return volume.astype(np.float32)


class Moved:
    """A phantom, and the same turned by R and moved by t, its mirror image where asked for."""

    def __init__(self, n, symmetry="C1", seed=0, is_mirrored=False, shift=(1.5, -2.5, 0.3)):
        generator = np.random.default_rng(seed)
        self.group = point_group(symmetry)
        phantom = chain_phantom(max(300, 60 * self.group.order), 0.32 * n, generator, symmetry)
        self.rotation, self.shift = random_rotations(1, generator)[0], np.array(shift)
        self.hand = -1.0 if is_mirrored else 1.0
        at = self.hand * phantom.positions_angst @ self.rotation.T + self.shift
        self.fixed = density(phantom.positions_angst, phantom.weights, n)
        self.moving = density(at, phantom.weights, n)
        self.generator = generator

    def noisy(self, level):
        """Return both maps with independent noise, in units of the density's own deviation."""
        scale = level * self.fixed[self.fixed > 0.1 * self.fixed.max()].std()
        return tuple(
            (volume + scale * self.generator.normal(size=volume.shape)).astype(np.float32)
            for volume in (self.fixed, self.moving)
        )

    def errors(self, found):
        """Return by how many degrees and voxels an alignment misses, up to the symmetry."""
        # the inverse: x = R^T (y - t), and the mirror image of that
        angles = geodesic_distance_deg(self.group.operators @ found.rotation, self.rotation.T)
        mate = self.group.operators[int(np.argmin(angles))]
        wanted = -self.hand * mate.T @ self.rotation.T @ self.shift
        return angles.min(), np.linalg.norm(found.shift_px - wanted)


@pytest.mark.parametrize(
    ("n", "symmetry", "is_mirrored"),
    [
        (40, "C1", False),
        (41, "D2", True),
        pytest.param(41, "C1", True, marks=pytest.mark.slow),
        pytest.param(40, "C4", True, marks=pytest.mark.slow),
        pytest.param(40, "T", True, marks=pytest.mark.slow),
    ],
)
def test_a_known_transform_is_found(n, symmetry, is_mirrored):
    moved = Moved(n, symmetry, seed=n, is_mirrored=is_mirrored)
    found = align_volumes(moved.fixed, moved.moving)
    assert found.is_mirrored == is_mirrored
    assert found.evidence > 1.5 * found.other_evidence
    angle_deg, distance_px = moved.errors(found)
    assert angle_deg < 0.1
    assert distance_px < 0.1
    assert pearson(found.apply(moved.moving), moved.fixed) > 0.999
    assert pearson(moved.moving, moved.fixed) < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("symmetry", ["C1", "D2", "O", "I"])
def test_noise_is_borne(symmetry):
    moved = Moved(64, symmetry, seed=1, is_mirrored=symmetry == "D2")
    found = align_volumes(*moved.noisy(0.1))
    assert found.is_mirrored == (symmetry == "D2")
    angle_deg, distance_px = moved.errors(found)
    assert angle_deg < 0.1
    assert distance_px < 0.1


@pytest.mark.slow
def test_heavy_noise_costs_what_the_stated_errors_say():
    moved = Moved(40, seed=2)
    found = align_volumes(*moved.noisy(0.5))
    assert not found.is_mirrored
    angle_deg, distance_px = moved.errors(found)
    assert angle_deg < 4 * found.rotation_error_deg < 4.0
    assert distance_px < 4 * found.shift_error_px < 0.4


def test_a_start_nearby_is_refined_without_a_search():
    moved = Moved(40, seed=3)
    nearby = axis_angle_rotations([0.6, 0.0, 0.8], 6.0) @ moved.rotation.T
    found = align_volumes(moved.fixed, moved.moving, start=nearby)
    assert max(moved.errors(found)) < 0.1
    assert found.other_evidence is None


def test_a_mask_keeps_what_lies_beside_the_particle_out():
    moved = Moved(40, seed=4)
    axis = np.arange(40) - 20
    square = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    mask = (square < 15**2).astype(np.float32)
    # something heavy in the fixed map alone
    beside = density(np.array([[0.0, 12.0, 12.0]]), np.full(1, 30.0), 40, sigma_px=2.0)
    found = align_volumes(moved.fixed + beside, moved.moving, mask=mask, both_hands=False)
    assert max(moved.errors(found)) < 0.1


def test_maps_that_cannot_be_aligned_are_refused():
    cube = np.random.default_rng(0).normal(size=(20, 20, 20))
    with pytest.raises(GeometryError, match="fixed map has 20 voxels a side and the moving one 19"):
        align_volumes(cube, cube[1:, 1:, 1:])
    with pytest.raises(GeometryError, match=r"moving map has shape \(20, 20, 19\)"):
        align_volumes(cube, cube[:, :, 1:])
    with pytest.raises(ImageValueError, match="the moving map is constant"):
        align_volumes(cube, np.ones_like(cube))
    with pytest.raises(ImageValueError, match="the fixed map holds values that are not finite"):
        align_volumes(np.where(cube > 2, np.nan, cube), cube)
    with pytest.raises(GeometryError, match="a mask of"):
        align_volumes(cube, cube, mask=np.ones((19, 19, 19)))
    with pytest.raises(ImageValueError, match="the mask is 0 everywhere"):
        align_volumes(cube, cube, mask=np.zeros((20, 20, 20)))
    with pytest.raises(OptionError, match="maps of 12 voxels a side; 16 is the least"):
        align_volumes(cube[:12, :12, :12], cube[:12, :12, :12])
