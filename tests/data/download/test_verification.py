"""`cesped verify`: copied by hand, chunks or whole, with a record, a kept one, or none at all."""

import shutil

import pytest

from cesped.cli.main import main
from cesped.data.dataset import ParticlesDataset
from cesped.data.download.entry_fetch import fetch_half
from cesped.vocabulary import OFFLINE_VARIABLE, RECORDS_URL_VARIABLE


@pytest.fixture
def by_hand(published, benchmark_dir):
    """The entry's files in the benchmark folder, as a person copied them."""
    shutil.copytree(published.folder, benchmark_dir / "10280")
    return benchmark_dir / "10280"


@pytest.fixture
def chunks_by_hand(server, by_hand):
    """The same, but the stack of half 0 in its chunks."""
    (by_hand / "particles_0.mrcs").unlink()
    for name, content in server.records[8353722].items():
        if "chunk" in name:
            (by_hand / name).write_bytes(content)
    return by_hand


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")


def verify(capsys, *words):
    code = main(["verify", *words])
    return code, capsys.readouterr().out


def test_files_copied_by_hand_are_checked_and_marked(server, by_hand, capsys):
    code, out = verify(capsys, "10280")
    assert code == 0
    assert out.splitlines()[-1] == "10280: everything was checked and is right"
    assert "  right       particles_0.mrcs: 99.3 kB, MD5 of 12 pieces agree" in out
    assert "  right       24 particles in 24 images of 32 px, 3 Å/px, C2" in out
    assert "note        differs from the paper's table: images of 32 px (the paper: 182)" in out
    assert (by_hand / "SUCCESSFUL_DOWNLOAD_8353722.txt").is_file()
    assert (by_hand / "SUCCESSFUL_DOWNLOAD_8353737.txt").is_file()
    assert server.sent_of("particles") == 0


def test_without_a_network_it_says_what_it_could_not_check(by_hand, offline, capsys):
    code, out = verify(capsys, "10280")
    assert code == 0
    assert "not checked checksums: record 8353722 is not looked up, since CESPED_OFFLINE" in out
    assert "not checked particles_0.mrcs: 99.3 kB, checksum not known" in out
    assert "right       belongs to the other half, and shares no image with it" in out
    assert out.endswith("10280: nothing wrong was found, but not everything could be checked\n")
    assert not list(by_hand.glob("SUCCESSFUL*"))


def test_a_server_that_cannot_be_reached(by_hand, monkeypatch, capsys):
    monkeypatch.setenv(RECORDS_URL_VARIABLE, "http://127.0.0.1:9/api/records")
    monkeypatch.setattr("cesped.data.download.retries.time.sleep", lambda seconds: None)
    code, out = verify(capsys, "10280", "--halfset", "0")
    assert code == 0
    assert "not checked checksums: 127.0.0.1:9 cannot be reached" in out


def test_the_kept_record_serves_without_a_network(published, benchmark_dir, monkeypatch, capsys):
    fetch_half("10280", 0)
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    code, out = verify(capsys, "10280", "--halfset", "0")
    assert code == 0
    assert out.endswith("10280: everything was checked and is right\n")


@pytest.mark.parametrize(
    ("name", "position", "message"),
    [
        ("particles_0.mrcs", 99_000, "the MD5 differs in particles_0.mrcs.chunk_11 (bytes 84"),
        ("particles_0.star", 100, "particles_0.star: 4.0 kB, MD5 differs"),
        ("mask.mrc", 5000, "mask.mrc: 132.1 kB, MD5 differs"),
    ],
)
def test_a_wrong_byte_is_found(by_hand, capsys, name, position, message):
    assert verify(capsys, "10280")[0] == 0
    content = bytearray((by_hand / name).read_bytes())
    content[position] ^= 1
    (by_hand / name).write_bytes(content)
    code, out = verify(capsys, "10280")
    assert code == 1
    assert f"WRONG       {name}" in out
    assert message in out
    assert out.endswith("10280: something is WRONG; `cesped download 10280` fetches what it must\n")
    if name != "mask.mrc":
        assert not (by_hand / "SUCCESSFUL_DOWNLOAD_8353722.txt").exists()


def test_what_was_found_wrong_is_mended_by_a_download(server, published, by_hand, capsys):
    content = bytearray((by_hand / "particles_0.mrcs").read_bytes())
    content[50_000] ^= 1
    (by_hand / "particles_0.mrcs").write_bytes(content)
    assert verify(capsys, "10280")[0] == 1
    assert main(["download", "10280"]) == 0
    assert verify(capsys, "10280")[0] == 0
    assert len([r for r in server.requests if "mrcs" in r.name and "mask" not in r.name]) == 1


@pytest.mark.parametrize("name", ["particles_0.mrcs", "particles_0.star", "info_0.json"])
def test_what_is_missing_is_named(by_hand, capsys, name):
    (by_hand / name).unlink()
    code, out = verify(capsys, "10280")
    assert code == 1
    assert f"MISSING     {name}" in out
    assert out.endswith("10280: not complete; `cesped download 10280` fetches what is missing\n")


def test_nothing_is_here(published, benchmark_dir, capsys):
    code, out = verify(capsys, "10280", "-p", "1")
    assert code == 1
    assert "MISSING     particles_1.star" in out
    assert list(benchmark_dir.iterdir()) == []  # nothing is made by looking


