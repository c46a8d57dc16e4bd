"""`cesped submit` from predictions to a confirmed score, and what it says of wrong ones."""

import json
import re

import pytest
from fake_entry import write_fake_entry

from cesped.cli.main import main
from cesped.evaluation.outputs import read_metrics

FILLED = (
    *("--method", "<b>Turner</b>", "--description", "Copies the labels.", "--data", "Nothing."),
    *("--hardware", "A desk.", "--code", "https://example.org/turner", "--crossed"),
)


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    return write_fake_entry(tmp_path_factory.mktemp("submit"), n_particles=24)


@pytest.fixture(scope="module")
def submission(entry, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "mine"
    assert main(["submit", "new", str(folder), *predicted(entry), *FILLED]) == 0
    return folder


def predicted(entry):
    stars = ("--half0PredsFname", str(entry.star(0)), "--half1PredsFname", str(entry.star(1)))
    return ("--targetName", entry.name, *stars)


def test_without_options_it_says_what_is_to_be_filled_in(entry, tmp_path, capsys):
    assert main(["submit", "new", str(tmp_path / "s"), *predicted(entry)]) == 0
    shown = capsys.readouterr().out
    assert "4 texts are to be filled in (look for FILL IN)" in shown
    assert f"Next: cesped submit check {tmp_path / 's'}" in shown
    assert main(["submit", "check", str(tmp_path / "s"), "-b", str(entry.benchmark_dir)]) == 3
    shown = capsys.readouterr().out
    assert "wrong      manifest: method.name is still to be filled in" in shown
    assert "5 wrong, 2 suspicious." in shown


def test_an_entry_is_not_replaced_unasked(entry, submission, capsys):
    words = ["submit", "new", str(submission), *predicted(entry), *FILLED]
    assert main(words) == 1
    assert "has predictions of FAKE already" in capsys.readouterr().err
    assert main([*words, "--force"]) == 0


def test_check_and_score(entry, submission, tmp_path, capsys):
    where = ("-b", str(entry.benchmark_dir))
    assert main(["submit", "check", str(submission), *where]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("<b>Turner</b>: supervised, SO3, FAKE\n")
    assert "suspicious FAKE: 100.0% of the orientations of half 0 are the labels" in shown
    words = ["submit", "score", str(submission), *where, "--n_cpus", "1"]
    assert main([*words, "-o", str(tmp_path / "first"), "--record"]) == 0
    shown = capsys.readouterr().out
    assert "FAKE: MAnE 0.000 degrees" in shown
    assert "no score was submitted" in shown
    assert (tmp_path / "first" / "FAKE" / "report.html").is_file()
    recorded = submission / "rescored" / "FAKE.json"
    assert read_metrics(recorded).target == "FAKE"

    again = ("--result", str(recorded), "--force")
    assert main(["submit", "new", str(submission), *predicted(entry), *again, *FILLED]) == 0
    capsys.readouterr()
    assert main([*words, "-o", str(tmp_path / "second")]) == 0
    assert "figures agree" in capsys.readouterr().out

    claimed = submission / "results" / "FAKE.json"
    document = json.loads(claimed.read_text())
    row = next(r for r in document["cesped"]["rows"] if r["metric"] == "pcc_crossed")
    row["value"] -= 0.1
    claimed.write_text(json.dumps(document))
    assert main([*words, "-o", str(tmp_path / "third")]) == 3
    assert "pcc_crossed, half all, unmasked: submitted" in capsys.readouterr().out


def test_intervals_of_maps_are_made_again_where_they_were_submitted(entry, tmp_path, capsys):
    words = ["-b", str(entry.benchmark_dir), "--n_cpus", "1"]
    scored = tmp_path / "scored"
    evaluate = ["evaluate", "--targetName", "FAKE", *predicted(entry), "--predictionType", "SO3"]
    asked = ["--map_intervals", "5", "--outdir", str(scored)]
    assert main([*evaluate, *words, *asked]) == 0
    folder, result = tmp_path / "mine", ("--result", str(scored / "metrics.json"))
    assert main(["submit", "new", str(folder), *predicted(entry), *result, *FILLED]) == 0
    again = ["submit", "score", str(folder), *words, "-o", str(tmp_path / "again")]
    capsys.readouterr()
    assert main(again) == 0
    (n_intervals,) = re.findall(r"also compared: (\d+) intervals, ", capsys.readouterr().out)
    found = read_metrics(tmp_path / "again" / "FAKE" / "metrics.json")
    assert found.stamps["map_intervals"]["groups"] == 5
    assert int(n_intervals) > 60  # of poses and of maps

    claimed = folder / "results" / "FAKE.json"
    document = json.loads(claimed.read_text())
    row = next(
        r
        for r in document["cesped"]["rows"]
        if r["metric"].startswith("pcc_crossed") and r["interval"]
    )
    low, high = row["interval"]
    row["interval"] = [low + 0.4 * (high - low) + 0.002, high]
    claimed.write_text(json.dumps(document))
    assert main(again) == 3
    assert ", unmasked, low end of its interval: submitted" in capsys.readouterr().out


def test_predictions_elsewhere_are_found_by_their_checksum(entry, submission, tmp_path, capsys):
    manifest = submission / "manifest.toml"
    text = manifest.read_text()
    kept = [
        line for line in text.splitlines() if not line.startswith(("predictions =", "result ="))
    ]
    away = tmp_path / "away"
    away.mkdir()
    (away / "manifest.toml").write_text("\n".join([*kept, 'doi = "10.5281/zenodo.1"\n']))
    words = ["submit", "score", str(away), "-b", str(entry.benchmark_dir), "--n_cpus", "1"]
    words += ["-o", str(tmp_path / "out")]
    assert main(words) == 1
    assert "are not in the submission (doi:10.5281/zenodo.1)" in capsys.readouterr().err
    assert main([*words, "--predictions", str(tmp_path)]) == 1
    assert "has the checksum sha256:" in capsys.readouterr().err
    assert main([*words, "--predictions", str(entry.folder)]) == 0


def test_a_wrong_submission_is_not_scored(entry, submission, tmp_path, capsys):
    (submission / "rescored").mkdir(exist_ok=True)
    (submission / "x.pkl").write_bytes(b"x")
    words = ["submit", "score", str(submission), "-b", str(entry.benchmark_dir)]
    assert main([*words, "-o", str(tmp_path / "out")]) == 1
    assert "cannot be scored: files: x.pkl" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (submission / "x.pkl").unlink()
    assert main([*words, "--entry", "NOSUCH", "-o", str(tmp_path / "out")]) == 1
    assert "has no entry 'NOSUCH'" in capsys.readouterr().err
