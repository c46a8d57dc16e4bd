"""Pickle files of plain data, read without running what is in them.

A pickle is a program. Here its instructions are looked through first, and those that could reach
anything but containers, numbers, text and arrays are refused. What is left may name a handful of
NumPy's constructors, and meets recorders instead of them: the arrays are then built from what was
recorded, by us.

Instructions: `pickletools` of the Python standard library. Forms of an array: what NumPy 1 and 2
write under protocols 0 to 5.
"""

import io
import os
import pickle
import pickletools
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MissingFileError, PickleFileError
from .files import write_bytes_atomic

_LARGEST_MEMO = 1_000_000  # a memo index that a list of arrays could reach; it is allocated
_CONTAINERS = "MARK TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_TUPLE LIST EMPTY_LIST APPEND APPENDS DICT "
_CONTAINERS += "EMPTY_DICT SETITEM SETITEMS EMPTY_SET ADDITEMS FROZENSET POP POP_MARK DUP"
_VALUES = "NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT "
_VALUES += "STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE "
_VALUES += "BINUNICODE SHORT_BINUNICODE BINUNICODE8"
_BOOKKEEPING = "PROTO FRAME STOP PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET MEMOIZE"
_OBJECTS = "GLOBAL STACK_GLOBAL REDUCE BUILD"  # of the names in `_Reader.find_class` alone
_ALLOWED = frozenset(" ".join((_CONTAINERS, _VALUES, _BOOKKEEPING, _OBJECTS)).split())


def read_pickle(path: str | os.PathLike[str]) -> Any:
    """Return the containers, numbers, text and NumPy arrays of a pickle file.

    Raises
    ------
    MissingFileError
        If there is no such file.
    PickleFileError
        If it is no pickle, is truncated, or holds anything else: nothing of it is run.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise MissingFileError(f"{path} is not a file: check the path of the pickle") from error
    try:
        _look_through(content)
        loaded = _Reader(io.BytesIO(content)).load()
        return _resolve(loaded, {})
    except PickleFileError as error:
        raise PickleFileError(f"{path}: {error}") from error
    except RecursionError as error:
        raise PickleFileError(f"{path}: containers within containers, too deep") from error
    except Exception as error:  # whatever a damaged pickle makes of the machine that reads it
        raise PickleFileError(
            f"{path} is no pickle of plain arrays, or damaged ({error}): copy or write it again"
        ) from error


def write_arrays_pickle(
    path: str | os.PathLike[str], value: NDArray[np.float32] | tuple[NDArray[np.float32], ...]
) -> Path:
    """Write a float32 array, or a tuple of them, as a pickle that NumPy 1 and 2 can load.

    `pickle.dump` under NumPy 2 names `numpy._core`, which NumPy before 1.26 does not have.

    Raises
    ------
    DiskFullError
        If the disk is full.
    """
    arrays = value if isinstance(value, tuple) else (value,)
    body = b"".join(map(_array_instructions, arrays))
    if isinstance(value, tuple):
        body = b"(" + body + b"t"
    return write_bytes_atomic(path, b"\x80\x04" + body + b".")


def _look_through(content: bytes) -> None:
    """Raise unless every instruction is a harmless one."""
    for instruction, argument, position in pickletools.genops(content):
        if instruction.name not in _ALLOWED:
            raise PickleFileError(
                f"instruction {instruction.name} at byte {position} does more than hold data; "
                "the file was not loaded"
            )
        if instruction.name.endswith("PUT") and int(argument or 0) > _LARGEST_MEMO:
            raise PickleFileError(f"a memo of {argument} at byte {position}: the file is damaged")


class _Recorder:
    """What may stand where a pickle names one of NumPy's constructors."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        # without this method, a pickle could set attributes of the class itself
        raise PickleFileError(f"a state for {type(self).__name__}, which has none")


class _Dtype(_Recorder):
    """What a pickle says of a NumPy dtype."""

    def __init__(self, name: object = None, *_: object) -> None:
        self.name = name
        self.byte_order = "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.byte_order = str(state[1])

    def build(self) -> np.dtype[Any]:
        if not isinstance(self.name, str) or self.byte_order not in "<>=|":
            raise PickleFileError(f"an array of unknown type {self.name!r}")
        dtype = np.dtype(self.name)
        if dtype.kind not in "biufcSU" or dtype.itemsize == 0:
            raise PickleFileError(
                f"an array of type {dtype}; only numbers and text are read, never Python objects"
            )
        return dtype.newbyteorder("=" if self.byte_order == "|" else self.byte_order)  # type: ignore[arg-type]


