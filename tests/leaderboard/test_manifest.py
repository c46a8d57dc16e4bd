"""The manifest: read back as written, refused in words where it is wrong."""

import pytest
from honest_submission import honest_manifest
from hypothesis import given
from hypothesis import strategies as st

from cesped.errors import MissingFileError, SubmissionError
from cesped.leaderboard.manifest import (
    MANIFEST_NAME,
    EntrySubmission,
    manifest_to_toml,
    read_manifest,
    write_manifest,
)
from cesped.vocabulary import Track

SUM = "sha256:" + "0" * 64
ENTRY = EntrySubmission(
    "DEMO",
    (SUM, "sha256:" + "1" * 64),
    predictions=("predictions/a.star", "predictions/b.star"),
    doi="10.5281/zenodo.123",
    command="cesped demo",
    learned_on=(1, 0),
    learned_from=(SUM, SUM),
    learned_ids=("a.txt", "b.txt"),
    inference_seconds=1.5,
    inference_hardware="a laptop",
    result="results/DEMO.json",
)
TEXT = st.text(
    st.characters(exclude_categories=("Cs",)),
    min_size=1,
    max_size=100,
)


def test_every_field_is_read_back(tmp_path):
    full = honest_manifest().with_entry(ENTRY).with_entry(EntrySubmission("10280", (SUM, SUM)))
    write_manifest(tmp_path, full)
    assert read_manifest(tmp_path) == full


@given(name=TEXT, description=TEXT)
def test_every_text_is_read_back(tmp_path_factory, name, description):
    from dataclasses import replace

    folder = tmp_path_factory.mktemp("m")
    base = honest_manifest()
    told = replace(base, method=replace(base.method, name=name, description=description))
    write_manifest(folder, told.with_entry(ENTRY))
    assert read_manifest(folder).method == told.method


def test_an_entry_of_the_same_name_is_replaced():
    manifest = honest_manifest().with_entry(ENTRY).with_entry(EntrySubmission("DEMO", (SUM, SUM)))
    assert [entry.doi for entry in manifest.entries] == [None]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('track = "supervised"', 'track = "cheating"', "track"),
        ("format = 1", "format = 2", "format is 2"),
        ("format = 1", "", 'lacks "format"'),
        ('name = "DEMO"', 'name = "../../etc"', r"entry\[0\].name"),
        ('name = "DEMO"', 'name = "DEMO"\nmotto = "x"', '"motto", which is not known'),
        (SUM, "sha256:abc", "checksums"),
        ("learned_on = [1, 0]", "learned_on = [2, 0]", "learned_on"),
        ("inference_seconds = 1.5", "inference_seconds = -1", "the least is 0"),
        ("inference_seconds = 1.5", "inference_seconds = nan", "not number"),
        ("inference_seconds = 1.5", "inference_seconds = 1979-05-27", "not number"),
        ('doi = "10.5281/zenodo.123"', 'doi = "https://evil.example"', "doi"),
        ("seeds = [1]", "seeds = [[1]]", "seeds"),
        ("parameters = 0", 'parameters = "many"', "parameters"),
        ("[method]", "[method", "no TOML"),
        ("[[entry]]", "[[other]]", 'lacks "entry"'),
    ],
)
def test_what_is_wrong_is_said(tmp_path, old, new, said):
    text = manifest_to_toml(honest_manifest().with_entry(ENTRY))
    assert old in text
    (tmp_path / MANIFEST_NAME).write_text(text.replace(old, new))
    with pytest.raises(SubmissionError, match=said):
        read_manifest(tmp_path)


@pytest.mark.parametrize("value", ["1979-05-27", "07:32:00", "nan", "-inf"])
def test_what_toml_knows_besides_is_text_where_text_belongs(tmp_path, value):
    text = manifest_to_toml(honest_manifest().with_entry(ENTRY))
    (tmp_path / MANIFEST_NAME).write_text(text.replace('name = "Turner"', f"name = {value}"))
    assert read_manifest(tmp_path).method.name == value


def test_an_entry_may_not_be_there_twice(tmp_path):
    text = manifest_to_toml(honest_manifest().with_entry(ENTRY))
    (tmp_path / MANIFEST_NAME).write_text(text + text[text.index("[[entry]]") :])
    with pytest.raises(SubmissionError, match='entry "DEMO" is there twice'):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe", b"a = [" * 5000, b"x = '" + b"a" * (2 << 20) + b"'", b"\x80\x04\x95pickle"],
    ids=["no text", "deep", "huge", "pickle"],
)
def test_what_is_no_manifest_is_refused(tmp_path, content):
    (tmp_path / MANIFEST_NAME).write_bytes(content)
    with pytest.raises(SubmissionError):
        read_manifest(tmp_path)


def test_a_manifest_that_is_a_link_or_missing_is_not_read(tmp_path):
    with pytest.raises(MissingFileError, match="submit new"):
        read_manifest(tmp_path)
    write_manifest(tmp_path, honest_manifest().with_entry(ENTRY))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / MANIFEST_NAME).symlink_to(tmp_path / MANIFEST_NAME)
    with pytest.raises(MissingFileError):
        read_manifest(tmp_path / "sub")


def test_the_tracks_are_those_of_the_schema():
    from cesped.io.json_schema import load_schema

    schema = load_schema("cesped.leaderboard", "manifest.schema.json")
    assert schema["properties"]["track"]["enum"] == [track.value for track in Track]
