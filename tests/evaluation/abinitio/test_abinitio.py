"""CryoFastAR's figures against loops over their equations, and poses in a frame of their own."""

import numpy as np
import pytest
from tiny_entries import read_entry, turned

from cesped.data.conventions import read_predictions, write_particle_table
from cesped.errors import IdMismatchError, MetadataError, OptionError
from cesped.evaluation.abinitio.entry import ALIGNED_NAMES, evaluate_abinitio
from cesped.evaluation.abinitio.figures import (
    aligned_frobenius_error,
    frobenius_error,
    translation_error_px,
)
from cesped.evaluation.abinitio.pose_alignment import Frame, displaced
from cesped.evaluation.entry import evaluate_entry
from cesped.evaluation.outputs import read_result
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import random_rotations, rotations_about_random_axes
from cesped.geometry.symmetry import point_group
from cesped.io.star import read_star
from cesped.vocabulary import PoseOrigin, Track


def plain_frobenius_error(truth, predicted):
    """Equation 16 as it is written, for every reference; its R takes the map to the image."""
    means = []
    for i in range(len(truth)):
        errors = []
        for j in range(len(truth)):
            relative = truth[i].T @ truth[j]
            errors.append(np.linalg.norm(relative - predicted[i].T @ predicted[j]))
        means.append(np.mean(errors))
    return min(means)


def noisy(count, noise_deg, generator):
    truth = random_rotations(count, generator)
    return truth, rotations_about_random_axes(count, noise_deg, generator) @ truth


def test_the_frobenius_error_is_equation_16():
    generator = np.random.default_rng(1)
    truth, predicted = noisy(40, 12.0, generator)
    expected = plain_frobenius_error(truth, predicted)
    assert frobenius_error(truth, predicted, generator) == pytest.approx(expected, rel=1e-9)
    assert expected > 0.1


def test_the_frobenius_error_does_not_see_the_frame_but_sees_the_hand():
    generator = np.random.default_rng(2)
    truth, predicted = noisy(60, 5.0, generator)
    error = frobenius_error(truth, predicted, generator)
    frame = random_rotations(1, generator)[0]
    assert frobenius_error(truth, frame @ predicted, generator) == pytest.approx(error, rel=1e-9)
    mirrored = predicted @ np.diag([-1.0, -1.0, 1.0])
    assert frobenius_error(truth, frame @ mirrored, generator) > 1.5
    assert frobenius_error(truth, frame @ truth, generator) < 1e-12


def test_fewer_references_cannot_do_better():
    generator = np.random.default_rng(3)
    truth, predicted = noisy(80, 20.0, generator)
    every = frobenius_error(truth, predicted, generator)
    few = [frobenius_error(truth, predicted, generator, max_references=3) for _ in range(8)]
    assert min(few) >= every
    assert max(few) > every


@pytest.mark.parametrize("symmetry", ["C1", "D2"])
def test_the_aligned_error_is_the_least_over_the_group(symmetry):
    generator = np.random.default_rng(4)
    group = point_group(symmetry)
    truth, predicted = noisy(50, 30.0, generator)
    predicted = group.operators[generator.integers(group.order, size=50)] @ predicted
    differences = group.operators[:, None] @ truth - predicted
    expected = np.linalg.norm(differences, axis=(2, 3)).min(axis=0).mean()
    found = aligned_frobenius_error(truth, predicted, group)
    assert found == pytest.approx(expected, rel=1e-9)
    assert found == pytest.approx(np.sqrt(8) * np.sin(np.radians(15.0)), rel=1e-9)


def test_the_translation_error_is_a_mean_of_lengths_in_pixels():
    ones = np.ones(2)
    eyes = np.broadcast_to(np.eye(3), (2, 3, 3))
    truth = Poses(eyes, np.zeros((2, 2)), ones)
    predicted = Poses(eyes, np.array([[3.0, 4.0], [0.0, 1.0]]), ones)
    assert translation_error_px(truth, predicted, 2.0) == pytest.approx((2.5 + 0.5) / 2)


