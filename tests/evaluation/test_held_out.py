"""Agreement with a map of the others: what it must not see, what it must, and how it scatters."""

import numpy as np
import pytest
from faulty_particles import write_particles
from scipy.spatial.transform import Rotation

from cesped.errors import MetadataError
from cesped.evaluation.diagnosis.findings import paired_z
from cesped.evaluation.diagnosis.held_out import HeldOutTest, PoseInputs, grid_to_volume
from cesped.evaluation.diagnosis.realignment import half_of_samples, realign
from cesped.evaluation.diagnosis.signal import (
    agreement_with_square,
    expected_agreement,
    noise_power_at_zeros,
    sign_z,
)
from cesped.evaluation.diagnosis.small_images import load_small, shell_numbers
from cesped.geometry.symmetry import point_group
from cesped.physics.ctf import ctf_half_plane

HALF_TURN = np.diag([-1.0, -1.0, 1.0])


def inputs_of(particles, rotations=None, origins_px=None):
    table = particles.table
    poses = table.poses
    sizes = particles.pixel_size_angst
    given = poses.origins_angst / sizes[:, None]
    return PoseInputs(
        poses.rotations if rotations is None else rotations,
        given if origins_px is None else origins_px,
        ctf_half_plane(table.ctf, particles.box, sizes).numpy(),
        point_group("C1"),
    )


def held_out(particles, threads=1):
    return HeldOutTest(particles, np.random.default_rng(0), threads)


@pytest.fixture(scope="module")
def particles(tmp_path_factory):
    return load_small(write_particles(tmp_path_factory.mktemp("held-out")), 32)


@pytest.fixture(scope="module")
def agreement(particles):
    return held_out(particles).agreement(inputs_of(particles))


def test_right_poses_agree_about_as_expected(particles, agreement):
    expected = expected_agreement(held_out(particles), 1)
    assert 0.7 * agreement.mean() < expected < 1.1 * agreement.mean()


def test_frame_and_hand_of_the_map_are_not_seen(particles, agreement):
    """No projection knows them; turning the grid costs a little by interpolation."""
    test, rotations = held_out(particles), particles.table.poses.rotations
    other_hand = test.agreement(inputs_of(particles, rotations @ HALF_TURN))
    assert np.allclose(other_hand, agreement, atol=1e-4)
    frame = Rotation.from_euler("XYZ", [40, 50, 60], degrees=True).as_matrix()
    assert test.agreement(inputs_of(particles, frame @ rotations)).mean() == pytest.approx(
        agreement.mean(), abs=0.01
    )


@pytest.mark.parametrize("misread", ["transposed", "mirrored", "shifts"])
def test_misread_poses_agree_less(particles, agreement, misread):
    poses = particles.table.poses
    inputs = {
        "transposed": lambda: inputs_of(particles, poses.rotations.transpose(0, 2, 1)),
        "mirrored": lambda: inputs_of(particles, poses.rotations @ np.diag([-1.0, 1.0, -1.0])),
        "shifts": lambda: inputs_of(particles, origins_px=-inputs_of(particles).origins_px),
    }[misread]()
    assert paired_z(agreement, held_out(particles).agreement(inputs)) > 10


def test_an_image_has_no_part_in_the_map_it_is_held_against(particles):
    """Noise alone agrees with nothing; in the map of its own it would."""
    rng = np.random.default_rng(5)
    noise = rng.normal(size=particles.half_planes.shape) + 1j * rng.normal(
        size=particles.half_planes.shape
    )
    noise = type(particles)(
        particles.table,
        noise.astype(np.complex64),
        particles.pixel_size_angst,
        particles.signal_to_noise,
    )
    found = held_out(noise).agreement(inputs_of(particles))
    assert abs(sign_z(found)) < 3
    assert abs(found.mean()) < 0.02


