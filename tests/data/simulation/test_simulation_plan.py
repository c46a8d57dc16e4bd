"""Poses and optics of a simulation: distributed as asked, and decided by the seed alone."""

import fake_entry as fake
import numpy as np
import pytest
from real_data import REAL_DATA, needs_real_data

from cesped import errors
from cesped.data.simulation.optics import OpticsRanges, read_acquisition
from cesped.data.simulation.plan import SimulationPlan, draw_halves, read_noise_table
from cesped.data.simulation.poses import PreferredView, drawn_rotations
from cesped.data.simulation.stack import simulated_tables
from cesped.geometry.euler import euler_to_rotation, rotation_to_euler
from cesped.geometry.rotations import (
    direction_distance_deg,
    geodesic_distance_deg,
    random_rotations,
)
from cesped.io.star_writer import write_star
from cesped.physics.ctf import ctf_half_plane
from cesped.vocabulary import NoiseKind


def write_particles(path, count=40, subset=None, seed=3):
    generator = np.random.default_rng(seed)
    poses, ctf = fake.fake_poses(count, generator), fake.fake_ctf(count, generator)
    tables = simulated_tables("s.mrcs", 32, 3.0, poses, ctf)
    if subset is not None:
        tables["particles"]["rlnRandomSubset"] = subset
    write_star(path, tables)
    return poses, ctf


def test_uniform_directions_have_uniform_heights_and_azimuths():
    directions = drawn_rotations(20_000, (), np.random.default_rng(0))[:, :, 2]
    assert np.abs(directions.mean(axis=0)).max() < 0.02
    np.testing.assert_allclose(directions.T @ directions / 20_000, np.eye(3) / 3, atol=0.02)


def test_preferred_views_have_their_share_their_direction_and_their_spread():
    view = PreferredView(40.0, 70.0, 8.0, 0.6)
    rotations = drawn_rotations(20_000, [view], np.random.default_rng(1))
    centre = euler_to_rotation([40.0, 70.0, 0.0])
    away = direction_distance_deg(rotations[:, :, 2], centre[:, 2])
    near = away < 40
    assert near.mean() == pytest.approx(0.6 + 0.4 * (1 - np.cos(np.deg2rad(40))) / 2, abs=0.01)
    own = away[away < 24]
    background = 0.4 * 20_000 * (1 - np.cos(np.deg2rad(24))) / 2
    # a Rayleigh distribution: the mean square is twice the variance along an axis
    expected = (0.6 * 20_000 * 2 * 8.0**2 + background * 24.0**2 / 2) / (0.6 * 20_000 + background)
    assert (own**2).mean() == pytest.approx(expected, rel=0.05)
    psi = rotation_to_euler(rotations[near])[:, 2]
    assert np.abs(np.exp(1j * np.deg2rad(psi)).mean()) < 0.03


def test_a_wide_spread_is_still_a_distribution_of_directions():
    rotations = drawn_rotations(500, [PreferredView(0, 0, 90.0, 1.0)], np.random.default_rng(1))
    np.testing.assert_allclose(np.linalg.det(rotations), 1.0)


def test_the_seed_decides_and_halves_differ():
    plan = SimulationPlan(n_particles=50, max_shift_px=10.0, scale_spread=0.2, seed=4)
    first, second = draw_halves(plan, 2.0)
    again, _ = draw_halves(plan, 2.0)
    other, _ = draw_halves(SimulationPlan(n_particles=50, max_shift_px=10.0, seed=5), 2.0)
    np.testing.assert_array_equal(first.poses.rotations, again.poses.rotations)
    np.testing.assert_array_equal(first.ctf.defocus_u_angst, again.ctf.defocus_u_angst)
    assert geodesic_distance_deg(first.poses.rotations, second.poses.rotations).min() > 1
    assert geodesic_distance_deg(first.poses.rotations, other.poses.rotations).min() > 1


