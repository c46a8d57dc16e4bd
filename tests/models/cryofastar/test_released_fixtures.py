"""Parity with numbers that the released program computed, where those are at hand."""

import json

import numpy as np
import plain_cryofastar as plain
import pytest
import torch
from real_data import CRYOFASTAR_FIXTURES, needs_cryofastar_fixtures

from cesped.models.cryofastar.model import CryoFastAR
from cesped.models.cryofastar.planar_maps import PlanarMaps, maps_of_poses
from cesped.models.cryofastar.poses import poses_of_maps
from cesped.vocabulary import MapConvention

RELEASED = MapConvention.RELEASED
needs_tiny = needs_cryofastar_fixtures("tiny_state.npz", "tiny_A.npz", "tiny_meta.json")


def arrays(name):
    with np.load(CRYOFASTAR_FIXTURES / name) as file:
        return {key: file[key] for key in file.files}


def worst(found, wanted):
    return float(np.abs(np.asarray(found) - wanted).max())


@pytest.fixture(scope="module")
def computed():
    state = {name: torch.from_numpy(v) for name, v in arrays("tiny_state.npz").items()}
    model = CryoFastAR.from_released(state, 2, 3)
    images = torch.from_numpy(arrays("tiny_A.npz")["img"]).transpose(0, 1)
    with torch.inference_mode():
        return model.encode(images), model(images)


@needs_tiny
def test_the_recipe_of_the_weights_is_ours():
    wanted = arrays("tiny_state.npz")
    ours = plain.random_state(plain.TINY)
    assert set(ours) == set(wanted)
    assert all(worst(ours[name], value) < 1e-6 for name, value in wanted.items())
    meta = json.loads((CRYOFASTAR_FIXTURES / "tiny_meta.json").read_text())
    assert meta["config"]["dec_num_heads"] == plain.TINY.decoder_heads


@needs_tiny
def test_features_points_confidence_and_images(computed):
    wanted, (features, maps) = arrays("tiny_A.npz"), computed
    assert worst(features[0], wanted["enc"][:, 0]) < 1e-5
    assert worst(maps.points[0], wanted["pts3d"][:, 0]) < 1e-4
    assert worst(maps.images[0], wanted["fval"][:, 0]) < 1e-4
    relative = maps.confidence[0].numpy() / wanted["conf"][:, 0]
    assert worst(relative, 1.0) < 1e-5  # up to 108, where 1e-4 is one digit of float32


@needs_tiny
def test_plain_numpy_is_the_released_program_too():
    wanted = arrays("tiny_A.npz")
    points, confidence, images = plain.plain_forward(
        wanted["img"][:, 0, 0], arrays("tiny_state.npz"), plain.TINY_PLAIN
    )
    assert worst(points, wanted["pts3d"][:, 0]) < 1e-5
    assert worst(confidence / wanted["conf"][:, 0], 1.0) < 1e-5
    assert worst(images, wanted["fval"][:, 0, 0]) < 1e-5


@needs_tiny
def test_poses_of_the_networks_maps(computed):
    wanted = arrays("tiny_A.npz")
    found = poses_of_maps(computed[1], RELEASED, weighted=False)
    assert worst(found.rotations[0], wanted["R_rel"][:, 0].swapaxes(1, 2)) < 1e-4
    assert worst(found.shifts_px[0], wanted["t_px"][:, 0, ::-1]) < 1e-4


@needs_cryofastar_fixtures("pose_synth.npz")
def test_maps_and_poses_of_known_views():
    """Theirs multiply rows and give the shift in y first; ours are transposed, x first."""
    wanted = arrays("pose_synth.npz")
    rotations = torch.from_numpy(wanted["R_rel"]).transpose(1, 2)
    shifts = torch.from_numpy(wanted["t_px"][:, ::-1].copy())
    assert worst(maps_of_poses(rotations, shifts, 32, 32, RELEASED), wanted["pts3d_exact"]) < 1e-6
    for kind in ("exact", "noisy"):
        points = torch.from_numpy(wanted[f"pts3d_{kind}"])[None]
        maps = PlanarMaps(points, torch.ones(points.shape[:-1]), None)
        found = poses_of_maps(maps, RELEASED, weighted=False)
        assert worst(found.rotations[0].mT, wanted[f"{kind}_R"]) < 1e-5
        assert worst(found.shifts_px[0], wanted[f"{kind}_t"][:, ::-1]) < 1e-4
