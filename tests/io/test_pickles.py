"""Pickles: every form of an array that NumPy writes is read, and nothing is ever run."""

import codecs
import contextlib
import os
import pickle
import pickletools
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cesped.errors import MissingFileError, PickleFileError
from cesped.io.pickles import read_pickle, write_arrays_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
RNG = np.random.default_rng(0)
PLAIN = {
    "poses": (RNG.random((4, 3, 3)).astype("f4"), RNG.random((4, 2))),
    "by column": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "not contiguous": np.arange(10)[::2],
    "big endian": np.arange(4, dtype=">i4"),
    "read-only": np.broadcast_to(np.float32(2), (3, 2)),
    "no rows": np.zeros((0, 3), "f4"),
    "no axes": np.array(True),
    "text": np.array(["a", "bcd"]),
    "bytes": np.array([b"a", b"bcd"]),
    "numbers of NumPy": [np.float32(3), np.int64(-2), np.bool_(True)],
    "containers": {"a": [1, 2.5, None], "b": (b"\xff\x00", "ü", 10**40, False)},
    "shared": [np.arange(3.0)] * 3,
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", PLAIN)
def test_what_pickle_wrote_is_read(tmp_path, name, protocol):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(PLAIN[name], protocol=protocol))
    again = read_pickle(path)
    assert type(again) is type(PLAIN[name])
    np.testing.assert_equal(again, PLAIN[name])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_numpy_1_wrote_is_read(tmp_path, protocol):
    written = pickle.dumps(PLAIN["poses"], protocol=protocol)
    for module in (b"multiarray", b"numeric"):  # the names before NumPy 2, length byte included
        new, old = b"numpy._core." + module, b"numpy.core." + module
        short = [b"\x8c" + bytes([len(name)]) + name for name in (new, old)]
        written = written.replace(*short).replace(b"c" + new, b"c" + old)
    written = written if protocol < 4 else written[:2] + written[11:]  # without the frame's length
    assert b"_core" not in written
    path = tmp_path / "a.pkl"
    path.write_bytes(written)
    np.testing.assert_equal(read_pickle(path), PLAIN["poses"])


def test_arrays_that_were_read_may_be_changed(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(np.zeros(3)))
    read_pickle(path)[0] = 1


def test_written_arrays_load_in_either_numpy(tmp_path):
    rotations, shifts = PLAIN["poses"][0], PLAIN["poses"][1].astype("f4")
    path = write_arrays_pickle(tmp_path / "poses.pkl", (rotations, shifts))
    loaded = pickle.loads(path.read_bytes())
    assert type(loaded) is tuple
    np.testing.assert_equal(loaded, (rotations, shifts))
    assert all(a.dtype == np.float32 and a.flags.writeable for a in loaded)
    np.testing.assert_equal(read_pickle(path), (rotations, shifts))
    names = {arg for op, arg, _ in pickletools.genops(path.read_bytes()) if op.name == "GLOBAL"}
    # `numpy._core` does not exist before NumPy 1.26; `numpy.core.multiarray` does in all of them
    assert names == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
    alone = write_arrays_pickle(tmp_path / "ctf.pkl", shifts[:, ::-1])
    np.testing.assert_array_equal(pickle.loads(alone.read_bytes()), shifts[:, ::-1])


