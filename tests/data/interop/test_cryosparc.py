"""CryoSPARC's files, proved by images: its documented rule against our projector."""

from dataclasses import replace

import fake_entry as fake
import foreign_rules as rules
import numpy as np
import numpy.lib.recfunctions
import pytest
from particle_sets import BOX, COUNT, PIXEL, our_images, some_ctf
from real_data import REAL_DATA, needs_real_data

from cesped import errors
from cesped.data.conventions import read_particle_table
from cesped.data.interop import convert
from cesped.geometry.rotations import geodesic_distance_deg

RIGHT, WRONG = 0.995, 0.95
FIELDS = [
    ("uid", "<u8"),
    ("blob/path", "S24"),
    ("blob/idx", "<u4"),
    ("blob/shape", "<u4", (2,)),
    ("blob/psize_A", "<f4"),
    ("blob/sign", "<f4"),
    ("ctf/exp_group_id", "<u4"),
    ("ctf/accel_kv", "<f4"),
    ("ctf/cs_mm", "<f4"),
    ("ctf/amp_contrast", "<f4"),
    ("ctf/df1_A", "<f4"),
    ("ctf/df2_A", "<f4"),
    ("ctf/df_angle_rad", "<f4"),
    ("ctf/phase_shift_rad", "<f4"),
    ("ctf/tilt_A", "<f4", (2,)),
    ("alignments3D/split", "<u4"),
    ("alignments3D/shift", "<f4", (2,)),
    ("alignments3D/pose", "<f4", (3,)),
    ("alignments3D/psize_A", "<f4"),
    ("alignments3D/error", "<f4"),
    ("alignments3D/class", "<u4"),
]


def save(path, records):
    with path.open("wb") as stream:
        np.save(stream, records)
    return path


def load(path):
    with path.open("rb") as stream:
        return np.load(stream, allow_pickle=False)


def images_by_the_rule(balls, records):
    return np.array([rules.cryosparc_image(balls, row) for row in records])


@pytest.mark.parametrize("ours", [BOX, BOX + 1], indirect=True)
def test_what_we_write_explains_our_images(ours, tmp_path):
    done = convert([ours.star], tmp_path / "out.cs")
    assert any("bright" in remark for remark in done.remarks)
    records = load(tmp_path / "out.cs")
    assert records["blob/idx"].tolist() == [0, 1, 2, 3, 4, 5]
    assert set(records["blob/path"].tolist()) == {b"particles.mrcs"}
    assert records["blob/shape"].tolist() == [[ours.balls.box] * 2] * COUNT
    assert len(set(records["uid"].tolist())) == COUNT

    def correlate(**changes):
        other = records.copy()
        for name, values in changes.items():
            other[name.replace("__", "/")] = values
        return rules.correlations(images_by_the_rule(ours.balls, other), ours.images)

    shift = records["alignments3D/shift"]
    assert correlate().min() > RIGHT
    assert correlate(alignments3D__pose=-records["alignments3D/pose"]).mean() < WRONG
    assert correlate(alignments3D__shift=-shift).mean() < WRONG
    assert correlate(alignments3D__shift=shift[:, ::-1]).mean() < WRONG
    assert correlate(alignments3D__shift=shift * PIXEL).mean() < WRONG
    angle = records["ctf/df_angle_rad"]
    assert correlate(ctf__df_angle_rad=np.pi / 2 - angle).mean() < WRONG
    assert correlate(blob__sign=-1).max() < -RIGHT


@pytest.fixture
def foreign(tmp_path):
    """A job of two files that only CryoSPARC's rule ever saw, refined at twice the pixel size."""
    rng = np.random.default_rng(4)
    balls, ctf = rules.Balls(BOX, seed=6), some_ctf(rng)
    records = np.zeros(COUNT, FIELDS)
    records["uid"] = rng.integers(2**62, 2**64, COUNT, dtype=np.uint64)
    records["blob/path"] = b">J7/extract/stack.mrc"
    records["blob/idx"] = [3, 1, 0, 2, 5, 4]
    records["blob/shape"], records["blob/psize_A"], records["blob/sign"] = BOX, PIXEL, 1
    records["ctf/exp_group_id"] = [4, 4, 9, 9, 9, 4]
    records["ctf/accel_kv"], records["ctf/cs_mm"], records["ctf/amp_contrast"] = 300, 2.7, 0.1
    records["ctf/df1_A"], records["ctf/df2_A"] = ctf.defocus_u_angst, ctf.defocus_v_angst
    records["ctf/df_angle_rad"] = np.radians(ctf.defocus_angle_deg)
    records["ctf/phase_shift_rad"] = np.radians(ctf.phase_shift_deg)
    records["alignments3D/split"], records["alignments3D/class"] = [0, 1, 1, 0, 1, 0], 2
    records["alignments3D/pose"] = rng.normal(size=(COUNT, 3)) * 1.5
    records["alignments3D/pose"][0] = 0  # no rotation has no axis
    signs = rng.choice([-1, 1], (COUNT, 2))
    records["alignments3D/psize_A"] = 2 * PIXEL
    records["alignments3D/shift"] = signs * rng.uniform(0.7, 1.5, (COUNT, 2))
    images = np.zeros((COUNT, BOX, BOX), np.float32)
    described = records.copy()
    described["alignments3D/pose"][0] = 1e-9
    images[records["blob/idx"]] = images_by_the_rule(balls, described)
    (tmp_path / "J7/extract").mkdir(parents=True)
    fake.write_stack(tmp_path / "J7/extract/stack.mrc", images, PIXEL)
    names = [name for name in records.dtype.names if not name.startswith("ctf/")]
    others = ["uid", *(name for name in records.dtype.names if name.startswith("ctf/"))]
    job = [save(tmp_path / "particles.cs", repack(records[names]))]
    job.append(save(tmp_path / "passthrough.cs", repack(records[others])[::-1]))
    return balls, images, records, job


