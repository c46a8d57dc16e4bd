"""Each misreading is undone exactly: what comes out makes the images that went in, or its mirror.

Two orientations make the same images if they differ by one rotation of the map (on the left), or by
that and a half turn in the plane of all images, which is the other hand.
"""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cesped.evaluation.diagnosis.suspects import (
    ORIENTATIONS,
    RADIANS,
    SHIFT_AXES,
    SHIFTS,
    WHOLE_IMAGES,
)
from cesped.evaluation.diagnosis.undoing import (
    may_be_radians,
    other_hand,
    reoriented,
    reshifted,
    symmetries,
    transfer,
)
from cesped.geometry.symmetry import point_group
from cesped.physics.ctf import CtfParameters, ctf_half_plane

ROTATIONS = Rotation.random(30, random_state=4).as_matrix()
HALF_TURN = np.diag([-1.0, -1.0, 1.0])


def zyz(rotations):
    return Rotation.from_matrix(rotations).as_euler("ZYZ", degrees=True)


def from_zyz(angles_deg):
    return Rotation.from_euler("ZYZ", angles_deg, degrees=True).as_matrix()


def make_the_same_images(first, second):
    """Whether relative rotations are one and the same for all, in either hand."""
    for hand in (np.eye(3), HALF_TURN):
        relative = first @ (second @ hand).transpose(0, 2, 1)
        if np.allclose(relative, relative[0], atol=1e-6):
            return True
    return False


def test_poses_of_the_other_hand_see_the_inverted_map_as_the_same_image():
    points = np.random.default_rng(0).normal(size=(5, 3))
    for rotation, other in zip(ROTATIONS, other_hand(ROTATIONS), strict=True):
        assert np.allclose((points @ rotation)[:, :2], (-points @ other)[:, :2])


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda a: np.stack([-a[:, 2], -a[:, 1], -a[:, 0]], axis=1), "transposed"),
        (lambda a: a * [1, 1, -1], "psi negated"),
        (lambda a: a + np.array([0, 0, 90]), "quarter turn"),
        (lambda a: a + np.array([0, 0, -90]), "quarter turn"),
        (lambda a: a + np.array([17, 0, 0]), "as given"),  # a frame, not a fault
        (lambda a: a + np.array([0, 0, 180]), "as given"),  # the hand, not a fault
        (lambda a: np.radians(a), RADIANS),
    ],
)
def test_misread_angles_are_read_right(spoil, name):
    angles = zyz(ROTATIONS)
    assert make_the_same_images(reoriented(name, from_zyz(spoil(angles))), ROTATIONS)


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda a: a * [1, -1, 1], "as given"),
        (lambda a: a * [-1, 1, -1], "mirrored"),
        (lambda a: a * [-1, 1, 1], "psi negated and mirrored"),
        (lambda a: a[:, ::-1], "transposed and mirrored"),
    ],
)
def test_signs_and_order_of_angles_are_among_the_readings(spoil, name):
    assert make_the_same_images(reoriented(name, from_zyz(spoil(zyz(ROTATIONS)))), ROTATIONS)


def test_no_two_readings_of_orientations_make_the_same_images():
    readings = [reoriented(name, ROTATIONS) for name in ORIENTATIONS if name != RADIANS]
    for number, first in enumerate(readings):
        for second in readings[number + 1 :]:
            assert not make_the_same_images(first, second)


def test_a_particle_seen_from_behind_is_mirrored():
    points = np.random.default_rng(0).normal(size=(5, 3))
    seen = points @ ROTATIONS[0]  # rows: R^T x
    behind = points @ reoriented("mirrored", ROTATIONS)[0]
    assert np.allclose(behind[:, :2], seen[:, :2] * [-1, 1])


@pytest.mark.parametrize("name", SHIFT_AXES)
def test_shift_axes_are_undone_by_some_reading(name):
    origins = np.random.default_rng(1).normal(size=(6, 2))
    sizes = np.full(6, 1.5)
    spoilt = reshifted(name, origins, sizes)
    assert any(np.allclose(reshifted(back, spoilt, sizes), origins) for back in SHIFT_AXES)


