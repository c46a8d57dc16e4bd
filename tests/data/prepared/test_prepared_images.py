"""A prepared set holds what preparing in memory gives, and is whole or not there."""

import json
import os
import pickle
import threading
from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest
from sets import OPTIONS, PLAIN, prepared_in_memory, table_of

from cesped.data.conventions import read_particle_table
from cesped.data.prepared import writer
from cesped.data.prepared.files import PreparedFiles
from cesped.data.prepared.reader import PreparedImages
from cesped.data.prepared.writer import prepare_images
from cesped.errors import (
    DiskFullError,
    EntryExistsError,
    ImageValueError,
    MetadataError,
    MissingFileError,
    OptionError,
)
from cesped.vocabulary import CtfCorrection, Normalization, PixelType


def test_float32_is_what_preparing_in_memory_gives(table, tmp_path):
    prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    images = PreparedImages(tmp_path / "set" / "mine.star")
    assert (len(images), images.image_size) == (11, 20)
    np.testing.assert_array_equal(images.read(np.arange(11)).numpy(), prepared_in_memory(table))


@pytest.mark.parametrize("normalization", list(Normalization))
@pytest.mark.parametrize("correction", list(CtfCorrection))
def test_every_option_makes_the_round_trip(table, tmp_path, normalization, correction):
    options = replace(OPTIONS, normalization=normalization, ctf_correction=correction)
    prepare_images(table, tmp_path / "set" / "mine", options)
    images = PreparedImages(tmp_path / "set" / "mine")
    assert images.card.options == options
    expected = prepared_in_memory(table, options)
    np.testing.assert_array_equal(images.read(np.arange(11)).numpy(), expected)


def test_float16_is_off_by_half_a_unit_in_the_last_of_11_bits(table, tmp_path):
    prepare_images(table, tmp_path / "set" / "mine", OPTIONS, PixelType.FLOAT16)
    images = PreparedImages(tmp_path / "set" / "mine")
    expected = prepared_in_memory(table)
    found = images.read(np.arange(11)).numpy()
    error = np.abs(found - expected)
    assert found.dtype == np.float32
    assert images.read_stored([0]).dtype == np.float16
    assert (error <= np.maximum(np.abs(expected) * 2.0**-11, 2.0**-25)).all()
    assert 0 < np.sqrt((error**2).mean()) < 3e-4 * expected.std()
    assert (tmp_path / "set" / "mine.mrcs").stat().st_size == 1024 + 11 * 20 * 20 * 2


@pytest.mark.parametrize(("scale", "said"), [(1e6, "65504"), (1e-7, "6.1e-05")])
def test_grey_values_that_float16_cannot_hold_are_refused_by_name(entry, tmp_path, scale, said):
    with mrcfile.open(entry.folder / "particles_0.mrcs", "r+") as mrc:
        mrc.data[3] *= scale / np.abs(mrc.data[3]).max()
    table = table_of(entry)
    with pytest.raises(ImageValueError, match=rf"row 4 of .*{said}.*normalise"):
        prepare_images(table, tmp_path / "set" / "mine", PLAIN, PixelType.FLOAT16)
    assert not list((tmp_path / "set").glob("mine*"))
    prepare_images(table, tmp_path / "set" / "mine", PLAIN)
    prepare_images(table, tmp_path / "half" / "mine", OPTIONS, PixelType.FLOAT16)


def test_rows_are_read_in_any_order_and_as_often_as_asked(table, tmp_path):
    prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    images = PreparedImages(tmp_path / "set" / "mine")
    expected = prepared_in_memory(table)
    for rows in ([5], [0, 1, 2], [10, 9, 9, 3, 4, 5, 0], []):
        np.testing.assert_array_equal(
            images.read(rows).numpy(), expected[np.array(rows, dtype=int)]
        )
    for wrong in ([11], [-1]):
        with pytest.raises(IndexError, match="11 images"):
            images.read(wrong)


def test_a_copy_in_another_process_reads_on(table, tmp_path):
    prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    images = PreparedImages(tmp_path / "set" / "mine")
    expected = images.read([4])
    assert (pickle.loads(pickle.dumps(images)).read([4]) == expected).all()


def test_the_same_set_is_not_made_twice(table, tmp_path, monkeypatch):
    files = prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    before = files.images.stat().st_mtime_ns
    monkeypatch.setattr(writer._Work, "run", lambda *_: pytest.fail("made again"))
    prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    assert files.images.stat().st_mtime_ns == before
    assert {path.name for path in files.folder.iterdir()} == {
        "mine.mrcs",
        "mine.star",
        "mine.source.star",
        "mine.prepared.json",
    }


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(MissingFileError, match=r"no prepared images mine in .*prepare them first"):
        PreparedImages(tmp_path / "mine")