@pytest.mark.parametrize("seed", [0, 7])
def test_poses_are_not_those_that_the_seed_alone_draws(seed):
    # numpy takes [7, 0, 0] for 7, and with 7 somebody draws poses that are to know nothing
    drawn = draw_halves(SimulationPlan(n_particles=50, seed=seed), 2.0)[0].poses.rotations
    guessed = random_rotations(50, np.random.default_rng(seed))
    assert np.mean(geodesic_distance_deg(drawn, guessed)) > 90


def test_one_option_does_not_change_what_another_draws():
    plain = draw_halves(SimulationPlan(n_particles=9), 2.0)[0]
    moved = draw_halves(SimulationPlan(n_particles=9, shift_sigma_px=3.0, has_ctf=False), 2.0)[0]
    np.testing.assert_array_equal(plain.poses.rotations, moved.poses.rotations)
    assert plain.poses.origins_angst.any() == np.False_


def test_shifts_are_pixels_of_the_image():
    uniform = draw_halves(SimulationPlan(n_particles=4000, max_shift_px=10.0), 2.5)[0]
    origins_px = uniform.poses.origins_angst / 2.5
    assert 9.9 < np.abs(origins_px).max() <= 10
    np.testing.assert_allclose(origins_px.std(axis=0), 10 / np.sqrt(3), rtol=0.03)
    normal = draw_halves(SimulationPlan(n_particles=4000, shift_sigma_px=3.0), 2.5)[0]
    np.testing.assert_allclose(normal.poses.origins_angst.std(axis=0), 7.5, rtol=0.05)


def test_ranges_of_optics_are_kept_to():
    ranges = OpticsRanges((5e3, 6e3), (100, 200), (80, 100), (40, 60), 200.0, 1.4, 0.07)
    ctf = draw_halves(SimulationPlan(n_particles=500, optics=ranges), 2.0)[0].ctf
    mean = (ctf.defocus_u_angst + ctf.defocus_v_angst) / 2
    difference = ctf.defocus_u_angst - ctf.defocus_v_angst
    for values, (low, high) in (
        (mean, (5e3, 6e3)),
        (difference, (100, 200)),
        (ctf.phase_shift_deg, (80, 100)),
        (ctf.b_factor_angst2, (40, 60)),
        (ctf.defocus_angle_deg, (0, 180)),
    ):
        assert low - 1e-6 <= values.min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high + 1e-6
    assert (ctf.voltage_kv == 200).all()
    assert (ctf.amplitude_contrast == 0.07).all()


def test_without_ctf_the_ctf_is_one_everywhere():
    ctf = draw_halves(SimulationPlan(n_particles=2, has_ctf=False), 2.0)[0].ctf
    np.testing.assert_allclose(ctf_half_plane(ctf, 32, 2.0), 1.0, atol=1e-6)


def test_scales_have_mean_one():
    ctf = draw_halves(SimulationPlan(n_particles=20_000, scale_spread=0.3), 2.0)[0].ctf
    assert ctf.scale.mean() == pytest.approx(1.0, abs=0.01)
    assert np.log(ctf.scale).std() == pytest.approx(0.3, rel=0.03)


def test_poses_and_ctfs_of_a_star_file_stay_together_and_no_particle_is_in_both(tmp_path):
    star = tmp_path / "p.star"
    poses, ctf = write_particles(star)
    halves = draw_halves(SimulationPlan(poses_path=star), 3.0)
    defoci = np.concatenate([half.ctf.defocus_u_angst for half in halves])
    assert len(defoci) == len(np.unique(defoci.round(3))) == 40
    for half in halves:
        rows = [
            np.argmin(np.abs(ctf.defocus_u_angst - value)) for value in half.ctf.defocus_u_angst
        ]
        np.testing.assert_allclose(half.poses.origins_angst, poses.origins_angst[rows], atol=1e-5)
        assert geodesic_distance_deg(half.poses.rotations, poses.rotations[rows]).max() < 1e-4


