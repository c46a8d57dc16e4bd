import re
from pathlib import Path

import numpy as np
import pytest
from tiny_entries import turned

from cesped.data.conventions import read_predictions
from cesped.errors import GeometryError, IdMismatchError, MetadataError
from cesped.evaluation.half_sets import (
    PoseOrigin,
    notes_on_origins,
    pair_predictions,
    random_poses,
    reconstruct_maps,
)
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import geodesic_distance_deg
from cesped.reconstruction.protocol import ReconstructionOptions
from cesped.vocabulary import PredictionType

SO3, SO3XR2 = PredictionType.SO3, PredictionType.SO3XR2
OPTIONS = ReconstructionOptions(symmetry="C1")


@pytest.fixture
def generator():
    return np.random.default_rng(23)


@pytest.fixture
def confidence(tables, generator):
    return tuple(generator.uniform(0.1, 1, len(table)) for table in tables)


def reorder_rows(path, generator):
    """Shuffle the particle rows of a star file, by hand."""
    lines = Path(path).read_text().splitlines()
    rows = [row for row, line in enumerate(lines) if "@" in line]
    shuffled = generator.permutation(rows)
    text = [lines[shuffled[rows.index(i)]] if i in rows else line for i, line in enumerate(lines)]
    Path(path).write_text("\n".join(text) + "\n")


def test_predictions_come_back_in_the_order_of_the_entry(
    tables, write_predictions, confidence, generator
):
    poses = tuple(turned(table.poses, 20, generator) for table in tables)
    paths = write_predictions(tables, poses, confidence)
    for path in paths:
        reorder_rows(path, generator)
    assert list(read_predictions(paths[0])[0]) != list(tables[0].ids)
    for half, pair in enumerate(pair_predictions(tables, paths, SO3)):
        np.testing.assert_allclose(pair.predicted.rotations, poses[half].rotations, atol=1e-8)
        np.testing.assert_allclose(pair.predicted.confidence, confidence[half])
        assert pair.has_confidence


def test_files_given_in_the_wrong_order_are_told_apart(tables, write_predictions):
    paths = write_predictions(tables)
    with pytest.raises(IdMismatchError, match="give the two files in the other order"):
        pair_predictions(tables, paths[::-1], SO3)


def test_a_nan_angle_is_an_error_naming_file_and_row(tables, write_predictions):
    path0, path1 = write_predictions(tables)
    lines = Path(path0).read_text().splitlines()
    columns = [line.split()[0] for line in lines if line.startswith("_rln")]
    first = next(row for row, line in enumerate(lines) if "@" in line)
    # columns of the particle table alone: those after the last "loop_"
    start = max(row for row, line in enumerate(lines) if line.startswith("loop_"))
    columns = [line.split()[0] for line in lines[start:] if line.startswith("_rln")]
    values = lines[first + 3].split()
    values[columns.index("_rlnAngleTilt")] = "nan"
    lines[first + 3] = " ".join(values)
    Path(path0).write_text("\n".join(lines) + "\n")
    with pytest.raises(MetadataError, match=f"row 4 of {re.escape(path0)}.*rlnAngleTilt"):
        pair_predictions(tables, (path0, path1), SO3)


def test_a_shift_out_of_the_image_is_an_error_where_shifts_are_scored(tables, write_predictions):
    moved = []
    for table in tables:
        origins = table.poses.origins_angst.copy()
        origins[6] = (500.0, 0.0)
        moved.append(Poses(table.poses.rotations, origins, table.poses.confidence))
    paths = write_predictions(tables, moved)
    with pytest.raises(MetadataError, match=r"row 7 of .*\(500, 0\) angstrom lies outside"):
        pair_predictions(tables, paths, SO3XR2)
    pair_predictions(tables, paths, SO3)


