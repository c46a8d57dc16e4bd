"""The real zenodo-get against a stand-in of zenodo.org, and what its answers are made of."""

import importlib.util
import logging
import subprocess

import pytest
from published_copies import contents, publish
from record_server import Fault, running
from zenodo_stand_in import TlsRecordServer, Tunnel, can_make_certificates, make_certificate

from cesped.data.download import zenodo_get
from cesped.data.download.entry_fetch import fetch_half
from cesped.data.download.record_lookup import look_up_record
from cesped.data.download.retries import Patience
from cesped.data.download.zenodo_get import look_up_with_zenodo_get
from cesped.errors import DownloadError, ProgramNotFoundError, RecordError, ServerBusyError
from cesped.vocabulary import OFFLINE_VARIABLE, RECORDS_URL_VARIABLE

RECORD = 8353722

real = pytest.mark.skipif(
    not can_make_certificates() or importlib.util.find_spec("zenodo_get") is None,
    reason="needs the programs openssl and zenodo-get",
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def zenodo(certificate, monkeypatch):
    """A stand-in of zenodo.org, which the programs of this test are led to."""
    server = TlsRecordServer(*certificate)
    with running(server), running(Tunnel(server.server_address[1])) as tunnel:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, tunnel.url)
        for name in ("NO_PROXY", "no_proxy", RECORDS_URL_VARIABLE, OFFLINE_VARIABLE):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        server.tunnel = tunnel
        yield server


@real
def test_names_urls_and_checksums_are_those_of_the_record(zenodo, tmp_path):
    zenodo.names = ("filename", "filesize")
    publish(zenodo, tmp_path)
    record = look_up_with_zenodo_get(RECORD, stall_s=20)
    listed = {entry["filename"]: entry for entry in zenodo.answer(RECORD)["files"]}
    assert {file.name for file in record.files} == set(listed)
    for file in record.files:
        assert file.md5 == listed[file.name]["checksum"].removeprefix("md5:")
        assert file.url == listed[file.name]["links"]["self"]
        assert file.size_bytes is None
    assert set(zenodo.tunnel.wanted) == {"zenodo.org:443"}


@real
def test_an_entry_is_fetched_from_zenodo(zenodo, tmp_path):
    made = publish(zenodo, tmp_path / "published", n_chunks=3)
    patience = Patience(attempts=2, first_pause_s=0.01, stall_s=20)
    half = fetch_half("10280", 0, tmp_path / "bench", patience=patience)
    got = contents(half.star_path.parent)
    for name in ("particles_0.star", "info_0.json", "particles_0.mrcs", "mask.mrc"):
        assert got[name] == (made.folder / name).read_bytes()


@real
def test_no_such_record(zenodo):
    with pytest.raises(DownloadError, match=r"zenodo.org has no record 8353722 \(404\)"):
        look_up_with_zenodo_get(RECORD, stall_s=20)


@real
@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (500, ServerBusyError, r"for now \(500\)"),
        (403, DownloadError, r"refuses record 8353722 \(403\)"),
    ],
)
def test_other_refusals(zenodo, status, kind, message):
    zenodo.records[RECORD] = {}
    zenodo.faults[RECORD] = [Fault(times=9, status=status, headers={"Retry-After": "0"})]
    with pytest.raises(kind, match=message):
        look_up_with_zenodo_get(RECORD, stall_s=20)


@real
def test_a_name_that_leads_out_of_the_folder(zenodo):
    zenodo.records[RECORD] = {"../../x.star": b"x", "info_0.json": b"{}"}
    with pytest.raises(RecordError, match="no plain name"):
        look_up_with_zenodo_get(RECORD, stall_s=20)


@real
def test_a_record_that_leads_elsewhere(zenodo, tmp_path):
    publish(zenodo, tmp_path)
    answer = zenodo.answer(RECORD)
    answer["files"][0]["links"]["self"] = "https://evil.example/files/info_0.json/content"
    zenodo.answers[RECORD] = answer
    with pytest.raises(RecordError, match=r"no URL on zenodo.org for 'info_0.json'"):
        look_up_with_zenodo_get(RECORD, stall_s=20)


