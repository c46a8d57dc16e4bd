"""Columns to meaning: every RELION version reads the same, and every fault is named."""

import fake_entry as fake
import numpy as np
import pandas as pd
import pytest
from real_data import REAL_DATA, needs_real_data

from cesped import errors
from cesped.data.conventions import (
    read_particle_table,
    read_predictions,
    write_particle_table,
)
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import geodesic_distance_deg

BOX = 32


@pytest.fixture
def entry(tmp_path):
    return fake.write_fake_entry(tmp_path / "bench", n_particles=6)


def rewrite(entry, **changes):
    fake.write_star_31(entry.star(0), entry.poses[0], entry.ctf[0], BOX, **changes)
    return entry.star(0)


def test_relion_31_reads_as_written(entry):
    table = read_particle_table(entry.star(0))
    assert len(table) == 6
    assert table.ids[0] == "000001@particles_0.mrcs"
    assert table.stacks == (entry.folder / "particles_0.mrcs",)
    assert table.section.tolist() == [0, 1, 2, 3, 4, 5]
    assert table.image_size == BOX
    assert table.sampling_rate == 3.0
    assert not table.has_confidence
    distance = geodesic_distance_deg(table.poses.rotations, entry.poses[0].rotations)
    assert distance.max() < 1e-6
    np.testing.assert_allclose(table.poses.origins_angst, entry.poses[0].origins_angst, atol=1e-9)
    np.testing.assert_allclose(table.ctf.defocus_v_angst, entry.ctf[0].defocus_v_angst)
    assert table.ctf.phase_shift_deg.tolist() == [0] * 6
    assert table.ctf.b_factor_angst2.tolist() == [0] * 6
    assert table.ctf.scale.tolist() == [1] * 6
    assert table.poses.confidence.tolist() == [1] * 6


def test_relion_30_reads_the_same(entry):
    path = entry.folder / "old.star"
    fake.write_star_30(path, entry.poses[0], entry.ctf[0], "particles_0.mrcs")
    old, new = read_particle_table(path), read_particle_table(entry.star(0))
    assert old.optics is None
    np.testing.assert_allclose(old.pixel_size_angst, new.pixel_size_angst, rtol=1e-9)
    np.testing.assert_allclose(old.poses.origins_angst, new.poses.origins_angst, atol=1e-6)
    np.testing.assert_allclose(old.poses.rotations, new.poses.rotations, atol=1e-9)
    for name in ("voltage_kv", "spherical_aberration_mm", "amplitude_contrast", "defocus_u_angst"):
        np.testing.assert_allclose(getattr(old.ctf, name), getattr(new.ctf, name))


@pytest.mark.parametrize("column", ["rlnPixelSize", "rlnImagePixelSize"])
def test_relion_30_with_a_pixel_size_column(entry, column):
    path = entry.folder / "old.star"
    changes = {"rlnMagnification": None, "rlnDetectorPixelSize": None, column: [3.0] * 6}
    fake.write_star_30(path, entry.poses[0], entry.ctf[0], "particles_0.mrcs", **changes)
    assert read_particle_table(path).sampling_rate == 3.0


def test_several_optics_groups_in_any_order(entry):
    path = rewrite(
        entry,
        rlnOpticsGroup=[2, 7, 7, 2, 2, 7],
    )
    star = fake.starfile.read(path)
    rows = [star["optics"].assign(rlnOpticsGroup=g, rlnVoltage=v) for g, v in ((7, 200), (2, 300))]
    star["optics"] = pd.concat(rows)
    fake.starfile.write(star, path, overwrite=True)
    table = read_particle_table(path)
    assert table.ctf.voltage_kv.tolist() == [300, 200, 200, 300, 300, 200]


def test_particle_columns_win_over_optics(entry):
    star = fake.starfile.read(entry.star(0))
    star["particles"]["rlnVoltage"] = 120.0
    fake.starfile.write(star, entry.star(0), overwrite=True)
    assert read_particle_table(entry.star(0)).ctf.voltage_kv.tolist() == [120] * 6


def test_what_is_read_may_be_written(entry):
    confident = rewrite(entry, rlnMaxValueProbDistribution=np.linspace(0, 1, 6))
    table = read_particle_table(confident)
    poses = table.poses
    for values in (poses.rotations, poses.origins_angst, poses.confidence, table.pixel_size_angst):
        assert values.flags.writeable  # torch warns of arrays that are not