FRAMES = (
    Frame(random_rotations(1, np.random.default_rng(5))[0], True, np.array([6.0, -9.0, 12.0])),
    Frame(random_rotations(1, np.random.default_rng(6))[0], False, np.array([0.0, 3.0, -5.0])),
)


@pytest.fixture(scope="module")
def poses(tiny_dir):
    """Predictions of TINY that are 4 degrees off, in the frame of the truth."""
    generator = np.random.default_rng(7)
    tables = read_entry(tiny_dir, "TINY")
    return tables, tuple(turned(table.poses, 4.0, generator) for table in tables)


def write_one_file(path, tables, predicted):
    """Write the predictions of both halves as one star file, in a random order."""
    parts = []
    for half, (table, of_half) in enumerate(zip(tables, predicted, strict=True)):
        part = path.with_name(f"part_{half}.star")
        write_particle_table(part, table.with_poses(of_half))
        parts.append(part.read_text().splitlines())
    rows = [line for line in parts[1] if "@" in line]
    rows = np.random.default_rng(8).permutation([*rows, *(r for r in parts[0] if "@" in r)])
    head = [line for line in parts[0] if "@" not in line]
    path.write_text("\n".join([*head, *rows]) + "\n")
    return path


def test_one_file_of_the_other_hand_scores_as_if_it_were_of_the_truths(
    tiny_dir, poses, write_predictions, tmp_path
):
    tables, predicted = poses
    moved = [displaced(of_half, FRAMES[0]) for of_half in predicted]
    path = write_one_file(tmp_path / "all.star", tables, moved)
    out = tmp_path / "out"
    found = evaluate_abinitio("TINY", [path], benchmark_dir=tiny_dir, outdir=out, threads=2)
    known = evaluate_entry(
        "TINY",
        *write_predictions(tables, predicted),
        "SO3xR2",
        benchmark_dir=tiny_dir,
        random_reference=False,
        threads=2,
    )
    assert found.stamps["track"] == Track.AB_INITIO.value == "ab-initio"
    assert found.stamps["metric_version"] == 1
    assert [stamp["name"] for stamp in found.stamps["prediction_files"]] == ["all.star"]
    (frame, same) = found.stamps["frames"]
    assert frame == same
    assert frame["is_found"]
    assert frame["is_hand_known"]
    assert frame["is_mirrored"]
    assert any("are of the other hand; 100 % of the poses" in note for note in found.notes)
    assert any("One file for all particles" in note for note in found.notes)
    assert found.value("mean_angular_error_deg") == pytest.approx(4.0, abs=0.15)
    assert found.value("shift_rmse_angst") < 0.5
    for metric in ("pcc_to_truth", "pcc_halves", "resolution_to_truth_05_angst"):
        for masked in (False, True):
            expected = known.value(metric, masked=masked)
            assert found.value(metric, masked=masked) == pytest.approx(expected, rel=0.02)
    assert found.value("frobenius_error") > 1.5  # as submitted: the other hand
    assert found.value("frobenius_error_aligned") == pytest.approx(
        np.sqrt(8) * np.sin(np.radians(2.0)), rel=0.05
    )
    assert found.value("translation_error_px") > 1.0
    assert found.value("translation_error_aligned_px") < 0.1
    assert found.value("pcc_volume_aligned") == pytest.approx(found.value("pcc_to_truth"), abs=0.02)
    assert found.value("frobenius_error_aligned", poses="random") > 1.0
    assert "prediction_volume_aligned_masked" in found.fsc_curves
    again = read_result(out)
    assert again.stamps["frames"] == found.stamps["frames"]
    for half, name in enumerate(ALIGNED_NAMES):
        ids, back, _ = read_predictions(out / name)
        assert list(ids) == list(tables[half].ids)
        np.testing.assert_allclose(back.origins_angst, predicted[half].origins_angst, atol=1.0)
        assert len(read_star(out / name)["particles"]) == len(tables[half])


