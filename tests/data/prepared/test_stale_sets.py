"""A prepared set knows what it was made of, and whether it is whole.

Faults: another star file, another stack, other options, another version, a copy cut short.
"""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import starfile
from sets import OPTIONS, prepared_in_memory, table_of, touch

from cesped.data.prepared import card as card_module
from cesped.data.prepared import writer
from cesped.data.prepared.card import read_card
from cesped.data.prepared.reader import PreparedImages
from cesped.data.prepared.writer import prepare_images
from cesped.errors import (
    StaleImagesError,
)
from cesped.vocabulary import CtfCorrection, Normalization, PixelType


def test_another_star_file_is_recognised(entry, table, tmp_path):
    prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    tables = starfile.read(entry.star(0))
    tables["particles"].loc[2, "rlnDefocusU"] += 100
    starfile.write(tables, entry.star(0), overwrite=True)
    assert_stale(table_of(entry), tmp_path, "star file is not what it was")


def test_another_stack_is_recognised(entry, table, tmp_path):
    prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    touch(entry.folder / "particles_0.mrcs")
    assert_stale(table_of(entry), tmp_path, "stack was changed since: .*particles_0.mrcs")


def test_other_particles_of_the_same_file_are_recognised(table, tmp_path):
    prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    assert_stale(table.select(np.arange(10, -1, -1)), tmp_path, "other particles of")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"image_size": 24}, "image_size is 20, asked for is 24"),
        ({"crop_fraction": 0.0}, "crop_fraction is 0.25"),
        ({"ctf_correction": CtfCorrection.NONE}, "ctf_correction is phase_flip, asked for is none"),
        ({"normalization": Normalization.NONE}, "normalization is noiseStats"),
    ],
)
def test_other_options_are_recognised(table, tmp_path, changes, said):
    prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    assert_stale(table, tmp_path, said, replace(OPTIONS, **changes))


def test_another_pixel_type_or_symmetry_is_recognised(table, tmp_path):
    prepare_images(table, tmp_path / "set" / "mine", OPTIONS, symmetry="C1")
    with pytest.raises(StaleImagesError, match="pixels are float32, asked for is float16"):
        prepare_images(table, tmp_path / "set" / "mine", OPTIONS, PixelType.FLOAT16, symmetry="C1")
    with pytest.raises(StaleImagesError, match="symmetry is C1, asked for is D2"):
        prepare_images(table, tmp_path / "set" / "mine", OPTIONS, symmetry="D2")


@pytest.mark.parametrize("version", ["FORMAT_VERSION", "PREPARATION_VERSION"])
def test_another_version_is_recognised(table, tmp_path, monkeypatch, version):
    prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    monkeypatch.setattr(card_module, version, 7)
    with pytest.raises(StaleImagesError, match=r"another version of this program .*here it is 7"):
        PreparedImages(tmp_path / "set" / "mine")
    assert_stale(table, tmp_path, "another version")


@pytest.mark.parametrize("name", ["mine.mrcs", "mine.star", "mine.source.star"])
@pytest.mark.parametrize("fault", ["cut", "gone"])
def test_a_copy_that_is_not_complete_is_recognised(table, tmp_path, name, fault):
    prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    path = tmp_path / "set" / name
    path.write_bytes(path.read_bytes()[:-7]) if fault == "cut" else path.unlink()
    with pytest.raises(StaleImagesError, match=rf"{name} is not as long as .*or missing"):
        PreparedImages(tmp_path / "set" / "mine")


def test_a_damaged_byte_is_found_by_verifying(table, tmp_path):
    prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    images = PreparedImages(tmp_path / "set" / "mine")
    images.verify()
    with (tmp_path / "set" / "mine.mrcs").open("r+b") as stream:
        stream.seek(2000)
        stream.write(b"\x55")
    with pytest.raises(StaleImagesError, match="checksum"):
        images.verify()


def test_a_stack_that_shrinks_while_it_is_read_is_an_error(table, tmp_path):
    prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    images = PreparedImages(tmp_path / "set" / "mine")
    os.truncate(images.files.images, 5000)
    with pytest.raises(StaleImagesError, match="ends before"):
        images.read([10])


@pytest.mark.parametrize("content", ["", "[]", "{", '{"format_version": 1}', '{"files": 3}'])
def test_a_card_that_is_none_is_recognised(table, tmp_path, content):
    files = prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    files.card.write_text(content)
    with pytest.raises(StaleImagesError, match="prepare"):
        read_card(files)


def test_a_card_without_one_of_its_facts_is_damaged(table, tmp_path):
    files = prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    values = json.loads(files.card.read_text())
    for name in ("options", "stored_as", "stacks", "count", "star"):
        files.card.write_text(json.dumps({k: v for k, v in values.items() if k != name}))
        with pytest.raises(StaleImagesError, match="damaged"):
            read_card(files)


def test_a_source_that_changes_meanwhile_is_noticed(entry, table, tmp_path, monkeypatch):
    prepare = writer._Work._prepare

    def disturb(self, rows):
        touch(entry.folder / "particles_0.mrcs")
        return prepare(self, rows)

    monkeypatch.setattr(writer._Work, "_prepare", disturb)
    with pytest.raises(StaleImagesError, match=r"while mine was prepared, the stack was changed"):
        prepare_images(table, tmp_path / "set" / "mine", OPTIONS)
    assert list((tmp_path / "set").iterdir()) == []


def assert_stale(table, tmp_path, said, options=OPTIONS):
    """Expect a refusal that gives reason and remedy, and another set where replacing is allowed."""
    with pytest.raises(StaleImagesError, match=f"{said}.*--force"):
        prepare_images(table, tmp_path / "set" / "mine", options)
    files = prepare_images(table, tmp_path / "set" / "mine", options, replace=True)
    found = PreparedImages(files.card).read(np.arange(len(table))).numpy()
    np.testing.assert_array_equal(found, prepared_in_memory(table, options))
