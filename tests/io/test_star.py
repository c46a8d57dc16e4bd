"""Star files: what goes in comes out; twins `starfile` and RELION; damage is named by row."""

import subprocess

import numpy as np
import pandas as pd
import pytest
import starfile
from hypothesis import given
from hypothesis import strategies as st
from real_data import REAL_DATA, needs_real_data

from cesped.errors import DiskFullError, EntryExistsError, MissingFileError, StarFileError
from cesped.io.star import KEY_VALUE, VERSION, read_star, write_star

THREE_ONE = """
# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnVoltage #3
1 opticsGroup1 300.000000


# version 30001

data_particles

loop_
_rlnImageName #1
_rlnMicrographName #2
_rlnAngleRot #3
_rlnOpticsGroup #4
000001@a.mrcs 001 12.500000 1
000002@a.mrcs 002 -0.000001 1
"""


def star(tmp_path, text, name="a.star"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def loop(*rows, columns=("rlnA", "rlnB")):
    header = "".join(f"_{name}\n" for name in columns)
    return "data_\n\nloop_\n" + header + "\n".join(rows) + "\n"


def test_optics_and_particles(tmp_path):
    tables = read_star(star(tmp_path, THREE_ONE))
    assert list(tables) == ["optics", "particles"]
    assert tables["optics"].loc[0].to_dict() == {
        "rlnOpticsGroup": 1,
        "rlnOpticsGroupName": "opticsGroup1",
        "rlnVoltage": 300.0,
    }
    assert list(tables["particles"]["rlnMicrographName"]) == ["001", "002"]
    assert list(tables["particles"]["rlnAngleRot"]) == [12.5, -1e-6]
    assert tables["particles"].attrs == {KEY_VALUE: False, VERSION: 30001}


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff", "# a comment with data_x\n\n\n"])
def test_line_endings_comments_and_blank_lines(tmp_path, ending, start):
    text = start + (
        "data_images # of one micrograph\n\nloop_ \n_rlnA #1 \n_rlnImageName #2 \n"
        "# between\n\n  1 a#1.mrc   \n\n\t2\tb.mrc # the last one\n\n  \n"
    )
    table = read_star(star(tmp_path, text.replace("\n", ending)))["images"]
    assert table["rlnA"].tolist() == [1, 2]
    assert table["rlnImageName"].tolist() == ["a#1.mrc", "b.mrc"]


def test_key_value_block_is_a_table_of_one_row_and_stays_one(tmp_path):
    text = "data_general\n\n_rlnSize  128\n_rlnRootName 'run one' # so\n_rlnStep 1.5\n\ndata_next\n"
    path = star(tmp_path, text + "loop_\n_rlnA\n1\n2\n")
    tables = read_star(path)
    assert tables["general"].to_dict("records") == [
        {"rlnSize": 128, "rlnRootName": "run one", "rlnStep": 1.5}
    ]
    assert tables["next"]["rlnA"].tolist() == [1, 2]
    write_star(path, tables)
    assert '_rlnRootName "run one"\n' in path.read_text()
    pd.testing.assert_frame_equal(read_star(path)["general"], tables["general"])


def test_a_table_may_have_one_row_or_none(tmp_path):
    tables = read_star(star(tmp_path, loop("1 x") + "\ndata_empty\n\nloop_\n_rlnA\n_rlnB\n"))
    assert tables[""].to_dict("records") == [{"rlnA": 1, "rlnB": "x"}]
    assert list(tables["empty"].columns) == ["rlnA", "rlnB"]
    assert len(tables["empty"]) == 0


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "2"], [1, 2]),
        (["1", "2.5"], [1.0, 2.5]),
        (["1e-30", "-inf"], [1e-30, -np.inf]),
        (["nan", "1"], [np.nan, 1.0]),
        (["001", "002"], ["001", "002"]),
        (["0.5", "0"], [0.5, 0.0]),
        (["true", "false"], ["true", "false"]),
        (["1", "x"], ["1", "x"]),
        (['"two words"', "'and more'"], ["two words", "and more"]),
        (["5'", "don't"], ["5'", "don't"]),
        (['""', "x"], ["", "x"]),
        (["[1,2]", "[3,4]"], ["[1,2]", "[3,4]"]),
        (["None", "NA"], ["None", "NA"]),
        (["0.1234567890123456789", "0.30000000000000004"], [0.12345678901234568, 0.1 + 0.2]),
    ],
)
@pytest.mark.parametrize("last", [True, False])
def test_a_column_is_a_number_where_every_value_is_one(tmp_path, values, expected, last):
    rows = [f"7 {value}" if last else f"{value} 7" for value in values]
    table = read_star(star(tmp_path, loop(*rows)))[""]
    np.testing.assert_array_equal(table["rlnB" if last else "rlnA"].to_numpy(), expected)