def test_units_of_shifts():
    origins, sizes = np.array([[3.0, -1.0]]), np.array([1.5])
    found = {name: reshifted(name, origins, sizes)[0].tolist() for name in SHIFTS}
    assert found["in pixels"] == [4.5, -1.5]
    assert found["in angstrom"] == [2.0, pytest.approx(-2 / 3)]
    assert found["twice too small"] == [6, -2]
    assert found["ignored"] == [0, 0]


def test_radians_are_only_suspected_of_small_angles():
    assert not may_be_radians(ROTATIONS)
    assert may_be_radians(from_zyz(np.radians(zyz(ROTATIONS))))


@pytest.fixture
def ctf():
    rng = np.random.default_rng(3)
    mean = rng.uniform(8000, 16000, 5)
    return CtfParameters(mean + 900, mean - 900, rng.uniform(0, 180, 5), 300.0, 2.7, 0.1)


@pytest.mark.parametrize(("key", "change"), list(WHOLE_IMAGES.items()))
def test_a_changed_image_has_the_ctf_that_goes_with_it(ctf, key, change):
    """Full transforms are turned and mirrored as arrays, about the origin."""
    box, sizes = 24, np.full(5, 3.0)
    wanted = transfer(change[2], ctf, box, sizes, np.arange(5))
    ky, kx = np.meshgrid(np.fft.fftfreq(box), np.fft.rfftfreq(box), indexing="ij")
    u, v = ctf.defocus_u_angst, ctf.defocus_v_angst
    to_given = {
        "mirrored": (-kx, ky),
        "axes exchanged": (ky, kx),
        "quarter turn": (-ky, kx),
    }[key[0]]
    x, y = (k / 3.0 for k in to_given)
    squared, angle = x**2 + y**2, np.arctan2(y, x)
    wavelength_angst = 12.2643247 / np.sqrt(3e5 * (1 + 3e5 * 0.978466e-6))  # as RELION has it
    for row in range(5):
        turned = 2 * (angle - np.radians(ctf.defocus_angle_deg[row]))
        defocus = (u[row] + v[row]) / 2 + (u[row] - v[row]) / 2 * np.cos(turned)
        phase = np.pi * wavelength_angst * defocus * squared + np.arcsin(0.1)
        phase -= np.pi / 2 * 2.7e7 * wavelength_angst**3 * squared**2
        assert np.abs(np.sin(phase) - wanted[row]).max() < 1e-4


def test_ctfs_of_processed_images(ctf):
    sizes, rows = np.full(5, 3.0), np.roll(np.arange(5), 1)
    plain = ctf_half_plane(ctf, 16, 3.0).numpy()
    assert (transfer("already corrected", ctf, 16, sizes, rows) == 1).all()
    assert np.allclose(transfer("phase flipped", ctf, 16, sizes, rows), np.abs(plain))
    assert np.allclose(transfer("multiplied by the CTF", ctf, 16, sizes, rows), plain**2)
    assert np.allclose(transfer("CTF of other particles", ctf, 16, sizes, rows), plain[rows])
    exchanged = replace(
        ctf, defocus_u_angst=ctf.defocus_v_angst, defocus_v_angst=ctf.defocus_u_angst
    )
    turned = transfer("astigmatism turned", ctf, 16, sizes, rows)
    assert np.allclose(turned, ctf_half_plane(exchanged, 16, 3.0).numpy(), atol=1e-5)


def test_other_settings_of_a_group_are_groups_and_none_is_the_stated_one():
    assert list(symmetries("C1")) == ["as given"]
    assert list(symmetries("D2")) == ["as given", "C1", "D2, two-folds turned"]
    cube = symmetries("T")["T, two-folds on x, y, z"].operators
    assert np.allclose(np.sort(np.abs(cube).reshape(12, 9), axis=1)[:, -3:], 1)
    for name in ("C4", "D7", "T", "I1", "I3"):
        stated = point_group(name).operators
        for label, group in list(symmetries(name).items())[2:]:
            products = np.einsum("aij,bjk->abik", group.operators, group.operators)
            gaps = np.abs(products.reshape(-1, 1, 9) - group.operators.reshape(1, -1, 9)).max(2)
            assert gaps.min(axis=1).max() < 1e-6, label
            assert np.abs(stated[:, None] - group.operators[None]).max((2, 3)).min(1).max() > 1e-3
