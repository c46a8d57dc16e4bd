"""Published entries, from the doors: fetched, shared, merged, refused, and never twice."""

import json
import os
import threading

import numpy as np
import pytest
import starfile
from published_copies import contents, publish, record_of
from record_server import Fault

from cesped.cli.main import main, particles_dataset_face
from cesped.data.conventions import read_particle_table
from cesped.data.dataset import ParticlesDataset
from cesped.data.download import disk_room
from cesped.data.download.entry_fetch import fetch_half
from cesped.data.opening import open_entry
from cesped.data.store import EntryStore
from cesped.errors import (
    DiskFullError,
    DownloadError,
    EntryExistsError,
    EntryNotFoundError,
)
from cesped.vocabulary import OFFLINE_VARIABLE

PARTS = ("particles_0.star", "info_0.json", "particles_0.mrcs", "mask.mrc")


def same_files(folder, made, names=PARTS):
    got = contents(folder)
    assert {name: got.get(name) for name in names} == {
        name: (made.folder / name).read_bytes() for name in names
    }
    return True


def test_the_class_of_the_papers_fetches(published, benchmark_dir, capsys):
    dataset = ParticlesDataset("10280", 0)
    assert len(dataset) == 24
    assert dataset.symmetry == "C2"
    assert same_files(benchmark_dir / "10280", published)
    assert (benchmark_dir / "10280" / "SUCCESSFUL_DOWNLOAD_8353722.txt").read_text() == (
        f"8353722\n{(published.folder / 'particles_0.mrcs').stat().st_size}\n"
    )
    assert ParticlesDataset.getLocallyAvailableEntries() == [("10280", 0)]


def test_nothing_is_fetched_twice(server, published, benchmark_dir):
    ParticlesDataset("10280", 0)
    before = len(server.requests)
    ParticlesDataset("10280", 0)
    assert main(["download", "10280", "--halfset", "0"]) == 0
    assert len(server.requests) == before
    ParticlesDataset("10280", 1)
    assert server.sent_of("10280_mask") == published.folder.joinpath("mask.mrc").stat().st_size


def test_both_halves_and_the_merged_file(published, benchmark_dir, capsys):
    assert main(["download", "10280"]) == 0
    printed = capsys.readouterr()
    folder = benchmark_dir / "10280"
    assert printed.out.splitlines() == [
        f"Half 0 of entry 10280 is complete: {folder}/particles_0.star",
        f"Half 1 of entry 10280 is complete: {folder}/particles_1.star",
        f"Both halves in one file: {folder}/particles_merged.star",
    ]
    assert "Fetching 10280 half 0: 103." in printed.err
    table = read_particle_table(folder / "particles_merged.star")
    assert len(table) == 48
    assert len(table.stacks) == 2
    assert len(starfile.read(folder / "particles_merged.star")["optics"].columns) > 3
    assert not [name for name in os.listdir(folder) if "partial" in name or "journal" in name]


def test_the_published_command(published, benchmark_dir, tmp_path, capsys):
    words = ["download_entry", "-t", "10280", "-p", "1", "-b", str(tmp_path / "other")]
    assert particles_dataset_face(words) == 0
    assert ("10280", 1) in EntryStore(tmp_path / "other").list()
    assert "Half 1 of entry 10280 is complete" in capsys.readouterr().out
    assert not (tmp_path / "other" / "10280" / "particles_merged.star").exists()