@pytest.mark.parametrize("name", ["001", "1e5", "nan", "inf", "1_0", "-7", "0x1F", "True"])
def test_a_name_that_looks_like_a_number_stays_a_name(tmp_path, name):
    path = star(tmp_path, loop(f"1 {name}", f"2 {name}", columns=("rlnA", "rlnMicrographName")))
    tables = read_star(path)
    assert tables[""]["rlnMicrographName"].tolist() == [name, name]
    write_star(path, tables)
    assert read_star(path)[""]["rlnMicrographName"].tolist() == [name, name]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1 2", "3", "5 6"], r"row 2 \(line 7\): 1 values for 2 columns: the file may be trunc"),
        (["1 2", "", "3 4", "5"], r"row 3 \(line 9\): 1 values"),
        (["1 2", "3 4 5"], r"row 2 \(line 7\): 3 values"),
        (["1 2", "3 4 5 6 7"], r"row 2 \(line 7\): 5 values"),
        (["1 2 3", "4 5 6"], r"row 1 \(line 6\): 3 values"),
        (["1 2 3 4", "4 5"], r"row 1 \(line 6\): 4 values"),
        (["1"], r"row 1 \(line 6\): 1 values"),
        (["a b", "c"], r"row 2 \(line 7\): 1 values"),
        (['"a b', '"c d'], r"row 1 \(line 6\): a quote is opened and not closed"),
        (["1 2", "loop_", "_rlnC", "3"], r"row 2 \(line 7\): a second loop in one data block"),
    ],
)
def test_a_ragged_row_is_named(tmp_path, rows, message):
    path = star(tmp_path, loop(*rows))
    with pytest.raises(StarFileError, match=r"a\.star, table data_, " + message):
        read_star(path)


def test_a_row_is_counted_among_many_and_in_its_own_table(tmp_path):
    rows = [f"{number:06d}@a.mrcs {number} 0.5 1" for number in range(1, 3001)]
    text = THREE_ONE + "\n".join(rows[:-1]) + "\n" + rows[-1][:-2]
    with pytest.raises(StarFileError, match=r"data_particles, row 3002 \(line 3023\): 3 values"):
        read_star(star(tmp_path, text))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no data_ block"),
        ("1 2 3\n", "has no data_ block"),
        (loop("1 2") + loop("1 2"), "a second table data_"),
        (loop("1 2", columns=("rlnA", "rlnA")), "column _rlnA is there more than once"),
        ("data_x\nloop_\n1 2\n", "the loop of data_x has no columns"),
        ("data_x\nloop_\n_rlnA\n_rlnAngl", "ends within the columns of data_x"),
        ("data_x\n1 2\n", r"row 1 \(line 2\): expected `_name value`"),
        ("data_x\n_rlnA 1\n_rlnB\n", r"row 2 \(line 3\): expected `_name value`"),
        (loop("1 2", "3 \0\0\0"), r"line 7: holds NUL bytes"),
        (b"data_\nloop_\n_a\nb\n\xff\xfe\n", "text that is not UTF-8"),
    ],
)
def test_what_is_no_star_file_is_named(tmp_path, content, message):
    with pytest.raises(StarFileError, match=r"a\.star.*" + message):
        read_star(star(tmp_path, content))


def test_every_cut_of_a_file_is_an_error_or_loses_no_column(tmp_path):
    whole = read_star(star(tmp_path, THREE_ONE))["particles"]
    for length in range(len(THREE_ONE)):
        try:
            cut = read_star(star(tmp_path, THREE_ONE[:length])).get("particles")
        except StarFileError:
            continue
        if cut is not None and len(cut):
            assert list(cut.columns) == list(whole.columns)
            assert not cut.isna().any().any()


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path, tmp_path / "no.star"):
        with pytest.raises(MissingFileError, match="is not a file"):
            read_star(path)


texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)
words = st.one_of(
    texts, st.sampled_from(["a b", "#x", "_x", "data_x", "loop_", "", "a #b", '"', "'"])
)
finite = st.floats(allow_nan=False, width=64)


@given(
    st.lists(st.tuples(words, st.integers(-(2**62), 2**62), finite, words), min_size=1, max_size=6)
)
def test_any_table_comes_back_the_same(tmp_path_factory, rows):
    names = ["rlnImageName", "rlnClassNumber", "rlnAngleRot", "xyzName"]
    table = pd.DataFrame(rows, columns=names)
    path = tmp_path_factory.getbasetemp() / "any.star"
    write_star(path, {"particles": table})
    back = read_star(path)["particles"]
    for name in names:
        assert back[name].tolist() == table[name].tolist()
    first = path.read_bytes()
    write_star(path, {"particles": back})
    assert path.read_bytes() == first


