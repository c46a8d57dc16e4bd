"""MRC headers against mrcfile and RELION, and against files that lie about their size."""

import subprocess

import mrcfile
import numpy as np
import pytest
from mrcfile.dtypes import HEADER_DTYPE
from real_data import REAL_DATA, needs_real_data

from cesped.errors import (
    DiskFullError,
    ImageValueError,
    MissingFileError,
    MrcFileError,
    PixelSizeError,
)
from cesped.io.mrc import inspect_mrc, read_volume, write_volume


@pytest.fixture
def volume(rng):
    return rng.normal(size=(6, 5, 4)).astype(np.float32)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def edit_header(path, **fields):
    raw = bytearray(path.read_bytes())
    header = np.frombuffer(raw, HEADER_DTYPE.newbyteorder("<"), 1)
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(raw)


def test_round_trip_keeps_every_voxel_and_the_voxel_size(tmp_path, volume):
    path = write_volume(tmp_path / "map.mrc", volume, 1.37)
    back, voxel_size = read_volume(path)
    np.testing.assert_array_equal(back, volume)
    assert voxel_size == pytest.approx(1.37, rel=1e-6)


def test_mrcfile_finds_our_volume_valid_and_equal(tmp_path, volume, capsys):
    path = write_volume(tmp_path / "map.mrc", volume, 1.37)
    assert mrcfile.validate(path), capsys.readouterr()
    with mrcfile.open(path) as opened:
        np.testing.assert_array_equal(opened.data, volume)
        assert opened.voxel_size.z == pytest.approx(1.37, rel=1e-6)
        assert opened.header.dmean == pytest.approx(volume.mean(), abs=1e-6)
        assert opened.is_volume()


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float16", "float32"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_mode_and_byte_order_reads_as_mrcfile_reads_it(tmp_path, rng, dtype, order):
    data = rng.integers(0, 100, size=(3, 4, 5)).astype(np.dtype(dtype).newbyteorder(order))
    path = tmp_path / "map.mrc"
    with mrcfile.new(path, data) as opened:
        opened.voxel_size = 2.5
    info = inspect_mrc(path)
    assert info.shape == (3, 4, 5)
    assert info.dtype.newbyteorder("=") == np.dtype(dtype)
    if info.dtype.itemsize > 1:
        assert info.byte_order == order
    volume, voxel_size = read_volume(path)
    np.testing.assert_array_equal(volume, data)
    assert (volume.dtype, voxel_size) == (np.float32, 2.5)


def test_a_wrong_machine_stamp_does_not_swap_the_bytes(tmp_path, volume):
    path = write_volume(tmp_path / "map.mrc", volume, 1.0)
    edit_header(path, machst=(17, 17, 0, 0))
    np.testing.assert_array_equal(read_volume(path)[0], volume)


def test_extended_header_is_skipped(tmp_path, volume):
    path = tmp_path / "map.mrc"
    with mrcfile.new(path, volume) as opened:
        opened.set_extended_header(np.frombuffer(b"FEI1" * 33, dtype="V4"))
        opened.voxel_size = 1.0
    assert inspect_mrc(path).data_offset == 1024 + 132
    np.testing.assert_array_equal(read_volume(path)[0], volume)


def test_axis_order_of_the_file_does_not_reach_the_array(tmp_path, volume):
    path = write_volume(tmp_path / "map.mrc", volume.transpose(2, 0, 1), 1.0)  # stored as [x, z, y]
    edit_header(path, mapc=2, mapr=3, maps=1)
    np.testing.assert_array_equal(read_volume(path)[0], volume)


def test_voxel_size_of_a_cell_without_height_comes_from_x_and_y(tmp_path, volume):
    path = write_volume(tmp_path / "map.mrc", volume, 1.5)
    edit_header(path, cella=(4 * 1.5, 5 * 1.5, 0))
    assert inspect_mrc(path).voxel_size_angst == pytest.approx(1.5)


def test_no_voxel_size_is_an_error_unless_one_is_given(tmp_path, volume):
    path = write_volume(tmp_path / "map.mrc", volume, 0.0)
    assert inspect_mrc(path).voxel_size_angst is None
    with pytest.raises(PixelSizeError, match=r"map\.mrc has no voxel size"):
        read_volume(path)
    assert read_volume(path, voxel_size_angst=2.0)[1] == 2.0


