"""Bad input at every door: exit code 1, one message with file, row and remedy, nothing written."""

import shutil

import mrcfile
import numpy as np
import pytest
from fault_doors import (
    BY_ENTRY,
    DOORS,
    WITH_IMAGES,
    WITH_STAR,
    as_folder,
    assert_says,
    cut,
    go_through,
    packed,
    read_dataset,
    refuse,
    write_info,
)

from cesped.io.star import read_star, write_star


@pytest.mark.parametrize("door", [door for door in DOORS if door != "dataset"])
def test_the_project_is_welcome_before_it_is_spoilt(project, door):
    before = project.listing()
    assert go_through(door, project) == 0
    after = project.listing()
    assert {name: after[name] for name in before if before[name]} == {
        name: size for name, size in before.items() if size
    }
    assert len(after) > len(before)
    assert not [name for name in after if "/." in name or name.startswith(".")]
    read_dataset(project)


def set_value(column, row, value):
    def change(particles):
        values = list(particles[column])
        values[row] = value
        return particles.assign(**{column: values})

    return lambda project: project.edit_star(change)


def set_optics(column, value):
    def spoil(project):
        tables = read_star(project.star)
        write_star(project.star, tables | {"optics": tables["optics"].assign(**{column: value})})

    return spoil


def drop_column(column):
    return lambda project: project.edit_star(lambda particles: particles.drop(columns=column))


def fill_image(value):
    def change(images):
        images[3] = value

    return lambda project: project.edit_images(change)


def one_nan(project):
    def change(images):
        images[3, 5, 5] = np.nan

    project.edit_images(change)


def header_says_2_angst(project):
    with mrcfile.mmap(project.stack, mode="r+") as mrc:
        mrc.voxel_size = 2.0


ROW_4 = r"row 4 of .*particles_0\.star"
STAR_FAULTS = {
    "angles": (drop_column("rlnAngleTilt"), r"particles_0\.star has no column rlnAngleTilt; .*"),
    "no_image_names": (drop_column("rlnImageName"), r"no table with column rlnImageName.*; give"),
    "optics_group": (
        set_value("rlnOpticsGroup", 3, 7),
        rf"{ROW_4}: optics group 7 is not in the optics table, which has 1; add it",
    ),
    "nan_angle": (
        set_value("rlnAngleRot", 3, float("nan")),
        rf"{ROW_4}: rlnAngleRot is nan, which is no finite number; correct",
    ),
    "word_for_angle": (
        set_value("rlnAngleRot", 3, "ninety"),
        rf"{ROW_4}: rlnAngleRot is 'ninety', which is no finite number; correct",
    ),
    "image_name": (
        set_value("rlnImageName", 3, "particle4.mrc"),
        rf"{ROW_4}: rlnImageName 'particle4\.mrc' is not of the form NUMBER@STACK",
    ),
    "voltage": (set_optics("rlnVoltage", 0), r"particles_0\.star.*row 1.*voltage"),
    "pixel_size_zero": (
        set_optics("rlnImagePixelSize", 0),
        r"row 1 of .*particles_0\.star: rlnImagePixelSize gives a pixel size of 0",
    ),
    "no_particles": (
        lambda p: p.edit_star(lambda rows: rows[:0]),
        r"particles_0\.star has no particles",
    ),
    "empty": (lambda p: p.star.write_text(""), r"particles_0\.star has no data_ block"),
    "text": (lambda p: p.star.write_text("hello\n"), r"particles_0\.star has no data_ block"),
    "cut": (
        lambda p: cut(p.star, p.star.stat().st_size - 60),
        r"particles_0\.star, table data_particles, row \d.*mend",
    ),
    "gzip": (lambda p: packed(p.star), r"particles_0\.star is compressed with gzip: unpack"),
    "image_as_star": (lambda p: shutil.copy(p.stack, p.star), r"particles_0\.star.*NUL bytes"),
}


# Without angles, a star file is still one whose poses can be predicted.
FAULTS_AT_DOORS = [
    (door, fault)
    for door in WITH_STAR
    for fault in STAR_FAULTS
    if (door, fault) != ("infer", "angles")
]


@pytest.mark.parametrize(("door", "fault"), FAULTS_AT_DOORS)
def test_star_file(project, capsys, door, fault):
    spoil, expected = STAR_FAULTS[fault]
    spoil(project)
    assert_says(refuse(door, project, capsys), expected)


@pytest.mark.parametrize("door", ["add", "reconstruct", "project"])
@pytest.mark.parametrize("spoil", [as_folder, lambda path: path.unlink()])
def test_star_file_that_is_no_file(project, capsys, door, spoil):
    spoil(project.star)
    assert_says(refuse(door, project, capsys), r"particles_0\.star is not a file: check the path")


