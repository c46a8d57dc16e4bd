"""What the turning surfaces are made from: display maps, shared levels, and safe script text."""

import base64
import json
import re

import numpy as np
import pytest

from cesped.report.scene import DISPLAY_BOX, display_map, scene_html, shared_levels


def ball(box, voxel_angst, radius_angst=30.0, offset_angst=(0.0, 0.0, 0.0)):
    axis = (np.arange(box) - box // 2) * voxel_angst
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    dx, dy, dz = offset_angst
    squared = (x - dx) ** 2 + (y - dy) ** 2 + (z - dz) ** 2
    return np.exp(-0.5 * squared / (radius_angst / 2) ** 2)


@pytest.mark.parametrize(("box", "voxel"), [(96, 2.0), (40, 4.0), (41, 4.0)])
def test_a_display_map_keeps_place_and_mass_whatever_the_box(box, voxel):
    offset = (12.0, -8.0, 5.0)
    shown = display_map(ball(box, voxel, offset_angst=offset), voxel)
    assert shown.density.shape == (DISPLAY_BOX,) * 3
    axis = (np.arange(DISPLAY_BOX) - DISPLAY_BOX // 2) * shown.voxel_size_angst
    mass = shown.density.sum()
    centre = [np.einsum("zyx," + name + "->", shown.density, axis) / mass for name in "xyz"]
    np.testing.assert_allclose(centre, offset, atol=0.6 * voxel)
    assert mass * shown.voxel_size_angst**3 == pytest.approx(
        ball(box, voxel).sum() * voxel**3, rel=0.01
    )


def test_levels_enclose_the_same_volume_whatever_the_scale_of_the_other_map():
    truth = display_map(ball(48, 3.0), 3.0)
    scaled = display_map(7.0 * ball(48, 3.0) - 2.0, 3.0)
    first, second = shared_levels(truth, scaled)
    inside = np.count_nonzero(truth.density > first)
    assert abs(np.count_nonzero(scaled.density > second) - inside) <= 0.02 * inside


def test_a_flat_map_is_drawn_as_nothing_rather_than_failing():
    flat = display_map(np.zeros((16, 16, 16)), 2.0)
    assert "mesh3d" in scene_html({"flat": flat}, shared_levels(flat), "flat")


def test_vertices_survive_the_base64_and_text_cannot_end_the_script():
    shown = display_map(ball(32, 4.0), 4.0)
    text = scene_html({"</script><b>": shown}, shared_levels(shown), "maps")
    assert text.count("</script>") == 1
    figure = json.loads(re.search(r"drawLinkedScenes\(\"maps\", (.*)\);", text).group(1))
    trace = figure["data"][0]
    x = np.frombuffer(base64.b64decode(trace["x"]["bdata"]), dtype="<f4")
    corners = np.frombuffer(base64.b64decode(trace["i"]["bdata"]), dtype="<u4")
    assert 0 < np.abs(x).max() < 64
    assert corners.max() < len(x)
