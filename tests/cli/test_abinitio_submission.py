"""The ab initio track end to end: from poses in a frame of their own to a row of the board."""

import json
import re

import numpy as np
import pytest
from fake_entry import write_fake_entry

from cesped.cli.main import main
from cesped.data.conventions import read_particle_table, write_particle_table
from cesped.evaluation.abinitio.pose_alignment import Frame, displaced
from cesped.evaluation.outputs import read_metrics
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import random_rotations, rotations_about_random_axes

FILLED = (
    *("--method", "Homeless", "--description", "Found without a reference.", "--data", "Nothing."),
    *("--hardware", "A desk.", "--code", "https://example.org/homeless", "--track", "ab-initio"),
)


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    return write_fake_entry(
        tmp_path_factory.mktemp("abinitio"), n_particles=80, snr=1.0, with_mask=True
    )


def write_lost(entry, folder, noise_deg=3.0, seed=1):
    """Write the poses of each half with noise, in a frame, hand and offset of its own."""
    generator = np.random.default_rng(seed)
    folder.mkdir()
    paths = []
    for half in (0, 1):
        table = read_particle_table(entry.star(half), entry.folder)
        offset_angst = generator.uniform(-6, 6, 3)
        frame = Frame(random_rotations(1, generator)[0], half == 1, offset_angst)
        poses = displaced(table.poses, frame)
        turns = rotations_about_random_axes(len(table), noise_deg, generator)
        noisy = Poses(poses.rotations @ turns, poses.origins_angst, poses.confidence)
        paths.append(folder / f"half{half}.star")
        write_particle_table(paths[-1], table.with_poses(noisy))
    return [str(path) for path in paths]


@pytest.fixture(scope="module")
def lost(entry, tmp_path_factory):
    return write_lost(entry, tmp_path_factory.mktemp("lost") / "stars")


@pytest.fixture(scope="module")
def score(entry, lost, tmp_path_factory):
    folder = tmp_path_factory.mktemp("score")
    words = ["evaluate-abinitio", "FAKE", *lost, "-b", str(entry.benchmark_dir), "--n_cpus", "1"]
    assert main([*words, "--outdir", str(folder)]) == 0
    return folder


def submit(folder, lost, score, *more):
    stars = ("--half0PredsFname", lost[0], "--half1PredsFname", lost[1])
    words = ["submit", "new", str(folder), "--targetName", "FAKE", *stars, *FILLED, *more]
    assert main([*words, "--predictionType", "SO3xR2", "--result", str(score)]) == 0


@pytest.fixture
def submission(lost, score, tmp_path):
    submit(tmp_path / "homeless", lost, score / "metrics.json")
    return tmp_path / "homeless"


def test_from_poses_to_a_row_of_the_board(entry, submission, tmp_path, capsys):
    where = ("-b", str(entry.benchmark_dir))
    assert main(["submit", "check", str(submission), *where]) == 0
    assert capsys.readouterr().out.endswith("Nothing is wrong.\n")
    words = ["submit", "score", str(submission), *where, "--n_cpus", "1", "--record"]
    assert main([*words, "-o", str(tmp_path / "again")]) == 0
    shown = capsys.readouterr().out
    agreeing, compared = map(int, re.search(r"(\d+) of (\d+) figures agree", shown).groups())
    assert agreeing == compared > 100
    recorded = read_metrics(submission / "rescored" / "FAKE.json")
    assert recorded.stamps["track"] == "ab-initio"
    assert [frame["is_mirrored"] for frame in recorded.stamps["frames"]] == [False, True]
    assert recorded.metrics_of("prediction")["mean_angular_error_deg"] == pytest.approx(3, abs=0.2)
    assert (tmp_path / "again" / "FAKE" / "aligned_1.star").is_file()
    assert "ab initio track" in (tmp_path / "again" / "FAKE" / "report.html").read_text().lower()

    build = ["leaderboard", "build", "--results", str(tmp_path), "--outdir", str(tmp_path / "b")]
    assert main(build) == 0
    text = (tmp_path / "b" / "leaderboard.md").read_text()
    section = text[text.index("## Ab initio: no pose was known") :]
    assert "| Frobenius | shift (px) | aligned maps, 0.5 (Å) |" in section
    assert re.search(r"\| 1 \| Homeless .*\[re-scored\]\(results/homeless/rescored/FAKE", section)


def test_a_score_of_the_other_track_is_told(entry, submission, capsys):
    """Poses in another frame may have been scored as if they were in the entry's."""
    submitted = submission / "results" / "FAKE.json"
    document = json.loads(submitted.read_text())
    del document["cesped"]["stamps"]["track"]  # as `cesped evaluate` writes it
    submitted.write_text(json.dumps(document))
    assert main(["submit", "check", str(submission), "-b", str(entry.benchmark_dir)]) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert "is a score of the track supervised, the manifest says ab-initio" in said


def test_a_score_of_one_file_of_all_particles_is_read_and_told(entry, submission, capsys):
    submitted = submission / "results" / "FAKE.json"
    document = json.loads(submitted.read_text())
    del document["cesped"]["stamps"]["prediction_files"][1]  # as of `evaluate-abinitio FAKE a.star`
    submitted.write_text(json.dumps(document))
    assert len(read_metrics(submitted).stamps["prediction_files"]) == 1
    assert main(["submit", "check", str(submission), "-b", str(entry.benchmark_dir)]) == 3
    said = " ".join(capsys.readouterr().out.split())
    assert "is a score of one file of all particles; score one file per half, such as the" in said


def figures(folder):
    rows = read_metrics(folder / "metrics.json").rows
    return {(row.half, row.metric, row.masked): row for row in rows}


@pytest.mark.parametrize(
    ("backend", "tolerance_angst", "tolerance"),
    [
        ("torch", 0.01, 1e-4),
        pytest.param("relion", 0.05, 0.002, marks=[pytest.mark.relion, pytest.mark.slow]),
    ],
)
def test_every_backend_finds_the_same(
    entry, lost, score, tmp_path, backend, tolerance_angst, tolerance
):
    words = ["evaluate-abinitio", "FAKE", *lost, "-b", str(entry.benchmark_dir), "--n_cpus", "1"]
    words += ["--backend", backend, *(("--device", "cpu") if backend == "torch" else ())]
    assert main([*words, "--outdir", str(tmp_path)]) == 0
    ours, theirs = figures(score), figures(tmp_path)
    assert set(ours) == set(theirs)
    allowed = {"deg": 1e-9, "angst": tolerance_angst}
    worst = {
        key: abs(row.value - theirs[key].value)
        for key, row in ours.items()
        if not np.isnan(row.value) or not np.isnan(theirs[key].value)
    }
    wrong = {
        key: off for key, off in worst.items() if not off <= allowed.get(ours[key].unit, tolerance)
    }
    assert wrong == {}
    assert read_metrics(tmp_path / "metrics.json").stamps["backend"] == backend


def test_relion_options_mean_relion(entry, lost, tmp_path, capsys):
    words = ["evaluate-abinitio", "FAKE", *lost, "-b", str(entry.benchmark_dir), "--outdir"]
    words += [str(tmp_path / "out"), "--relionBinDir", str(tmp_path)]
    assert main(words) == 1
    assert "relion_reconstruct" in capsys.readouterr().err