def test_two_files_have_a_frame_each(tiny_dir, poses, write_predictions, stub):
    tables, predicted = poses
    moved = [displaced(*pair) for pair in zip(predicted, FRAMES, strict=True)]
    paths = write_predictions(tables, moved)
    found = evaluate_abinitio("TINY", paths, benchmark_dir=tiny_dir, reconstructor=stub)
    assert [frame["is_mirrored"] for frame in found.stamps["frames"]] == [True, False]
    assert found.value("mean_angular_error_deg") == pytest.approx(4.0, abs=0.15)
    assert found.value("frobenius_error", half="0") > 1.5 > found.value("frobenius_error", half="1")
    halves = [found.value("frobenius_error", half=half) for half in ("0", "1")]
    assert found.value("frobenius_error") == pytest.approx(np.mean(halves))
    assert any(note.startswith("Half 0 of the predictions is of the other") for note in found.notes)
    # what is reconstructed are the aligned poses
    pose_set = stub.asked[0][1][1]
    np.testing.assert_allclose(pose_set.poses.origins_angst, predicted[0].origins_angst, atol=1.5)


def test_poses_without_shifts_use_the_known_ones(tiny_dir, poses, write_predictions, stub):
    tables, predicted = poses
    moved = [displaced(*pair) for pair in zip(predicted, FRAMES, strict=True)]
    found = evaluate_abinitio(
        "TINY", write_predictions(tables, moved), "SO3", benchmark_dir=tiny_dir, reconstructor=stub
    )
    assert found.stamps["frames"][0]["offset_angst"] == [0.0, 0.0, 0.0]
    assert "translation_error_px" not in found.metrics
    pose_set = stub.asked[0][1][1]
    np.testing.assert_array_equal(pose_set.poses.origins_angst, tables[0].poses.origins_angst)


def test_random_poses_say_that_no_frame_was_found(tiny_dir, poses, write_predictions, stub):
    tables, predicted = poses
    generator = np.random.default_rng(9)
    random = [
        Poses(random_rotations(len(p), generator), p.origins_angst, p.confidence) for p in predicted
    ]
    found = evaluate_abinitio(
        "TINY", write_predictions(tables, random), benchmark_dir=tiny_dir, reconstructor=stub
    )
    assert not any(frame["is_found"] for frame in found.stamps["frames"])
    assert sum("no frame was found" in note for note in found.notes) == 2
    chance = found.value("frobenius_error_aligned", poses=PoseOrigin.RANDOM.value)
    assert found.value("frobenius_error_aligned") == pytest.approx(chance, abs=0.2)


def test_what_cannot_be_an_ab_initio_result_is_refused(
    tiny_dir, poses, write_predictions, tmp_path
):
    tables, predicted = poses
    paths = write_predictions(tables, predicted)
    with pytest.raises(OptionError, match=r"viewing directions alone \(S2\) are not aligned"):
        evaluate_abinitio("TINY", paths, "S2", benchmark_dir=tiny_dir)
    with pytest.raises(OptionError, match="3 files of predictions; give one of all, or one per"):
        evaluate_abinitio("TINY", [*paths, paths[0]], benchmark_dir=tiny_dir)
    with pytest.raises(IdMismatchError, match="150 particles missing from the predictions"):
        evaluate_abinitio("TINY", paths[:1], benchmark_dir=tiny_dir)
    far = [Poses(p.rotations, p.origins_angst + 500.0, p.confidence) for p in predicted]
    path = write_one_file(tmp_path / "far.star", tables, far)
    with pytest.raises(MetadataError, match=r"far.star: the origin .* lies outside the image"):
        evaluate_abinitio("TINY", [path], benchmark_dir=tiny_dir)
    with pytest.raises(IdMismatchError, match="give the two files in the other order"):
        evaluate_abinitio("TINY", paths[::-1], benchmark_dir=tiny_dir)