class _Ndarray(_Recorder):
    """Stands for the class `numpy.ndarray` where a pickle names it."""


class _Array(_Recorder):
    """What a pickle says of an array: its `state` is (version, shape, dtype, by column, bytes)."""

    state: tuple[Any, ...] | None = None

    def __init__(self, *_: object) -> None:
        pass  # class, shape and type code of an empty array, which the state replaces

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state

    def build(self) -> NDArray[Any]:
        if self.state is None or len(self.state) != 5:
            raise PickleFileError("an array without content")
        _, shape, dtype, by_column, content = self.state
        return _array(content, dtype, shape, "F" if by_column else "C")


class _Buffer(_Array):
    """An array as protocol 5 writes it: bytes, dtype, shape, order."""

    def __init__(self, content: Any, dtype: Any, shape: Any, order: Any = "C") -> None:
        self.state = (1, shape, dtype, order == "F", content)


class _Scalar(_Array):
    """A NumPy number: dtype and bytes."""

    def __init__(self, dtype: Any, content: Any = b"") -> None:
        self.state = (1, (), dtype, False, content)

    def build(self) -> Any:
        return super().build()[()]


class _Encoded(_Recorder):
    """Bytes as protocols 0 to 2 write them: text and the name of its encoding."""

    def __init__(self, text: Any = "", encoding: Any = "latin1") -> None:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise PickleFileError("bytes in an unknown encoding")
        self.content = text.encode("latin1")


_RECORDERS: dict[tuple[str, str], type] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Ndarray,
    ("_codecs", "encode"): _Encoded,
    ("__builtin__", "bytes"): _Encoded,  # no bytes, for an empty array
} | {
    (f"numpy.{core}.{module}", name): recorder
    for core in ("core", "_core")  # NumPy 1 and 2
    for module, name, recorder in (
        ("multiarray", "_reconstruct", _Array),
        ("multiarray", "scalar", _Scalar),
        ("numeric", "_frombuffer", _Buffer),
    )
}


class _Reader(pickle.Unpickler):
    """Knows NumPy's constructors by name only, and hands out recorders for them."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _RECORDERS[module, name]
        except KeyError:
            raise PickleFileError(
                f"it asks for {module}.{name}, which could run anything; only numbers, text, "
                "containers and NumPy arrays are read, and the file was not loaded"
            ) from None


def _array(content: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    if isinstance(content, _Encoded):
        content = content.content
    if not (isinstance(dtype, _Dtype) and isinstance(content, bytes | bytearray)):
        raise PickleFileError("an array of Python objects; only numbers and text are read")
    sides = shape if isinstance(shape, tuple) else (shape,)
    if not all(isinstance(side, int) and side >= 0 for side in sides):
        raise PickleFileError(f"an array of shape {shape}")
    values = np.frombuffer(content, dtype.build())
    return values.reshape(sides, order=order).copy()


def _resolve(value: Any, done: dict[int, Any]) -> Any:
    """Return `value` with the recorded arrays built, wherever they stand.

    `done` keeps what is built already by identity: containers that share their content, doubled
    and redoubled, would otherwise take for ever.
    """
    if id(value) not in done:
        done[id(value)] = _resolved(value, done)
    return done[id(value)]


def _resolved(value: Any, done: dict[int, Any]) -> Any:
    if isinstance(value, _Array):
        return value.build()
    if isinstance(value, _Encoded):
        return value.content
    if isinstance(value, dict):
        return {_resolve(key, done): _resolve(item, done) for key, item in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return type(value)(_resolve(item, done) for item in value)
    if isinstance(value, _Recorder | type):
        raise PickleFileError("a type where data should be")
    return value


def _array_instructions(array: NDArray[np.float32]) -> bytes:
    """Return the instructions that rebuild a C-ordered float32 array, as NumPy 1 writes them."""
    values = np.ascontiguousarray(array, dtype="<f4")
    content = values.tobytes()
    shape = b"".join(b"J" + struct.pack("<i", side) for side in values.shape)
    dtype = b"cnumpy\ndtype\n(" + _short_text("f4") + b"\x89\x88tR"
    dtype += b"(K\x03" + _short_text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tC\x01btR"
        + (b"(K\x01(" + shape + b"t" + dtype + b"\x89")
        + (b"\x8e" + struct.pack("<Q", len(content)) + content + b"tb")
    )


def _short_text(text: str) -> bytes:
    return b"\x8c" + struct.pack("<B", len(text)) + text.encode()