def repack(records):
    return np.lib.recfunctions.repack_fields(records)


def test_what_we_read_explains_foreign_images(foreign, tmp_path):
    balls, images, records, job = foreign
    done = convert(job, tmp_path / "made.star")
    table = read_particle_table(tmp_path / "made.star")
    assert done.n_particles == len(table) == COUNT
    assert table.ids[0] == "000004@J7/extract/stack.mrc"
    assert table.section.tolist() == records["blob/idx"].tolist()
    seen = images[table.section]
    assert rules.correlations(our_images(balls, table.poses, table.ctf), seen).min() > RIGHT
    flipped = replace(table.poses, origins_angst=-table.poses.origins_angst)
    made = our_images(balls, flipped, table.ctf)
    assert rules.correlations(made, seen).mean() < WRONG
    turned = replace(table.poses, rotations=table.poses.rotations.transpose(0, 2, 1))
    made = our_images(balls, turned, table.ctf)
    assert rules.correlations(made, seen)[1:].mean() < WRONG
    # the same shifts taken as pixels of the image, as older converters did
    halved = replace(table.poses, origins_angst=table.poses.origins_angst / 2)
    made = our_images(balls, halved, table.ctf)
    assert rules.correlations(made, seen).mean() < RIGHT


def test_what_else_the_file_says(foreign, tmp_path):
    _, _, records, job = foreign
    done = convert(job, tmp_path / "made.star")
    table = read_particle_table(tmp_path / "made.star")
    assert table.particles["rlnRandomSubset"].tolist() == [1, 2, 2, 1, 2, 1]
    assert table.particles["rlnClassNumber"].tolist() == [3] * COUNT
    assert table.particles["ucsfUid"].tolist() == records["uid"].tolist()
    assert table.optics["rlnOpticsGroupName"].tolist() == ["opticsGroup4", "opticsGroup9"]
    assert table.optics["rlnSphericalAberration"].tolist() == [2.7, 2.7]
    assert table.optics["rlnImagePixelSize"].tolist() == [PIXEL, PIXEL]
    assert any("that of the .cs file" in remark for remark in done.remarks)
    assert any(".mrcs" in remark for remark in done.remarks)
    assert done.left_out == ("fields that no star file has a column for: alignments3D/error",)


def test_there_and_back_is_the_same(foreign, tmp_path):
    _, _, records, job = foreign
    convert(job, tmp_path / "made.star")
    convert([tmp_path / "made.star"], tmp_path / "back.cs")
    back = load(tmp_path / "back.cs")
    assert back["uid"].tolist() == records["uid"].tolist()
    same = [name for name in FIELDS if name[0].startswith(("ctf/", "blob/"))]
    for name, *_ in same:
        if name not in ("blob/path", "ctf/exp_group_id"):  # `>` is not put back
            np.testing.assert_allclose(back[name], records[name], rtol=1e-6, err_msg=name)
    assert back["alignments3D/split"].tolist() == records["alignments3D/split"].tolist()
    angst = [r["alignments3D/shift"] * r["alignments3D/psize_A"][:, None] for r in (back, records)]
    np.testing.assert_allclose(*angst, rtol=1e-5)
    turns = [
        [rules.matrix_of(pose.astype(float)) for pose in r["alignments3D/pose"][1:]]
        for r in (back, records)
    ]
    np.testing.assert_allclose(*turns, atol=1e-5)


def test_dark_particles_and_aberrations_are_told(foreign, tmp_path):
    *_, records, _ = foreign
    records["blob/sign"][:3] = -1
    records["ctf/tilt_A"][2] = (0, 30)
    done = convert([save(tmp_path / "all.cs", records)], tmp_path / "made.star")
    assert any("dark in 50% of the images" in remark for remark in done.remarks)
    assert "ctf/tilt_A: beam tilt, which is not 0 everywhere" in done.left_out


def changed(name, row, value):
    def change(records):
        records[name][row] = value
        return records

    return change


