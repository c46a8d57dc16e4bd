"""Maps of odd boxes, which RELION 3.1 gets wrong: held to exact densities and to even boxes."""

import numpy as np
import pytest
import torch
from gaussian_particles import project_balls, random_poses, shown_positions_px
from test_reconstruction_twin import compare_shells

from cesped.physics.backprojection import BackProjector
from cesped.physics.fourier import images_to_half_plane
from cesped.physics.projection import Projector
from cesped.reconstruction.native import NativeReconstructor
from cesped.reconstruction.protocol import PoseSet, ReconstructionOptions

SIGMA_PX = 1.3


def balls(box, positions_px):
    """The density whose projections are those of `project_balls`, in closed form."""
    axis = np.arange(box) - box // 2
    density = np.zeros((box,) * 3)
    for position in positions_px:
        x, y, z = (np.exp(-0.5 * ((axis - at) / SIGMA_PX) ** 2) for at in position)
        density += z[:, None, None] * y[:, None] * x
    return density / (SIGMA_PX * np.sqrt(2 * np.pi))


@pytest.mark.parametrize(("box", "symmetry"), [(32, "C1"), (33, "C1"), (33, "D3"), (45, "O")])
def test_noise_free_particles_give_the_density_back(make_particles, tmp_path, box, symmetry):
    """With contrast transfer, phase plate and shifts; the even box is there to compare with."""
    table = make_particles(tmp_path, box, 700, symmetry, noise_over_signal=0)
    options = ReconstructionOptions(symmetry, threads=1)
    (volume,) = NativeReconstructor().reconstruct(table, [PoseSet(table.poses)], options)
    density = balls(box, shown_positions_px(box, symmetry))
    fsc, amplitudes = compare_shells(volume, density)
    half_nyquist = slice(1, box // 4 + 1)
    assert fsc[half_nyquist].min() > 0.995
    assert fsc.min() > 0.95
    assert np.abs(amplitudes[half_nyquist][1:] - 1).max() < 0.06


@pytest.mark.parametrize("box", [32, 33, 41])
def test_slices_of_the_map_are_the_images_it_was_made_of(box):
    rng = np.random.default_rng(box)
    poses = random_poses(500, rng, shift_px=0)
    images = torch.from_numpy(project_balls(shown_positions_px(box), poses, box))
    projector = BackProjector(box, threads=1)
    projector.insert(images_to_half_plane(images), None, poses.rotations)
    others = random_poses(20, rng, shift_px=0)
    found = Projector(projector.reconstruct(gridding=False)).slices(others.rotations).numpy()
    exact = torch.from_numpy(project_balls(shown_positions_px(box), others, box))
    expected = images_to_half_plane(exact).numpy()
    rows = np.fft.fftfreq(box, 1 / box)
    radius = np.hypot(rows[:, None], np.arange(box // 2 + 1))
    seen = (radius > 2) & (radius < 0.4 * box)  # maps have no mean of their own
    for one, other in zip(found[:, seen], expected[:, seen], strict=True):
        correlation = (one * other.conj()).real.sum()
        assert correlation / np.linalg.norm(one) / np.linalg.norm(other) > 0.994


@pytest.mark.parametrize("box", [33, 41])
def test_an_odd_map_is_the_middle_of_the_even_one_next_to_it(box):
    """Images that show the same, one pixel larger: the even map is held to RELION's."""
    positions = shown_positions_px(box)
    rng = np.random.default_rng(box)
    poses = random_poses(500, rng, shift_px=0)
    noise = rng.normal(size=(500, box + 1, box + 1))
    maps = []
    for size in (box, box + 1):
        images = project_balls(positions, poses, size)
        skipped = (box + 1) // 2 - size // 2  # the origin is pixel n // 2 of both
        images += 0.5 * images.std() * noise[:, skipped:, skipped:][:, :size, :size]
        projector = BackProjector(size, threads=1)
        planes = images_to_half_plane(torch.from_numpy(images.astype(np.float32)))
        projector.insert(planes, None, poses.rotations)
        maps.append(projector.reconstruct())
    odd, even = maps[0], maps[1][1:, 1:, 1:]
    axis = np.arange(box) - box // 2
    inside = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2 < (box // 2 - 2) ** 2
    assert np.corrcoef(odd[inside], even[inside])[0, 1] > 0.99
    assert np.polyfit(even[inside], odd[inside], 1)[0] == pytest.approx(1, abs=0.02)