def test_confidence_columns(entry):
    path = rewrite(
        entry,
        rlnMaxValueProbDistribution=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        rlnParticleFigureOfMerit=[1, 2, 3, 4, 5, 6],
    )
    table = read_particle_table(path)
    assert table.has_confidence
    assert table.poses.confidence.tolist() == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    ids, poses, has_confidence = read_predictions(path)
    assert has_confidence
    assert poses.confidence.tolist() == [1, 2, 3, 4, 5, 6]
    assert ids.tolist() == table.ids.tolist()


def test_predictions_need_no_images(entry):
    (entry.folder / "particles_0.mrcs").unlink()
    ids, poses, has_confidence = read_predictions(entry.star(0))
    assert len(ids) == len(poses) == 6
    assert not has_confidence


def test_round_trip_keeps_columns_and_unchanged_angles(entry):
    path = rewrite(entry, rlnAngleTilt=[-20.0, 10, 20, 30, 40, 190], myOwnColumn=list("abcdef"))
    table = read_particle_table(path)
    moved = table.poses.rotations.copy()
    moved[3] = np.eye(3)
    changed = table.with_poses(Poses(moved, table.poses.origins_angst + 1, table.poses.confidence))
    out = entry.folder / "out.star"
    write_particle_table(out, changed, predicted_confidence=np.arange(6) / 5)
    again = read_particle_table(out)
    assert again.particles["rlnAngleTilt"].tolist()[:3] == [-20, 10, 20]
    assert again.particles["rlnAngleTilt"].tolist()[5] == 190
    assert again.particles["myOwnColumn"].tolist() == list("abcdef")
    assert geodesic_distance_deg(again.poses.rotations, moved).max() < 1e-6
    np.testing.assert_allclose(again.poses.origins_angst, table.poses.origins_angst + 1)
    assert read_predictions(out)[1].confidence.tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    with pytest.raises(errors.EntryExistsError, match="overwriting"):
        write_particle_table(out, changed, overwrite=False)


def test_pixel_origins_are_written_back_as_pixels(entry):
    path = entry.folder / "old.star"
    fake.write_star_30(path, entry.poses[0], entry.ctf[0], "particles_0.mrcs")
    table = read_particle_table(path)
    poses = Poses(table.poses.rotations, np.full((6, 2), 6.0), table.poses.confidence)
    write_particle_table(entry.folder / "new.star", table.with_poses(poses))
    again = read_particle_table(entry.folder / "new.star")
    assert again.particles["rlnOriginX"].tolist() == pytest.approx([2.0] * 6)
    assert "rlnOriginXAngst" not in again.particles
    np.testing.assert_allclose(again.poses.origins_angst, 6.0)


def test_stacks_are_found_below_the_root_then_beside_the_star(entry, tmp_path):
    star = tmp_path / "elsewhere" / "p.star"
    star.parent.mkdir()
    fake.write_star_31(
        star,
        entry.poses[0],
        entry.ctf[0],
        BOX,
        rlnImageName=[f"{i}@FAKE/particles_0.mrcs" for i in (2, 1, 4, 3, 6, 5)],
    )
    table = read_particle_table(star, entry.benchmark_dir)
    assert table.stacks == (entry.folder / "particles_0.mrcs",)
    assert table.section.tolist() == [1, 0, 3, 2, 5, 4]
    assert read_particle_table(entry.star(0), tmp_path / "nowhere").stacks[0].is_file()
    absolute = [f"{i + 1}@{entry.folder}/particles_0.mrcs" for i in range(6)]
    path = rewrite(entry, rlnImageName=absolute)
    assert read_particle_table(path, tmp_path).stacks[0] == entry.folder / "particles_0.mrcs"


def test_select_and_boolean_mask(entry):
    table = read_particle_table(entry.star(0))
    chosen = table.select([4, 1])
    assert chosen.ids.tolist() == [table.ids[4], table.ids[1]]
    np.testing.assert_array_equal(chosen.poses.rotations, table.poses.rotations[[4, 1]])
    assert chosen.section.tolist() == [4, 1]
    assert len(table.select(table.section > 3)) == 2
    assert len(table.select([])) == 0