def test_files_of_others_are_not_overwritten(entry, table, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.star").write_text("precious")
    with pytest.raises(EntryExistsError, match="no prepared set"):
        prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    assert (tmp_path / "set" / "mine.star").read_text() == "precious"
    prepare_images(table, tmp_path / "set" / "mine", OPTIONS, replace=True)
    PreparedImages(tmp_path / "set" / "mine")


def test_the_source_is_never_overwritten(entry, table):
    with pytest.raises(OptionError, match="another folder"):
        prepare_images(table, entry.folder / "particles_0", OPTIONS, replace=True)


def test_a_disk_that_is_too_small_is_named_before_the_work(table, tmp_path, monkeypatch):
    monkeypatch.setattr(writer.shutil, "disk_usage", lambda _: type("U", (), {"free": 4096})())
    with pytest.raises(DiskFullError, match=r"mine needs 0\.02 GiB in .*free some space"):
        prepare_images(table, tmp_path / "set" / "mine", OPTIONS)


def test_a_disk_that_fills_up_keeps_what_is_done(table, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "CHUNK", 2)
    monkeypatch.setattr(writer, "FLUSH_BYTES", 1)
    whole = prepare_images(table, tmp_path / "whole" / "mine", OPTIONS)
    prepare = writer._Work._prepare

    def full(self, rows):
        if rows[0] == 6:
            raise OSError(28, "No space left on device")
        return prepare(self, rows)

    with monkeypatch.context() as patch:
        patch.setattr(writer._Work, "_prepare", full)
        with pytest.raises(DiskFullError, match="what is done is kept"):
            prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    begun = []
    monkeypatch.setattr(
        writer._Work, "_prepare", lambda self, rows: begun.append(rows[0]) or prepare(self, rows)
    )
    files = prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    assert begun == [6, 8, 10]
    assert files.images.read_bytes() == whole.images.read_bytes()


def test_work_for_other_options_is_not_gone_on_with(table, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "CHUNK", 2)
    monkeypatch.setattr(writer, "FLUSH_BYTES", 1)
    prepare = writer._Work._prepare

    def stop(self, rows):
        if rows[0] == 6:
            raise KeyboardInterrupt
        return prepare(self, rows)

    with monkeypatch.context() as patch:
        patch.setattr(writer._Work, "_prepare", stop)
        with pytest.raises(KeyboardInterrupt):
            prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    with pytest.raises(MissingFileError, match="not finished"):
        PreparedImages(tmp_path / "set" / "mine")
    other = replace(OPTIONS, normalization=Normalization.SUBTRACT_MEAN)
    files = prepare_images(table, tmp_path / "set" / "mine", other)
    found = PreparedImages(files.card).read(np.arange(11)).numpy()
    np.testing.assert_allclose(found, prepared_in_memory(table, other), atol=1e-6)


def test_two_that_want_the_same_get_the_same(table, tmp_path):
    failures = []

    def work():
        try:
            prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
        except Exception as error:  # what a thread raises is not seen
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    # rounded otherwise where the transforms of the thread that prepared them are divided otherwise
    found = PreparedImages(tmp_path / "set" / "mine").read(np.arange(11)).numpy()
    np.testing.assert_allclose(found, prepared_in_memory(table), atol=2e-5)


def test_corrected_images_are_not_corrected_again(table, tmp_path):
    files = prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    again = read_particle_table(files.star)
    with pytest.raises(MetadataError, match=r"phase flipped .*already.*twice"):
        prepare_images(again, tmp_path / "set" / "again", OPTIONS)
    prepare_images(again, tmp_path / "set" / "again", PLAIN)


def test_particles_without_defocus_can_be_prepared_without_correction(table, tmp_path):
    bare = replace(table, ctf=None)
    with pytest.raises(MetadataError, match="rlnDefocusU"):
        prepare_images(bare, tmp_path / "set" / "mine", OPTIONS)
    prepare_images(bare, tmp_path / "set" / "mine", PLAIN)


def test_any_file_of_a_set_names_it(tmp_path):
    files = PreparedFiles(tmp_path, "a.b")
    for path in (files.images, files.star, files.card, files.source_star, tmp_path / "a.b"):
        assert PreparedFiles.of(path) == files


def test_reading_half_a_gigabyte_leaves_little_of_it_in_the_process(table, tmp_path):
    """The stack is made long, with holes; an image of it is 1 MB."""
    files = prepare_images(table, tmp_path / "set" / "mine", replace(OPTIONS, image_size=512))
    values = json.loads(files.card.read_text())
    count = 480
    os.truncate(files.images, 1024 + count * 512 * 512 * 4)
    values["count"] = count
    values["files"]["mine.mrcs"]["size"] = files.images.stat().st_size
    files.card.write_text(json.dumps(values))
    images = PreparedImages(files.card)

    def memory_of_process():
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    images.read(np.arange(32))
    before = memory_of_process()
    largest = 0
    for start in range(0, count, 32):
        images.read(np.arange(start, start + 32))
        largest = max(largest, memory_of_process() - before)
    assert largest < 200e6
