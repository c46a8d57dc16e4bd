"""cryoDRGN's pickles, proved by images: its documented rule against our projector."""

import pickle
from dataclasses import replace

import fake_entry as fake
import foreign_rules as rules
import numpy as np
import pytest
from particle_sets import BOX, COUNT, PIXEL, our_images, some_ctf
from real_data import REAL_DATA, needs_real_data

from cesped import errors
from cesped.data.conventions import read_particle_table
from cesped.data.interop import convert
from cesped.geometry.rotations import geodesic_distance_deg
from cesped.io.star import read_star

RIGHT, WRONG = 0.995, 0.95


def load(path):
    with path.open("rb") as stream:
        return pickle.load(stream)


@pytest.fixture
def pickles(ours, tmp_path):
    done = convert([ours.star], tmp_path / "out.pkl")
    assert [path.name for path in done.written] == ["out.poses.pkl", "out.ctf.pkl"]
    assert done.n_particles == COUNT
    return done.written


@pytest.mark.parametrize("ours", [BOX, BOX + 1], indirect=True)
def test_what_we_write_explains_our_images(ours, pickles):
    (rotations, translations), ctf = map(load, pickles)
    assert (rotations.shape, translations.shape, ctf.shape) == ((6, 3, 3), (6, 2), (6, 9))
    assert {array.dtype for array in (rotations, translations, ctf)} == {np.dtype("f4")}

    def correlate(rotations, translations, ctf):
        rows = zip(rotations, translations, ctf, strict=True)
        made = [rules.cryodrgn_image(ours.balls, *row) for row in rows]
        return rules.correlations(made, ours.images)

    assert correlate(rotations, translations, ctf).min() > RIGHT
    # every convention matters: each of these is a mistake that a reader could make
    assert correlate(rotations.transpose(0, 2, 1), translations, ctf).mean() < WRONG
    assert correlate(rotations, -translations, ctf).mean() < WRONG
    assert correlate(rotations, translations[:, ::-1], ctf).mean() < WRONG
    swapped = ctf.copy()
    swapped[:, 4] = 90 - ctf[:, 4]
    assert correlate(rotations, translations, swapped).mean() < WRONG
    without_phase = ctf.copy()
    without_phase[:, 8] = 0
    assert correlate(rotations, translations, without_phase)[-1] < RIGHT


@pytest.fixture
def foreign(tmp_path):
    """Particles that only cryoDRGN's rule ever saw."""
    rng = np.random.default_rng(9)
    balls = rules.Balls(BOX, seed=8)
    matrices = np.stack([rules.matrix_of(rng.normal(size=3) * 2) for _ in range(COUNT)])
    fractions = rng.choice([-1, 1], (COUNT, 2)) * rng.uniform(0.06, 0.12, (COUNT, 2))
    ctf = some_ctf(rng)
    # the pickle describes the particles before they were downsampled to BOX
    columns = [np.full(COUNT, 2.0 * BOX), np.full(COUNT, PIXEL / 2)]
    columns += [ctf.defocus_u_angst, ctf.defocus_v_angst, ctf.defocus_angle_deg, ctf.voltage_kv]
    columns += [ctf.spherical_aberration_mm, ctf.amplitude_contrast, ctf.phase_shift_deg]
    table = np.stack(columns, axis=1)
    images = [
        rules.cryodrgn_image(balls, *row) for row in zip(matrices, fractions, table, strict=True)
    ]
    fake.write_stack(tmp_path / "small.mrcs", np.array(images, np.float32), PIXEL)
    paths = {}
    for name, value in {"poses": (matrices, fractions), "ctf": table}.items():
        paths[name] = tmp_path / f"{name}.pkl"
        paths[name].write_bytes(pickle.dumps(value))
    return balls, images, paths


def test_what_we_read_explains_foreign_images(foreign, tmp_path):
    balls, images, paths = foreign
    out = tmp_path / "from_cryodrgn.star"
    done = convert([paths["ctf"], tmp_path / "small.mrcs", paths["poses"]], out)
    assert done.n_particles == COUNT
    table = read_particle_table(out)
    assert table.ids[1] == "000002@small.mrcs"
    assert (table.image_size, table.sampling_rate) == (BOX, PIXEL)
    made = our_images(balls, table.poses, table.ctf)
    assert rules.correlations(made, images).min() > RIGHT
    flipped = replace(table.poses, origins_angst=-table.poses.origins_angst)
    assert rules.correlations(our_images(balls, flipped, table.ctf), images).mean() < WRONG


def test_there_and_back_is_the_same(ours, pickles, tmp_path):
    before = read_particle_table(ours.star)
    for source in (ours.star, ours.stack):
        out = tmp_path / f"back_{source.suffix[1:]}.star"
        convert([*pickles, source], out)
        after = read_particle_table(out)
        distance = geodesic_distance_deg(after.poses.rotations, before.poses.rotations)
        assert distance.max() < 1e-4
        np.testing.assert_allclose(after.poses.origins_angst, before.poses.origins_angst, atol=1e-5)
        np.testing.assert_allclose(after.ctf.defocus_v_angst, before.ctf.defocus_v_angst, rtol=1e-6)
        np.testing.assert_allclose(after.ctf.phase_shift_deg, before.ctf.phase_shift_deg, rtol=1e-6)


