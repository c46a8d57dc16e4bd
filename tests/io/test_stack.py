"""Stacks: what is written comes back, few files are open, faults leave nothing."""

import pickle
import resource
from concurrent.futures import ThreadPoolExecutor

import mrcfile
import numpy as np
import pytest
from real_data import REAL_DATA, needs_real_data

from cesped.errors import DiskFullError, ImageValueError, MissingImageError, MrcFileError
from cesped.io.mrc import inspect_mrc
from cesped.io.stack import StackReader, StackWriter


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def write_stack(path, images, dtype=np.float32):
    with StackWriter(path, len(images), images.shape[-1], 1.5, dtype) as writer:
        writer.append(images)
    return path


def test_images_come_back_in_the_order_asked_for(tmp_path, rng):
    images = rng.normal(size=(9, 6, 6)).astype(np.float32)
    path = write_stack(tmp_path / "a.mrcs", images)
    sections = np.array([7, 0, 3, 3, 8])
    found = StackReader().read(path, sections)
    np.testing.assert_array_equal(found, images[sections])
    assert found.dtype == np.float32
    assert found.flags.writeable
    assert StackReader().read(path, []).shape == (0, 6, 6)


def test_batches_make_one_valid_stack_with_statistics(tmp_path, rng, capsys):
    images = rng.normal(2.0, 3.0, size=(7, 5, 5)).astype(np.float32)
    path = tmp_path / "a.mrcs"
    with StackWriter(path, 7, 5, 1.5) as writer:
        writer.append(images[:3])
        writer.append(images[3])
        writer.append(images[4:])
    assert mrcfile.validate(path), capsys.readouterr()
    with mrcfile.open(path) as opened:
        assert opened.is_image_stack()
        np.testing.assert_array_equal(opened.data, images)
        assert opened.header.rms == pytest.approx(images.std(), rel=1e-5)
    assert inspect_mrc(path).voxel_size_angst == pytest.approx(1.5)


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float16", "float32"])
def test_every_pixel_type_is_stored_and_read(tmp_path, rng, dtype):
    images = rng.integers(0, 120, size=(4, 8, 8)).astype(np.float64)
    path = write_stack(tmp_path / "a.mrcs", images, dtype)
    assert inspect_mrc(path).dtype == np.dtype(dtype)
    np.testing.assert_array_equal(StackReader().read(path, range(4)), images)


def test_big_endian_stack_of_mrcfile(tmp_path, rng):
    images = rng.normal(size=(4, 8, 8)).astype(">f4")
    with mrcfile.new(tmp_path / "a.mrcs", images) as opened:
        opened.set_image_stack()
    np.testing.assert_array_equal(StackReader().read(tmp_path / "a.mrcs", [2]), images[[2]])


def test_five_thousand_stacks_under_a_limit_of_256_files(tmp_path):
    first = write_stack(tmp_path / "0.mrcs", np.zeros((1, 2, 2)))
    paths = [first]
    for number in range(1, 5000):
        paths.append(tmp_path / f"{number}.mrcs")
        paths[-1].hardlink_to(first)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        reader = StackReader()
        for path in [*paths, *paths[::-50]]:
            assert reader.read(path, [0]).shape == (1, 2, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_least_recently_used_stack_is_closed_first(tmp_path):
    paths = [write_stack(tmp_path / f"{name}.mrcs", np.zeros((1, 2, 2))) for name in "abc"]
    reader = StackReader(max_open_files=2)
    for index in (0, 1, 0, 2):  # b is the one unused for longest when c comes
        reader.read(paths[index], [0])
    assert list(reader._open) == [paths[0], paths[2]]


def test_a_pickled_reader_opens_its_files_anew(tmp_path, rng):
    images = rng.normal(size=(3, 4, 4)).astype(np.float32)
    path = write_stack(tmp_path / "a.mrcs", images)
    reader = StackReader(max_open_files=5)
    reader.read(path, [0])
    content = pickle.dumps(reader)
    assert len(content) < 200
    copy = pickle.loads(content)
    assert copy.max_open_files == 5
    np.testing.assert_array_equal(copy.read(path, [2]), images[[2]])
    reader.close()
    np.testing.assert_array_equal(reader.read(path, [1]), images[[1]])


def test_threads_share_a_reader(tmp_path):
    paths = [
        write_stack(tmp_path / f"{value}.mrcs", np.full((2, 4, 4), value)) for value in range(12)
    ]
    reader = StackReader(max_open_files=3)

    def value_of(index):
        return reader.read(paths[index % 12], [1]).mean()

    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(value_of, range(600)))
    assert values == [index % 12 for index in range(600)]