def test_oblong_pixels_are_refused(tmp_path, volume):
    path = write_volume(tmp_path / "map.mrc", volume, 1.0)
    edit_header(path, cella=(4, 6, 6))
    with pytest.raises(MrcFileError, match=r"1\.0000 x 1\.2000 Å"):
        inspect_mrc(path)


def test_truncated_file_says_how_many_sections_are_whole(tmp_path, volume):
    path = write_volume(tmp_path / "map.mrc", volume, 1.0)
    path.write_bytes(path.read_bytes()[: 1024 + 3 * 80 + 7])
    with pytest.raises(MrcFileError, match=r"announces 6 sections .* 3 whole sections"):
        inspect_mrc(path)


def test_longer_file_is_refused(tmp_path, volume):
    path = write_volume(tmp_path / "map.mrc", volume, 1.0)
    path.write_bytes(path.read_bytes() + b"12345")
    with pytest.raises(MrcFileError, match="5 bytes more than the 1504"):
        inspect_mrc(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 bytes, less than an MRC header"),
        (b"x" * 2000, "does not start with an MRC header"),
        (b"\0" * 2000, "does not start with an MRC header"),
    ],
)
def test_what_is_not_mrc_is_named(tmp_path, content, message):
    path = tmp_path / "not.mrc"
    path.write_bytes(content)
    with pytest.raises(MrcFileError, match=message):
        inspect_mrc(path)


def test_complex_pixels_are_named_and_refused(tmp_path, volume):
    path = write_volume(tmp_path / "map.mrc", volume, 1.0)
    edit_header(path, mode=4)
    with pytest.raises(MrcFileError, match=r"mode 4, which is not read"):
        inspect_mrc(path)


def test_missing_file_and_folder_are_missing_files(tmp_path):
    for path in (tmp_path, tmp_path / "no.mrc"):
        with pytest.raises(MissingFileError, match="is not a file"):
            inspect_mrc(path)


def test_a_voxel_that_is_not_finite_is_counted(tmp_path, volume):
    path = write_volume(tmp_path / "map.mrc", volume, 1.0)
    path.write_bytes(path.read_bytes()[:-4] + np.float32(np.nan).tobytes())
    with pytest.raises(ImageValueError, match="1 NaN or infinite voxels"):
        read_volume(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_map_that_is_not_finite_is_not_written(tmp_path, volume, value):
    volume[1, 2, 3] = value
    with pytest.raises(ImageValueError, match=r"map\.mrc has NaN or infinite voxels: it was not"):
        write_volume(tmp_path / "map.mrc", volume, 1.0)
    assert list(tmp_path.iterdir()) == []


def test_an_image_is_not_a_volume(tmp_path):
    with pytest.raises(MrcFileError, match="3 axes"):
        write_volume(tmp_path / "map.mrc", np.zeros((4, 4)), 1.0)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_leaves_the_old_volume(tmp_path, volume, full_disk):
    path = write_volume(tmp_path / "map.mrc", volume, 1.0)
    with full_disk(limit_bytes=1200), pytest.raises(DiskFullError, match=r"map\.mrc"):
        write_volume(path, 2 * volume, 1.0)
    assert [child.name for child in tmp_path.iterdir()] == ["map.mrc"]
    np.testing.assert_array_equal(read_volume(path)[0], volume)


@pytest.mark.relion
def test_relion_reads_our_volume_and_we_read_its(tmp_path, rng):
    volume = rng.normal(size=(8, 8, 8)).astype(np.float32)
    path = write_volume(tmp_path / "map.mrc", volume, 1.5)
    twice = tmp_path / "twice.mrc"
    command = ["relion_image_handler", "--i", path, "--o", twice, "--multiply_constant", "2"]
    subprocess.run(command, check=True, capture_output=True)
    back, voxel_size = read_volume(twice)
    np.testing.assert_allclose(back, 2 * volume, rtol=1e-6)
    assert voxel_size == pytest.approx(1.5)


@needs_real_data("emd_3186.map", "betaGal.mrc")
@pytest.mark.parametrize(("name", "voxel_size"), [("emd_3186.map", 1.35), ("betaGal.mrc", 3.54)])
def test_real_maps_read_as_mrcfile_reads_them(name, voxel_size):
    volume, found = read_volume(REAL_DATA / name)
    assert found == pytest.approx(voxel_size, rel=1e-3)
    with mrcfile.open(REAL_DATA / name, permissive=True) as opened:
        np.testing.assert_array_equal(volume, opened.data)