def test_halves_follow_the_random_subset(tmp_path):
    star = tmp_path / "p.star"
    subset = np.array([1] * 10 + [2] * 30)
    _, ctf = write_particles(star, subset=subset)
    first, second = draw_halves(SimulationPlan(poses_path=star), 3.0)
    np.testing.assert_allclose(first.ctf.defocus_u_angst, ctf.defocus_u_angst[:10], atol=1e-3)
    np.testing.assert_allclose(second.ctf.defocus_u_angst, ctf.defocus_u_angst[10:], atol=1e-3)
    with pytest.raises(errors.MetadataError, match="has 10 for it"):
        draw_halves(SimulationPlan(poses_path=star, n_particles=11), 3.0)
    few, _ = draw_halves(SimulationPlan(poses_path=star, n_particles=4), 3.0)
    assert set(few.ctf.defocus_u_angst) < set(first.ctf.defocus_u_angst)


def test_one_particle_is_no_two_halves(tmp_path):
    star = tmp_path / "p.star"
    write_particles(star, count=1)
    with pytest.raises(errors.MetadataError, match="too few particles"):
        draw_halves(SimulationPlan(poses_path=star), 3.0)


def test_shifts_drawn_anew_replace_those_of_the_file(tmp_path):
    star = tmp_path / "p.star"
    write_particles(star)
    half = draw_halves(SimulationPlan(poses_path=star, max_shift_px=0.0), 3.0)[0]
    assert not half.poses.origins_angst.any()


@pytest.mark.parametrize("suffix", [".csv", ".npz"])
def test_an_empirical_table_is_drawn_from(tmp_path, suffix):
    table = tmp_path / f"ctf{suffix}"
    columns = {
        "defocus_u_angst": [1e4, 2e4], "defocus_v_angst": [9e3, 1.9e4],
        "defocus_angle_deg": [10, 20], "voltage_kv": [300, 200],
        "spherical_aberration_mm": [2.7, 2.0], "amplitude_contrast": [0.1, 0.07],
        "phase_shift_deg": [0, 90],
    }  # fmt: skip
    if suffix == ".npz":
        np.savez(table, **columns)
    else:
        rows = zip(*columns.values(), strict=True)
        table.write_text("\n".join(",".join(map(str, row)) for row in [columns, *rows]) + "\n")
    ctf = draw_halves(SimulationPlan(n_particles=200, optics_path=table), 2.0)[0].ctf
    assert set(ctf.defocus_u_angst) == {1e4, 2e4}
    np.testing.assert_array_equal(ctf.voltage_kv == 200, ctf.phase_shift_deg == 90)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "defocus_u_angst\n1\n", "lacks defocus_v_angst"),
        ("a.csv", "defocus_u_angst,x\n1,2\n", "lacks"),
        ("a.npz", "no zip", "npz table"),
        ("a.txt", "", "read from"),
    ],
)
def test_tables_that_are_none(tmp_path, name, content, complaint):
    (tmp_path / name).write_text(content)
    with pytest.raises((errors.MetadataError, errors.OptionError), match=complaint):
        read_acquisition(tmp_path / name)


