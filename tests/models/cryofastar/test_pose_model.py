"""CryoFastAR as a pose model: its loss is Eq. 11, its weights come from files, its poses fit."""

import json

import pytest
import torch
from second_device import back, second_device, there
from small_cryofastar import SIZES

from cesped.errors import CheckpointError, OptionError
from cesped.models.cryofastar.config import CryoFastARConfig
from cesped.models.cryofastar.losses import planar_map_loss
from cesped.models.cryofastar.model import CryoFastAR
from cesped.models.cryofastar.planar_maps import PlanarMaps, maps_of_poses
from cesped.models.cryofastar.pose_model import CryoFastARPoses
from cesped.models.cryofastar.views import normalized_views
from cesped.models.multi_view import ViewSets
from cesped.models.registry import build_model, model_class

OPTIONS = {"size": SIZES, "views": 4, "anchors": 5, "references": 2, "pixel_size_angst": 2.0}


def small_model(symmetry="C1", seed=0, **options):
    torch.manual_seed(seed)
    model = build_model("cryofastar", symmetry, **{**OPTIONS, **options})
    with torch.no_grad():  # untrained heads say nothing at all
        for head in (model.network.reference_head, model.network.target_head):
            head.points.weight.normal_(0, 0.3)
    return model


def rotations(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(*shape, 3, 3, generator=generator))[0]


def test_the_loss_is_that_of_the_planar_maps():
    model = small_model(grid_weight=2.0, alpha=0.7)
    images = torch.randn(2, 4, 1, 16, 16)
    relative, shifts = rotations(2, 4), torch.randn(2, 4, 2)
    trust = torch.rand(2, 4)
    found = model.set_loss(ViewSets(images, relative, shifts, trust))
    maps = model.network(normalized_views(images, model.network.normalization))
    truth = maps_of_poses(relative, shifts, 16, 16)
    squared = (maps.points - truth).square().sum(-1)
    worth = trust[..., None, None]
    own = (worth * (maps.confidence * squared - 0.7 * maps.confidence.log())).mean()
    grid = planar_map_loss(maps, truth, grid_weight=2.0).grid
    torch.testing.assert_close(found, own + 2.0 * grid)


def test_views_without_trust_teach_no_pose():
    maps = PlanarMaps(torch.randn(1, 3, 8, 8, 3), 1 + torch.rand(1, 3, 8, 8), None)
    truth = torch.randn(1, 3, 8, 8, 3)
    weights = torch.tensor([[1.0, 1.0, 0.0]])
    one = planar_map_loss(maps, truth, view_weights=weights).total
    truth[:, 2] = 100.0
    torch.testing.assert_close(planar_map_loss(maps, truth, view_weights=weights).total, one)
    whole = planar_map_loss(maps, truth, view_weights=torch.ones(1, 3)).total
    torch.testing.assert_close(planar_map_loss(maps, truth).total, whole)


def test_all_that_has_a_gradient_gets_one():
    """Processes that train together wait for the gradients of all parameters that have one."""
    model = small_model().train()
    images = torch.randn(6, 1, 16, 16)
    model.take_anchors(torch.randn(5, 1, 16, 16), rotations(5), torch.zeros(5, 2))
    model.loss(images, rotations(6), torch.ones(6), shifts_angst=torch.zeros(6, 2)).backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []


@pytest.mark.parametrize("convention", ["paper", "released"])
def test_poses_of_exact_maps_are_exact_in_either_convention(convention, monkeypatch):
    model = small_model(convention=convention)
    wanted = rotations(3, 4)
    wanted = wanted * torch.linalg.det(wanted)[..., None, None]
    shifts = torch.randn(3, 4, 2)
    points = maps_of_poses(wanted, shifts, 16, 16, model.network.convention)
    exact = PlanarMaps(points, torch.full(points.shape[:-1], 4.0), None)
    monkeypatch.setattr(model.network, "decode", lambda *args, **options: exact)
    found = model.relative_poses(torch.zeros(3, 4, 4, 16), 16)
    torch.testing.assert_close(found.rotations, wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.shifts_px, shifts, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.confidence, torch.full((3, 4), 0.75))