@pytest.mark.parametrize("column", ["_rlnOriginXAngst", "_rlnOriginYAngst"])
def test_one_origin_without_the_other_is_an_error(tables, write_predictions, column):
    path0, path1 = write_predictions(tables)
    text = Path(path0).read_text()
    assert text.count(column) == 1
    Path(path0).write_text(text.replace(column, "_rlnSomethingElse"))
    with pytest.raises(MetadataError, match=f"without {column[1:]}; give both"):
        pair_predictions(tables, (path0, path1), SO3XR2)


def test_shifts_that_were_not_predicted_are_noted_where_they_are_scored(tables, write_predictions):
    centred = [
        Poses(table.poses.rotations, np.zeros((len(table), 2)), table.poses.confidence)
        for table in tables
    ]
    mixed = write_predictions(tables, (tables[0].poses, centred[1]))
    halves = pair_predictions(tables, mixed, SO3XR2)
    (note,) = notes_on_origins(halves, SO3XR2)
    assert "half 1 has no origins" in note
    assert notes_on_origins(halves, SO3) == ()


def test_confidence_of_zero_throughout_is_an_error_only_if_it_is_used(tables, write_predictions):
    zeros = tuple(np.zeros(len(table)) for table in tables)
    paths = write_predictions(tables, None, zeros)
    with pytest.raises(MetadataError, match="rlnParticleFigureOfMerit is 0 in all 150 rows"):
        pair_predictions(tables, paths, SO3)
    pair_predictions(tables, paths, SO3, use_pred_confidence=False)


def test_only_the_predicted_maps_are_weighted(tables, write_predictions, confidence, stub):
    halves = pair_predictions(tables, write_predictions(tables, None, confidence), SO3)
    maps = reconstruct_maps(halves, SO3, stub, OPTIONS)
    assert set(maps) == {
        PoseOrigin.TRUTH,
        PoseOrigin.PREDICTION,
        PoseOrigin.TRUTH_SAME_WEIGHTS,
    }
    for half, (table, sets, options) in enumerate(stub.asked):
        truth, prediction, same_weights = sets
        assert table is tables[half]
        assert options is OPTIONS
        assert truth.weights is None
        np.testing.assert_allclose(prediction.weights, confidence[half])
        np.testing.assert_allclose(same_weights.weights, confidence[half])
        np.testing.assert_array_equal(same_weights.poses.rotations, table.poses.rotations)


def test_without_confidence_the_truth_is_reconstructed_once(tables, write_predictions, stub):
    halves = pair_predictions(tables, write_predictions(tables), SO3)
    maps = reconstruct_maps(halves, SO3, stub, OPTIONS)
    assert [len(sets) for _, sets, _ in stub.asked] == [2, 2]
    assert maps[PoseOrigin.TRUTH_SAME_WEIGHTS].half0 is maps[PoseOrigin.TRUTH].half0


def test_confidence_that_is_not_wanted_is_not_used(tables, write_predictions, confidence, stub):
    paths = write_predictions(tables, None, confidence)
    halves = pair_predictions(tables, paths, SO3, use_pred_confidence=False)
    reconstruct_maps(halves, SO3, stub, OPTIONS, use_pred_confidence=False)
    assert all(pose_set.weights is None for _, sets, _ in stub.asked for pose_set in sets)


def test_random_poses_are_random_orientations_with_the_true_shifts(tables, generator):
    truth = tables[0].poses
    poses = random_poses(truth, generator)
    mean_deg = geodesic_distance_deg(truth.rotations, poses.rotations).mean()
    assert mean_deg == pytest.approx(126.5, abs=10)
    np.testing.assert_array_equal(poses.origins_angst, truth.origins_angst)


def test_poses_that_are_not_finite_never_reach_a_map(tables):
    bad = tables[0].poses.rotations.copy()
    bad[2, 0, 0] = np.nan
    with pytest.raises(GeometryError, match="particle 3 of 150"):
        Poses(bad, tables[0].poses.origins_angst, tables[0].poses.confidence)