NO_NUMBER = [1.0, 2.0, float("nan"), 4.0, 5.0, 6.0]
FAULTS = {
    "no angles": ({"rlnAnglePsi": None}, errors.MetadataError, "rlnAnglePsi.*refine"),
    "unknown group": (
        {"rlnOpticsGroup": [1, 1, 1, 5, 1, 1]},
        errors.MetadataError,
        r"row 4 of .*optics group 5 is not in the optics table, which has 1",
    ),
    "nan angle": ({"rlnAngleRot": NO_NUMBER}, errors.MetadataError, "row 3 of .*rlnAngleRot"),
    "nan defocus": ({"rlnDefocusU": NO_NUMBER}, errors.MetadataError, "row 3 of .*rlnDefocusU"),
    "nan origin": (
        {"rlnOriginYAngst": NO_NUMBER},
        errors.MetadataError,
        "row 3 of .*rlnOriginYAngst",
    ),
    "word": (
        {"rlnAngleTilt": ["1", "2", "3", "4", "up", "6"]},
        errors.MetadataError,
        "row 5 of .*rlnAngleTilt is 'up'",
    ),
    "no at sign": (
        {"rlnImageName": ["1@particles_0.mrcs"] * 4 + ["particles_0.mrcs"] * 2},
        errors.MetadataError,
        "row 5 of .*NUMBER@STACK",
    ),
    "section 0": (
        {"rlnImageName": ["0@particles_0.mrcs"] * 6},
        errors.MetadataError,
        "row 1 of .*from 1 on",
    ),
    "section missing": (
        {"rlnImageName": ["1@particles_0.mrcs"] * 5 + ["7@particles_0.mrcs"]},
        errors.MissingImageError,
        "row 6 of .*image 7 of .*does not exist, the stack has 6",
    ),
    "stack missing": (
        {"rlnImageName": ["1@particles_0.mrcs"] * 5 + ["1@gone.mrcs"]},
        errors.MissingImageError,
        "row 6 of .*gone.mrcs does not exist.*root folder",
    ),
    "pixel size": (
        {"rlnImagePixelSize": [3.04]},
        errors.PixelSizeError,
        "row 1 of .*3.04 angstrom/px, the header of .* says 3;",
    ),
    "image size": ({"rlnImageSize": [64]}, errors.MetadataError, "rlnImageSize is 64.*32 px"),
    "no pixel size": (
        {"rlnImagePixelSize": None},
        errors.MetadataError,
        "states no pixel size; add rlnImagePixelSize",
    ),
    "zero pixel size": ({"rlnImagePixelSize": [0.0]}, errors.MetadataError, "must be above 0"),
    "negative confidence": (
        {"rlnMaxValueProbDistribution": [1, 1, -1, 1, 1, 1]},
        errors.MetadataError,
        "row 3 .*negative",
    ),
    "no voltage": ({"rlnVoltage": None}, errors.MetadataError, "no column rlnVoltage"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_name_file_row_and_remedy(entry, fault):
    changes, kind, message = FAULTS[fault]
    path = rewrite(entry, **changes)
    with pytest.raises(kind, match=message) as caught:
        read_particle_table(path)
    assert str(path) in str(caught.value)


def test_truncated_stack(entry):
    stack = entry.folder / "particles_0.mrcs"
    stack.write_bytes(stack.read_bytes()[:-100])
    with pytest.raises(errors.MrcFileError, match=r"row 1 of .*particles_0.star.*particles_0.mrcs"):
        read_particle_table(entry.star(0))


def test_images_of_two_sizes(entry):
    fake.write_stack(entry.folder / "other.mrcs", np.zeros((1, 16, 16), np.float32))
    names = ["1@particles_0.mrcs"] * 5 + ["1@other.mrcs"]
    with pytest.raises(errors.MetadataError, match=r"row 6 .*16 x 16 px.*one size"):
        read_particle_table(rewrite(entry, rlnImageName=names))


@pytest.mark.parametrize("voxel", [0.0, 1.0])
def test_header_that_does_not_know_its_pixel_size(entry, voxel, caplog):
    fake.write_stack(entry.folder / "particles_0.mrcs", entry.images[0], voxel)
    with caplog.at_level("INFO"):
        assert read_particle_table(entry.star(0)).sampling_rate == 3.0
    assert "do not state their pixel size" in caplog.text


@pytest.mark.parametrize("column", ["rlnCtfDataAreCtfPremultiplied", "rlnCtfDataArePhaseFlipped"])
def test_images_whose_ctf_was_touched_are_told(entry, column, caplog):
    read_particle_table(rewrite(entry, **{column: [0] * 6}))
    assert caplog.text == ""
    read_particle_table(rewrite(entry, **{column: [1] * 6}))
    assert "use no CTF correction" in caplog.text


def test_star_without_particles(entry):
    path = entry.folder / "empty.star"
    path.write_text("data_particles\n\nloop_\n_rlnMicrographName #1\nmic1.mrc\n")
    with pytest.raises(errors.StarFileError, match="no table with column rlnImageName"):
        read_particle_table(path)


def test_no_angles_where_none_are_needed(entry):
    path = rewrite(entry, rlnAngleRot=None, rlnDefocusU=None)
    table = read_particle_table(path, require_poses=False)
    assert table.poses is None
    assert table.ctf is None
    with pytest.raises(errors.MetadataError, match="no angles"):
        table.require_poses()
    with pytest.raises(errors.MetadataError, match="estimate the CTF"):
        table.require_ctf()


def test_doubled_ids(entry):
    names = ["1@particles_0.mrcs", "2@particles_0.mrcs"] * 3
    table = read_particle_table(rewrite(entry, rlnImageName=names))
    with pytest.raises(errors.IdMismatchError, match=r"'1@particles_0.mrcs' occurs in rows 1, 3"):
        table.check_ids_unique()


def test_a_long_table_of_many_stacks(tmp_path):
    count = 50_000
    rng = np.random.default_rng(0)
    numbers = rng.uniform(-90, 90, (count, 5)).round(3).astype(str)
    head = ["rlnImageName", "rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginX"]
    lines = [
        f"{i % 1000 + 1:06d}@Extract/mic{i // 1000:04d}.mrcs {' '.join(row)} 3.0"
        for i, row in enumerate(numbers)
    ]
    columns = "\n".join(f"_{name}" for name in [*head, "rlnOriginY", "rlnPixelSize"])
    path = tmp_path / "large.star"
    path.write_text(f"data_\n\nloop_\n{columns}\n" + "\n".join(lines) + "\n")
    table = read_particle_table(path, check_images=False)
    assert len(table) == count
    assert len(table.stacks) == 50
    assert table.section[1001] == 1  # "000002@Extract/mic0001.mrcs"
    # pixel origins come out in angstrom; the file's columns end with OriginX, OriginY, PixelSize
    np.testing.assert_allclose(table.poses.origins_angst[:, 0], 3.0 * numbers[:, 3].astype(float))


@needs_real_data("relion31.6opticsgroups.star")
def test_real_file_with_six_optics_groups():
    table = read_particle_table(REAL_DATA / "relion31.6opticsgroups.star", check_images=False)
    assert len(table) == 139
    assert table.image_size == 196
    assert set(table.pixel_size_angst) == {1.24, 1.25}
    assert table.has_confidence
    sixth = table.particles["rlnOpticsGroup"] == 6
    assert set(table.pixel_size_angst[sixth]) == {1.25}


@needs_real_data("SOD_images.star")
def test_real_relion_30_file():
    table = read_particle_table(REAL_DATA / "SOD_images.star", check_images=False)
    assert len(table) == 6496
    assert table.sampling_rate == pytest.approx(3.54, abs=1e-4)
    in_px = table.particles[["rlnOriginX", "rlnOriginY"]].to_numpy()
    np.testing.assert_allclose(table.poses.origins_angst, in_px * 3.54, rtol=1e-5)


@needs_real_data("empiar_10076_7.star")
def test_real_file_without_angles():
    with pytest.raises(errors.MetadataError, match="rlnAngleRot"):
        read_particle_table(REAL_DATA / "empiar_10076_7.star")
    table = read_particle_table(REAL_DATA / "empiar_10076_7.star", require_poses=False)
    assert table.image_size == 320
    assert table.sampling_rate == pytest.approx(1.31, abs=1e-3)
