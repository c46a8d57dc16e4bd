"""The protocol end to end on tiny entries, native reconstruction."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from plain_metrics import plain_fsc, plain_pcc, plain_resolution
from tiny_entries import TINY, read_entry, turned

from cesped.data.conventions import write_particle_table
from cesped.errors import EntryNotFoundError, IdMismatchError, MrcFileError, PixelSizeError
from cesped.evaluation.entry import evaluate_entry
from cesped.evaluation.outputs import read_result
from cesped.evaluation.published import PUBLISHED_KEYS
from cesped.geometry.poses import Poses
from cesped.io.mrc import read_volume, write_volume

ERROR_DEG = 6.0


@pytest.fixture
def generator():
    return np.random.default_rng(31)


@pytest.fixture(scope="module")
def scored(tiny_dir, tmp_path_factory):
    """Result and folder of predictions off by 6 degrees with random confidence."""
    generator = np.random.default_rng(32)
    folder = tmp_path_factory.mktemp("scored")
    paths = []
    for half, table in enumerate(read_entry(tiny_dir, "TINY")):
        paths.append(folder / f"predicted_{half}.star")
        weights = generator.uniform(0.05, 1, len(table))
        poses = turned(table.poses, ERROR_DEG, generator)
        write_particle_table(paths[-1], table.with_poses(poses), predicted_confidence=weights)
    outdir = folder / "out"
    return evaluate_entry("TINY", *paths, "SO3", benchmark_dir=tiny_dir, outdir=outdir), outdir


@pytest.fixture
def predict(tables, write_predictions, generator):
    """Return a function that writes predictions off by exactly so many degrees."""

    def write(angle_deg=ERROR_DEG, *, with_confidence=True, of=tables):
        poses = tuple(turned(table.poses, angle_deg, generator) for table in of)
        weights = [generator.uniform(0.05, 1, len(table)) for table in of]
        return write_predictions(of, poses, weights if with_confidence else (None, None))

    return write


def test_published_keys_equal_a_float64_restatement_of_the_paper(scored):
    result, _ = scored
    volumes = {name: read_volume(path)[0].astype(float) for name, path in result.map_paths.items()}
    mask = volumes["mask"]
    halves = [mask * volumes[f"truth_half{half}"] for half in (0, 1)]
    predicted = [mask * volumes[f"prediction_half{half}"] for half in (0, 1)]
    means = [volumes["truth_half0"] + volumes["truth_half1"]]
    means.append(volumes["prediction_half0"] + volumes["prediction_half1"])
    masked = [mask * volume for volume in means]
    box_angst = TINY.box * TINY.pixel_size_angst

    def resolutions(pair):
        return [plain_resolution(plain_fsc(*pair), level, box_angst) for level in (0.143, 0.5)]

    expected = {
        "meanAngularError": ERROR_DEG,
        "wMeanAngularError": ERROR_DEG,
        "shiftsRMSE": 0,
        "GT_correlation": plain_pcc(*halves),
        "half2half_correlation": plain_pcc(*predicted),
        "mapVsGT_correlaton_masked": plain_pcc(*masked),
        "mapVsGT_correlaton_unmasked": plain_pcc(*means),
        "mapVsGT_correlaton_diff_masked": plain_pcc(*halves) - plain_pcc(*masked),
        "mapVsGT_correlaton_diff": plain_pcc(volumes["truth_half0"], volumes["truth_half1"])
        - plain_pcc(*means),
    }
    names = ("GT_resolution0143", "GT_resolution05")
    expected |= dict(zip(names, resolutions(halves), strict=True))
    names = ("half2half_resolution", "half2half_resolution05")
    expected |= dict(zip(names, resolutions(predicted), strict=True))
    names = ("mapVsGT_resolution", "mapVsGT_resolution05")
    expected |= dict(zip(names, resolutions(masked), strict=True))
    assert tuple(result.published) == PUBLISHED_KEYS
    assert set(expected) == set(PUBLISHED_KEYS)
    for key, value in expected.items():
        assert result.published[key] == pytest.approx(value, rel=1e-4, abs=1e-5), key


def test_metrics_json_has_the_published_keys_on_top_and_reads_back(scored):
    result, outdir = scored
    document = json.loads((outdir / "metrics.json").read_text())
    assert set(document) == {*PUBLISHED_KEYS, "cesped"}
    assert all(document[key] == result.published[key] for key in PUBLISHED_KEYS)
    stamps = read_result(outdir).stamps
    assert stamps["metric_version"] == 1
    assert stamps["backend"] == "native"
    assert stamps["particles"] == [150, 150]
    checksums = [file["checksum"] for file in stamps["entry_files"] + stamps["prediction_files"]]
    assert len(set(checksums)) == 4
    assert all(checksum.startswith("sha256:") for checksum in checksums)
    assert len(read_result(outdir).particles) == 300


def test_an_error_of_three_degrees_scores_three_degrees(tiny_dir, predict):
    paths = predict(3.0, with_confidence=False)
    result = evaluate_entry("TINY", *paths, "SO3", benchmark_dir=tiny_dir, random_reference=False)
    assert result.published["meanAngularError"] == pytest.approx(3, abs=1e-4)
    assert result.metrics["median_angular_error_deg"] == pytest.approx(3, abs=1e-4)
    assert result.metrics["share_under_5_deg"] == 1
    np.testing.assert_allclose(result.particles["angular_error_deg"], 3, atol=1e-4)
    # maps that share no noise show a loss that the published comparison hides
    assert result.value("delta_pcc_crossed") > 0
    assert result.value("delta_pcc_crossed") > result.value("delta_pcc")
    # and confidence that is missing is said
    assert sum("rlnParticleFigureOfMerit" in note for note in result.notes) == 2
    assert result.stamps["has_predicted_confidence"] == [False, False]


def test_perfect_poses_with_random_confidence_are_as_good_as_the_truth(tiny_dir, predict):
    result = evaluate_entry("TINY", *predict(0.0), "SO3", benchmark_dir=tiny_dir)
    same_weights = result.metrics_of("truth_same_weights")
    for metric, value in result.metrics.items():
        if metric in same_weights:
            assert value == pytest.approx(same_weights[metric], abs=1e-4), metric
    assert result.metrics["delta_pcc_crossed"] == pytest.approx(0, abs=1e-6)
    assert result.metrics["delta_resolution_crossed_0143_angst"] == pytest.approx(0, abs=1e-3)
    # the published comparison does not show it: it weights the prediction alone
    assert result.published["mapVsGT_correlaton_unmasked"] < 0.999


def test_random_poses_are_the_floor(tiny_dir, predict, scored):
    result, _ = scored
    random = result.metrics_of("random")
    assert random["mean_angular_error_deg"] == pytest.approx(126.5, abs=8)
    for metric in ("pcc_to_truth", "pcc_crossed", "pcc_halves"):
        assert random[metric] < result.metrics[metric] < 1
    for level in ("0143", "05"):
        metric = f"resolution_crossed_{level}_angst"
        assert random[metric] > result.metrics[metric]
    other = evaluate_entry("TINY", *predict(0.0), "SO3", benchmark_dir=tiny_dir)
    # the seed alone decides, whatever the prediction
    assert other.metrics_of("random") == pytest.approx(random, abs=1e-6)


def test_a_mask_asked_for_wins_over_the_entry_s_own(tiny_dir, predict, tmp_path, scored):
    everything = tmp_path / "all.mrc"
    write_volume(everything, np.ones((TINY.box,) * 3, np.float32), TINY.pixel_size_angst)
    own, _ = scored
    assert own.has_mask
    assert own.stamps["mask_file"]["name"] == "mask.mrc"
    options = {"benchmark_dir": tiny_dir, "random_reference": False, "mask": everything}
    other = evaluate_entry("TINY", *predict(), "SO3", **options)
    assert other.stamps["mask_file"]["name"] == "all.mrc"
    unmasked = own.value("pcc_halves", poses="truth")
    assert other.published["GT_correlation"] == pytest.approx(unmasked, abs=1e-6)
    assert own.published["GT_correlation"] > unmasked + 0.01


def test_without_a_mask_unmasked_figures_stand_alone_and_say_so(tiny_dir, predict, tmp_path):
    options = {"benchmark_dir": tiny_dir, "random_reference": False}
    result = evaluate_entry("TINY", *predict(), "SO3", use_mask=False, outdir=tmp_path, **options)
    assert not result.has_mask
    assert any("No mask" in note for note in result.notes)
    assert not any(row.masked for row in (*result.rows, *result.reference_rows))
    assert np.isnan(result.published["mapVsGT_correlaton_masked"])
    document = json.loads((tmp_path / "metrics.json").read_text())
    assert document["mapVsGT_correlaton_masked"] is None
    assert document["GT_correlation"] == result.value("pcc_halves", poses="truth")


@pytest.mark.parametrize("fault", ["box", "pixel size", "values"])
def test_a_mask_that_does_not_fit_is_refused(tiny_dir, predict, tmp_path, fault):
    path = tmp_path / "mask.mrc"
    box = TINY.box + 2 if fault == "box" else TINY.box
    voxel = 2 * TINY.pixel_size_angst if fault == "pixel size" else TINY.pixel_size_angst
    write_volume(path, np.full((box,) * 3, 7 if fault == "values" else 1, np.float32), voxel)
    error = PixelSizeError if fault == "pixel size" else MrcFileError
    with pytest.raises(error, match=r"mask .*mask\.mrc"):
        evaluate_entry("TINY", *predict(), "SO3", benchmark_dir=tiny_dir, mask=path)


def test_a_second_target_is_never_scored_against_the_maps_of_the_first(
    tiny_dir, predict, tmp_path, scored
):
    _, scored_dir = scored
    shutil.copytree(scored_dir, tmp_path, dirs_exist_ok=True)
    paths = predict(of=read_entry(tiny_dir, "TINY-D2"))
    options = {"benchmark_dir": tiny_dir, "random_reference": False}
    result = evaluate_entry("TINY-D2", *paths, "SO3", outdir=tmp_path, **options)
    first, second = (read_volume(result.map_paths[f"truth_half{half}"])[0] for half in (0, 1))
    mask, _ = read_volume(tiny_dir / "TINY-D2" / "mask.mrc")
    expected = plain_pcc(first * mask, second * mask)
    assert result.published["GT_correlation"] == pytest.approx(expected, abs=1e-5)
    before = (scored_dir / "TINY_truth.mrc").read_bytes()
    assert (tmp_path / "TINY_truth.mrc").read_bytes() == before
    assert (tmp_path / "TINY-D2_truth.mrc").read_bytes() != before
    assert read_result(tmp_path).target == "TINY-D2"


def test_symmetry_mates_are_right_unless_symmetry_is_ignored(tiny_dir, write_predictions):
    tables = read_entry(tiny_dir, "TINY-D2")
    flip = np.diag([1.0, -1.0, -1.0])  # the two-fold on x
    mates = [
        Poses(flip @ table.poses.rotations, table.poses.origins_angst, table.poses.confidence)
        for table in tables
    ]
    paths = write_predictions(tables, mates)
    options = {"benchmark_dir": tiny_dir, "random_reference": False}
    result = evaluate_entry("TINY-D2", *paths, "SO3", **options)
    assert result.published["meanAngularError"] < 1e-4
    assert result.metrics["pcc_to_truth"] == pytest.approx(1, abs=1e-3)
    ignoring = evaluate_entry("TINY-D2", *paths, "SO3", ignore_symmetry=True, **options)
    assert ignoring.published["meanAngularError"] == pytest.approx(180, abs=1e-3)
    assert ignoring.symmetry == "C1"
    assert ignoring.stamps["entry_symmetry"] == "D2"


def test_s2_and_shifts_are_scored_by_what_was_predicted(tiny_dir, tables, write_predictions):
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    moved = [
        Poses(
            table.poses.rotations @ turn,  # in the image plane
            table.poses.origins_angst + np.array([3.0, -4.0]),
            table.poses.confidence,
        )
        for table in tables
    ]
    paths = write_predictions(tables, moved)
    options = {"benchmark_dir": tiny_dir, "random_reference": False}
    directions = evaluate_entry("TINY", *paths, "S2", **options)
    assert directions.published["meanAngularError"] < 1e-4
    assert directions.metrics["pcc_to_truth"] == pytest.approx(1, abs=1e-4)
    assert any("S2" in note for note in directions.notes)
    everything = evaluate_entry("TINY", *paths, "SO3xR2", **options)
    assert everything.published["meanAngularError"] == pytest.approx(90, abs=1e-3)
    assert everything.published["shiftsRMSE"] == pytest.approx(5, abs=1e-4)
    assert everything.metrics["pcc_to_truth"] < 0.9
    assert not any("origins" in note for note in everything.notes)


def test_a_refused_prediction_leaves_nothing_behind(tiny_dir, predict, tmp_path):
    outdir = tmp_path / "out"
    first, second = predict()
    with pytest.raises(IdMismatchError):
        evaluate_entry("TINY", second, first, "SO3", benchmark_dir=tiny_dir, outdir=outdir)
    with pytest.raises(EntryNotFoundError):
        evaluate_entry("NONE", first, second, "SO3", benchmark_dir=tiny_dir, outdir=outdir)
    assert not outdir.exists()


def test_halves_that_share_images_are_refused(tiny_dir, predict, tmp_path):
    shutil.copytree(tiny_dir / "TINY", tmp_path / "TINY")
    star = tmp_path / "TINY" / "particles_1.star"
    shutil.copy(star.with_name("particles_0.star"), star)
    with pytest.raises(IdMismatchError, match=r"150 images of .*particles_0.star are in half 1"):
        evaluate_entry("TINY", *predict(), "SO3", benchmark_dir=tmp_path)


@pytest.mark.relion
def test_native_and_relion_maps_give_the_same_figures(tiny_dir, predict):
    paths = predict()
    options = {"benchmark_dir": tiny_dir, "random_reference": False}
    native = evaluate_entry("TINY", *paths, "SO3", **options)
    relion = evaluate_entry("TINY", *paths, "SO3", reconstructor="relion", **options)
    assert relion.stamps["backend"] == "relion"
    for key, value in native.published.items():
        tolerance = 0.1 if "resolution" in key else 0.005
        assert relion.published[key] == pytest.approx(value, abs=tolerance), key


def test_scoring_loads_neither_training_nor_figures():
    program = (
        "import sys; import cesped.evaluation.entry; "
        "print([m for m in ('e3nn', 'lightning', 'matplotlib', 'plotly') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
