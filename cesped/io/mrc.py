"""MRC headers and volumes; image stacks are read and written by `cesped.io.stack`.

A header is believed only as far as the file's size bears it out. Pixel data are little- or
big-endian, mode 0 (int8), 1 (int16), 2 (float32), 6 (uint16) or 12 (float16), after an extended
header of any length (MRC2014, Cheng et al., J. Struct. Biol. 192, 146, 2015).
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from mrcfile.dtypes import HEADER_DTYPE
from mrcfile.utils import machine_stamp_from_byte_order

from ..errors import ImageValueError, MissingFileError, MrcFileError, PixelSizeError
from .files import atomic_path, compression_of

ByteOrder = Literal["<", ">"]

DTYPE_OF_MODE: dict[int, np.dtype[Any]] = {
    0: np.dtype(np.int8),
    1: np.dtype(np.int16),
    2: np.dtype(np.float32),
    6: np.dtype(np.uint16),
    12: np.dtype(np.float16),
}
MODE_OF_DTYPE = {dtype: mode for mode, dtype in DTYPE_OF_MODE.items()}

#: One record of `mrcfile`'s header type.
Header = np.ndarray[tuple[()], np.dtype[np.void]]

_VOLUME_SPACE_GROUP = 1
_STACK_SPACE_GROUP = 0
_FORMAT_VERSION = 20141
_BYTE_ORDERS: tuple[ByteOrder, ByteOrder] = ("<", ">")
_LABEL = b"Written by cesped"
_ANISOTROPY = 1e-3  # relative; cell sizes are float32 sums of some programs
_KNOWN_MODES = {*DTYPE_OF_MODE, 3, 4, 101}  # 3, 4 and 101 are complex or packed: named, not read
_LARGEST_SIDE = 1 << 24  # beyond it the header is read in the wrong byte order


@dataclass(frozen=True)
class MrcInfo:
    """What the header of an MRC file says, checked against the size of the file.

    Attributes
    ----------
    path : the file
    shape : (sections, rows, columns), i.e. [z, y, x] of a volume, [image, y, x] of a stack
    dtype : of the pixels, with their byte order
    voxel_size_angst : from the cell's x and y, or None if the header has none
    data_offset : bytes before the first pixel
    axes : which of x, y, z (1, 2, 3) columns, rows and sections run along
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    voxel_size_angst: float | None
    data_offset: int
    axes: tuple[int, int, int]

    @property
    def n_images(self) -> int:
        """Number of sections."""
        return self.shape[0]

    @property
    def byte_order(self) -> ByteOrder:
        """`"<"` (little-endian) or `">"`; one-byte pixels count as little-endian."""
        is_big = self.dtype.newbyteorder("<") != self.dtype
        return ">" if is_big else "<"


