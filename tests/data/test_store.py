"""Adding, listing and finding entries; nothing half-written, nothing made in passing."""

import json
import os
import shutil

import fake_entry as fake
import mrcfile
import numpy as np
import pytest

from cesped import errors
from cesped.data.conventions import read_particle_table
from cesped.data.store import EntryStore, default_benchmark_dir


@pytest.fixture
def source(tmp_path):
    """Particles of a refinement elsewhere, as two star files over two stacks."""
    return fake.write_fake_entry(tmp_path / "project", "job", n_particles=6)


@pytest.fixture
def store(tmp_path):
    return EntryStore(tmp_path / "bench")


def add(store, source, halfset=0, name="MINE", symmetry="c1", **options):
    return store.add(source.star(halfset), source.folder, name, halfset, symmetry, **options)


def everything_below(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*")) if folder.exists() else []


def test_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("CESPED_BENCHMARK_DIR", str(tmp_path / "a"))
    assert default_benchmark_dir(tmp_path / "b") == tmp_path / "b"
    assert default_benchmark_dir() == tmp_path / "a"
    monkeypatch.delenv("CESPED_BENCHMARK_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert default_benchmark_dir() == tmp_path / "data" / "cesped"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_benchmark_dir() == tmp_path / ".local" / "share" / "cesped"
    assert everything_below(tmp_path) == []


def test_listing_makes_nothing(tmp_path):
    store = EntryStore(tmp_path / "missing")
    assert store.list() == []
    with pytest.raises(errors.EntryNotFoundError, match=r"entries there: none.*cesped add"):
        store.locate("X", 0)
    assert not (tmp_path / "missing").exists()


def test_published_layout_is_read(tmp_path):
    fake.write_fake_entry(tmp_path, "OLD", symmetry="D2", with_mask=True)
    (tmp_path / "not an entry").mkdir()
    (tmp_path / "file").write_text("")
    store = EntryStore(tmp_path)
    assert store.list() == [("OLD", 0), ("OLD", 1)]
    half = store.locate("OLD", "1")
    assert half.root_dir == tmp_path / "OLD"
    assert half.symmetry == "D2"
    assert half.mask_path == tmp_path / "OLD" / "mask.mrc"
    assert len(read_particle_table(half.star_path, half.root_dir)) == 24


def test_add_keeps_ids_and_leaves_images(store, source):
    half = add(store, source)
    add(store, source, 1)
    assert store.list() == [("MINE", 0), ("MINE", 1)]
    assert everything_below(store.benchmark_dir) == [
        "MINE",
        "MINE/info_0.json",
        "MINE/info_1.json",
        "MINE/particles_0.star",
        "MINE/particles_1.star",
    ]
    table = read_particle_table(half.star_path, half.root_dir)
    before = read_particle_table(source.star(0))
    assert table.ids.tolist() == before.ids.tolist()
    assert [p.resolve() for p in table.stacks] == [p.resolve() for p in before.stacks]
    np.testing.assert_array_equal(table.poses.rotations, before.poses.rotations)
    info = json.loads((store.entry_dir("MINE") / "info_0.json").read_text())
    assert info["symmetry"] == "C1"
    assert info["n_particles"] == 6


def test_add_from_a_relative_root(store, source, monkeypatch):
    monkeypatch.chdir(source.folder)
    half = store.add("particles_0.star", ".", "MINE", 0, "C1")
    monkeypatch.chdir("/")
    assert len(read_particle_table(half.star_path, half.root_dir)) == 6


def test_add_with_images_makes_a_published_layout(store, source):
    half = add(store, source, copy_images=True)
    shutil.rmtree(source.folder)
    table = read_particle_table(half.star_path, half.root_dir)
    assert table.ids[5] == "000006@particles_0.mrcs"
    assert table.stacks == (store.entry_dir("MINE") / "particles_0.mrcs",)
    with mrcfile.open(table.stacks[0]) as mrc:
        np.testing.assert_array_equal(mrc.data, source.images[0])
        assert mrc.voxel_size.x == pytest.approx(3.0)


def test_stacks_in_two_places_still_resolve(store, source, tmp_path):
    star = tmp_path / "other" / "p.star"
    star.parent.mkdir()
    shutil.copy(source.folder / "particles_0.mrcs", star.parent / "beside.mrcs")
    names = ["1@particles_0.mrcs", "2@particles_0.mrcs", *[f"{i}@beside.mrcs" for i in range(3, 7)]]
    fake.write_star_31(star, source.poses[0], source.ctf[0], 32, rlnImageName=names)
    half = store.add(star, source.folder, "MINE", 0, "C1")
    table = read_particle_table(half.star_path, half.root_dir)
    assert [path.name for path in table.stacks] == ["particles_0.mrcs", "beside.mrcs"]


def test_overwriting_needs_force(store, source):
    add(store, source, symmetry="C1")
    with pytest.raises(errors.EntryExistsError, match="force"):
        add(store, source, symmetry="C2")
    assert add(store, source, symmetry="C2", force=True).symmetry == "C2"


def test_mask_is_copied_and_checked(store, source, tmp_path):
    mask = tmp_path / "m.mrc"
    with mrcfile.new(mask, data=np.ones((32, 32, 32), np.float32)) as mrc:
        mrc.voxel_size = 3.0
    assert add(store, source, mask=mask).mask_path.read_bytes() == mask.read_bytes()
    with mrcfile.new(mask, data=np.ones((16, 16, 16), np.float32), overwrite=True) as mrc:
        mrc.voxel_size = 3.0
    with pytest.raises(errors.MetadataError, match="box of the images"):
        add(store, source, name="B", mask=mask)
    with mrcfile.new(mask, data=np.ones((32, 32, 32), np.float32), overwrite=True) as mrc:
        mrc.voxel_size = 2.0
    with pytest.raises(errors.PixelSizeError, match="resample"):
        add(store, source, name="B", mask=mask)
    assert store.list() == [("MINE", 0)]


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "-x", "a b", "a" * 101])
def test_names_cannot_leave_the_folder(store, source, name):
    with pytest.raises(errors.OptionError, match="cannot name an entry"):
        add(store, source, name=name)
    with pytest.raises(errors.OptionError, match="cannot name an entry"):
        store.locate(name, 0)


