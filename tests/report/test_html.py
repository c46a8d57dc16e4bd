"""The page: whole in one file, every figure explained, nothing a name could inject."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from synthetic_result import HOSTILE_NAME, synthetic_result

from cesped.evaluation.published import PUBLISHED_KEYS
from cesped.evaluation.scores import MapScores, map_rows
from cesped.evaluation.volumes import compare_maps
from cesped.report.glossary import MAP_TERMS, POSE_TERMS, PUBLISHED_TERMS
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
