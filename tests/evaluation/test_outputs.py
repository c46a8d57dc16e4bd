import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cesped.errors import DiskFullError, FigureNotFoundError, MetadataError
from cesped.evaluation import outputs
from cesped.evaluation.outputs import read_result, write_evaluation
from cesped.evaluation.results import EvaluationResult, MetricRow
from cesped.physics.fsc import FscCurve

MAPS = {"truth": np.zeros((4, 4, 4), np.float32), "prediction": np.ones((4, 4, 4), np.float32)}


@pytest.fixture
def result():
    curve = FscCurve(np.arange(3) / 24, np.array([1.0, 1 / 3, -0.1]), 2.0)
    rows = (
        MetricRow("prediction", "X", "all", "pcc_to_truth", False, 0.5, "", "max"),
        MetricRow("prediction", "X", "all", "pcc_to_truth", True, np.float32(0.75), "", "max"),
        MetricRow("prediction", "X", "0", "median_angular_error_deg", False, 3.5, "deg", "min"),
        MetricRow("prediction", "X", "all", "nothing", False, float("nan"), "", "min"),
    )
    return EvaluationResult(
        target="X",
        prediction_type="SO3",
        symmetry="C1",
        has_mask=True,
        rows=rows,
        reference_rows=(MetricRow("random", "X", "all", "pcc_to_truth", True, 0.1, "", "max"),),
        published={"meanAngularError": np.float32(1.5), "mapVsGT_resolution": float("inf")},
        stamps={"metric_version": 1, "counts": np.array([1, 2]), "seconds": np.float64(0.1)},
        notes=("A note.",),
        fsc_curves={"prediction_to_truth": curve},
        particles=pd.DataFrame({"id": ["1@a.mrcs"], "half": [0], "angular_error_deg": [1 / 3]}),
    )


def test_what_was_written_is_read_back(result, tmp_path):
    written = write_evaluation(result, MAPS, 2.0, tmp_path)
    back = read_result(tmp_path)
    pd.testing.assert_frame_equal(back.table(), written.table(), check_dtype=False)
    pd.testing.assert_frame_equal(back.particles, result.particles)
    curve = back.fsc_curves["prediction_to_truth"]
    expected = result.fsc_curves["prediction_to_truth"].correlation
    np.testing.assert_allclose(curve.correlation, expected, rtol=1e-14)
    assert curve.pixel_size_angst == 2.0
    assert back.map_paths == written.map_paths
    assert all(path.is_file() and path.name.startswith("X_") for path in back.map_paths.values())
    assert (back.target, back.has_mask, back.notes) == ("X", True, ("A note.",))


def test_numpy_numbers_nan_and_infinity_do_not_break_the_json(result, tmp_path):
    write_evaluation(result, {}, 2.0, tmp_path)

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    document = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=refuse)
    assert document["meanAngularError"] == 1.5
    assert document["mapVsGT_resolution"] is None
    assert document["cesped"]["stamps"]["counts"] == [1, 2]
    assert np.isnan(read_result(tmp_path).value("nothing"))


def test_a_failure_leaves_the_folder_as_it_was(result, tmp_path, monkeypatch):
    write_evaluation(result, MAPS, 2.0, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(path, volume, voxel_size_angst):
        if "prediction" in path.name:
            raise DiskFullError("the disk is full")
        path.write_bytes(b"half")

    monkeypatch.setattr(outputs, "write_volume", full)
    with pytest.raises(DiskFullError):
        write_evaluation(replace(result, symmetry="C2"), MAPS, 2.0, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_metrics_are_masked_where_there_is_a_mask(result):
    assert result.metrics["pcc_to_truth"] == np.float32(0.75)
    assert result.metrics_of("random") == {"pcc_to_truth": 0.1}
    assert result.value("pcc_to_truth") == 0.5
    assert result.value("median_angular_error_deg", half="0") == 3.5
    with pytest.raises(FigureNotFoundError, match="pcc_to_truth of truth"):
        result.value("pcc_to_truth", poses="truth")


@pytest.mark.parametrize("fault", ["missing", "foreign", "truncated"])
def test_what_is_no_evaluation_is_refused(result, tmp_path, fault):
    write_evaluation(result, {}, 2.0, tmp_path)
    if fault == "missing":
        (tmp_path / "fsc.csv").unlink()
    elif fault == "foreign":
        (tmp_path / "metrics.json").write_text('{"meanAngularError": 3}')
    else:
        text = (tmp_path / "metrics.json").read_text()
        (tmp_path / "metrics.json").write_text(text[: len(text) // 2])
    with pytest.raises(MetadataError, match=r"metrics\.json.*run the evaluation again"):
        read_result(tmp_path)