def test_chunks_are_checked_where_they_lie(chunks_by_hand, capsys):
    code, out = verify(capsys, "10280", "-p", "0")
    assert code == 0
    assert out.count("MD5 agrees") == 15
    assert "not checked particles_0.mrcs: its chunks are not joined yet; --join does that" in out
    assert len(list(chunks_by_hand.glob("*chunk_*"))) == 12


@pytest.mark.parametrize("has_network", [True, False])
def test_chunks_are_joined_in_numeric_order(
    published, chunks_by_hand, capsys, monkeypatch, has_network
):
    if not has_network:
        monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    code, out = verify(capsys, "10280", "-p", "0", "--join")
    assert code == 0, out
    joined = (chunks_by_hand / "particles_0.mrcs").read_bytes()
    assert joined == (published.folder / "particles_0.mrcs").read_bytes()
    assert not list(chunks_by_hand.glob("*chunk_*"))
    assert not [p.name for p in chunks_by_hand.iterdir() if p.name.startswith(".")]
    assert (chunks_by_hand / "SUCCESSFUL_DOWNLOAD_8353722.txt").exists() == has_network
    assert len(ParticlesDataset("10280", 0)) == 24


@pytest.mark.parametrize("has_network", [True, False])
def test_joining_goes_on_after_an_interruption(
    published, chunks_by_hand, capsys, monkeypatch, has_network
):
    from cesped.data.download import transfer

    if not has_network:
        monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    copy, copied = transfer._copy_chunk, []

    def dies(*arguments):
        copied.append(arguments)
        if len(copied) == 5:
            raise KeyboardInterrupt
        return copy(*arguments)

    monkeypatch.setattr(transfer, "_copy_chunk", dies)
    assert main(["verify", "10280", "-p", "0", "--join"]) == 130
    assert len(list(chunks_by_hand.glob("*chunk_*"))) == 8
    monkeypatch.setattr(transfer, "_copy_chunk", copy)
    code, out = verify(capsys, "10280", "-p", "0", "--join")
    assert code == 0, out
    joined = (chunks_by_hand / "particles_0.mrcs").read_bytes()
    assert joined == (published.folder / "particles_0.mrcs").read_bytes()


def test_a_missing_chunk_stops_the_joining(chunks_by_hand, offline, capsys):
    moved = (chunks_by_hand / "particles_0.mrcs.chunk_3").rename(chunks_by_hand.parent / "aside")
    code, out = verify(capsys, "10280", "-p", "0", "--join")
    assert code == 1
    assert "chunk 3 of particles_0.mrcs is not in" in out
    moved.rename(chunks_by_hand / "particles_0.mrcs.chunk_3")
    (chunks_by_hand / "particles_0.mrcs.chunk_11").rename(chunks_by_hand.parent / "aside")
    code, out = verify(capsys, "10280", "-p", "0", "--join")
    assert code == 1
    assert "(99328 bytes), the file has" in out  # the header of the stack tells
    assert len(list(chunks_by_hand.glob("*chunk_*"))) == 11


def test_a_wrong_chunk_stops_the_joining_where_that_can_be_known(chunks_by_hand, capsys):
    (chunks_by_hand / "particles_0.mrcs.chunk_7").write_bytes(b"x" * 5)
    code, out = verify(capsys, "10280", "-p", "0", "--join")
    assert code == 1
    assert "chunk_7 has not the MD5 of record 8353722; copy it again" in out
    assert len(list(chunks_by_hand.glob("*chunk_*"))) == 12


def test_a_download_uses_chunks_that_lie_there(server, published, chunks_by_hand):
    (chunks_by_hand / "particles_0.mrcs.chunk_7").unlink()
    fetch_half("10280", 0)
    stack = (chunks_by_hand / "particles_0.mrcs").read_bytes()
    assert stack == (published.folder / "particles_0.mrcs").read_bytes()
    asked = {request.name for request in server.requests if "chunk" in request.name}
    assert asked == {"particles_0.mrcs.chunk_7"}


def test_halves_that_do_not_belong_together(by_hand, offline, capsys):
    (by_hand / "info_1.json").write_text('{"symmetry": "C1"}')
    code, out = verify(capsys, "10280")
    assert code == 1
    assert "has symmetry C1" in out


def test_a_stack_of_other_particles(by_hand, offline, capsys):
    """Nothing but the number of images gives it away where checksums are not known."""
    stack = by_hand / "particles_0.mrcs"
    stack.write_bytes(stack.read_bytes()[:-4096])
    code, out = verify(capsys, "10280", "-p", "0")
    assert code == 1
    assert "23 of 24" in out or "truncated" in out or "bytes" in out


def test_an_entry_of_ones_own(published, benchmark_dir, offline, capsys):
    for half in ("0", "1"):
        words = ["add", str(published.star(int(half))), "--name", "mine", "--halfset", half]
        assert main([*words, "--symmetry", "C2"]) == 0
    capsys.readouterr()
    code, out = verify(capsys, "mine")
    assert code == 0
    assert "right       24 images of 32 px can be read" in out
    assert "not checked checksums: it is no published entry, so there are none" in out
    with (published.folder / "particles_1.mrcs").open("r+b") as stream:
        stream.truncate(50_000)
    code, out = verify(capsys, "mine")
    assert code == 1
    assert "WRONG" in out


def test_an_entry_that_is_none(benchmark_dir, capsys):
    assert main(["verify", "empiar-10280"]) == 1
    assert "did you mean 10280" in capsys.readouterr().err
