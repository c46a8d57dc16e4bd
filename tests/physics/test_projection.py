"""Projections against projected Gaussians in closed form, the laws of poses, and RELION."""

import subprocess
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cesped.errors import GeometryError, OptionError
from cesped.geometry.euler import euler_to_rotation
from cesped.geometry.rotations import random_rotations
from cesped.io.mrc import write_volume
from cesped.io.stack import StackReader
from cesped.physics.ctf import CtfParameters, ctf_half_plane
from cesped.physics.density import density_from_atoms, gaussian_sigma_angst
from cesped.physics.fourier import half_plane_to_images, images_to_half_plane
from cesped.physics.phantom import chain_phantom
from cesped.physics.projection import Projector

PIXEL_SIZE_ANGST = 2.0


@cache
def phantom(box):
    return chain_phantom(1500, 0.36 * box * PIXEL_SIZE_ANGST, np.random.default_rng(11))


@cache
def projector(box, resolution_px=4.0):
    return Projector(density(phantom(box).positions_angst, box, resolution_px))


def density(positions, box, resolution_px=4.0):
    weights = phantom(box).weights
    resolution = resolution_px * PIXEL_SIZE_ANGST
    return density_from_atoms(positions, weights, box, PIXEL_SIZE_ANGST, resolution)


def projected_atoms(rotations, origins_px, box, resolution_px=4.0):
    """Sums of 2-D Gaussians at the atoms seen along the view, float64: no grid is rotated."""
    positions, weights = phantom(box)
    sigma = gaussian_sigma_angst(resolution_px * PIXEL_SIZE_ANGST)
    axis = (np.arange(box) - box // 2) * PIXEL_SIZE_ANGST
    images = []
    for rotation, origin in zip(rotations, origins_px, strict=True):
        seen = np.array([rotation.T @ position for position in positions])[:, :2]
        seen -= origin * PIXEL_SIZE_ANGST
        across = np.exp(-((axis[None] - seen[:, :1]) ** 2) / (2 * sigma**2))
        down = np.exp(-((axis[None] - seen[:, 1:]) ** 2) / (2 * sigma**2))
        area = 2 * np.pi * sigma**2 * PIXEL_SIZE_ANGST  # a sum of voxels is an integral over one
        images.append((weights[:, None] * down).T @ across / area)
    return np.array(images)


def band_limited(images):
    half_planes = images_to_half_plane(torch.as_tensor(images, dtype=torch.float64))
    n = half_planes.shape[-2]
    ky, kx = np.fft.fftfreq(n, 1 / n)[:, None], np.arange(n // 2 + 1)
    inside = torch.from_numpy(ky**2 + kx**2 <= (n // 2) ** 2)
    return half_plane_to_images(half_planes * inside).numpy()


def correlations(first, second):
    pairs = zip(np.asarray(first), np.asarray(second), strict=True)
    return np.array([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs])


def poses(count, seed=0, reach_px=5.0):
    generator = np.random.default_rng(seed)
    return random_rotations(count, generator), generator.uniform(-reach_px, reach_px, (count, 2))


@pytest.mark.parametrize("box", [48, 63, 64])
def test_projection_is_the_sum_of_projected_gaussians(box):
    rotations, origins = poses(8)
    made = projector(box).project(rotations, origins).numpy()
    expected = band_limited(projected_atoms(rotations, origins, box))
    assert made.dtype == np.float32
    assert correlations(made, expected).min() > 0.9999
    assert np.abs(made - expected).max() < 0.02 * expected.max()
    np.testing.assert_allclose(made.sum((1, 2)), expected.sum((1, 2)), rtol=0.04)


def test_more_padding_comes_closer_to_the_projected_gaussians():
    rotations, origins = poses(4)
    expected = band_limited(projected_atoms(rotations, origins, 48))
    volume = density(phantom(48).positions_angst, 48)
    errors = [
        np.abs(Projector(volume, padding).project(rotations, origins).numpy() - expected).max()
        for padding in (1, 2, 3)
    ]
    assert errors[0] > 3 * errors[1] > 6 * errors[2]


@pytest.mark.parametrize("box", [32, 33])
def test_quarter_turns_are_exact_whatever_the_map(box):
    odd = 1 - box % 2  # the first row of an even box has no opposite
    volume = np.random.default_rng(0).normal(size=(box,) * 3).astype(np.float32)
    volume[:odd], volume[:, :odd], volume[:, :, :odd] = 0, 0, 0
    upright = Projector(volume).project(np.eye(3)[None])[0, odd:, odd:]
    turned = Projector(volume).project(euler_to_rotation([0.0, 0.0, 90.0])[None])[0, odd:, odd:]
    # x_volume = R x_image: the content turns by -90 degrees, from +y to +x.
    np.testing.assert_allclose(turned, torch.rot90(upright, 1, (0, 1)), atol=1e-3)


rotation_seeds = st.integers(0, 10_000)


@given(box=st.sampled_from([32, 33]), seed=rotation_seeds)
@settings(max_examples=12, deadline=None)
def test_turning_the_atoms_is_composing_the_pose(box, seed):
    turn, view = random_rotations(2, np.random.default_rng(seed))
    turned = Projector(density(phantom(box).positions_angst @ turn.T, box))
    one_way = turned.project(view[None]).numpy()
    other_way = projector(box).project((turn.T @ view)[None]).numpy()
    assert correlations(one_way, other_way)[0] > 0.9995


@given(
    box=st.sampled_from([32, 33]),
    seed=rotation_seeds,
    x=st.floats(-3, 3),
    y=st.floats(-3, 3),
)
@settings(max_examples=12, deadline=None)
def test_an_origin_is_minus_a_move_of_the_atoms_in_the_view(box, seed, x, y):
    view = random_rotations(1, np.random.default_rng(seed))[0]
    move = view @ np.array([-x, -y, 0.0]) * PIXEL_SIZE_ANGST
    moved = Projector(density(phantom(box).positions_angst + move, box)).project(view[None])
    origin = projector(box).project(view[None], [[x, y]])
    assert correlations(moved, origin)[0] > 0.999


@given(seed=rotation_seeds, x=st.integers(-9, 9), y=st.integers(-9, 9))
@settings(max_examples=12, deadline=None)
def test_a_whole_pixel_origin_is_a_roll(seed, x, y):
    view = random_rotations(1, np.random.default_rng(seed))
    centred = projector(32).project(view)
    torch.testing.assert_close(
        projector(32).project(view, [[x, y]]),
        torch.roll(centred, (-y, -x), dims=(1, 2)),
        atol=1e-5 * float(centred.max()),
        rtol=0,
    )


def test_ctf_multiplies_the_half_plane():
    rotations, origins = poses(3)
    ctf = ctf_half_plane(ctf_parameters(3), 48, PIXEL_SIZE_ANGST)
    plain = projector(48).project(rotations, origins)
    expected = half_plane_to_images(images_to_half_plane(plain) * ctf)
    torch.testing.assert_close(
        projector(48).project(rotations, origins, ctf),
        expected,
        atol=1e-5 * float(expected.max()),
        rtol=0,
    )


def test_threads_and_batches_change_nothing():
    rotations, _ = poses(7)
    alone = Projector(density(phantom(32).positions_angst, 32), threads=1)
    several = Projector(density(phantom(32).positions_angst, 32), threads=3)
    together = several.slices(torch.from_numpy(rotations))
    assert torch.equal(together, torch.cat([alone.slices(r[None]) for r in rotations]))
    assert alone.slices(np.zeros((0, 3, 3))).shape == (0, 32, 17)


def test_inputs_that_do_not_fit_are_refused():
    ready = projector(32)
    with pytest.raises(GeometryError, match="cube"):
        Projector(np.zeros((4, 4, 5)))
    with pytest.raises(OptionError, match="padding"):
        Projector(np.zeros((4, 4, 4)), padding=0)
    with pytest.raises(GeometryError, match="rotations have shape"):
        ready.slices(np.eye(3))
    with pytest.raises(GeometryError, match="matrix 2 of 2 is not a rotation"):
        ready.slices(np.stack([np.eye(3), 2 * np.eye(3)]))
    with pytest.raises(GeometryError, match="matrix 1 of 1"):
        ready.slices(np.full((1, 3, 3), np.nan))
    with pytest.raises(GeometryError, match="origins"):
        ready.project(np.eye(3)[None], np.zeros((2, 2)))
    with pytest.raises(GeometryError, match="CTF"):
        ready.project(np.eye(3)[None], ctf=torch.ones(1, 32, 32))


def ctf_parameters(count, phase_shift_deg=0.0, b_factor_angst2=0.0, scale=1.0):
    generator = np.random.default_rng(5)
    defocus = generator.uniform(8000, 25000, count)
    return CtfParameters(
        defocus_u_angst=defocus + 1500,
        defocus_v_angst=defocus,
        defocus_angle_deg=generator.uniform(0, 180, count),
        voltage_kv=300.0,
        spherical_aberration_mm=2.7,
        amplitude_contrast=0.1,
        phase_shift_deg=phase_shift_deg,
        b_factor_angst2=b_factor_angst2,
        scale=scale,
    )


def write_relion_star(path, angles_deg, origins_angst, ctf, box):
    """RELION 3.1: an optics table and a particle table."""
    columns = {
        "rlnAngleRot": angles_deg[:, 0],
        "rlnAngleTilt": angles_deg[:, 1],
        "rlnAnglePsi": angles_deg[:, 2],
        "rlnOriginXAngst": origins_angst[:, 0],
        "rlnOriginYAngst": origins_angst[:, 1],
        "rlnDefocusU": ctf.defocus_u_angst,
        "rlnDefocusV": ctf.defocus_v_angst,
        "rlnDefocusAngle": ctf.defocus_angle_deg,
        "rlnPhaseShift": ctf.phase_shift_deg,
        "rlnCtfBfactor": ctf.b_factor_angst2,
        "rlnCtfScalefactor": ctf.scale,
    }
    optics = {
        "rlnOpticsGroup": 1,
        "rlnOpticsGroupName": "all",
        "rlnVoltage": 300.0,
        "rlnSphericalAberration": 2.7,
        "rlnAmplitudeContrast": 0.1,
        "rlnImagePixelSize": PIXEL_SIZE_ANGST,
        "rlnImageSize": box,
        "rlnImageDimensionality": 2,
    }
    lines = ["", "data_optics", "", "loop_", *(f"_{name}" for name in optics)]
    lines += [" ".join(str(value) for value in optics.values()), "", "", "data_particles", ""]
    lines += ["loop_", *(f"_{name}" for name in columns), "_rlnOpticsGroup", "_rlnImageName"]
    for row, values in enumerate(zip(*columns.values(), strict=True)):
        numbers = " ".join(f"{value:.6f}" for value in values)
        lines.append(f"{numbers} 1 {row + 1:06d}@none.mrcs")
    path.write_text("\n".join([*lines, "", ""]))


RELION_CASES = [
    pytest.param(64, {}, id="64"),
    pytest.param(96, {}, id="96"),
    pytest.param(96, {"phase_shift_deg": 65.0}, id="96-phase-plate"),
    pytest.param(64, {"b_factor_angst2": 60.0, "scale": 0.7}, id="64-b-factor-scale"),
    pytest.param(64, None, id="64-no-ctf"),
]


@pytest.mark.relion
@pytest.mark.parametrize(("box", "ctf_options"), RELION_CASES)
def test_images_are_those_of_relion_project(box, ctf_options, tmp_path):
    generator = np.random.default_rng(box)
    count = 12
    angles = generator.uniform([-180, 0, -180], [180, 180, 180], size=(count, 3))
    origins_px = generator.uniform(-6, 6, size=(count, 2))
    ctf = ctf_parameters(count, **(ctf_options or {}))
    # Detail up to the edge of the band: a smooth map would forgive more.
    volume = density(phantom(box).positions_angst, box, resolution_px=2.5)
    write_volume(tmp_path / "map.mrc", volume, PIXEL_SIZE_ANGST)
    star = tmp_path / "poses.star"
    write_relion_star(star, angles, origins_px * PIXEL_SIZE_ANGST, ctf, box)
    command = ["relion_project", "--i", "map.mrc", "--o", "relion", "--ang", star.name]
    command += ["--angpix", str(PIXEL_SIZE_ANGST)] + (["--ctf"] if ctf_options is not None else [])
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    theirs = StackReader().read(tmp_path / "relion.mrcs", np.arange(count))

    values = ctf_half_plane(ctf, box, PIXEL_SIZE_ANGST) if ctf_options is not None else None
    ours = Projector(volume).project(euler_to_rotation(angles), origins_px, values).numpy()
    assert correlations(ours, theirs).min() > 0.9998
    # RELION drops what lies on the outermost shell; nothing else differs, the scale included.
    assert np.sum(ours * theirs) / np.sum(ours * ours) == pytest.approx(1, abs=2e-3)


@pytest.mark.relion
def test_ctf_alone_is_that_of_relion(tmp_path):
    """A point seen by RELION: the transform of the image is the CTF, sign and axis included."""
    box, count = 64, 4
    volume = np.zeros((box,) * 3, np.float32)
    volume[box // 2, box // 2, box // 2] = 1
    write_volume(tmp_path / "map.mrc", volume, PIXEL_SIZE_ANGST)
    ctf = ctf_parameters(count, phase_shift_deg=np.array([0.0, 0.0, 40.0, 90.0]))
    star = tmp_path / "poses.star"
    write_relion_star(star, np.zeros((count, 3)), np.zeros((count, 2)), ctf, box)
    command = ["relion_project", "--i", "map.mrc", "--o", "relion", "--ang", star.name, "--ctf"]
    command += ["--angpix", str(PIXEL_SIZE_ANGST)]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    images = torch.from_numpy(StackReader().read(tmp_path / "relion.mrcs", np.arange(count)))
    seen = images_to_half_plane(images).real
    ky, kx = np.fft.fftfreq(box, 1 / box)[:, None], np.arange(box // 2 + 1)
    inside = torch.from_numpy(ky**2 + kx**2 < (box // 2 - 1) ** 2)
    ours = ctf_half_plane(ctf, box, PIXEL_SIZE_ANGST)
    assert float(((seen - ours).abs() * inside).max()) < 2e-5
