"""Star files from one RELION to another: the same particles, and nothing lost in silence."""

import subprocess

import fake_entry as fake
import numpy as np
import pandas as pd
import pytest
import starfile
from particle_sets import COUNT, PIXEL
from real_data import REAL_DATA, needs_real_data

from cesped import errors
from cesped.data.conventions import read_particle_table
from cesped.data.interop import convert
from cesped.geometry.rotations import geodesic_distance_deg
from cesped.io.mrc import read_volume
from cesped.io.star import read_star, write_star

FORMS = ("3.0", "3.1", "5.0")


def assert_same(first, second):
    assert first.section.tolist() == second.section.tolist()
    assert geodesic_distance_deg(first.poses.rotations, second.poses.rotations).max() < 1e-6
    np.testing.assert_allclose(first.poses.origins_angst, second.poses.origins_angst, atol=1e-9)
    np.testing.assert_allclose(first.pixel_size_angst, second.pixel_size_angst, rtol=1e-12)
    for name in vars(first.ctf):
        np.testing.assert_allclose(getattr(first.ctf, name), getattr(second.ctf, name))


@pytest.mark.parametrize("second", FORMS)
@pytest.mark.parametrize("first", FORMS)
def test_every_form_becomes_every_other(ours, tmp_path, first, second):
    known = read_particle_table(ours.star)
    convert([ours.star], tmp_path / "one.star", form=first)
    assert_same(read_particle_table(tmp_path / "one.star"), known)
    done = convert([tmp_path / "one.star"], tmp_path / "two.star", form=second)
    two = read_particle_table(tmp_path / "two.star")
    assert_same(two, known)
    assert (done.left_out, done.remarks) == ((), ())
    assert two.image_size == known.image_size
    assert (two.optics is None) == (second == "3.0")


def test_what_each_form_looks_like(ours, tmp_path):
    for form in FORMS:
        convert([ours.star], tmp_path / f"{form}.star", form=form)
    old = starfile.read(tmp_path / "3.0.star")  # one table, whatever its name
    assert {"rlnOriginX", "rlnMagnification", "rlnDetectorPixelSize", "rlnVoltage"} <= set(old)
    assert not {"rlnOriginXAngst", "rlnOpticsGroup", "rlnImagePixelSize"} & set(old)
    np.testing.assert_allclose(old["rlnOriginX"] * PIXEL, ours.poses.origins_angst[:, 0], atol=1e-5)
    for form, version in (("3.1", "30001"), ("5.0", "50001")):
        text = (tmp_path / f"{form}.star").read_text()
        assert text.count(f"# version {version}") == 2
        tables = starfile.read(tmp_path / f"{form}.star")
        assert {"rlnOriginXAngst", "rlnOpticsGroup"} <= set(tables["particles"])
        assert not {"rlnOriginX", "rlnVoltage"} & set(tables["particles"])
        assert "rlnVoltage" in tables["optics"]


def test_rows_of_two_microscopes_become_two_groups(ours, tmp_path):
    old = tmp_path / "old.star"
    kv = [300.0, 200.0, 200.0, 300.0, 300.0, 200.0]
    fake.write_star_30(old, ours.poses, ours.ctf, ours.stack.name, rlnVoltage=np.array(kv))
    convert([old], tmp_path / "new.star")
    table = read_particle_table(tmp_path / "new.star")
    assert table.optics["rlnVoltage"].tolist() == [200, 300]
    assert table.optics["rlnImageSize"].tolist() == [ours.balls.box] * 2
    assert table.particles["rlnOpticsGroup"].tolist() == [2, 1, 1, 2, 2, 1]
    assert table.ctf.voltage_kv.tolist() == kv
    done = convert([tmp_path / "new.star"], tmp_path / "again.star", form="3.0")
    assert done.left_out == ("the division into 2 optics groups; every row states its own values",)
    assert read_particle_table(tmp_path / "again.star").ctf.voltage_kv.tolist() == kv


def test_own_columns_stay_and_lost_ones_are_named(ours, tmp_path):
    tables = read_star(ours.star)
    tables["particles"]["myOwnColumn"] = list("abcdef")
    tables["optics"]["rlnMagMat00"] = 1.02
    tables["optics"]["rlnCtfDataArePhaseFlipped"] = 1
    write_star(ours.star, tables)
    done = convert([ours.star], tmp_path / "old.star", form="3.0")
    assert done.left_out == ("columns of the optics table: rlnMagMat00",)
    old = read_particle_table(tmp_path / "old.star")
    assert old.particles["myOwnColumn"].tolist() == list("abcdef")
    assert old.particles["rlnCtfDataArePhaseFlipped"].tolist() == [1] * COUNT
    done = convert([ours.star], tmp_path / "out.cs")
    assert any("rlnCtfDataArePhaseFlipped: not 0 everywhere" in text for text in done.left_out)
    assert any("myOwnColumn, rlnMagMat00" in text for text in done.left_out)