def test_the_consensus_entry_uses_the_images_of_another(server, tmp_path, benchmark_dir):
    made = publish(server, tmp_path / "published", name="10648")
    for halfset, record in ((0, 11092025), (1, 11092048)):
        files = record_of(made.folder, halfset, n_chunks=1)
        star = f"particles_{halfset}.star"
        lines = files[star].decode().splitlines(keepends=True)
        some = [line for line in lines if "@" not in line or int(line.split("@")[0]) % 2]
        files = {star: "".join(some).encode(), f"info_{halfset}.json": b'{"symmetry": "D2"}'}
        server.records[record] = files
    dataset = ParticlesDataset("consensus_10648", 0)
    assert len(dataset) == 12
    stack = benchmark_dir / "consensus_10648" / "particles_0.mrcs"
    assert stack.resolve() == benchmark_dir / "10648" / "particles_0.mrcs"
    assert not os.path.isabs(os.readlink(stack))  # the folder can be moved
    owner = ParticlesDataset("10648", 0)
    np.testing.assert_array_equal(dataset[1][1], owner[2][1])
    assert main(["verify", "consensus_10648", "--halfset", "0"]) == 0
    stack.unlink()
    stack.symlink_to("nowhere")
    fetch_half("consensus_10648", 0)
    assert stack.exists()


def test_a_mask_that_is_there_stays(server, published, benchmark_dir):
    (benchmark_dir / "10280").mkdir()
    own = (published.folder / "mask.mrc").read_bytes()[:-4] + bytes(4)
    (benchmark_dir / "10280" / "mask.mrc").write_bytes(own)
    fetch_half("10280", 0)
    assert (benchmark_dir / "10280" / "mask.mrc").read_bytes() == own
    assert server.sent_of("10280_mask") == 0


def test_a_mask_that_was_removed_is_fetched_again(server, published, benchmark_dir):
    fetch_half("10280", 0)
    (benchmark_dir / "10280" / "mask.mrc").unlink()
    ParticlesDataset("10280", 0)  # needs none
    assert not (benchmark_dir / "10280" / "mask.mrc").exists()
    assert main(["download", "10280", "-p", "0"]) == 0
    assert same_files(benchmark_dir / "10280", published)


def test_names_that_are_wrong_are_answered_with_the_nearest(benchmark_dir, capsys):
    for words in (["download", "EMPIAR-10280"], ["download", "1028"]):
        assert main(words) == 1
        assert "(did you mean 10280" in capsys.readouterr().err
    with pytest.raises(EntryNotFoundError, match="did you mean 10280"):
        open_entry("empiar-10280", 0)
    assert main(["download", "../x"]) == 1
    assert "cannot name an entry" in capsys.readouterr().err
    assert list(benchmark_dir.iterdir()) == []


def test_without_downloads_it_says_what_to_do(published, benchmark_dir, monkeypatch):
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    with pytest.raises(EntryNotFoundError, match=r"CESPED_OFFLINE forbids .*copy the files of rec"):
        ParticlesDataset("10280", 0)
    monkeypatch.delenv(OFFLINE_VARIABLE)
    ParticlesDataset("10280", 0)
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    assert len(ParticlesDataset("10280", 0)) == 24


def test_files_that_were_copied_by_hand_open_without_a_network(server, published, benchmark_dir):
    published.folder.rename(benchmark_dir / "10280")
    assert len(ParticlesDataset("10280", 0)) == 24
    assert server.requests == []


def test_what_the_published_program_left_when_interrupted(server, published, benchmark_dir):
    """It writes star and info file first, then appends chunks to the stack."""
    folder = benchmark_dir / "10280"
    folder.mkdir()
    for name in ("particles_0.star", "info_0.json"):
        (folder / name).write_bytes((published.folder / name).read_bytes())
    stack = (published.folder / "particles_0.mrcs").read_bytes()
    (folder / "particles_0.mrcs").write_bytes(stack[:60_000])
    ParticlesDataset("10280", 0)
    assert same_files(folder, published)
    assert server.sent_of("particles_0.mrcs") == len(stack) - 60_000


def test_a_mark_of_the_published_program_is_not_trusted(server, published, benchmark_dir):
    """After an interruption it appends the whole of a chunk again, and marks it all the same."""
    folder = published.folder.rename(benchmark_dir / "10280")
    stack = (folder / "particles_0.mrcs").read_bytes()
    (folder / "particles_0.mrcs").write_bytes(stack[:60_000] + stack[50_000:])
    (folder / "SUCCESSFUL_DOWNLOAD_8353722.txt").write_text(f"8353722\n{len(stack)}\n")
    ParticlesDataset("10280", 0)
    assert (folder / "particles_0.mrcs").read_bytes() == stack
    assert 0 < server.sent_of("particles_0.mrcs") < len(stack) / 2