class Runs:
    """Unpickled by `pickle.load`, it writes a file."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


class Stateful:
    def __setstate__(self, state):
        os.mkdir(state)


def hostile(trap):
    """Yield pickles that do something when they are loaded."""
    yield pickle.dumps(Runs(os.mkdir, trap))
    yield pickle.dumps((np.zeros(3), {"deep": [Runs(os.mkdir, trap)]}))
    yield pickle.dumps(Runs(eval, f"__import__('os').mkdir({trap!r})"))
    yield pickle.dumps(Runs(exec, f"import os; os.mkdir({trap!r})"), protocol=0)
    yield pickle.dumps(Runs(codecs.decode, "00", "hex"))
    yield pickle.dumps(np.array([Runs(os.mkdir, trap)], dtype=object))
    yield b"(S'" + trap.encode() + b"'\nios\nmkdir\n."  # INST
    yield b"(cos\nmkdir\nS'" + trap.encode() + b"'\no."  # OBJ
    yield b"cos\nmkdir\n(S'" + trap.encode() + b"'\ntR."
    yield b"cnumpy\nload\n(S'x'\ntR."
    yield b"cnumpy\ndtype.__class__.__base__\n(tR."
    yield b"\x80\x04\x8c\x05numpy\x8c\x15ndarray.__reduce_ex__\x93)R."
    yield b"cnumpy\ndtype\n(N}S'__setstate__'\nI1\nstb."  # BUILD on the class itself
    yield b"cnumpy\nndarray\n(N}S'__setstate__'\nI1\nstb."
    yield b"\x80\x02\x82\x01."  # EXT1
    yield b"Pos.mkdir\n."  # a persistent id
    stateful = pickle.dumps(Stateful())[:-1] + b"\x8c" + bytes([len(trap)]) + trap.encode() + b"b."
    yield stateful


def test_nothing_is_run(tmp_path):
    path, trap = tmp_path / "hostile.pkl", str(tmp_path / "sprung")
    for number, content in enumerate(hostile(trap)):
        path.write_bytes(content)
        with pytest.raises(PickleFileError, match=str(path)):
            read_pickle(path)
        assert not os.path.exists(trap), number
    # the trap works where it is not guarded against
    pickle.loads(next(iter(hostile(trap))))
    assert os.path.exists(trap)


def test_a_refusal_names_what_was_asked_for(tmp_path):
    path = tmp_path / "hostile.pkl"
    path.write_bytes(pickle.dumps(Runs(os.mkdir, "x")))
    with pytest.raises(PickleFileError, match=r"asks for posix.mkdir, .*was not loaded"):
        read_pickle(path)
    path.write_bytes(b"(S'x'\nios\nmkdir\n.")
    with pytest.raises(PickleFileError, match=r"instruction INST at byte .* than hold"):
        read_pickle(path)
    path.write_bytes(pickle.dumps(np.array([None, 1])))
    with pytest.raises(PickleFileError, match="Python objects"):
        read_pickle(path)


def nested(depth):
    value = [1]
    for _ in range(depth):
        value = [value, value]
    return value


def test_containers_that_double_are_no_burden(tmp_path):
    path = tmp_path / "laughs.pkl"
    path.write_bytes(pickle.dumps(nested(100)))  # 2^100 numbers, if they were copied
    value = read_pickle(path)
    for _ in range(100):
        value = value[1]
    assert value == [1]


def dtype_of(name, order="<"):
    return f"cnumpy\ndtype\n(S'{name}'\nI0\nI1\ntR(I3\nS'{order}'\nNNNI-1\nI-1\nI0\ntb".encode()


def array_of(shape, dtype, content):
    start = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntC\x01btR(I1\n("
    return start + shape + b"t" + dtype + b"I00\nC" + bytes([len(content)]) + content + b"tb."


DAMAGED = {
    "empty": b"",
    "text": b"data_particles\n\nloop_\n",
    "truncated": pickle.dumps(np.zeros(100))[:-50],
    "huge memo": b"\x80\x02]r\xff\xff\xff\xffe.",
    "huge bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
    "too few bytes": array_of(b"I3\n", dtype_of("f8"), b"12345678"),
    "negative side": array_of(b"I-1\n", dtype_of("f8"), b"12345678"),
    "huge array": array_of(b"I1000000000000\n", dtype_of("f8"), b"12345678"),
    "pointers": array_of(b"I1\n", dtype_of("O", "|"), b"12345678"),
    "unknown type": array_of(b"I1\n", dtype_of("zz"), b"12345678"),
    "records": array_of(b"I1\n", dtype_of("V8", "|"), b"12345678"),
    "wrong order": array_of(b"I1\n", dtype_of("f8", "!"), b"12345678"),
    "a type": b"cnumpy\ndtype\n.",
    "no content": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntC\x01btR.",
    "cycle": b"\x80\x02]q\x00h\x00a.",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_is_named(tmp_path, name):
    path = tmp_path / "bad.pkl"
    path.write_bytes(DAMAGED[name])
    with pytest.raises(PickleFileError, match=r"bad\.pkl"):
        read_pickle(path)


@given(position=st.integers(0, 10**6), value=st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused(tmp_path_factory, position, value):
    content = bytearray(pickle.dumps(PLAIN["poses"]))
    content[position % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "changed.pkl"
    path.write_bytes(content)
    with contextlib.suppress(PickleFileError):  # any other error fails the test
        read_pickle(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(MissingFileError, match="check the path"):
        read_pickle(tmp_path / "gone.pkl")
