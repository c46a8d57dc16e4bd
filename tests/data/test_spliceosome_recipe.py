"""The SIM-5NRL recipe: its conversion of conventions, and a small run where the data is there."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_data import REAL_DATA, needs_real_data
from scipy.spatial.transform import Rotation

from cesped.data.conventions import read_particle_table, read_predictions
from cesped.data.store import EntryStore
from cesped.geometry.euler import euler_to_rotation
from cesped.geometry.rotations import geodesic_distance_deg

RECIPE = Path(__file__).resolve().parents[2] / "benchmarks" / "recipes" / "spliceosome_5nrl"
ANGLE = st.floats(-180, 180)


def load(name):
    spec = importlib.util.spec_from_file_location(name, RECIPE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cryodrgn_matrix(rot, tilt, psi):
    """What cryoDRGN makes of RELION's angles, restated from its definition."""

    def about_z(angle):
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])

    c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    matrix = about_z(psi) @ np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]) @ about_z(rot)
    for row, column in ((0, 1), (1, 0), (1, 2), (2, 1)):
        matrix[row, column] *= -1
    return matrix


@given(rot=ANGLE, tilt=st.floats(0, 180), psi=ANGLE)
def test_cryodrgn_poses_become_relions(rot, tilt, psi):
    rotvec = Rotation.from_matrix(cryodrgn_matrix(rot, tilt, psi)).as_rotvec()
    converted = load("make_entry").relion_rotations(rotvec[None])[0]
    np.testing.assert_allclose(converted, euler_to_rotation([rot, tilt, psi]), atol=1e-6)


@pytest.fixture(scope="module")
def small_entry(tmp_path_factory):
    recipe, folder = load("make_entry"), tmp_path_factory.mktemp("bench")
    atoms, poses = REAL_DATA / "5nrl_atoms.npz", REAL_DATA / "empiar10180_poses_ctf.npz"
    recipe.make_entry(atoms, poses, folder, n_particles=12)
    return folder


@needs_real_data("5nrl_atoms.npz", "empiar10180_poses_ctf.npz")
def test_small_entry(small_entry):
    halves = [EntryStore(small_entry).locate("SIM-5NRL", half) for half in (0, 1)]
    tables = [read_particle_table(half.star_path, half.root_dir) for half in halves]
    assert [len(table) for table in tables] == [12, 12]
    assert tables[0].image_size == 128
    assert tables[0].sampling_rate == 4.0
    assert halves[0].symmetry == "C1"
    assert halves[0].mask_path is not None
    assert set(tables[0].ctf.voltage_kv) == {300.0}
    assert np.linalg.norm(tables[0].poses.origins_angst, axis=1).max() < 50
    assert np.abs(tables[0].poses.rotations - tables[1].poses.rotations).max() > 0.1


@needs_real_data("5nrl_atoms.npz", "empiar10180_poses_ctf.npz")
@pytest.mark.parametrize("confidence", ["none", "one", "random"])
def test_perturbed_predictions_are_off_by_exactly_three_degrees(small_entry, tmp_path, confidence):
    paths = load("perturb").perturb("SIM-5NRL", small_entry, tmp_path, 3.0, confidence)
    for halfset, path in enumerate(paths):
        half = EntryStore(small_entry).locate("SIM-5NRL", halfset)
        truth = read_particle_table(half.star_path, half.root_dir)
        ids, poses, has_confidence = read_predictions(path)
        assert ids.tolist() == truth.ids.tolist()
        assert has_confidence == (confidence != "none")
        errors_deg = geodesic_distance_deg(truth.poses.rotations, poses.rotations)
        np.testing.assert_allclose(errors_deg, 3.0, atol=1e-6)