def test_confidence_and_b_factor_are_not_dropped_in_silence(ours, tmp_path):
    tables = read_star(ours.star)
    tables["particles"]["rlnMaxValueProbDistribution"] = 0.5
    tables["particles"]["rlnCtfBfactor"] = [0, 0, 20.0, 0, 0, 0]
    tables["particles"]["rlnCtfScalefactor"] = 1.0
    write_star(ours.star, tables)
    for out in ("a.cs", "a.pkl"):
        told = convert([ours.star], tmp_path / out).left_out
        assert [text.split(":")[0] for text in told] == [
            "rlnMaxValueProbDistribution",
            "rlnCtfBfactor",
        ]


def test_a_box_that_nobody_knows(ours, tmp_path):
    old = tmp_path / "elsewhere" / "old.star"
    old.parent.mkdir()
    fake.write_star_30(old, ours.poses, ours.ctf, ours.stack.name)
    done = convert([old], old.with_name("new.star"))
    assert "rlnImageSize" in done.remarks[0]
    assert "--root" in done.remarks[0]
    for out in ("new.cs", "new.pkl"):
        with pytest.raises(
            errors.MetadataError, match=r"row 1 of .*old.star: the box is not.*--root"
        ):
            convert([old], old.with_name(out))
        convert([old], old.with_name(out), root=tmp_path)
    convert([old], old.with_name("new.star"), root=tmp_path, overwrite=True)
    tables = read_star(old.with_name("new.star"))
    assert tables["optics"]["rlnImageSize"].tolist() == [ours.balls.box]


def test_inputs_that_do_not_belong_together(ours, tmp_path):
    stack = [ours.stack]
    for inputs in ([ours.star, ours.star], stack, [tmp_path / "notes.txt"], []):
        with pytest.raises(errors.OptionError, match=r"give one \.star file, or a \.cs file"):
            convert(inputs, tmp_path / "out.star")
    with pytest.raises(errors.OptionError, match=r"ends in \.star, \.cs or \.pkl"):
        convert([ours.star], tmp_path / "out.txt")
    with pytest.raises(errors.OptionError, match=r"'4\.0' is not a StarForm"):
        convert([ours.star], tmp_path / "out.star", form="4.0")


def test_outputs_are_not_overwritten_unasked(ours, tmp_path):
    with pytest.raises(errors.EntryExistsError, match="is one of the inputs"):
        convert([ours.star], ours.star, overwrite=True)
    (tmp_path / "out.ctf.pkl").write_text("precious")
    with pytest.raises(errors.EntryExistsError, match=r"out\.ctf\.pkl exists"):
        convert([ours.star], tmp_path / "out.pkl")
    assert not (tmp_path / "out.poses.pkl").exists()
    convert([ours.star], tmp_path / "out.poses.pkl", overwrite=True)
    assert (tmp_path / "out.ctf.pkl").read_bytes() != b"precious"


@pytest.mark.relion
def test_relion_makes_one_map_of_every_form(ours, tmp_path):
    maps = []
    for form in FORMS:
        star = f"form_{form.replace('.', '')}.star"
        convert([ours.star], tmp_path / star, form=form)
        command = ["relion_reconstruct", "--i", star, "--o", f"{form}.mrc", "--ctf"]
        command += ["--angpix", str(PIXEL), "--skip_gridding"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        maps.append(read_volume(tmp_path / f"{form}.mrc")[0])
    assert np.ptp(maps[0]) > 0
    for other in maps[1:]:
        np.testing.assert_allclose(other, maps[0], atol=1e-4 * np.ptp(maps[0]))


@needs_real_data("relion31.6opticsgroups.star")
def test_six_real_groups(tmp_path):
    source = REAL_DATA / "relion31.6opticsgroups.star"
    done = convert([source], tmp_path / "old.star", form="3.0")
    assert "6 optics groups" in done.left_out[0]
    assert "rlnOddZernike" in done.left_out[1]
    known = read_particle_table(source, check_images=False)
    assert_same(read_particle_table(tmp_path / "old.star", check_images=False), known)
    convert([tmp_path / "old.star"], tmp_path / "new.star")
    again = read_particle_table(tmp_path / "new.star", check_images=False)
    assert_same(again, known)
    assert len(again.optics) == 6
    kept = pd.Index(known.particles.columns).difference(again.particles.columns)
    assert kept.empty