@pytest.mark.parametrize("halfset", [2, "x", -1, None])
def test_halfset_is_0_or_1(store, halfset):
    with pytest.raises(errors.OptionError, match="use 0 or 1"):
        store.locate("A", halfset)


def spoil_nan(source):
    path = source.folder / "particles_0.mrcs"
    with mrcfile.mmap(path, mode="r+") as mrc:
        mrc.data[2, 5, 5] = np.nan


def spoil_constant(source):
    images = source.images[0].copy()
    images[3] = 7.0
    fake.write_stack(source.folder / "particles_0.mrcs", images)


def spoil_stack(source):
    path = source.folder / "particles_0.mrcs"
    path.write_bytes(path.read_bytes()[:3000])


def spoil_names(source):
    names = ["1@particles_0.mrcs"] * 6
    fake.write_star_31(source.star(0), source.poses[0], source.ctf[0], 32, rlnImageName=names)


FAULTS = {
    "nan": (spoil_nan, errors.ImageValueError, r"row 3 .*1 pixels of section 3 .*NaN"),
    "constant": (spoil_constant, errors.ImageValueError, r"row 4 .*image 4 .*constant \(7 every"),
    "truncated": (spoil_stack, errors.MrcFileError, r"row 1 .*particles_0.mrcs"),
    "doubled": (spoil_names, errors.IdMismatchError, r"rows 1, 2, 3"),
    "symmetry": (lambda source: None, errors.SymmetryError, "C1 to C99"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faulty_input_leaves_nothing(store, source, fault):
    spoil, kind, message = FAULTS[fault]
    spoil(source)
    with pytest.raises(kind, match=message):
        add(store, source, symmetry="Q5" if fault == "symmetry" else "C1")
    assert everything_below(store.benchmark_dir) == []


@pytest.mark.parametrize("copy_images", [False, True])
def test_full_disk_leaves_nothing(store, source, monkeypatch, copy_images):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(errors.DiskFullError):
        add(store, source, copy_images=copy_images)
    assert everything_below(store.benchmark_dir) == []


def test_failed_replacement_keeps_the_old_half(store, source, monkeypatch):
    add(store, source)
    before = (store.entry_dir("MINE") / "particles_0.star").read_text()
    spoil_nan(source)
    with pytest.raises(errors.ImageValueError):
        add(store, source, force=True)
    assert (store.entry_dir("MINE") / "particles_0.star").read_text() == before
    assert store.list() == [("MINE", 0)]


def test_halves_must_belong_together(store, source, tmp_path):
    add(store, source)
    with pytest.raises(errors.SymmetryError, match="both halves must have the same"):
        add(store, source, 1, symmetry="C2")
    other = fake.write_fake_entry(tmp_path / "other", "job", n_particles=4, box=24)
    with pytest.raises(errors.MetadataError, match=r"24 px.*32 px"):
        add(store, other, 1)
    with pytest.raises(errors.IdMismatchError, match=r"6 images .* share no image"):
        store.add(source.star(0), source.folder, "MINE", 1, "C1")
    fake.write_stack(source.folder / "particles_1.mrcs", source.images[1], 0.0)
    fake.write_star_31(source.star(1), source.poses[1], source.ctf[1], 32, rlnImagePixelSize=[3.1])
    with pytest.raises(errors.PixelSizeError, match=r"3\.1 angstrom/px"):
        add(store, source, 1)
    assert store.list() == [("MINE", 0)]


def test_broken_info_file(store, source):
    add(store, source)
    info = store.entry_dir("MINE") / "info_0.json"
    info.write_text("{")
    with pytest.raises(errors.MetadataError, match="no JSON"):
        store.locate("MINE", 0)
    info.write_text("{}")
    with pytest.raises(errors.MetadataError, match="states no symmetry"):
        store.locate("MINE", 0)
    info.write_text('{"symmetry": "Z9"}')
    with pytest.raises(errors.SymmetryError):
        store.locate("MINE", 0)