def test_threads_do_not_change_the_figures(particles, agreement):
    again = held_out(particles, threads=2).agreement(inputs_of(particles))
    assert np.allclose(again, agreement, atol=1e-6)


def test_misreadings_of_random_poses_differ_by_chance_alone(tmp_path):
    """The z of pairs of wrong readings scatters by 1 or less: 0.64 in 160 pairs."""
    found = []
    for seed in range(6):
        table = write_particles(tmp_path / str(seed), "random", n_particles=100, seed=seed)
        small = load_small(table, 32)
        test, rotations = held_out(small), table.poses.rotations
        given = test.agreement(inputs_of(small))
        for other in (rotations.transpose(0, 2, 1), rotations @ np.diag([-1.0, 1.0, -1.0])):
            found.append(paired_z(test.agreement(inputs_of(small, other)), given))
    assert np.std(found) < 1.3
    assert np.abs(found).max() < 4


def test_contrast_is_seen_by_its_sign_only(particles, agreement):
    inverted = type(particles)(
        particles.table,
        -particles.half_planes,
        particles.pixel_size_angst,
        particles.signal_to_noise,
    )
    test, inputs = held_out(inverted), inputs_of(particles)
    assert np.allclose(test.agreement(inputs), agreement, atol=1e-6)
    bright = sign_z(agreement_with_square(held_out(particles), inputs))
    dark = sign_z(agreement_with_square(test, inputs))
    assert bright > 8
    assert dark == pytest.approx(-bright, rel=1e-3)


def test_noise_tells_images_that_were_multiplied(particles):
    ctf = inputs_of(particles).ctf
    multiplied = type(particles)(
        particles.table,
        (particles.half_planes * ctf).astype(np.complex64),
        particles.pixel_size_angst,
        particles.signal_to_noise,
    )
    assert noise_power_at_zeros(held_out(particles), ctf) == pytest.approx(1, abs=0.2)
    assert noise_power_at_zeros(held_out(multiplied), ctf) < 0.3


def test_moving_helps_images_whose_shifts_were_lost_and_no_others(particles):
    test, rng = held_out(particles), np.random.default_rng(0)
    chooses = half_of_samples(test, rng)
    inputs = inputs_of(particles)
    assert realign(test, inputs, chooses).z < 3
    wrong = inputs.origins_px + rng.normal(0, 2.0, inputs.origins_px.shape)
    lost = realign(test, inputs._replace(origins_px=wrong), chooses)
    assert lost.z > 5
    true_moves = np.linalg.norm(wrong - inputs.origins_px, axis=1)
    assert np.median(np.abs(lost.moved_px - true_moves)) < 1.5


def test_a_grid_becomes_the_map_of_its_transform():
    for box in (12, 13):
        reach = box // 2 + 1
        grid = np.zeros((2 * reach + 1, 2 * reach + 1, reach + 1, 2), np.float32)
        grid[reach + 2, reach - 1, 3, 0] = 1.0
        volume = grid_to_volume(grid, box)
        z, y, x = np.mgrid[:box, :box, :box] - box // 2
        wave = 2 * np.cos(2 * np.pi * (2 * z - y + 3 * x) / box) / box**3
        assert np.allclose(volume, wave, atol=1e-8)


def test_shrinking_keeps_frequencies_and_field_of_view(particles):
    small = particles.shrunk(20)
    assert small.box == 20
    assert small.pixel_size_angst[0] == pytest.approx(particles.pixel_size_angst[0] * 1.6)
    inside = shell_numbers(20) < 10
    rows = np.fft.fftfreq(20, 1 / 20).astype(int)
    assert np.array_equal(
        small.half_planes[:, inside], particles.half_planes[:, rows, :11][:, inside]
    )
    assert particles.shrunk(64) is particles


def test_too_few_particles_are_refused(tmp_path):
    with pytest.raises(MetadataError, match="at least 8"):
        load_small(write_particles(tmp_path, n_particles=7), 32)
