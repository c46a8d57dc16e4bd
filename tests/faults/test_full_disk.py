"""A disk that is really full: a small one of memory, mounted where the machine allows it."""

import contextlib
import errno
import os
import re
import subprocess

import pytest
from fault_doors import BOX, NAME, go_through, write_map

from cesped.data.demo_entry import make_entry
from cesped.data.demo_specifications import DEMO_SPECIFICATIONS
from cesped.errors import DiskFullError
from cesped.io.mrc import write_volume
from cesped.vocabulary import Backend

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
DISK_BYTES = 4096 * PAGE_BYTES  # the report of an evaluation alone takes 5 MB


class SmallDisk:
    """A disk of `DISK_BYTES`; a filler file leaves room for some pages."""

    def __init__(self, folder):
        self.folder = folder
        self._filler = folder / "filler"

    def leave_pages(self, n_pages):
        self.clear()
        with self._filler.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
            while stream.write(bytes(64 * PAGE_BYTES)):
                pass
        os.truncate(self._filler, self._filler.stat().st_size - n_pages * PAGE_BYTES)

    def clear(self):
        self._filler.unlink(missing_ok=True)

    def listing(self):
        return sorted(
            (str(path.relative_to(self.folder)), path.stat().st_size)
            for path in self.folder.rglob("*")
            if path.is_file()
        )


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "small disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True, timeout=120)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"no disk can be mounted here: {error}")
    try:
        yield SmallDisk(folder)
    finally:
        # lazily: a map of a file there may not have been collected yet
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=120)


def refused(disk, capsys):
    printed = capsys.readouterr()
    messages = [line for line in printed.err.splitlines() if "error:" in line]
    assert len(messages) == 1, printed.err
    assert "Traceback" not in printed.err
    expected = rf"error: No space left on device while writing {re.escape(str(disk.folder))}"
    assert re.search(expected + r".*: free some space there, or write to another", messages[0])


#: Pages that are left: none for anything, or too few for the last of several files.
ROOM = {
    "show": [0],
    "reconstruct": [0, 3],
    "project": [0, 2],
    "fsc": [0, 1],
    "infer": [0],
    "evaluate": [8],
    "train": [0, 1, 3],
    "add": [0, 1],
}
OPTION = {"evaluate": "--outdir", "train": "--outdir", "add": "--benchmarkDir"}
RESULT = {"show": "a.png", "reconstruct": "a.mrc", "project": "a.mrcs", "infer": "a.star"}


@pytest.mark.parametrize(("door", "pages"), [(door, n) for door in ROOM for n in ROOM[door]])
def test_full_disk(project, small_disk, capsys, door, pages):
    small_disk.leave_pages(pages)
    before = small_disk.listing()
    place = small_disk.folder / "new" / RESULT.get(door, "results")
    more = [OPTION.get(door, "--out"), place, *(["--copy-images"] if door == "add" else [])]
    assert go_through(door, project, *more) == 1
    refused(small_disk, capsys)
    if door != "train":  # what a run has written whole is where it goes on
        assert small_disk.listing() == before
    small_disk.clear()
    assert go_through(door, project, *more) == 0
    assert not [name for name, _ in small_disk.listing() if "/." in name]


def test_an_old_report_does_not_stay_beside_a_new_score(project, small_disk, capsys):
    small_disk.leave_pages(300)  # room for the score and the maps, not for the report
    place = small_disk.folder / "evaluation"
    place.mkdir()
    (place / "report.html").write_text("old")
    assert go_through("evaluate", project, "--outdir", place) == 1
    refused(small_disk, capsys)
    assert (place / "metrics.json").is_file()
    assert not (place / "report.html").exists()


@pytest.mark.parametrize("pages", [0, 2, 12, 30])
def test_full_disk_under_the_embedded_entry(small_disk, pages):
    small_disk.leave_pages(pages)
    specification = tiny_demo()
    before = small_disk.listing()
    with pytest.raises(DiskFullError, match="free some space"):
        make_entry(specification, small_disk.folder / "bench")
    assert small_disk.listing() == before
    small_disk.clear()
    assert make_entry(specification, small_disk.folder / "bench").is_dir()


def tiny_demo():
    from dataclasses import replace

    return replace(
        DEMO_SPECIFICATIONS["DEMO"], name="TINY", n_particles_per_half=8, box=24, n_atoms=50
    )


def test_the_old_result_outlives_a_full_disk(project, small_disk, capsys):
    old = write_map(small_disk.folder / "map.mrc")
    content = old.read_bytes()
    small_disk.leave_pages(1)
    assert go_through("reconstruct", project, "--out", old) == 1
    refused(small_disk, capsys)
    assert old.read_bytes() == content


def test_a_half_that_is_replaced_outlives_a_full_disk(project, small_disk, capsys):
    bench = small_disk.folder / "bench"
    add = ["--benchmarkDir", bench, "--name", NAME, "--copy-images", "--force"]
    assert go_through("add", project, *add) == 0
    before = small_disk.listing()
    small_disk.leave_pages(2)
    capsys.readouterr()
    assert go_through("add", project, *add) == 1
    refused(small_disk, capsys)
    small_disk.clear()
    assert small_disk.listing() == before


@pytest.mark.relion
def test_full_disk_under_relion(project, small_disk, capsys):
    small_disk.leave_pages(1)
    out = small_disk.folder / "map.mrc"
    assert go_through("reconstruct", project, "--out", out, "--backend", Backend.RELION.value) == 1
    refused(small_disk, capsys)


def test_quota_and_size_limits_count_as_full(tmp_path, monkeypatch):
    for number in (errno.EDQUOT, errno.EFBIG):

        def full(descriptor, number=number):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(DiskFullError, match="free some space"):
            write_volume(tmp_path / "map.mrc", [[[0.0] * BOX] * BOX] * BOX, 1.0)
    assert list(tmp_path.iterdir()) == []
