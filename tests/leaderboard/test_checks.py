"""`submit check`: an honest submission passes, every kind of wrong one is told in words."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from honest_submission import honest_manifest, write_predictions

from cesped.evaluation.stamps import sha256_of_file
from cesped.leaderboard import checks, contradictions
from cesped.leaderboard.checks import check_submission
from cesped.leaderboard.manifest import (
    MANIFEST_NAME,
    EntrySubmission,
    read_manifest,
    write_manifest,
)
from cesped.leaderboard.submission import add_predictions
from cesped.vocabulary import Severity, Track


def findings(folder, fake, severity=Severity.FAULT):
    report = check_submission(folder, fake.benchmark_dir)
    assert report.is_acceptable == all(f.severity is not Severity.FAULT for f in report.findings)
    for found in report.findings:
        assert found.what.isprintable()
    return [
        f"{found.where}: {found.what}" for found in report.findings if found.severity is severity
    ]


def change_entry(folder, **values):
    manifest = read_manifest(folder)
    entry = replace(manifest.entries[0], **values)
    write_manifest(folder, manifest.with_entry(entry))


def rewrite_star(folder, change, half=0):
    """Change the rows of a prediction, and the checksum of the manifest with it."""
    manifest = read_manifest(folder)
    (entry,) = manifest.entries
    path = folder / entry.predictions[half]
    lines = path.read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("000001@"))
    rows = [line.split() for line in lines[first:] if line.strip()]
    path.write_text("\n".join([*lines[:first], *(" ".join(row) for row in change(rows))]) + "\n")
    sums = list(entry.checksums)
    sums[half] = sha256_of_file(path)
    change_entry(folder, checksums=tuple(sums), result=None)


def test_an_honest_submission_has_no_fault_and_no_sign(submission, fake):
    assert check_submission(submission, fake.benchmark_dir).findings == ()


@pytest.mark.parametrize(
    "name", ["../secret.star", "/etc/passwd", "predictions/../../x.star", "a\\b.star", "./a.star"]
)
def test_paths_out_of_the_folder_are_refused(submission, fake, name):
    other = read_manifest(submission).entries[0].predictions[1]
    change_entry(submission, predictions=(name, other))
    assert any(
        "no name of a file in the submission" in found for found in findings(submission, fake)
    )


def test_links_are_refused_and_not_followed(submission, fake, tmp_path):
    secret = tmp_path / "secret.star"
    secret.write_text("data_secret_word\n")
    star = submission / read_manifest(submission).entries[0].predictions[0]
    star.unlink()
    star.symlink_to(secret)
    found = findings(submission, fake)
    assert any("symbolic link" in fault for fault in found)
    assert not any("secret_word" in fault for fault in found)


def test_a_folder_that_is_a_link_is_refused(submission, fake, tmp_path):
    shutil.move(submission / "predictions", tmp_path / "elsewhere")
    (submission / "predictions").symlink_to(tmp_path / "elsewhere")
    found = findings(submission, fake)
    assert any("passes a symbolic link" in fault for fault in found)


def test_a_pipe_does_not_stop_the_check(submission, fake):
    star = submission / read_manifest(submission).entries[0].predictions[0]
    star.unlink()
    os.mkfifo(star)
    assert any("no plain file" in fault for fault in findings(submission, fake))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.pkl", "may run a program when it is read"),
        ("weights.ckpt", "may run a program when it is read"),
        ("report.html", "may run a program when it is opened"),
        ("map.mrc", "reconstructed anew"),
        ("stars.tar", "unpack it"),
        ("setup.py", "holds files of"),
        (".hidden", "holds files of"),
    ],
)
def test_files_that_no_submission_needs_are_refused(submission, fake, name, said):
    (submission / name).write_bytes(b"x")
    assert any(said in fault for fault in findings(submission, fake))


def test_huge_files_are_refused_before_they_are_read(submission, fake):
    star = submission / read_manifest(submission).entries[0].predictions[0]
    with star.open("r+b") as stream:
        stream.truncate(3 << 30)  # sparse: takes no room
    assert any("3,221,225,472 bytes; the most of a .star" in f for f in findings(submission, fake))


def test_a_file_much_larger_than_the_entry_is_refused(submission, fake):
    star = submission / read_manifest(submission).entries[0].predictions[0]
    with star.open("a") as stream:
        stream.write("\n" * 100_000)
    assert any("give the columns of poses only" in found for found in findings(submission, fake))


def test_too_many_files_are_refused(submission, fake):
    for number in range(1010):
        (submission / f"{number}.txt").touch()
    assert (
        sum("more than 1000 files and folders" in found for found in findings(submission, fake))
        == 1
    )


def test_too_many_folders_are_refused(submission, fake):
    for number in range(1010):
        (submission / str(number)).mkdir()
    assert sum("more than 1000 files and folders" in f for f in findings(submission, fake)) == 1


def test_a_pickle_in_a_star_file_is_never_loaded(submission, fake, tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    import pickle

    star = submission / read_manifest(submission).entries[0].predictions[0]
    star.write_bytes(pickle.dumps(Trap()))
    change_entry(submission, checksums=(sha256_of_file(star), sha256_of_file(star)), result=None)
    assert findings(submission, fake) != []
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: [*rows, rows[0]], "listed more than once"),
        (lambda rows: rows[1:], "missing from the predictions"),
        (lambda rows: [["99@x.mrcs", *rows[0][1:]], *rows[1:]], "foreign to this half"),
        (lambda rows: [[rows[0][0], "nan", *rows[0][2:]], *rows[1:]], "row 1"),
        (lambda rows: [[rows[0][0], "inf", *rows[0][2:]], *rows[1:]], "row 1"),
        (lambda rows: [rows[0][:-1], *rows[1:]], "row 1"),
        (lambda rows: [["\x1b[2J@x", *rows[0][1:]], *rows[1:]], "x1b"),
        (lambda rows: [["<b>@x", *rows[0][1:]], *rows[1:]], "<b>@x"),
    ],
    ids=["doubled", "missing", "foreign", "nan", "inf", "short row", "control", "html"],
)
def test_faulty_rows_are_named(submission, fake, change, said):
    rewrite_star(submission, change)
    found = findings(submission, fake)
    assert any(said in fault for fault in found), found


def test_an_optics_table_without_rows_is_told(submission, fake):
    (entry,) = read_manifest(submission).entries
    path = submission / entry.predictions[0]
    lines = path.read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("_rlnOptics"))
    row = next(n for n in range(first, len(lines)) if lines[n].strip() and lines[n][0] not in "_#")
    path.write_text("\n".join([*lines[:row], *lines[row + 1 :]]) + "\n")
    change_entry(submission, checksums=(sha256_of_file(path), entry.checksums[1]))
    assert any("the optics table has no row" in found for found in findings(submission, fake))


def test_swapped_halves_are_told(submission, fake):
    (entry,) = read_manifest(submission).entries
    change_entry(
        submission,
        predictions=entry.predictions[::-1],
        checksums=entry.checksums[::-1],
        result=None,
    )
    assert any("give the two files in the other order" in f for f in findings(submission, fake))


def test_one_file_for_both_halves_is_told(submission, fake):
    (entry,) = read_manifest(submission).entries
    change_entry(
        submission,
        predictions=(entry.predictions[0],) * 2,
        checksums=(entry.checksums[0],) * 2,
        result=None,
    )
    assert any("files of both halves are the same" in found for found in findings(submission, fake))


def test_a_file_that_changed_after_the_manifest_is_told(submission, fake):
    star = submission / read_manifest(submission).entries[0].predictions[1]
    star.write_text(star.read_text() + "\n")
    assert any("is not the file of the manifest" in found for found in findings(submission, fake))


def test_ids_are_checked_without_the_entry_too(submission, tmp_path, fake):
    rewrite_star(
        submission, lambda rows: [*rows, rows[0], ["000001@particles_1.mrcs", *rows[1][1:]]]
    )
    report = check_submission(submission, tmp_path / "nothing")
    said = [found.what for found in report.findings if found.severity is Severity.FAULT]
    assert any("lists 1 particles twice" in what for what in said)
    assert any("1 particles are in both halves" in what for what in said)
    notes = [found.what for found in report.findings if found.severity is Severity.NOTE]
    assert any("is it spelled right?" in what for what in notes)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"learned_on": (0, 1)}, "half 0 was predicted by a model that learned on half 0"),
        ({"learned_on": None}, "does not say on which half"),
        ({"learned_from": ("sha256:" + "0" * 64,) * 2}, "both models learned from the same"),
        ({"predictions": None}, "there are no predictions"),
        ({"predictions": None, "command": "make it"}, "there are no predictions"),
    ],
)
def test_what_the_manifest_admits_or_leaves_out_is_told(submission, fake, values, said):
    change_entry(submission, **values)
    assert any(said in found for found in findings(submission, fake))


def test_a_model_that_learned_from_the_predicted_file_is_told(submission, fake):
    sums = (sha256_of_file(fake.star(0)), sha256_of_file(fake.star(0)))
    change_entry(submission, learned_from=sums)
    assert any(
        "learned from the particles of half 0 themselves" in f for f in findings(submission, fake)
    )


def test_learned_ids_among_the_predicted_ones_are_told(submission, fake):
    (submission / "a.txt").write_text("000001@particles_1.mrcs\n000002@particles_1.mrcs\n")
    (submission / "b.txt").write_text("000007@particles_1.mrcs\n")
    change_entry(submission, learned_ids=("a.txt", "b.txt"))
    (found,) = findings(submission, fake)
    assert "1 of 24 particles of half 1" in found
    assert "000007@particles_1.mrcs" in found


def test_predictions_elsewhere_are_accepted_with_a_note(submission, fake):
    change_entry(submission, predictions=None, doi="10.5281/zenodo.123")
    assert findings(submission, fake) == []
    (note,) = findings(submission, fake, Severity.NOTE)
    assert "doi:10.5281/zenodo.123" in note


def test_texts_that_are_still_to_be_filled_in_are_told(submission, fake):
    path = submission / MANIFEST_NAME
    path.write_text(path.read_text().replace("The other half.", "FILL IN"))
    assert findings(submission, fake) == ["manifest: training.data is still to be filled in"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("https://example.org/turner", "javascript:alert(1)", "method.code"),
        ('"Turner"', '"\\u202e\\u200b"', "no readable text"),
    ],
)
def test_texts_that_nobody_can_use_are_told(submission, fake, old, new, said):
    path = submission / MANIFEST_NAME
    path.write_text(path.read_text().replace(old, new))
    assert any(said in found for found in findings(submission, fake))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["cesped"].update(target="OTHER"), "score of another entry"),
        (lambda d: d["cesped"].update(prediction_type="S2"), "score of S2"),
        (
            lambda d: d["cesped"]["stamps"]["prediction_files"][0].update(
                checksum="sha256:" + "0" * 64
            ),
            "score of other predictions",
        ),
        (
            lambda d: d["cesped"]["stamps"]["entry_files"][0].update(checksum="sha256:" + "0" * 64),
            "from other particles",
        ),
        (lambda d: d["cesped"].pop("rows"), 'lacks "rows"'),
    ],
)
def test_a_score_of_something_else_is_told(submission, fake, change, said):
    path = submission / read_manifest(submission).entries[0].result
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    assert any(said in found for found in findings(submission, fake))


def test_nan_in_a_score_is_told(submission, fake):
    path = submission / read_manifest(submission).entries[0].result
    path.write_text(path.read_text().replace('"value": ', '"value": NaN, "was": ', 1))
    assert any("NaN" in found for found in findings(submission, fake))


def test_an_earlier_metric_version_is_noted(submission, fake, monkeypatch):
    for module in (checks, contradictions):
        monkeypatch.setattr(module, "METRIC_VERSION", 2)
    assert findings(submission, fake) == []
    (note,) = findings(submission, fake, Severity.NOTE)
    assert "never ranked together" in note


def test_a_metric_version_that_is_not_known_is_refused(submission, fake):
    path = submission / read_manifest(submission).entries[0].result
    document = json.loads(path.read_text())
    document["cesped"]["stamps"]["metric_version"] = 99
    path.write_text(json.dumps(document))
    (fault,) = findings(submission, fake)
    assert "has figures of metric version 99, which cesped" in fault


def submission_of(stars, folder, **changes):
    manifest = replace(honest_manifest(), **changes)
    entry = EntrySubmission("FAKE", ("", ""), learned_on=(1, 0))
    add_predictions(folder, manifest, entry, stars)
    return folder


def test_copies_of_the_labels_are_suspicious(fake, tmp_path):
    folder = submission_of((fake.star(0), fake.star(1)), tmp_path / "copy")
    assert findings(folder, fake) == []
    found = findings(folder, fake, Severity.SUSPICIOUS)
    assert len(found) == 2
    assert all("100.0% of the orientations" in sign for sign in found)


def test_errors_below_what_labels_are_known_to_are_suspicious(fake, tmp_path):
    stars = write_predictions(tmp_path, fake.benchmark_dir, 0.005)
    found = findings(submission_of(stars, tmp_path / "close"), fake, Severity.SUSPICIOUS)
    assert len(found) == 2
    assert all("better than any label is known" in sign for sign in found)


def test_a_frame_of_its_own_is_no_sign(fake, tmp_path):
    folder = submission_of((fake.star(0), fake.star(1)), tmp_path / "c", track=Track.AB_INITIO)
    assert findings(folder, fake, Severity.SUSPICIOUS) == []


def test_a_folder_that_is_none_is_told(tmp_path, fake):
    assert findings(tmp_path / "none", fake) == ["none: is not a folder; check the path"]
    (tmp_path / "empty").mkdir()
    (found,) = findings(tmp_path / "empty", fake)
    assert "submit new" in found


def test_random_bytes_never_break_the_check(submission, fake):
    generator = np.random.default_rng(0)
    for name in (MANIFEST_NAME, *read_manifest(submission).entries[0].predictions):
        folder = shutil.copytree(submission, submission.parent / f"spoilt_{name.replace('/', '_')}")
        content = bytearray((folder / name).read_bytes())
        for _ in range(10):
            content[generator.integers(len(content))] = generator.integers(256)
            (folder / name).write_bytes(content)
            assert findings(folder, fake)