@pytest.mark.parametrize("section", [-1, 3, 10**6])
def test_a_section_that_is_not_there_is_named(tmp_path, section):
    path = write_stack(tmp_path / "a.mrcs", np.zeros((3, 4, 4)))
    with pytest.raises(MissingImageError, match=rf"has 3 images, number {section + 1} was"):
        StackReader().read(path, [0, section])


def test_a_stack_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingImageError, match=r"there is no stack .*gone\.mrcs"):
        StackReader().read(tmp_path / "gone.mrcs", [0])


def test_truncated_stack_is_refused_before_any_image_is_read(tmp_path):
    path = write_stack(tmp_path / "a.mrcs", np.zeros((3, 4, 4)))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(MrcFileError, match="2 whole sections"):
        StackReader().read(path, [0])


def test_incomplete_stack_is_not_kept(tmp_path):
    path = tmp_path / "a.mrcs"
    with (
        pytest.raises(MrcFileError, match="got 2 of its 3 images"),
        StackWriter(path, 3, 4, 1.0) as writer,
    ):
        writer.append(np.zeros((2, 4, 4)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.zeros((1, 4, 5)), MrcFileError, "holds images of 4 x 4 px"),
        (np.zeros((4, 4, 4)), MrcFileError, "was announced to hold 3"),
        (np.full((1, 4, 4), np.nan), ImageValueError, "image 2 for"),
    ],
)
def test_what_cannot_be_stored_leaves_no_file(tmp_path, images, error, message):
    path = tmp_path / "a.mrcs"

    def write():
        with StackWriter(path, 3, 4, 1.0) as writer:
            writer.append(np.zeros((1, 4, 4)))
            writer.append(images)

    with pytest.raises(error, match=message):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("dtype", "value"), [("int8", 128), ("uint16", -1), ("float16", 1e6)])
def test_a_value_the_pixel_type_cannot_hold_is_an_error(tmp_path, dtype, value):
    images = np.zeros((3, 2, 2))
    images[2, 0, 1] = value
    with pytest.raises(ImageValueError, match="image 3 for"):
        write_stack(tmp_path / "a.mrcs", images, dtype)


def test_a_pixel_type_without_mode_is_refused(tmp_path):
    with pytest.raises(MrcFileError, match="no MRC mode stores float64"):
        StackWriter(tmp_path / "a.mrcs", 1, 4, 1.0, np.float64)


def test_full_disk_leaves_the_old_stack(tmp_path, full_disk):
    path = write_stack(tmp_path / "a.mrcs", np.ones((2, 4, 4)))
    with full_disk(limit_bytes=4096), pytest.raises(DiskFullError, match=r"a\.mrcs"):
        write_stack(path, np.zeros((9, 32, 32)))
    assert [child.name for child in tmp_path.iterdir()] == ["a.mrcs"]
    np.testing.assert_array_equal(StackReader().read(path, [1]), np.ones((1, 4, 4)))


@needs_real_data("aspire_sample.mrcs")
def test_real_stack_reads_as_mrcfile_reads_it():
    path = REAL_DATA / "aspire_sample.mrcs"
    with mrcfile.open(path, permissive=True) as opened:
        np.testing.assert_array_equal(StackReader().read(path, range(17)), opened.data)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_images_are_read_into_memory_that_is_given(tmp_path, dtype):
    images = np.arange(5 * 4 * 4).reshape(5, 4, 4)
    path = write_stack(tmp_path / "a.mrcs", images, dtype)
    memory = np.zeros((4, 4, 4), np.float32)
    assert StackReader().read(path, [3, 4, 0, 1], memory) is memory
    np.testing.assert_array_equal(memory, images[[3, 4, 0, 1]])


def test_a_stack_that_is_cut_while_it_is_read_is_named(tmp_path):
    path = write_stack(tmp_path / "a.mrcs", np.ones((3, 4, 4)))
    reader = StackReader()
    reader.read(path, [0])
    with path.open("r+b") as stream:
        stream.truncate(1024 + 64 + 10)
    with pytest.raises(MrcFileError, match=r"a\.mrcs has become shorter .* 1 of its 3 sections"):
        reader.read(path, [1])


def test_other_readers_may_take_all_files_that_the_system_allows(tmp_path):
    first = write_stack(tmp_path / "0.mrcs", np.ones((1, 2, 2)))
    paths = [first]
    for number in range(1, 90):
        paths.append(tmp_path / f"{number}.mrcs")
        paths[-1].hardlink_to(first)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        readers = [StackReader() for _ in range(3)]  # 64 files each
        for path in paths:
            for reader in readers:
                assert reader.read(path, [0]).sum() == 4
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