def test_tables_name_the_bad_row(tmp_path):
    path = tmp_path / "a.csv"
    names = (
        "defocus_u_angst,defocus_v_angst,defocus_angle_deg,voltage_kv,"
        "spherical_aberration_mm,amplitude_contrast"
    )
    path.write_text(f"{names}\n1,1,1,300,2.7,0.1\n1,1,1,300,2.7,x\n")
    with pytest.raises(errors.MetadataError, match="row 2 of"):
        read_acquisition(path)
    path.write_text(f"{names}\n1,1,1,300,2.7,0.1\n1,1,1,-300,2.7,0.1\n")
    with pytest.raises(errors.MetadataError, match="voltage_kv is -300"):
        read_acquisition(path)
    path.write_text(f"{names},more\n1,1,1,300,2.7,0.1,1\n")
    with pytest.raises(errors.MetadataError, match="has more"):
        read_acquisition(path)
    path.write_text(f"{names}\n")
    with pytest.raises(errors.MetadataError, match="no rows"):
        read_acquisition(path)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "how many"),
        ({"n_particles": 0}, "at least 1"),
        ({"n_particles": 5, "snr": 0.0}, "SNR"),
        ({"n_particles": 5, "snr": float("nan")}, "SNR"),
        ({"n_particles": 5, "seed": -1}, "seed"),
        ({"n_particles": 5, "scale_spread": -0.1}, "scale"),
        ({"n_particles": 5, "max_shift_px": 3.0, "shift_sigma_px": 1.0}, "not both"),
        ({"n_particles": 5, "max_shift_px": -3.0}, "0 or more"),
        ({"n_particles": 5, "optics": OpticsRanges(), "optics_path": "x"}, "not from both"),
        ({"n_particles": 5, "optics": OpticsRanges(), "has_ctf": False}, "no CTF is wanted"),
        ({"poses_path": "x", "views": (PreferredView(0, 0, 5, 1),)}, "not from both"),
        ({"n_particles": 5, "views": (PreferredView(0, 0, 5, 0.6),) * 2}, "1.2 of the particles"),
    ],
)
def test_plans_that_cannot_be(options, complaint):
    with pytest.raises(errors.OptionError, match=complaint):
        SimulationPlan(**options)


@pytest.mark.parametrize("text", ["0,90,15", "a,b,c,d", "0,90,0,0.5", "0,90,15,0", "0,90,15,1.5"])
def test_views_that_cannot_be(text):
    with pytest.raises(errors.OptionError, match="view"):
        PreferredView.parse(text)


def test_ranges_that_cannot_be():
    with pytest.raises(errors.OptionError, match="lower first"):
        OpticsRanges(defocus_angst=(2.0, 1.0))
    with pytest.raises(errors.OptionError, match="astigmatism"):
        OpticsRanges(astigmatism_angst=(-5.0, 1.0))


def test_fingerprint_tells_everything_apart(tmp_path):
    plan = SimulationPlan(n_particles=5)
    assert plan.fingerprint("a") == SimulationPlan(n_particles=5).fingerprint("a")
    noise = tmp_path / "noise.csv"
    noise.write_text("0,2\n0.1,1\n")
    others = [
        plan.fingerprint("b"),
        *(
            SimulationPlan(**{"n_particles": 5, **options}).fingerprint("a")
            for options in (
                {"n_particles": 6}, {"seed": 1}, {"snr": 0.1}, {"noise": NoiseKind.COLOURED},
                {"noise": noise}, {"has_ctf": False}, {"max_shift_px": 1.0}, {"symmetry": "D2"},
                {"scale_spread": 0.1}, {"views": (PreferredView(0, 0, 5, 0.5),)},
            )
        ),
    ]  # fmt: skip
    assert len({plan.fingerprint("a"), *others}) == len(others) + 1
    before = SimulationPlan(n_particles=5, noise=noise).fingerprint()
    noise.write_text("0,3\n0.1,1\n")
    assert SimulationPlan(n_particles=5, noise=noise).fingerprint() != before


def test_noise_tables(tmp_path):
    path = tmp_path / "noise.csv"
    path.write_text("frequency_per_angst,power\n# measured\n0,4\n0.1,1\n")
    np.testing.assert_array_equal(read_noise_table(path).power, [4, 1])
    path.write_text("0,4\n0.1;1\n")
    with pytest.raises(errors.MetadataError, match="line 2"):
        read_noise_table(path)
    with pytest.raises(errors.MissingFileError, match="white, coloured"):
        read_noise_table(tmp_path / "pink")


@needs_real_data("cryosparc_P9_J209_000_particles.cs", "SOD_images.star")
def test_real_acquisitions_are_taken_over():
    cs = read_acquisition(REAL_DATA / "cryosparc_P9_J209_000_particles.cs")
    assert len(cs.require_ctf()) == len(cs.require_poses()) == 11_764
    star = REAL_DATA / "SOD_images.star"
    halves = draw_halves(SimulationPlan(poses_path=star), 3.54)
    assert sum(len(half.poses) for half in halves) == 6_496