def test_what_we_write_starfile_reads_alike(tmp_path):
    path = star(tmp_path, THREE_ONE)
    write_star(path, read_star(path))
    ours = read_star(path)
    theirs = starfile.read(path, always_dict=True, parse_as_string=["rlnMicrographName"])
    assert list(theirs) == list(ours)
    for name, table in ours.items():
        pd.testing.assert_frame_equal(theirs[name], table, check_dtype=False)


def test_what_starfile_writes_we_read_alike(tmp_path):
    rng = np.random.default_rng(2)
    table = pd.DataFrame({"rlnImageName": ["1@a b.mrcs", "2@c.mrcs"], "rlnAngleRot": rng.random(2)})
    starfile.write({"particles": table}, tmp_path / "a.star", float_format="%.17g")
    pd.testing.assert_frame_equal(read_star(tmp_path / "a.star")["particles"], table)


@pytest.mark.parametrize(
    ("column", "written"),
    [
        (pd.Series([True, False]), ["1", "0"]),
        (pd.Series([0.1, 1e-7], dtype=np.float32), ["0.1", "1e-07"]),
        (pd.Series([1.0, np.nan]), ["1.0", "nan"]),
        (pd.Series([1, None], dtype="Int64"), ["1", "nan"]),
        (pd.Series(["a", None], dtype=object), ["a", "nan"]),
        (pd.Series(["a", "b c"], dtype="category"), ["a", '"b c"']),
        (pd.Series([2**63], dtype=np.uint64), [str(2**63)]),
    ],
)
def test_columns_of_every_kind_are_written(tmp_path, column, written):
    path = write_star(tmp_path / "a.star", {"": pd.DataFrame({"rlnA": column})})
    assert (
        path.read_text() == "data_\n\nloop_\n_rlnA #1\n" + "".join(f"{w}\n" for w in written) + "\n"
    )


@pytest.mark.parametrize("value", ["a\nb", "a 'b' \"c\""])
def test_a_text_that_no_star_file_holds_is_named(tmp_path, value):
    table = pd.DataFrame({"rlnImageName": ["fine", value]})
    with pytest.raises(StarFileError, match="table data_particles, row 2, column _rlnImageName"):
        write_star(tmp_path / "a.star", {"particles": table})
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_not_replaced_unless_allowed(tmp_path):
    path = star(tmp_path, THREE_ONE)
    tables = read_star(path)
    with pytest.raises(EntryExistsError, match=r"a\.star exists"):
        write_star(path, tables, overwrite=False)
    assert path.read_text() == THREE_ONE
    write_star(path, {"particles": tables["particles"]})
    assert list(read_star(path)) == ["particles"]


def test_full_disk_leaves_the_old_star_file(tmp_path, full_disk):
    path = star(tmp_path, THREE_ONE)
    table = pd.DataFrame({"rlnA": np.arange(5000)})
    with full_disk(limit_bytes=4096), pytest.raises(DiskFullError, match=r"a\.star"):
        write_star(path, {"particles": table})
    assert path.read_text() == THREE_ONE
    assert [child.name for child in tmp_path.iterdir()] == ["a.star"]


@pytest.mark.relion
def test_relion_reads_what_we_write(tmp_path):
    path = write_star(tmp_path / "a.star", read_star(star(tmp_path, THREE_ONE)))
    command = ["relion_star_printtable", path, "data_particles", "_rlnImageName", "_rlnAngleRot"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert printed.split() == ["000001@a.mrcs", "12.5", "000002@a.mrcs", "-1e-06"]


REAL_STARS = {
    "aspire_sample_relion_data.star": ("model_class_1", 17, 29),
    "empiar_10076_7.star": ("", 7, 10),
    "SOD_images.star": ("images", 6496, 27),
    "relion31.6opticsgroups.star": ("particles", 139, 23),
}


@needs_real_data(*REAL_STARS)
@pytest.mark.parametrize("name", REAL_STARS)
def test_real_files_come_back_and_agree_with_starfile(tmp_path, name):
    block, n_rows, n_columns = REAL_STARS[name]
    tables = read_star(REAL_DATA / name)
    assert tables[block].shape == (n_rows, n_columns)
    write_star(tmp_path / "a.star", tables)
    back = read_star(tmp_path / "a.star")
    theirs = starfile.read(
        REAL_DATA / name,
        always_dict=True,
        parse_as_string=["rlnMicrographName", "rlnOpticsGroupName"],
    )
    assert list(back) == list(tables)
    for key, table in tables.items():
        pd.testing.assert_frame_equal(back[key], table, check_exact=True)
        pd.testing.assert_frame_equal(theirs[key], table, rtol=1e-14)
