"""CryoSPARC files: what NumPy wrote is read, objects never are, and files are joined by uid."""

import pickle

import numpy as np
import pytest

from cesped.errors import CsFileError, MissingFileError
from cesped.io.cs import join_by_uid, read_cs, write_cs

ROWS = np.array(
    [(7, b">J1/a.mrc", (8, 9)), (2**63 + 5, b"J1/b.mrc", (1, 2))],
    dtype=[("uid", "<u8"), ("blob/path", "S12"), ("blob/shape", "<u4", (2,))],
)


def test_round_trip_with_numpy_in_between(tmp_path):
    path = write_cs(tmp_path / "a.cs", ROWS)
    with path.open("rb") as stream:
        np.testing.assert_array_equal(np.load(stream, allow_pickle=False), ROWS)
    again = read_cs(path)
    assert again.dtype == ROWS.dtype
    np.testing.assert_array_equal(again, ROWS)
    assert again.flags.writeable


def test_a_file_of_hundreds_of_fields(tmp_path):
    wide = np.zeros(3, dtype=[(f"alignments_class_{i}/posterior", "<f4") for i in range(800)])
    assert len(read_cs(write_cs(tmp_path / "wide.cs", wide)).dtype.names) == 800


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_python_objects_are_never_loaded(tmp_path):
    trap = tmp_path / "sprung"
    objects = np.array([(1, Bomb(trap))], dtype=[("uid", "<u8"), ("blob/path", "O")])
    path = tmp_path / "hostile.cs"
    with path.open("wb") as stream:
        np.save(stream, objects, allow_pickle=True)
    with pytest.raises(CsFileError, match=r"hostile.cs cannot be read .*never loaded"):
        read_cs(path)
    path.write_bytes(pickle.dumps(Bomb(trap)))
    with pytest.raises(CsFileError, match=r"does not start as a \.cs file"):
        read_cs(path)
    assert not trap.exists()
    with pytest.raises(CsFileError, match="store text as bytes"):
        write_cs(tmp_path / "out.cs", objects)


def as_npy(array):
    def write(path):
        with path.open("wb") as stream:
            np.save(stream, array)

    return write


def truncated(path):
    write_cs(path, np.zeros(100, ROWS.dtype))
    path.write_bytes(path.read_bytes()[:-10])


def boasting(path):
    """A header that promises 10^15 rows."""
    write_cs(path, ROWS)
    path.write_bytes(path.read_bytes().replace(b"(2,), }             ", b"(1000000000000000,)}"))


FAULTS = {
    "truncated": (truncated, "truncated or damaged"),
    "boasting": (boasting, "truncated or damaged"),
    "no rows": (as_npy(ROWS[:0]), "has no particles|truncated or damaged"),
    "plain array": (as_npy(np.zeros((3, 3))), r"shape \(3, 3\).*named fields"),
    "text": (lambda path: path.write_text("data_particles\n"), "is it another format"),
    "empty": (lambda path: path.touch(), "is it another format"),
    "stream": (lambda path: path.write_bytes(b"\x94CSDAT\0\0"), "compressed stream format"),
    "broken header": (
        lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': (((((((("),
        "truncated or damaged",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(tmp_path, fault):
    make, message = FAULTS[fault]
    path = tmp_path / "bad.cs"
    make(path)
    with pytest.raises(CsFileError, match=message) as caught:
        read_cs(path)
    assert str(path) in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(MissingFileError, match="check the path"):
        read_cs(tmp_path / "gone.cs")


def test_join_matches_rows_by_uid_whatever_their_order():
    passthrough = np.array(
        [(3, 30, 0.5), (2**63 + 5, 20, 0.25), (7, 10, 0.125)],
        dtype=[("uid", "<u8"), ("location/micrograph_uid", "<u8"), ("ctf/df1_A", "<f4")],
    )
    joined = join_by_uid(ROWS, passthrough, "a.cs", "b.cs")
    assert joined["location/micrograph_uid"].tolist() == [10, 20]
    assert joined["ctf/df1_A"].tolist() == [0.125, 0.25]
    np.testing.assert_array_equal(joined["blob/shape"], ROWS["blob/shape"])


def test_the_first_file_wins_where_both_have_a_field():
    other = ROWS.copy()
    other["blob/path"] = b"wrong"
    assert join_by_uid(ROWS, other, "a", "b")["blob/path"].tolist() == ROWS["blob/path"].tolist()


def test_join_faults_name_the_row():
    with pytest.raises(
        CsFileError, match=rf"row 2 of a\.cs: uid {2**63 + 5} is not in b\.cs \(1 of"
    ):
        join_by_uid(ROWS, ROWS[:1], "a.cs", "b.cs")
    with pytest.raises(CsFileError, match=r"b\.cs: uid 7 is in rows 1 and 3"):
        join_by_uid(ROWS, ROWS[[0, 1, 0]], "a.cs", "b.cs")
    with pytest.raises(CsFileError, match=r"b\.cs has no field uid"):
        join_by_uid(ROWS, ROWS[["blob/path"]], "a.cs", "b.cs")
