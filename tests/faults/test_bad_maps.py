"""Bad maps and masks, places that cannot be written, and files that must not be."""

import numpy as np
import pytest
from fault_doors import as_folder, assert_says, cut, packed, refuse, write_map

MAP_FAULTS = {
    "gone": (lambda path: path.unlink(), r"map\.mrc is not a file: check the path"),
    "folder": (as_folder, r"map\.mrc is not a file: check the path"),
    "truncated": (lambda path: cut(path, 9000), r"map\.mrc is truncated.*copy or make it again"),
    "text": (lambda path: path.write_text("map " * 500), r"map\.mrc does not start with an MRC"),
    "gzip": (packed, r"map\.mrc is compressed with gzip: unpack it first"),
    "nan": (
        lambda path: path.write_bytes(path.read_bytes()[:-4] + np.float32("nan").tobytes()),
        r"map\.mrc has 1 NaN or infinite voxels: make it again",
    ),
    "constant": (
        lambda path: path.write_bytes(path.read_bytes()[:1024] + bytes(16**3 * 4)),
        r"map\.mrc is constant \(0 everywhere\); give",
    ),
    "voxels": (
        lambda path: write_map(path, pixel_size_angst=2.0),
        r"map\.mrc has 2 A.* 3; correct",
    ),
    "no_voxel_size": (lambda path: write_map(path, pixel_size_angst=0), r"map\.mrc has no voxel"),
}


@pytest.mark.parametrize("door", ["project", "fsc"])
@pytest.mark.parametrize("fault", MAP_FAULTS)
def test_maps(project, capsys, door, fault):
    spoil, expected = MAP_FAULTS[fault]
    spoil(project.map)
    assert_says(refuse(door, project, capsys), expected)


def test_maps_of_other_boxes(project, capsys):
    write_map(project.map, box=12)
    assert_says(
        refuse("fsc", project, capsys), r"mask\.mrc has 16 x 16 x 16 .*map\.mrc 12 x .*give"
    )
    write_map(project.map)
    small = write_map(project.folder / "small.mrc", box=8)
    message = refuse("fsc", project, capsys, "--mask", small)
    assert_says(message, r"mask .*small\.mrc has 8 x 8 x 8 voxels and map .*map\.mrc 16")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda path: write_map(path, box=12), r"mask\.mrc has the shape .*; give a mask"),
        (lambda path: write_map(path, pixel_size_angst=2.0), r"mask\.mrc has 2 .*; resample"),
        (write_map, r"mask\.mrc holds values from .*; a mask is 1 inside"),
        (lambda path: cut(path, 5000), r"mask\.mrc is truncated"),
    ],
)
def test_mask_of_an_entry(project, capsys, spoil, expected):
    spoil(project.entry / "mask.mrc")
    assert_says(refuse("evaluate", project, capsys), expected)


@pytest.mark.parametrize(
    ("door", "option", "place"),
    [
        ("show", "--out", "out"),
        ("show", "--out", "map.mrc/show.png"),
        ("reconstruct", "--out", "out"),
        ("reconstruct", "--out", "map.mrc/new/map.mrc"),
        ("project", "--out", "out"),
        ("fsc", "--out", "map.mrc/fsc"),
        ("evaluate", "--outdir", "map.mrc"),
        ("infer", "--out", "map.mrc/new.star"),
        ("train", "--outdir", "map.mrc"),
        ("add", "--benchmarkDir", "map.mrc"),
    ],
)
def test_places_that_cannot_be_written(project, capsys, door, option, place):
    message = refuse(door, project, capsys, option, project.folder / place)
    assert_says(message, r"(is a folder; name a file|map\.mrc is a file; name another folder)")


@pytest.mark.parametrize(
    ("door", "out"),
    [
        ("reconstruct", "bench/E/particles_0.star"),
        ("reconstruct", "bench/E/particles_0.mrcs"),
        ("project", "bench/E/particles_0.mrcs"),
        ("project", "bench/E/particles_0.mrc"),
        ("project", "map.mrc"),
        ("project", "out/stack.star"),
        ("infer", "bench/E/particles_0.star"),
    ],
)
def test_what_is_read_is_never_written_over(project, capsys, door, out):
    assert_says(refuse(door, project, capsys, "--out", project.folder / out), r"; (write|name) ")
