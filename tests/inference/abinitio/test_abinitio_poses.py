"""Poses of all particles in the frame of one: encoded once, grouped, chosen reference."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from cesped.errors import GeometryError, OptionError
from cesped.geometry.rotations import random_rotations
from cesped.inference.abinitio.features import ViewFeatures, encode_views
from cesped.inference.abinitio.groups import FramePoses, poses_in_one_frame
from cesped.inference.abinitio.reference import choose_reference
from cesped.models.cryofastar.config import CryoFastARConfig
from cesped.models.cryofastar.model import CryoFastAR
from cesped.models.cryofastar.planar_maps import PlanarMaps, maps_of_poses, relative_rotations
from cesped.models.cryofastar.poses import poses_of_maps
from cesped.vocabulary import MapConvention, ViewNormalization

SMALL = CryoFastARConfig(8, 16, 1, 2, 16, 1, 2, neck_width=8, view_embeddings=6)


class Oracle(torch.nn.Module):
    """A decoder that reads a particle's number in its feature and knows all poses."""

    convention = MapConvention.PAPER

    def __init__(self, count, quality=None, seed=0):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.rotations = torch.from_numpy(random_rotations(count, rng)).float()
        self.shifts = torch.from_numpy(rng.uniform(-6, 6, (count, 2))).float()
        self.quality = torch.ones(count) if quality is None else quality
        self.nothing = torch.nn.Parameter(torch.zeros(1))
        self.shapes = []
        self.is_modest = False

    def decode(self, features, rows, columns, with_images=True):
        index = features[..., 0, 0].long()
        self.shapes.append(tuple(index.shape))
        relative = relative_rotations(self.rotations[index])
        points = maps_of_poses(relative, self.shifts[index], 8 * rows, 8 * columns)
        quality = self.quality[index[:, :1]] * torch.ones(index.shape)
        if self.is_modest:  # what a view says of itself is not what others see of it
            quality[:, 0] = 10 - 9 * quality[:, 0]
        return PlanarMaps(points, (1 + quality)[..., None, None].expand(points.shape[:-1]), None)


def numbered(count):
    return ViewFeatures(torch.arange(float(count))[:, None, None].expand(count, 4, 1), 2, 2)


def random_model(seed=0, **options):
    torch.manual_seed(seed)
    model = CryoFastAR(SMALL, **options).eval()
    for head in (model.reference_head, model.target_head):
        torch.nn.init.normal_(head.points.weight, std=0.3)
    return model