def without(*names):
    def change(records):
        return repack(records[[name for name in records.dtype.names if name not in names]])

    return change


FAULTS = {
    "nan pose": (changed("alignments3D/pose", (3, 1), np.nan), r"row 4 of .*alignments3D/pose"),
    "inf shift": (changed("alignments3D/shift", (2, 0), np.inf), r"row 3 of .*alignments3D/shift"),
    "nan defocus": (changed("ctf/df1_A", 5, np.nan), r"row 6 of .*ctf/df1_A is nan"),
    "oblong": (changed("blob/shape", (1, 0), 18), r"row 2 of .*\[18, 20\]; images must be square"),
    "no images": (without("blob/path", "blob/idx"), r"no field blob/path, blob/idx.*passthrough"),
    "no voltage": (without("ctf/accel_kv"), r"no field ctf/accel_kv, which the CTF need"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_name_row_and_field(foreign, tmp_path, fault):
    *_, records, _ = foreign
    change, message = FAULTS[fault]
    path = save(tmp_path / "all.cs", change(records))
    with pytest.raises(errors.CsFileError, match=message) as caught:
        convert([path], tmp_path / "made.star")
    assert str(path) in str(caught.value)
    assert not (tmp_path / "made.star").exists()


def test_poses_of_several_classes_are_refused(foreign, tmp_path):
    *_, records, _ = foreign
    fields = [(name, records.dtype[name]) for name in records.dtype.names]
    fields = [field for field in fields if not field[0].startswith("alignments3D")]
    several = np.zeros(COUNT, [*fields, ("alignments_class_0/pose", "<f4", (3,))])
    for name, _ in fields:
        several[name] = records[name]
    with pytest.raises(errors.CsFileError, match=r"several classes \(alignments_class_0/pose\)"):
        convert([save(tmp_path / "abinitio.cs", several)], tmp_path / "made.star")


def test_without_poses_there_is_still_a_star_file(foreign, tmp_path):
    *_, records, _ = foreign
    extracted = without("alignments3D/pose", "alignments3D/shift", "alignments3D/psize_A")(records)
    path = save(tmp_path / "extracted.cs", extracted)
    convert([path], tmp_path / "made.star")
    table = read_particle_table(tmp_path / "made.star", require_poses=False)
    assert table.poses is None
    assert len(table.ctf) == COUNT
    with pytest.raises(errors.MetadataError, match=r"extracted.cs has no poses"):
        convert([path], tmp_path / "poses.pkl")


@needs_real_data("cryosparc_P9_J209_000_particles.cs")
def test_real_refinement(tmp_path):
    source = REAL_DATA / "cryosparc_P9_J209_000_particles.cs"
    done = convert([source], tmp_path / "j.star")
    assert done.n_particles == 11764
    assert any("dark in the images" in remark for remark in done.remarks)
    table = read_particle_table(tmp_path / "j.star", check_images=False)
    records = load(source)
    assert table.image_size == 256
    assert table.sampling_rate == pytest.approx(1.02734375, abs=1e-6)
    rotations = [rules.matrix_of(pose.astype(float)) for pose in records["alignments3D/pose"]]
    assert geodesic_distance_deg(table.poses.rotations, rotations).max() < 1e-4
    shifts = records["alignments3D/shift"] * 1.02734375
    np.testing.assert_allclose(table.poses.origins_angst, shifts, atol=1e-4)


@needs_real_data("empiar_10076_7.cs", "empiar_10076_7.star", "empiar_10076_7.mrc")
def test_one_real_data_set_in_both_formats(tmp_path):
    """The same 7 particles, imported by CryoSPARC from the star file."""
    convert([REAL_DATA / "empiar_10076_7.cs"], tmp_path / "a.star")
    known = read_particle_table(REAL_DATA / "empiar_10076_7.star", require_poses=False)
    made = read_particle_table(tmp_path / "a.star", REAL_DATA, require_poses=False)
    assert made.stacks == known.stacks
    assert made.section.tolist() == known.section.tolist()
    assert made.image_size == known.image_size == 320
    np.testing.assert_allclose(made.pixel_size_angst, known.pixel_size_angst, rtol=1e-6)
    for name in vars(known.ctf):
        np.testing.assert_allclose(
            getattr(made.ctf, name), getattr(known.ctf, name), rtol=1e-6, atol=1e-6, err_msg=name
        )
    convert([REAL_DATA / "empiar_10076_7.star"], tmp_path / "b.cs")
    ours, theirs = load(tmp_path / "b.cs"), load(REAL_DATA / "empiar_10076_7.cs")
    for name in ("blob/path", "blob/idx", "blob/shape", "ctf/accel_kv", "ctf/amp_contrast"):
        assert ours[name].tolist() == theirs[name].tolist()
    for name in ("blob/psize_A", "ctf/df1_A", "ctf/df2_A", "ctf/df_angle_rad", "ctf/cs_mm"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-6, err_msg=name)
