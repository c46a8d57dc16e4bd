"""A disk that fills up while an entry is fetched: nothing is lost, and room is all it takes."""

import os
import subprocess

import pytest
from published_copies import contents

from cesped.cli.main import main
from cesped.data.download import entry_fetch
from cesped.errors import DiskFullError

DISK_BYTES = 1 << 20


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
        yield folder
    finally:
        # lazily: a map of a file there may not have been collected yet
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=120)


def fill_up(folder, n_free):
    """Leave `n_free` bytes of the disk, in whole pages."""
    filler = folder / "filler"
    filler.unlink(missing_ok=True)
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    filler.write_bytes(bytes(max(0, free - n_free)))


@pytest.mark.parametrize("n_free", [16_384, 40_960, 98_304, 118_784, 131_072])
def test_a_disk_that_fills_up_on_the_way(published, small_disk, monkeypatch, capsys, n_free):
    """Somebody else takes the room that was there when it was asked for."""
    monkeypatch.setattr(entry_fetch, "check_room", lambda assemblies: None)
    fill_up(small_disk, n_free)
    words = ["download", "10280", "--halfset", "0", "-b", str(small_disk / "bench")]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "No space left on device while writing" in said
    assert "Traceback" not in said
    partial = small_disk / "bench" / "10280" / "particles_0.mrcs.partial"
    kept = partial.read_bytes() if partial.exists() else b""
    stack = (published.folder / "particles_0.mrcs").read_bytes()
    assert kept == stack[: len(kept)]
    (small_disk / "filler").unlink()
    assert main(words) == 0
    got = contents(small_disk / "bench" / "10280")
    assert got["particles_0.mrcs"] == stack
    assert not [name for name in got if name.endswith(".partial")]


def test_what_is_kept_is_not_fetched_again(server, published, small_disk, monkeypatch, patience):
    monkeypatch.setattr(entry_fetch, "check_room", lambda assemblies: None)
    fill_up(small_disk, 80_000)
    bench = small_disk / "bench"
    with pytest.raises(DiskFullError, match=r"give the same command again; it goes on from here"):
        entry_fetch.fetch_half("10280", 0, bench, patience=patience)
    kept = (bench / "10280" / "particles_0.mrcs.partial").stat().st_size
    assert kept > 50_000
    (small_disk / "filler").unlink()
    server.requests.clear()
    entry_fetch.fetch_half("10280", 0, bench, patience=patience)
    stack = (published.folder / "particles_0.mrcs").stat().st_size
    assert server.sent_of("particles_0.mrcs") == stack - kept


def test_it_is_said_before_the_first_byte(server, published, small_disk, capsys):
    fill_up(small_disk, 60_000)
    words = ["download", "10280", "--halfset", "0", "-b", str(small_disk / "bench")]
    assert main(words) == 1
    assert "are to be written to" in capsys.readouterr().err
    assert server.sent_of("particles") == 0
