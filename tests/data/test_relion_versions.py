"""Star files of every RELION, several optics groups, and files that must be refused."""

import fake_entry as fake
import numpy as np
import pandas as pd
import pytest
from mrcfile import open as open_mrc

from cesped import errors
from cesped.data.conventions import read_particle_table
from cesped.geometry.rotations import geodesic_distance_deg
from cesped.io.star import read_star, write_star
from cesped.physics.ctf import ctf_half_plane

BOX = 32


@pytest.fixture
def entry(tmp_path):
    return fake.write_fake_entry(tmp_path / "bench", n_particles=6)


def changed(entry, change):
    """Rewrite the star file of half 0 after `change(tables)`, and return its path."""
    tables = read_star(entry.star(0))
    change(tables)
    return write_star(entry.star(0), tables)


def make_relion_5(tables):
    for table in tables.values():
        table.attrs["star_version"] = 50001
    tables["optics"]["rlnMicrographOriginalPixelSize"] = 0.83
    tables["optics"]["rlnCtfDataAreCtfPremultiplied"] = 0
    particles = tables["particles"]
    particles["rlnCoordinateX"] = particles["rlnCoordinateY"] = 100.0
    particles["rlnCenteredCoordinateXAngst"] = particles["rlnCenteredCoordinateYAngst"] = 8.0
    particles["rlnAngleTiltPrior"] = 90.0
    tables["optics"]["rlnOpticsGroupName"] = "opticsGroup 1"  # RELION quotes a name with a space


def test_relion_5_reads_as_3_1_does(entry):
    old = read_particle_table(entry.star(0))
    path = changed(entry, make_relion_5)
    assert "# version 50001" in path.read_text()
    new = read_particle_table(path)
    assert geodesic_distance_deg(new.poses.rotations, old.poses.rotations).max() < 1e-6
    np.testing.assert_allclose(new.poses.origins_angst, old.poses.origins_angst)
    np.testing.assert_allclose(new.ctf.defocus_u_angst, old.ctf.defocus_u_angst)
    assert new.optics["rlnOpticsGroupName"].tolist() == ["opticsGroup 1"]
    assert (new.image_size, new.sampling_rate) == (old.image_size, old.sampling_rate)


def tomo_names(tables):
    tables["particles"]["rlnTomoName"] = "TS_01"


def tomo_general(tables):
    tables["general"] = pd.DataFrame({"rlnTomoSubTomosAre2DStacks": [1]})


def subtomograms(tables):
    tables["optics"]["rlnImageDimensionality"] = 3


TOMOGRAPHY = {
    tomo_names: "file of tomography.*rlnTomoName in table 'particles'",
    tomo_general: "file of tomography.*rlnTomoSubTomosAre2DStacks in table 'general'",
    subtomograms: "row 1 of .*, table optics: rlnImageDimensionality is 3",
}


@pytest.mark.parametrize("change", TOMOGRAPHY, ids=lambda change: change.__name__)
def test_tomography_is_refused_with_the_reason(entry, change):
    path = changed(entry, change)
    with pytest.raises(errors.MetadataError, match=TOMOGRAPHY[change]) as caught:
        read_particle_table(path)
    assert str(path) in str(caught.value)


def two_groups(**second):
    def change(tables):
        optics = pd.concat([tables["optics"]] * 2, ignore_index=True)
        optics["rlnOpticsGroup"] = [1, 2]
        optics["rlnOpticsGroupName"] = ["low", "high"]
        for column, value in second.items():
            optics[column] = [optics[column][0], value]
        tables["optics"] = optics
        tables["particles"]["rlnOpticsGroup"] = [1, 2, 1, 2, 2, 1]

    return change


def test_groups_of_two_microscopes(entry):
    change = two_groups(rlnVoltage=200.0, rlnSphericalAberration=1.4, rlnAmplitudeContrast=0.07)
    ctf = read_particle_table(changed(entry, change)).ctf
    assert ctf.voltage_kv.tolist() == [300, 200, 300, 200, 200, 300]
    assert ctf.spherical_aberration_mm.tolist() == [2.7, 1.4, 2.7, 1.4, 1.4, 2.7]
    assert ctf.amplitude_contrast.tolist() == [0.1, 0.07, 0.1, 0.07, 0.07, 0.1]


def test_groups_of_two_pixel_sizes_keep_their_own(entry):
    with open_mrc(entry.folder / "particles_0.mrcs", mode="r+") as mrc:
        mrc.voxel_size = 0.0  # one stack for both groups cannot state either
    path = changed(entry, two_groups(rlnImagePixelSize=3.02))
    table = read_particle_table(path)
    assert table.pixel_size_angst.tolist() == [3.0, 3.02, 3.0, 3.02, 3.02, 3.0]
    np.testing.assert_allclose(table.poses.origins_angst, entry.poses[0].origins_angst)


def test_pixel_origins_use_the_pixel_size_of_their_group(entry):
    def change(tables):
        two_groups(rlnImagePixelSize=6.0)(tables)
        tables["particles"] = tables["particles"].drop(
            columns=["rlnOriginXAngst", "rlnOriginYAngst"]
        )
        tables["particles"]["rlnOriginX"] = 2.0
        tables["particles"]["rlnOriginY"] = -1.0

    origins = read_particle_table(changed(entry, change), check_images=False).poses.origins_angst
    assert origins[:2].tolist() == [[6.0, -3.0], [12.0, -6.0]]