def inspect_mrc(path: str | os.PathLike[str], size_bytes: int | None = None) -> MrcInfo:
    """Read the header of an MRC volume or stack and check it against the file's size.

    Parameters
    ----------
    path : MRC file, or the first piece of one
    size_bytes : size of the whole file, that of `path` when None

    Raises
    ------
    MissingFileError
        If there is no such file.
    MrcFileError
        If it is not an MRC file, has a pixel type that is not read, or is shorter (the message
        says how many sections are whole) or longer than its header says.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            raw = stream.read(HEADER_DTYPE.itemsize)
            file_size = os.fstat(stream.fileno()).st_size if size_bytes is None else size_bytes
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise MissingFileError(f"{path} is not a file: check the path") from error
    if len(raw) < HEADER_DTYPE.itemsize:
        raise MrcFileError(
            f"{path} has {file_size} bytes, less than an MRC header (1024): copy it again"
        )
    header, byte_order = _decode_header(raw, path)
    mode = int(header["mode"])
    if mode not in DTYPE_OF_MODE:
        raise MrcFileError(
            f"{path} has pixels of mode {mode}, which is not read: convert it to one of "
            f"{', '.join(f'{m} ({d})' for m, d in DTYPE_OF_MODE.items())}"
        )
    info = MrcInfo(
        path=path,
        shape=(int(header["nz"]), int(header["ny"]), int(header["nx"])),
        dtype=DTYPE_OF_MODE[mode].newbyteorder(byte_order),
        voxel_size_angst=_voxel_size(header, path),
        data_offset=HEADER_DTYPE.itemsize + int(header["nsymbt"]),
        axes=(int(header["mapc"]), int(header["mapr"]), int(header["maps"])),
    )
    _check_file_size(info, file_size)
    return info


def read_volume(
    path: str | os.PathLike[str], voxel_size_angst: float | None = None
) -> tuple[npt.NDArray[np.float32], float]:
    """Return a volume as float32 `(z, y, x)` and its voxel size [Å].

    Parameters
    ----------
    path : MRC file of any axis order; the result is always [z, y, x]
    voxel_size_angst : replaces the header's voxel size

    Raises
    ------
    MissingFileError, MrcFileError
        As `inspect_mrc`.
    PixelSizeError
        If neither the header nor the caller has a voxel size.
    ImageValueError
        If there are NaN or infinite voxels.
    """
    info = inspect_mrc(path)
    voxel_size = voxel_size_angst or info.voxel_size_angst
    if voxel_size is None:
        raise PixelSizeError(
            f"{info.path} has no voxel size in its header (cell size 0): state it, or write it "
            "with `relion_image_handler --i MAP --o NEW --angpix A`"
        )
    stored = np.fromfile(info.path, info.dtype, int(np.prod(info.shape)), offset=info.data_offset)
    volume = stored.reshape(info.shape).astype(np.float32)
    n_bad = volume.size - int(np.count_nonzero(np.isfinite(volume)))
    if n_bad:
        raise ImageValueError(f"{info.path} has {n_bad} NaN or infinite voxels: make it again")
    return _to_zyx(volume, info), float(voxel_size)


def write_volume(
    path: str | os.PathLike[str], volume: npt.ArrayLike, voxel_size_angst: float
) -> Path:
    """Write `volume` `(z, y, x)` as float32 MRC, whole or not at all, and return the path.

    Raises
    ------
    MrcFileError
        If `volume` does not have three axes.
    ImageValueError
        If it has NaN or infinite voxels.
    DiskFullError
        If the disk or the quota is exhausted.
    """
    data = np.ascontiguousarray(volume, dtype="<f4")
    if data.ndim != 3:
        raise MrcFileError(f"{path}: a volume has 3 axes, this array has shape {data.shape}")
    header = new_header(
        (data.shape[0], data.shape[1], data.shape[2]), np.dtype(np.float32), voxel_size_angst
    )
    if data.size and not np.isfinite([data.min(), data.max()]).all():
        raise ImageValueError(f"the map for {path} has NaN or infinite voxels: it was not written")
    header["ispg"] = _VOLUME_SPACE_GROUP
    header["dmin"], header["dmax"] = data.min(), data.max()
    header["dmean"], header["rms"] = data.mean(dtype=np.float64), data.std(dtype=np.float64)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(header.tobytes())
        stream.write(data.data)
    return Path(path)


def new_header(
    shape: tuple[int, int, int], dtype: np.dtype[Any], voxel_size_angst: float
) -> Header:
    """Return a little-endian MRC2014 header record of a stack; statistics are left unset.

    Raises
    ------
    MrcFileError
        If no mode stores `dtype`.
    """
    if dtype not in MODE_OF_DTYPE:
        raise MrcFileError(
            f"no MRC mode stores {dtype}: use one of {list(map(str, MODE_OF_DTYPE))}"
        )
    header = np.zeros((), HEADER_DTYPE.newbyteorder("<"))
    for letter, length in zip("zyx", shape, strict=True):
        header[f"n{letter}"] = header[f"m{letter}"] = length
        header["cella"][letter] = length * voxel_size_angst
    for angle in ("alpha", "beta", "gamma"):
        header["cellb"][angle] = 90.0
    header["mode"] = MODE_OF_DTYPE[dtype]
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    header["ispg"] = _STACK_SPACE_GROUP
    header["nversion"], header["map"] = _FORMAT_VERSION, b"MAP "
    header["machst"] = machine_stamp_from_byte_order("<")
    header["dmin"], header["dmax"], header["dmean"], header["rms"] = 0, -1, -2, -1  # "not known"
    header["nlabl"] = 1
    header["label"][0] = _LABEL
    return header


def _decode_header(raw: bytes, path: Path) -> tuple[Header, ByteOrder]:
    # The machine stamp is wrong in files of several programs: the numbers decide.
    for byte_order in _BYTE_ORDERS:
        header = np.frombuffer(raw, HEADER_DTYPE.newbyteorder(byte_order))[0]
        sides = [int(header[name]) for name in ("nx", "ny", "nz")]
        plausible = all(0 < side < _LARGEST_SIDE for side in sides) and header["nsymbt"] >= 0
        if int(header["mode"]) in _KNOWN_MODES and plausible:
            return header, byte_order
    packed = compression_of(raw)
    if packed:
        raise MrcFileError(f"{path} is compressed with {packed}: unpack it first")
    raise MrcFileError(f"{path} does not start with an MRC header: is it another format?")


def _voxel_size(header: Header, path: Path) -> float | None:
    # z is not asked: relion_project writes stacks whose cell has no height.
    cell = [float(header["cella"][letter]) for letter in "xy"]
    grid = [int(header[f"m{letter}"]) for letter in "xy"]
    if min(grid) <= 0 or not np.isfinite(cell).all() or min(cell) <= 0:
        return None
    x, y = (length / n for length, n in zip(cell, grid, strict=True))
    if abs(x - y) > _ANISOTROPY * x:
        raise MrcFileError(
            f"{path} has pixels of {x:.4f} x {y:.4f} Å: only square ones are handled, resample it"
        )
    return x


def _check_file_size(info: MrcInfo, file_size: int) -> None:
    image_bytes = info.shape[1] * info.shape[2] * info.dtype.itemsize
    expected = info.data_offset + info.n_images * image_bytes
    if file_size < expected:
        whole = max(0, file_size - info.data_offset) // image_bytes
        raise MrcFileError(
            f"{info.path} is truncated: its header announces {info.n_images} sections of "
            f"{info.shape[2]} x {info.shape[1]} ({expected} bytes), the file has {file_size} bytes "
            f"and {whole} whole sections: copy or make it again"
        )
    if file_size > expected:
        raise MrcFileError(
            f"{info.path} has {file_size - expected} bytes more than the {expected} of the "
            f"{info.n_images} sections its header announces: the header or the file is damaged, "
            "copy or make it again"
        )


def _to_zyx(volume: npt.NDArray[np.float32], info: MrcInfo) -> npt.NDArray[np.float32]:
    if sorted(info.axes) != [1, 2, 3]:
        return volume  # unset by the writer: the usual order is meant
    columns, rows, sections = info.axes
    axis_of = {sections: 0, rows: 1, columns: 2}
    return np.ascontiguousarray(volume.transpose(axis_of[3], axis_of[2], axis_of[1]))