@pytest.mark.parametrize(("count", "views"), [(2, 128), (9, 128), (23, 6), (21, 6), (50, 2)])
def test_known_maps_put_all_particles_into_one_frame(count, views):
    oracle, reference = Oracle(count), count // 3
    found = poses_in_one_frame(oracle, numbered(count), reference, views, groups_at_once=3)
    wanted = oracle.rotations[reference].T @ oracle.rotations
    torch.testing.assert_close(found.rotations, wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.shifts_px, oracle.shifts, atol=1e-3, rtol=0)
    groups = -(-(count - 1) // (min(views, count) - 1))
    assert sum(batch for batch, _ in oracle.shapes) == groups  # all as large, none twice
    assert {size for _, size in oracle.shapes} == {min(views, count)}


def test_a_star_file_gets_origins_and_confidence_below_one():
    oracle = Oracle(5, torch.full((5,), 3.0))
    poses = poses_in_one_frame(oracle, numbered(5), 1).to_poses(1.5)
    np.testing.assert_allclose(poses.origins_angst, -1.5 * oracle.shifts.numpy(), atol=2e-3)
    np.testing.assert_allclose(poses.confidence, 0.75, atol=1e-6)
    np.testing.assert_allclose(
        poses.rotations @ poses.rotations.swapaxes(1, 2), np.eye(3)[None].repeat(5, 0), atol=1e-12
    )


def test_the_reference_is_the_candidate_that_others_are_seen_from_best():
    quality = torch.rand(200, generator=torch.Generator().manual_seed(1))
    oracle = Oracle(200, quality)
    oracle.is_modest = True
    generator = torch.Generator().manual_seed(2)
    choice = choose_reference(oracle, numbered(200), generator, candidates=64, targets=9)
    assert len(choice.candidates.unique()) == len(choice.scores) == 64
    assert choice.index == choice.candidates[quality[choice.candidates].argmax()]
    assert choice.is_informed
    again = choose_reference(
        oracle, numbered(200), torch.Generator().manual_seed(2), 64, 9, samples_at_once=5
    )
    assert torch.equal(again.candidates, choice.candidates)


@pytest.mark.parametrize("count", [2, 3, 40])
def test_few_particles_have_fewer_candidates_and_targets(count):
    choice = choose_reference(Oracle(count), numbered(count), torch.Generator().manual_seed(0))
    assert len(choice.candidates) == min(64, count - 1)
    assert 0 <= choice.index < count


def test_no_image_is_encoded_twice_and_one_group_is_one_pass(monkeypatch):
    model, images = random_model(), torch.randn(7, 1, 16, 24)
    encoded = []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda x: encoded.append(len(x)) or encode(x))
    views = encode_views(model, images.split(3))
    choose_reference(model, views, torch.Generator().manual_seed(0), 4, 2)
    found = poses_in_one_frame(model, views, 0)
    assert sum(encoded) == len(views) == 7
    monkeypatch.undo()
    mean, std = images.mean((2, 3), keepdim=True), images.std((2, 3), keepdim=True, correction=0)
    with torch.inference_mode():
        direct = poses_of_maps(model(((images - mean) / std)[None]))
    torch.testing.assert_close(found.rotations[1:], direct.rotations[0, 1:], atol=1e-4, rtol=0)
    torch.testing.assert_close(found.shifts_px, direct.shifts_px[0], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(found.confidence, direct.confidence[0])
    assert torch.equal(found.rotations[0], torch.eye(3))


def test_released_weights_get_views_normalised_together():
    model = random_model(normalization=ViewNormalization.STACK_MAXIMUM)
    images = torch.randn(3, 1, 16, 16)
    views = encode_views(model, [images])
    scaled = images - images.mean()
    with torch.inference_mode():
        torch.testing.assert_close(views.features, model.encode(scaled / scaled.max()))


def test_half_precision_finds_about_the_same():
    images = torch.randn(9, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    confidences = []
    for dtype in (torch.float32, torch.bfloat16):
        model = random_model().trunk_to(dtype)
        views = encode_views(model, [images])
        assert views.features.dtype == dtype
        found = poses_in_one_frame(model, views, 2, views_per_group=5)
        assert found.rotations.dtype == found.confidence.dtype == torch.float32
        confidences.append(found.confidence)
    torch.testing.assert_close(*confidences, atol=0, rtol=0.1)


def test_untrained_weights_say_that_they_say_nothing():
    model = CryoFastAR(SMALL).eval()
    views = encode_views(model, [torch.randn(6, 1, 16, 16)], keep_on="cpu")
    assert not choose_reference(model, views, torch.Generator().manual_seed(0), 3, 2).is_informed
    assert not poses_in_one_frame(model, views, 2).is_informed
    model = random_model()
    views = encode_views(model, [torch.randn(6, 1, 16, 16)])
    assert poses_in_one_frame(model, views, 2).is_informed


def test_the_confidence_of_the_reference_counts_for_nothing():
    """Trained weights state 140,000 of it, whose map is always the same, and 170 of others."""
    confidence = torch.full((6,), 170.0)
    confidence[2] = 140_000.0
    frame = FramePoses(2, torch.eye(3).repeat(6, 1, 1), torch.zeros(6, 2), confidence)
    assert frame.confidence_of_others.tolist() == [170.0] * 5
    assert not frame.is_informed
    confidence[0] = 171.0
    assert frame.is_informed


def test_what_cannot_be_posed_is_refused():
    model = random_model()
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(OptionError, match="there are no particles"):
        encode_views(model, [])
    with pytest.raises(GeometryError, match=r"\(1, 24, 16\) follows images of \(1, 16, 16\)"):
        encode_views(model, [torch.randn(2, 1, 16, 16), torch.randn(2, 1, 24, 16)])
    with pytest.raises(OptionError, match="1 particle is too few"):
        choose_reference(Oracle(1), numbered(1), generator)
    with pytest.raises(OptionError, match="must be 1 or more"):
        choose_reference(Oracle(3), numbered(3), generator, candidates=0)
    for count, views, reference in ((1, 128, 0), (5, 1, 0), (5, 3, 5), (5, 3, -1)):
        with pytest.raises(OptionError, match="the reference must be one of the particles"):
            poses_in_one_frame(Oracle(count), numbered(count), reference, views)


@pytest.mark.gpu
def test_it_runs_on_a_gpu_with_features_kept_here():
    model, images = random_model(), torch.randn(20, 1, 16, 16)
    exact = poses_in_one_frame(model, encode_views(model, [images]), 3, views_per_group=6)
    model.cuda()
    views = encode_views(model, [images], "cuda", keep_on="cpu")
    found = poses_in_one_frame(model, views, 3, views_per_group=6)
    torch.testing.assert_close(found.confidence, exact.confidence, atol=0, rtol=1e-3)
    torch.testing.assert_close(found.rotations, exact.rotations, atol=1e-2, rtol=0)


def test_the_python_of_the_document_runs(capsys):
    document = Path(__file__).resolve().parents[3] / "docs" / "cryofastar.md"
    blocks = re.findall(r"^```python\n(.*?)^```", document.read_text("utf-8"), re.M | re.S)
    variables = {}
    for block in blocks:
        exec(block, variables)
    assert capsys.readouterr().out == (
        "torch.Size([1, 8, 3, 3]) torch.Size([1, 8, 2]) torch.Size([1, 8])\n"
        "confidence does not tell particles apart: are these weights trained?\n"
    )
    assert len(variables["poses"]) == 40