@pytest.mark.parametrize("check_images", [True, False])
def test_groups_of_two_boxes_are_refused_by_name(entry, check_images):
    path = changed(entry, two_groups(rlnImageSize=64))
    with pytest.raises(errors.MetadataError, match=r"row 2 of .*, optics group 2 \(high\).*64"):
        read_particle_table(path, check_images=check_images)


def test_a_phase_plate_turns_the_contrast(entry):
    def change(tables):
        tables["particles"]["rlnPhaseShift"] = [0.0, 90.0, 0.0, 90.0, 0.0, 90.0]
        tables["optics"]["rlnAmplitudeContrast"] = 0.0

    ctf = read_particle_table(changed(entry, change)).ctf
    at_zero = ctf_half_plane(ctf, BOX, 3.0)[:, 0, 0].numpy()
    # sin(phase shift) at frequency 0, where nothing else acts
    np.testing.assert_allclose(at_zero, [0, 1, 0, 1, 0, 1], atol=1e-6)


@pytest.mark.parametrize("box", [31, 33])
def test_odd_boxes_are_read(tmp_path, box):
    entry = fake.write_fake_entry(tmp_path / "bench", n_particles=3, box=box)
    assert read_particle_table(entry.star(0)).image_size == box


def test_stacks_under_a_name_that_says_mrcs(entry):
    # RELION reads a stack named .mrc only if its name is followed by :mrcs
    stack = entry.folder / "particles_0.mrcs"
    stack.rename(stack.with_suffix(".mrc"))

    def change(tables):
        names = tables["particles"]["rlnImageName"]
        tables["particles"]["rlnImageName"] = names.str.replace(".mrcs", ".mrc:mrcs")

    table = read_particle_table(changed(entry, change))
    assert table.stacks == (stack.with_suffix(".mrc"),)
    assert table.ids[0] == "000001@particles_0.mrc:mrcs"


BAD_ROWS = {
    "short": (lambda row: row.rsplit(" ", 1)[0], errors.StarFileError, "6 values for 7 columns"),
    "long": (lambda row: row + " 5", errors.StarFileError, "8 values for 7 columns"),
    "word": (
        lambda row: row.replace(" 3.0", " ten"),
        errors.MetadataError,
        "rlnPixelSize is 'ten'",
    ),
    "nan": (lambda row: row.replace(" 3.0", " nan"), errors.MetadataError, "rlnPixelSize is nan"),
    "name": (lambda row: row.replace("@", "#"), errors.MetadataError, "NUMBER@STACK"),
    "quote": (
        lambda row: row.replace("000", '"000', 1),
        errors.StarFileError,
        "quote is opened",
    ),
}


def long_star(path, count, bad, spoil):
    """Write `count` rows of which number `bad` (from 1) is spoilt."""
    numbers = np.random.default_rng(0).uniform(-90, 90, (1000, 5)).round(3).astype(str)
    rows = [" ".join(row) for row in numbers]
    names = ["rlnImageName", "rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginX"]
    head = "\n".join(f"_{name}" for name in [*names, "rlnOriginY", "rlnPixelSize"])
    lines = [
        f"{i % 1000 + 1:06d}@mic{i // 1000:04d}.mrcs {rows[i % 1000]} 3.0" for i in range(count)
    ]
    lines[bad - 1] = spoil(lines[bad - 1])
    path.write_text(f"data_\n\nloop_\n{head}\n" + "\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("fault", BAD_ROWS)
def test_one_bad_row_of_many_is_named(tmp_path, fault):
    spoil, kind, message = BAD_ROWS[fault]
    path = long_star(tmp_path / "long.star", 40_000, 7_777, spoil)
    with pytest.raises(kind, match=message) as caught:
        read_particle_table(path, check_images=False)
    assert "row 7777" in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["short", "nan"])
def test_one_bad_row_of_a_million_is_named(tmp_path, fault):
    spoil, kind, _ = BAD_ROWS[fault]
    path = long_star(tmp_path / "long.star", 1_000_000, 777_777, spoil)
    with pytest.raises(kind, match="row 777777"):
        read_particle_table(path, check_images=False)


@pytest.mark.parametrize("column", ["rlnCtfDataAreCtfPremultiplied", "rlnCtfDataArePhaseFlipped"])
def test_images_of_which_some_are_corrected_are_refused(entry, column):
    # all would be taken for what one group is: RELION's map has the sign of each group right
    def mark_second_group(tables):
        optics = tables["optics"]
        tables["optics"] = pd.concat([optics, optics], ignore_index=True)
        tables["optics"]["rlnOpticsGroup"] = [1, 2]
        tables["optics"][column] = [0, 1]
        tables["particles"]["rlnOpticsGroup"] = [1, 1, 2, 1, 2, 2]

    path = changed(entry, mark_second_group)
    with pytest.raises(errors.MetadataError, match=f"row 3 of .*group 2 .*{column} is 1, row 1"):
        read_particle_table(path)