def test_a_stack_that_changed_after_it_was_marked_is_looked_at_again(published, benchmark_dir):
    fetch_half("10280", 0)
    stack = benchmark_dir / "10280" / "particles_0.mrcs"
    stack.write_bytes(stack.read_bytes()[:-100])
    ParticlesDataset("10280", 0)
    assert same_files(benchmark_dir / "10280", published)


def test_a_star_file_of_ones_own_is_not_replaced(published, benchmark_dir, patience):
    folder = benchmark_dir / "10280"
    folder.mkdir()
    (folder / "particles_0.star").write_text("mine")
    with pytest.raises(EntryExistsError, match="is not the file of record 8353722; move it away"):
        fetch_half("10280", 0, patience=patience)
    assert (folder / "particles_0.star").read_text() == "mine"
    assert main(["download", "10280", "--halfset", "0", "--force"]) == 0
    assert same_files(folder, published)


def test_an_entry_that_was_added_under_a_published_name_is_left_alone(
    server, published, benchmark_dir
):
    star = published.folder / "particles_0.star"
    EntryStore().add(star, published.folder, "10280", 0, "C2")
    assert len(ParticlesDataset("10280", 0)) == 24
    assert server.requests == []


def test_a_place_where_nothing_can_be_written(server, published, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main(["download", "10280", "-b", str(tmp_path / "file")]) == 1
    assert "is a file; name another folder" in capsys.readouterr().err
    assert server.requests == []


def test_too_little_room_is_said_before_anything_is_fetched(
    server, published, benchmark_dir, monkeypatch, patience
):
    usage = disk_room.shutil.disk_usage(benchmark_dir)
    small = usage._replace(free=50_000)
    monkeypatch.setattr(disk_room.shutil, "disk_usage", lambda folder: small)
    with pytest.raises(DiskFullError, match=r"103.. kB are to be written .* free 53.. kB more"):
        fetch_half("10280", 0, patience=patience)
    assert server.sent_of("particles") == 0


def test_list_shows_how_far_a_download_came(server, published, benchmark_dir, patience, capsys):
    server.faults["particles_0.mrcs.chunk_5"] = [Fault(times=9, status=404)]
    with pytest.raises(DownloadError):
        fetch_half("10280", 0, patience=patience)
    assert main(["list"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[2].split()[:2] == ["10280", "0"]
    assert "fetched (2" in rows[2]
    assert "`cesped download 10280` goes on" in rows[2]
    server.faults.clear()
    fetch_half("10280", 0, patience=patience)
    (benchmark_dir / "10280" / "SUCCESSFUL_DOWNLOAD_8353722.txt").unlink()
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[2].endswith("not verified")
    assert sum(line.startswith("  consensus_10648") for line in printed.splitlines()) == 1


def test_threads_of_one_process_do_not_harm_each_other(server, published, tmp_path, patience):
    failures = []

    def fetch(half):
        try:
            fetch_half("10280", half, tmp_path / "bench", patience=patience)
        except Exception as error:  # whatever it is, it is told below
            failures.append(error)

    threads = [threading.Thread(target=fetch, args=(half,)) for half in (0, 1, 0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert same_files(tmp_path / "bench" / "10280", published)
    assert same_files(tmp_path / "bench" / "10280", published, ("particles_1.mrcs", "info_1.json"))


def test_the_record_is_kept_for_checks_without_a_network(published, benchmark_dir):
    ParticlesDataset("10280", 0)
    kept = json.loads((benchmark_dir / "10280" / "record_8353722.json").read_text())
    assert kept["id"] == 8353722
    assert len(kept["files"]) == 14