def test_weights_of_a_file_bring_their_sizes_and_are_not_looked_for_again(tmp_path):
    network = CryoFastAR(CryoFastARConfig(**SIZES))
    path = tmp_path / "weights.safetensors"
    entry = {"target": "SOME", "halfset": 1}
    network.save(path, {"inputs": {}, "began_with": {"inputs": {"entry": entry}}})
    model = build_model("cryofastar", "C1", preset="large", weights=str(path), views=4)
    assert model.network.config == network.config
    assert model.learned_before == (("SOME", 1),)
    torch.testing.assert_close(model.network.state_dict(), network.state_dict())
    path.unlink()
    again = build_model(**json.loads(json.dumps(model.config)))
    assert again.network.config == network.config
    assert again.learned_before == ()


def test_weights_that_real_particles_do_not_suit_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    CryoFastAR(CryoFastARConfig(**SIZES), normalization="stack-range").save(path)
    with pytest.raises(OptionError, match="normalised before CTF and noise"):
        CryoFastARPoses("C1", weights=str(path))
    with pytest.raises(CheckpointError, match="there are no weights"):
        CryoFastARPoses("C1", weights=str(tmp_path / "nothing.safetensors"))


def test_what_it_is_made_of_is_stated():
    assert model_class("cryofastar").default_recipe == "cryofastar"
    assert build_model("cryofastar", "D2", preset="tiny").config["size"] == "tiny"
    with pytest.raises(OptionError, match="has no size 'depth'"):
        build_model("cryofastar", "C1", size={"depth": 3})
    with pytest.raises(OptionError, match="alpha is 0"):
        build_model("cryofastar", "C1", size=SIZES, alpha=0)


def test_a_prediction_follows_the_frame_of_the_anchors():
    """The same network in an entry that was turned as a whole says the same poses, turned."""
    model = small_model(anchors=3).eval()  # too few anchors to doubt the references
    images, poses = torch.randn(3, 1, 16, 16), rotations(3)
    poses = poses * torch.linalg.det(poses)[:, None, None]
    shown = torch.randn(7, 1, 16, 16)
    model.take_anchors(images, poses, torch.zeros(3, 2))
    first = model.predict(shown)
    turn = rotations(1, seed=5)[0]
    turn = turn * torch.linalg.det(turn)
    model.take_anchors(images, turn @ poses, torch.zeros(3, 2))
    second = model.predict(shown)
    torch.testing.assert_close(second.rotations, turn @ first.rotations, atol=1e-4, rtol=0)
    torch.testing.assert_close(second.shifts_angst, first.shifts_angst)


def loss_and_poses(model, images, poses, shown, device=None):
    """Return loss and prediction, all on `device`."""
    place = (lambda tensor: tensor) if device is None else device
    for name, value in list(model.named_parameters()):
        owner, _, last = name.rpartition(".")
        setattr(
            model.get_submodule(owner),
            last,
            torch.nn.Parameter(place(value.data), value.requires_grad),
        )
    for name, value in list(model.named_buffers()):
        setattr(model, name, place(value))
    model.take_anchors(place(images), place(poses), place(torch.zeros(len(images), 2)))
    model.eval()  # which reference a set has is then not drawn
    loss = model.loss(
        place(shown), place(poses[: len(shown)]), place(torch.ones(len(shown))),
        shifts_angst=place(torch.zeros(len(shown), 2)),
    )  # fmt: skip
    return loss, model.predict(place(shown))


def proper_rotations(count, seed=0):
    found = rotations(count, seed=seed)
    return found * torch.linalg.det(found)[:, None, None]


def test_a_second_device_gives_the_same():
    images, poses, shown = torch.randn(5, 1, 16, 16), proper_rotations(5), torch.randn(4, 1, 16, 16)
    loss, found = loss_and_poses(small_model("D2"), images, poses, shown)
    with second_device():
        far_loss, far = loss_and_poses(small_model("D2"), images, poses, shown, there)
        torch.testing.assert_close(back(far_loss), loss)
        torch.testing.assert_close(back(far.rotations), found.rotations, atol=1e-4, rtol=0)
        torch.testing.assert_close(back(far.shifts_angst), found.shifts_angst, atol=1e-4, rtol=0)


@pytest.mark.gpu
def test_a_gpu_gives_the_same():
    images, poses, shown = torch.randn(5, 1, 16, 16), proper_rotations(5), torch.randn(4, 1, 16, 16)
    loss, found = loss_and_poses(small_model("D2"), images, poses, shown)
    far_loss, far = loss_and_poses(small_model("D2"), images, poses, shown, lambda t: t.cuda())
    torch.testing.assert_close(far_loss.cpu(), loss, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(far.rotations.cpu(), found.rotations, atol=1e-2, rtol=0)