def test_new_poses_keep_the_other_columns_of_a_star_file(ours, pickles, tmp_path):
    tables = read_star(ours.star)
    tables["particles"]["myOwnColumn"] = list("abcdef")
    tables["particles"][["rlnAngleRot", "rlnOriginXAngst"]] = 0.0
    fake.starfile.write(tables, ours.star, overwrite=True)
    convert([*pickles, ours.star], tmp_path / "new.star")
    after = read_particle_table(tmp_path / "new.star")
    assert after.particles["myOwnColumn"].tolist() == list("abcdef")
    assert geodesic_distance_deg(after.poses.rotations, ours.poses.rotations).max() < 1e-4


def test_poses_alone_take_the_pixel_size_of_the_header(ours, pickles, tmp_path):
    convert([pickles[0], ours.stack], tmp_path / "new.star")
    table = read_particle_table(tmp_path / "new.star")
    assert table.ctf is None
    np.testing.assert_allclose(table.poses.origins_angst, ours.poses.origins_angst, atol=1e-5)


def changed(paths, index, change):
    value = change(load(paths[index]))
    paths[index].write_bytes(pickle.dumps(value))


def far_shift(poses):
    poses[1][3] = [2.5, 0]
    return poses


def no_rotation(poses):
    poses[0][2] *= 1.1
    return poses


def other_order(ctf):
    return ctf[::-1].copy()


def zero_pixel(ctf):
    ctf[4, 1] = 0
    return ctf


FAULTS = {
    "pixels": (0, far_shift, errors.PickleFileError, "row 4 of .*early cryoDRGN, in pixels"),
    "matrix": (0, no_rotation, errors.GeometryError, "matrix 3 of 6 is not orthonormal"),
    "few poses": (0, lambda p: (p[0][:5], p[1][:5]), errors.PickleFileError, "5 poses and 6 CTFs"),
    "pairs": (0, lambda p: (p[0], p[1][:5]), errors.PickleFileError, r"poses are \(N, 3, 3\)"),
    "text": (0, lambda p: "poses", errors.PickleFileError, "holds str"),
    "order": (1, other_order, errors.MetadataError, "row 1: defocus_u.*another order"),
    "zero": (1, zero_pixel, errors.PickleFileError, "row 5 of .*above 0"),
    "eight": (1, lambda c: c[:, 1:], errors.PickleFileError, r"a CTF is \(N, 9\)"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_name_the_row(ours, pickles, tmp_path, fault):
    index, change, kind, message = FAULTS[fault]
    changed(pickles, index, change)
    with pytest.raises(kind, match=message):
        convert([*pickles, ours.star], tmp_path / "new.star")
    assert not (tmp_path / "new.star").exists()


def test_another_number_of_images(ours, pickles, tmp_path):
    for path, change in zip(
        pickles, (lambda p: (p[0][:5], p[1][:5]), lambda c: c[:5]), strict=True
    ):
        path.write_bytes(pickle.dumps(change(load(path))))
    with pytest.raises(errors.PickleFileError, match=r"describe 5 particles, .*star has 6"):
        convert([*pickles, ours.star], tmp_path / "new.star")


def test_a_stack_of_another_magnification(ours, pickles, tmp_path):
    changed(pickles, 1, lambda ctf: ctf * [1, 1.2, 1, 1, 1, 1, 1, 1, 1])
    with pytest.raises(errors.PixelSizeError, match="not of one data set"):
        convert([*pickles, ours.stack], tmp_path / "new.star")


def test_pickles_without_images_are_explained(pickles, tmp_path):
    with pytest.raises(errors.OptionError, match="do not name their images"):
        convert(pickles, tmp_path / "new.star")


@needs_real_data("empiar10180_poses_ctf.npz")
def test_poses_of_a_real_data_set_survive(tmp_path):
    with np.load(REAL_DATA / "empiar10180_poses_ctf.npz") as data:
        fractions, ctf = data["shift_box_fraction"][:500], data["ctf"][:500]
        matrices = np.stack([rules.matrix_of(vector) for vector in data["rotvec"][:500]])
    (tmp_path / "poses.pkl").write_bytes(pickle.dumps((matrices, fractions)))
    (tmp_path / "ctf.pkl").write_bytes(pickle.dumps(ctf))
    fake.write_stack(tmp_path / "p.mrcs", np.zeros((500, 128, 128), "f4"), 4.2475)
    star = tmp_path / "p.star"
    convert([tmp_path / "poses.pkl", tmp_path / "ctf.pkl", tmp_path / "p.mrcs"], star)
    convert([star], tmp_path / "again.pkl")
    again, _ = load(tmp_path / "again.poses.pkl"), load(tmp_path / "again.ctf.pkl")
    np.testing.assert_allclose(again[0], matrices, atol=2e-6)
    np.testing.assert_allclose(again[1], fractions, atol=1e-7)
    row = load(tmp_path / "again.ctf.pkl")[0]
    # downsampled from 256 px: half the box, twice the pixel
    np.testing.assert_allclose(row, [128, 4.2475, *ctf[0, 2:]], rtol=1e-6)