IMAGE_FAULTS = {
    "missing_section": (
        set_value("rlnImageName", 3, "000099@particles_0.mrcs"),
        rf"{ROW_4}: image 99 of .*particles_0\.mrcs does not exist, the stack has 6; the star",
    ),
    "missing_stack": (
        set_value("rlnImageName", 3, "000001@gone.mrcs"),
        rf"{ROW_4}: the stack gone\.mrcs does not exist; looked for .*gone\.mrcs\. Give the folder",
    ),
    "stack_gone": (
        lambda p: p.stack.unlink(),
        r"row 1 of .*star: the stack particles_0\.mrcs does",
    ),
    "truncated": (
        lambda p: cut(p.stack, 1024 + 3 * 16 * 16 * 4 + 5),
        r"row 1 of .*star: .*particles_0\.mrcs is truncated: .* 3 whole sections: copy or make it",
    ),
    "no_header": (lambda p: cut(p.stack, 100), r"particles_0\.mrcs has 100 bytes, less than"),
    "empty_stack": (lambda p: cut(p.stack, 0), r"particles_0\.mrcs has 0 bytes, less than"),
    "gzip": (lambda p: packed(p.stack), r"particles_0\.mrcs is compressed with gzip: unpack"),
    "nan": (one_nan, rf"{ROW_4} .*: 1 pixels of section 4 of .*mrcs are NaN or infinite; extract"),
    "infinite": (fill_image(np.inf), rf"{ROW_4} .*: 256 pixels of section 4 .*; extract"),
    "constant": (fill_image(0), rf"{ROW_4} .*: image 4 of .*mrcs is constant \(0 every.*; remove"),
    "pixel_size": (
        header_says_2_angst,
        r"row 1 of .*star says 3 angstrom/px, the header of .*particles_0\.mrcs says 2; correct",
    ),
    "box": (
        set_optics("rlnImageSize", 20),
        r"row 1 of .*star, optics group 1 .*: rlnImageSize is 20, but .*mrcs holds images of 16 px",
    ),
}


@pytest.mark.parametrize("door", WITH_IMAGES)
@pytest.mark.parametrize("fault", IMAGE_FAULTS)
def test_images(project, capsys, door, fault):
    spoil, expected = IMAGE_FAULTS[fault]
    spoil(project)
    assert_says(refuse(door, project, capsys), expected)


@pytest.mark.parametrize("door", BY_ENTRY)
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"symmetry": "Q5"}, r"info_0\.json.*'Q5' is not a point group; use one of: C1 to C99"),
        ("{", r"info_0\.json is no JSON .*; add the entry again"),
        ({}, r"info_0\.json states no symmetry; write"),
        ({"symmetry": None}, r"info_0\.json.*'NONE' is not a point group"),
    ],
)
def test_info_of_an_entry(project, capsys, door, content, expected):
    write_info(project, content)
    assert_says(refuse(door, project, capsys), expected)


@pytest.mark.parametrize("door", BY_ENTRY)
def test_entry_that_is_not_there(project, capsys, door):
    project.entry.rename(project.bench / "OTHER")
    message = refuse(door, project, capsys)
    assert_says(message, r"half [01] of entry E is not in .*OTHER half 0, OTHER half 1.*cesped add")


@pytest.mark.parametrize("door", ["add", "reconstruct"])
@pytest.mark.parametrize("symmetry", ["Q5", "C0", "", "D", "C1.5", "C 2"])
def test_wrong_symmetry_on_the_command_line(project, capsys, door, symmetry):
    before = project.listing()
    assert go_through(door, project, "--symmetry", symmetry) == 1
    message = capsys.readouterr().err
    assert_says(message, rf"error: symmetry '{symmetry}' is not a point group; use one of: C1 to")
    assert project.listing() == before


def change_ids(change):
    def spoil(project):
        def edit(particles):
            return particles.assign(rlnImageName=change(list(particles["rlnImageName"])))

        project.edit_star(edit, project.predictions(0))

    return spoil


ID_FAULTS = {
    "missing": (
        lambda p: p.edit_star(lambda rows: rows.drop(index=2), p.predictions(0)),
        r"1 particle missing from the predictions: '000003@particles_0\.mrcs' "
        r"\(row 3 of .*particles_0\.star\)",
    ),
    "doubled": (
        change_ids(lambda ids: [*ids[:-1], ids[0]]),
        r"1 particle listed more than once: '.*1@particles_0\.mrcs' \(rows 1, 6 of .*predicted_0",
    ),
    "foreign": (
        change_ids(lambda ids: [*ids[:-1], "9@other.mrcs"]),
        r"1 particle foreign to this half: '9@other\.mrcs' \(row 6 of .*predicted_0\.star\)",
    ),
    "other_half": (
        lambda p: shutil.copy(p.predictions(1), p.predictions(0)),
        r"These are the particles of the other half: give the two files in the other order",
    ),
}


@pytest.mark.parametrize("fault", ID_FAULTS)
def test_ids_that_do_not_match(project, capsys, fault):
    spoil, expected = ID_FAULTS[fault]
    spoil(project)
    assert_says(refuse("evaluate", project, capsys), expected)


@pytest.mark.parametrize("fault", ["angles", "optics_group", "nan_angle", "no_particles", "empty"])
def test_predictions(project, capsys, fault):
    spoil, expected = STAR_FAULTS[fault]
    spoil(project)
    shutil.move(project.star, project.predictions(0))
    shutil.copy(project.predictions(1), project.star)
    shutil.copy(project.entry / "particles_1.mrcs", project.stack)
    project.edit_star(lambda particles: particles.replace("_1.mrcs", "_0.mrcs", regex=True))
    message = refuse("evaluate", project, capsys)
    assert_says(message, expected.replace("particles_0", "predicted_0"))


def test_predictions_that_are_not_there(project, capsys):
    project.predictions(1).unlink()
    message = refuse("evaluate", project, capsys)
    assert_says(message, r"predicted_1\.star is not a file: check the path")
    message = refuse("evaluate", project, capsys, "--NOT_rm_prev_reconstructions")
    assert_says(message, r"predicted_1\.star is not a file: check the path")


def test_errors_keep_their_traceback_for_who_asks(project):
    project.star.unlink()
    with pytest.raises(FileNotFoundError):
        go_through("reconstruct", project, "--debug")


def test_all_columns_survive_a_refusal(project, capsys):
    before = read_star(project.star)["particles"]
    one_nan(project)
    refuse("add", project, capsys)
    assert before.equals(read_star(project.star)["particles"])
