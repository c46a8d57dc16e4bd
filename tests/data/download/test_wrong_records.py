"""Records that are malformed, that lead astray, or whose halves do not belong together."""

import mrcfile
import pytest
from published_copies import contents, publish, record_of

from cesped.cli.main import main
from cesped.data.download.entry_fetch import fetch_half
from cesped.data.opening import open_entry
from cesped.errors import (
    DownloadError,
    IdMismatchError,
    MetadataError,
    PixelSizeError,
    RecordError,
    StarFileError,
    SymmetryError,
)


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"info_1.json": b'{"symmetry": "C1"}'}, SymmetryError, "both halves must"),
        ({"info_1.json": b'{"symmetry": "Q9"}'}, SymmetryError, "Q9"),
        ({"info_1.json": b"[]"}, MetadataError, "states no symmetry"),
        ({"info_1.json": b'{"symmetry": "C2", "root_dir": "/etc"}'}, RecordError, "/etc"),
        ({"particles_1.star": b"data_\n\nloop_\n_rlnImageName\n"}, StarFileError, "particles_1"),
    ],
)
def test_halves_that_are_wrong_or_differ(
    server, published, benchmark_dir, patience, changes, kind, message
):
    fetch_half("10280", 0, patience=patience)
    server.records[8353737] |= changes
    with pytest.raises(kind, match=message):
        fetch_half("10280", 1, patience=patience)
    assert not (benchmark_dir / "10280" / "SUCCESSFUL_DOWNLOAD_8353737.txt").exists()
    server.requests.clear()
    with pytest.raises(kind):
        fetch_half("10280", 1, patience=patience)
    assert server.sent_of("particles_1.mrcs") == 0


@pytest.mark.parametrize(
    ("options", "kind"), [({"box": 40}, MetadataError), ({"pixel": 2.0}, PixelSizeError)]
)
def test_halves_of_other_sampling(server, published, tmp_path, patience, options, kind):
    import fake_entry

    if "pixel" in options:
        fake_entry.write_star_31(
            published.star(1), published.poses[1], published.ctf[1], 32, rlnImagePixelSize=[2.0]
        )
        with mrcfile.open(published.folder / "particles_1.mrcs", "r+") as mrc:
            mrc.voxel_size = 2.0
        folder = published.folder
    else:
        folder = publish(server, tmp_path / "other", **options).folder
        server.records[11092291]["10280_mask.mrc"] = (published.folder / "mask.mrc").read_bytes()
        server.records[8353722] = record_of(published.folder, 0, 12)
    server.records[8353737] = record_of(folder, 1, 12)
    fetch_half("10280", 0, tmp_path / "b", patience=patience)
    with pytest.raises(kind):
        fetch_half("10280", 1, tmp_path / "b", patience=patience)


def test_a_star_file_that_names_other_images(server, published, tmp_path, patience):
    star = (published.folder / "particles_0.star").read_bytes()
    for other in (b"../../secret.mrcs", b"particles_1.mrcs"):
        changed = star.replace(b"particles_0.mrcs", other)
        server.records[8353722] |= {"particles_0.star": changed}
        folder = tmp_path / other.decode().replace("/", "_")
        for name in ("10280/particles_1.mrcs", "secret.mrcs"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((published.folder / "particles_1.mrcs").read_bytes())
        (folder / "deep").mkdir()
        bench = folder if other == b"particles_1.mrcs" else folder / "deep"
        with pytest.raises((MetadataError, FileNotFoundError), match=r"names images of|secret"):
            fetch_half("10280", 0, bench, patience=patience)


def test_two_halves_of_the_same_particles(server, published, tmp_path, patience):
    """A record whose second half repeats the first: the ids differ by the stack's name alone."""
    files = record_of(published.folder, 0, 3)
    renamed = {name.replace("_0.", "_1."): content for name, content in files.items()}
    renamed["particles_1.star"] = files["particles_0.star"].replace(b"cles_0.mrcs", b"cles_1.mrcs")
    renamed["particles_1.star"] = renamed["particles_1.star"].replace(b"000002@", b"000001@")
    server.records[8353737] = renamed
    fetch_half("10280", 0, tmp_path / "b", patience=patience)
    with pytest.raises(IdMismatchError):
        fetch_half("10280", 1, tmp_path / "b", patience=patience)


def test_malformed_records_write_nothing_into_the_folder(
    server, published, benchmark_dir, patience
):
    for name in ("../../evil.star", "..", "a/b.mrcs.chunk_0"):
        server.records[8353722] = {name: b"x"}
        with pytest.raises(RecordError):
            fetch_half("10280", 0, patience=patience)
    server.records[8353722] = record_of(published.folder, 0, 12) | {"particles_0.mrcs.chunk_3": b""}
    with pytest.raises(RecordError, match="chunk_3 with 0 bytes"):
        fetch_half("10280", 0, patience=patience)
    assert contents(benchmark_dir / "10280") == {}
    assert list(benchmark_dir.parent.glob("**/evil*")) == []


def test_a_record_that_is_gone_says_which(server, published, benchmark_dir, capsys):
    del server.records[8353722]
    assert main(["download", "10280", "--halfset", "0"]) == 1
    assert "there is nothing at" in capsys.readouterr().err
    with pytest.raises(DownloadError, match=r"\(404\) \(without a network, copy the files of rec"):
        open_entry("10280", 0)