@real
def test_nobody_at_home(monkeypatch, zenodo):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(ServerBusyError, match="could not look up record 8353722"):
        look_up_with_zenodo_get(RECORD, stall_s=5)


def test_without_the_program_the_server_is_asked_itself(server, monkeypatch, patience, caplog):
    monkeypatch.delenv(RECORDS_URL_VARIABLE)
    monkeypatch.setattr("cesped.data.download.record_lookup.ZENODO_RECORDS_URL", server.url)
    monkeypatch.setattr(zenodo_get.importlib.util, "find_spec", lambda name: None)
    server.records[RECORD] = {"a.star": b"x"}
    with pytest.raises(ProgramNotFoundError, match="pip install zenodo-get"):
        look_up_with_zenodo_get(RECORD, stall_s=1)
    with caplog.at_level(logging.WARNING):
        assert look_up_record(RECORD, patience).files[0].size_bytes == 1
    assert "zenodo-get is not installed" in caplog.text


class Scripted:
    """Stands in for the program: writes its two lists, says something, and ends."""

    def __init__(self, monkeypatch, checksums="", urls="", code=0, says=""):
        self.lists = {"--md5": ("md5sums.txt", checksums), "--wget": ("urls.txt", urls)}
        self.code, self.says = code, says
        monkeypatch.setattr(subprocess, "run", self.run)
        monkeypatch.setattr(zenodo_get.importlib.util, "find_spec", lambda name: True)

    def run(self, command, cwd, **options):
        for option, (name, content) in self.lists.items():
            if option in command:
                (cwd / name).write_text(content)
        return subprocess.CompletedProcess(command, self.code, self.says)


MD5 = "0123456789abcdef" * 2
URL = "https://zenodo.org/api/records/8353722/files/{}/content"


@pytest.mark.parametrize(
    ("checksums", "urls", "message"),
    [
        ("nonsense\n", URL.format("a") + "\n", "lists a checksum as 'nonsense'"),
        (f"{MD5}  a\n", "", "1 checksums, 1 names and 0 URLs"),
        (f"{MD5}  a\n{MD5}  a\n", URL.format("a") + "\n" + URL.format("a"), "2 checksums, 1 names"),
        (f"{MD5[:-1]}  a\n", URL.format("a"), "'a' in record 8353722 has no MD5"),
        (f"{MD5}  a\n", URL.format("b"), "no URL on zenodo.org for 'a'"),
        (f"{MD5}  a\n", URL.format("a").replace("https", "http"), "no URL on zenodo.org for 'a'"),
    ],
)
def test_lists_that_do_not_fit_together(monkeypatch, checksums, urls, message):
    Scripted(monkeypatch, checksums, urls)
    with pytest.raises(RecordError, match=message):
        look_up_with_zenodo_get(RECORD, stall_s=1)


def test_names_that_need_quoting(monkeypatch):
    Scripted(monkeypatch, f"{MD5}  a b%.star\n", URL.format("a%20b%25.star") + "\n")
    (file,) = look_up_with_zenodo_get(RECORD, stall_s=1).files
    assert file.name == "a b%.star"


def test_a_program_that_breaks(monkeypatch):
    Scripted(monkeypatch, code=1, says="Traceback: boom")
    with pytest.raises(DownloadError, match="boom"):
        look_up_with_zenodo_get(RECORD, stall_s=1)


def test_its_complaint_is_told_without_its_colours_and_greetings(monkeypatch):
    says = (
        "\x1b[1mINFO\x1b[0m: Output directory: /tmp/x\n"
        "\x1b[31m\x1b[1mERROR\x1b[0m: Error fetching metadata for record 1: no such host\n"
    )
    Scripted(monkeypatch, code=1, says=says)
    with pytest.raises(ServerBusyError) as caught:
        look_up_with_zenodo_get(RECORD, stall_s=1)
    assert str(caught.value).endswith("(Error fetching metadata for record 1: no such host)")
