"""`cesped compare`: two evaluations or star files in, a verdict out; misuse explained."""

import json
import shutil

import numpy as np
import pytest
from fake_entry import write_fake_entry

from cesped.cli.main import main
from cesped.data.conventions import read_particle_table, write_particle_table
from cesped.evaluation.entry import evaluate_entry
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import rotations_about_random_axes


@pytest.fixture(scope="module")
def entry(tmp_path_factory):
    return write_fake_entry(tmp_path_factory.mktemp("compared"), n_particles=30)


@pytest.fixture(scope="module")
def stars(entry, tmp_path_factory):
    """Return the star files of both halves by how far they are off: 2 or 6 degrees."""
    generator = np.random.default_rng(91)
    folder = tmp_path_factory.mktemp("stars")
    paths = {}
    for angle_deg in (2, 6):
        for half in (0, 1):
            table = read_particle_table(entry.star(half))
            turns = rotations_about_random_axes(
                len(table), angle_deg * generator.uniform(0.5, 1.5, len(table)), generator
            )
            poses = Poses(
                turns @ table.poses.rotations, table.poses.origins_angst, table.poses.confidence
            )
            path = folder / f"off_by_{angle_deg}_{half}.star"
            write_particle_table(path, table.with_poses(poses))
            paths.setdefault(angle_deg, []).append(str(path))
    return paths


@pytest.fixture(scope="module")
def evaluated(entry, stars, tmp_path_factory):
    folders = {}
    for angle_deg, paths in stars.items():
        folders[angle_deg] = tmp_path_factory.mktemp(f"off_by_{angle_deg}")
        evaluate_entry(
            entry.name,
            *paths,
            "SO3",
            benchmark_dir=entry.benchmark_dir,
            outdir=folders[angle_deg],
            random_reference=False,
        )
    return folders


def test_two_evaluations_give_a_verdict(evaluated, capsys):
    assert main(["compare", str(evaluated[2]), str(evaluated[6] / "metrics.json")]) == 0
    text = capsys.readouterr().out
    assert "60 particles, each compared with itself" in text
    assert "The first is better in the mean angular error." in text
    assert "mean angular error (MAnE)" in text
    assert "mean in-plane error" in text
    assert "shift" not in text  # which was not predicted
    assert "< 0.0002" in text


def test_a_prediction_and_itself_are_not_told_apart(evaluated, capsys):
    assert main(["compare", str(evaluated[2]), str(evaluated[2])]) == 0
    text = capsys.readouterr().out
    assert "Neither is shown to be better" in text
    assert "for 50 % of the particles" in text


def test_star_files_come_to_the_same_as_their_evaluations(entry, stars, evaluated, capsys):
    entry_options = ["--targetName", entry.name, "--benchmarkDir", str(entry.benchmark_dir)]
    swapped = ",".join(stars[2][::-1]), ",".join(stars[6])
    assert main(["compare", *swapped, *entry_options, "--json"]) == 0
    of_stars = json.loads(capsys.readouterr().out)
    assert main(["compare", str(evaluated[2]), str(evaluated[6]), "--json"]) == 0
    of_folders = json.loads(capsys.readouterr().out)
    assert of_stars["target"] == of_folders["target"] == entry.name
    for one, other in zip(of_stars["figures"], of_folders["figures"], strict=True):
        assert one["metric"] == other["metric"]
        assert one["difference"] == pytest.approx(other["difference"], abs=1e-6)
    mean = of_folders["figures"][0]
    assert mean["interval"][0] < mean["difference"] < mean["interval"][1] < 0


def test_shifts_are_compared_where_they_were_predicted(entry, stars, capsys):
    words = [stars[2][0], stars[6][0], "--targetName", entry.name, "--predictionType", "SO3xR2"]
    assert main(["compare", *words, "--benchmarkDir", str(entry.benchmark_dir)]) == 0
    assert "median shift error" in capsys.readouterr().out


def test_one_half_alone_can_be_compared(entry, stars, capsys):
    entry_options = ["--targetName", entry.name, "--benchmarkDir", str(entry.benchmark_dir)]
    assert main(["compare", stars[2][1], stars[6][1], *entry_options]) == 0
    assert "30 particles" in capsys.readouterr().out
    assert main(["compare", stars[2][0], stars[6][1], *entry_options]) == 1
    error = capsys.readouterr().err
    assert "does not hold one pose for each particle" in error
    assert "off_by_6_1.star" in error


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["compare", "a.star", "b.star"], "star files need --targetName"),
        (["compare", "a", "b", "--predictionType", "S2"], "an evaluation has its own"),
        (["compare", "a"], "Missing argument 'SECOND'"),
    ],
)
def test_wrong_usage_is_explained(words, said, capsys):
    assert main(words) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_what_cannot_be_compared_is_said(evaluated, tmp_path, capsys):
    assert main(["compare", str(evaluated[2]), str(tmp_path)]) == 1
    assert "not the outcome of an evaluation" in capsys.readouterr().err
    for change, said in (
        (lambda ours: ours.update(symmetry="D2"), "the symmetry is C1 in one, D2 in the other"),
        (lambda ours: ours.update(target="X"), "the entry is"),
        (lambda ours: ours["stamps"].update(metric_version=9), "the metric version is 1 in one"),
        (
            lambda ours: ours["stamps"]["entry_files"][0].update(checksum="sha256:" + "0" * 64),
            "the star file of the entry is not the same",
        ),
    ):
        other = tmp_path / "other"
        shutil.copytree(evaluated[6], other, dirs_exist_ok=True)
        document = json.loads((other / "metrics.json").read_text())
        change(document["cesped"])
        (other / "metrics.json").write_text(json.dumps(document))
        assert main(["compare", str(evaluated[2]), str(other)]) == 1
        assert said in capsys.readouterr().err
