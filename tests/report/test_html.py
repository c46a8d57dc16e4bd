"""The page: whole in one file, every figure explained, nothing a name could inject."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from synthetic_result import HOSTILE_NAME, synthetic_result

from cesped.evaluation.calibration import confidence_rows
from cesped.evaluation.pose_figures import POSE_FIGURES
from cesped.evaluation.published import PUBLISHED_KEYS
from cesped.evaluation.results import MetricRow
from cesped.evaluation.scores import MapScores, map_rows
from cesped.evaluation.volumes import compare_maps
from cesped.io.mrc import read_volume, write_volume
from cesped.report.glossary import MAP_TERMS, MORE_POSE_TERMS, POSE_TERMS, PUBLISHED_TERMS
from cesped.report.html import write_report
from cesped.vocabulary import PoseOrigin


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    result = synthetic_result(folder)
    return write_report(result, folder / "report.html", {"recipe": "demo"}).read_text("utf-8")


def outside_of_scripts(text):
    return re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)


def test_the_page_loads_nothing_from_elsewhere(page):
    markup = outside_of_scripts(page)
    assert not re.search(r"(src|href)=\"(?!data:)", markup)
    assert "url(" not in markup
    assert "@import" not in markup


def test_plotly_is_inside_once_and_the_scene_is_drawn_once(page):
    assert page.count("plotly.js v") <= 1
    assert page.count("drawLinkedScenes(") == 2  # its definition and its call
    assert page.count("<script>") == 3


def test_the_page_states_prediction_floor_and_ceiling(page):
    markup = outside_of_scripts(page)
    for text in ("126.90°", "prediction", "random poses", "known poses", "in short", "a note on"):
        assert text.lower() in markup.lower()
    assert "recipe" in markup
    assert "nan" not in re.findall(r">([^<]*)</td>", markup)


def test_a_hostile_entry_name_stays_text(tmp_path):
    path = write_report(synthetic_result(tmp_path, HOSTILE_NAME), tmp_path / "r.html")
    text = path.read_text("utf-8")
    assert HOSTILE_NAME not in text
    assert "&lt;script&gt;alert(" in text


def test_a_result_without_optional_figures_still_gives_a_page(tmp_path):
    result = synthetic_result(tmp_path, symmetry="D2")
    maps = {name: path for name, path in result.map_paths.items() if name != "random"}
    bare = replace(result, reference_rows=(), notes=(), map_paths=maps, prediction_type="S2")
    assert "–" in write_report(bare, tmp_path / "r.html").read_text("utf-8")


def test_what_errors_go_with_is_shown_where_it_is_known(page, tmp_path):
    assert "Does the model know when it is wrong?" not in page  # all are equally confident
    assert "Error and defocus" not in page  # unknown
    result = synthetic_result(tmp_path)
    errors = result.particles["angular_error_deg"]
    particles = result.particles.assign(
        predicted_confidence=-errors, defocus_angst=np.linspace(5e3, 2e4, len(errors))
    )
    crossed = result.fsc_curves["prediction_to_truth"]
    curves = {**result.fsc_curves, "prediction_crossed": crossed}
    curves["truth_same_weights_crossed"] = result.fsc_curves["truth_halves"]
    rows = [replace(result.rows[0], interval=(1.25, 87.5)), *result.rows[1:]]
    crossed_row = MetricRow(
        "prediction", "E", "all", "resolution_crossed_05_angst", False, 9.0, "angst", "min"
    )
    kept = [replace(crossed_row, poses="prediction_kept_50", value=8.5)]
    known = replace(
        result,
        particles=particles,
        fsc_curves=curves,
        rows=(*rows, crossed_row),
        reference_rows=(
            *result.reference_rows,
            *kept,
            replace(result.rows[0], poses="fixed_view", value=123.25),
        ),
    )
    text = outside_of_scripts(write_report(known, tmp_path / "r.html").read_text("utf-8"))
    for shown in (
        "Does the model know when it is wrong?",
        "Error and defocus",
        "Where detail is lost",
        '<span class="ci">1.25 to 87.50</span>',
        "1.25 to 87.5</td>",
        "one fixed view",
        "123.25°",
        "Right: the resolution of the map of those kept",
        "The sides with the largest and the smallest errors",
    ):
        assert shown in text, shown
    assert "one fixed view</th>" not in page
    assert "nan" not in re.findall(r">([^<]*)</td>", text)


def test_every_picture_is_described_in_words(page):
    pictures = re.findall(r"<img [^>]*>", page)
    assert len(pictures) >= 4
    assert all(re.search(r'alt="[^"]{10,}"', picture) for picture in pictures)


def test_the_page_does_not_grow_with_the_box(tmp_path):
    """Under 10 MB at any box: surfaces and sections are drawn at a size of their own."""
    sizes = {}
    for box in (32, 96):
        folder = tmp_path / str(box)
        folder.mkdir()
        result = synthetic_result(folder)
        for path in result.map_paths.values():
            volume, voxel = read_volume(path)
            zoomed = np.kron(volume, np.ones((box // 32,) * 3, np.float32))
            write_volume(path, zoomed, voxel * 32 / box)
        sizes[box] = write_report(result, folder / "r.html").stat().st_size
    assert sizes[96] < 7e6
    assert sizes[96] < sizes[32] + 0.5e6


@pytest.mark.slow
def test_noisy_maps_of_360_px_make_a_page_under_10_mb(tmp_path):
    generator = np.random.default_rng(0)
    result = synthetic_result(tmp_path)
    for path in result.map_paths.values():
        volume, _ = read_volume(path)
        large = np.kron(volume, np.ones((12,) * 3, np.float32))[12:372, 12:372, 12:372]
        large += generator.standard_normal(large.shape, dtype=np.float32) * 0.3 * volume.std()
        write_volume(path, np.ascontiguousarray(large), 1.5)
    assert write_report(result, tmp_path / "r.html").stat().st_size < 10e6


def test_every_figure_of_poses_is_explained():
    explained = set(POSE_TERMS) | set(MORE_POSE_TERMS)
    assert {figure.metric for figure in POSE_FIGURES} < explained
    confidence = np.array([0.1, 0.2]), np.array([0.3, 0.1])
    rows = confidence_rows("E", "prediction", confidence, confidence)
    assert {row.metric for row in rows} == explained - {f.metric for f in POSE_FIGURES}


def test_every_published_key_is_explained():
    assert list(PUBLISHED_TERMS) == list(PUBLISHED_KEYS)


def test_every_figure_of_an_evaluation_is_explained():
    ball = np.exp(-0.5 * sum(axis**2 for axis in np.indices((16,) * 3) - 8) / 9.0)
    agreement = compare_maps(ball, ball, 3.0)
    scores = MapScores(halves=agreement, to_truth=agreement, crossed=(agreement, agreement))
    rows = map_rows("E", PoseOrigin.PREDICTION, scores, scores, scores, masked=False)
    assert {row.metric for row in rows} == set(MAP_TERMS)


def test_terms_write_numbers_with_their_unit():
    assert POSE_TERMS["mean_angular_error_deg"].show(12.345) == "12.35°"
    assert POSE_TERMS["share_under_5_deg"].show(0.5) == "50.0 %"
    assert MAP_TERMS["pcc_halves"].show(0.98765) == "0.9877"
    assert MAP_TERMS["resolution_halves_05_angst"].show(3.2) == "3.20 Å"
    assert MAP_TERMS["pcc_halves"].show(math.nan) == "–"
