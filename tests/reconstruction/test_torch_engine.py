"""The torch engine against the native one, on the CPU and, where there is one, on a GPU."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from second_device import ELSEWHERE, FarTensor, back, second_device, there

from cesped.errors import GeometryError, OptionError
from cesped.physics.torch_backprojection import TorchBackProjector
from cesped.physics.torch_weighting import weighting_bytes
from cesped.reconstruction.backends import make_reconstructor
from cesped.reconstruction.native import NativeReconstructor
from cesped.reconstruction.protocol import PoseSet, ReconstructionOptions
from cesped.reconstruction.sharding import TorchrunShards
from cesped.reconstruction.torch_engine import TorchReconstructor
from cesped.vocabulary import Backend, CtfCorrection

OPTIONS = ReconstructionOptions(threads=1)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def assert_same(found, expected):
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("gridding", [True, False])
@pytest.mark.parametrize("symmetry", ["C1", "D2", "T"])
def test_maps_are_those_of_the_native_engine(small_table, device, symmetry, gridding):
    options = replace(OPTIONS, symmetry=symmetry, gridding=gridding)
    poses = small_table.poses
    pose_sets = [PoseSet(poses), PoseSet(poses, poses.confidence)]
    expected = NativeReconstructor().reconstruct(small_table, pose_sets, options)
    found = TorchReconstructor(device).reconstruct(small_table, pose_sets, options)
    for one, other in zip(found, expected, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("box", "padding", "ctf"), [(25, 2, True), (24, 3, False), (24, 1, True)])
def test_odd_boxes_and_other_paddings(make_particles, tmp_path, device, box, padding, ctf):
    table = make_particles(tmp_path, box, n_particles=80)
    options = replace(OPTIONS, padding=padding, ctf=ctf)
    pose_sets = [PoseSet(table.poses)]
    (expected,) = NativeReconstructor().reconstruct(table, pose_sets, options)
    (found,) = TorchReconstructor(device).reconstruct(table, pose_sets, options)
    assert_same(found, expected)


def test_halves_and_their_sum(small_table):
    rows = np.arange(60)
    tables = (small_table.select(rows[::2]), small_table.select(rows[1::2]))
    pair = tuple(PoseSet(table.poses) for table in tables)
    options = replace(OPTIONS, symmetry="C2")
    expected = NativeReconstructor().reconstruct_halves(tables, [pair], options)[0]
    found = TorchReconstructor("cpu").reconstruct_halves(tables, [pair], options)[0]
    for name in ("half0", "half1", "full"):
        assert_same(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("done", [CtfCorrection.PHASE_FLIP, CtfCorrection.CTF_MULTIPLY])
def test_corrected_images_are_not_corrected_twice(small_table, done):
    table = replace(small_table, ctf_correction_done=done)
    pose_sets = [PoseSet(table.poses)]
    (expected,) = NativeReconstructor().reconstruct(table, pose_sets, OPTIONS)
    (found,) = TorchReconstructor("cpu").reconstruct(table, pose_sets, OPTIONS)
    assert_same(found, expected)


def test_a_small_budget_gives_small_batches_and_weights_on_the_cpu(small_table, monkeypatch):
    batches = []
    insert = TorchBackProjector.insert
    monkeypatch.setattr(
        TorchBackProjector,
        "insert",
        lambda self, planes, *rest: batches.append(len(planes)) or insert(self, planes, *rest),
    )
    pose_sets = [PoseSet(small_table.poses)]
    (whole,) = TorchReconstructor("cpu").reconstruct(small_table, pose_sets, OPTIONS)
    assert batches == [60]
    batches.clear()
    memory_gb = 1.5e-3
    assert weighting_bytes(24, 2) > 1e9 * memory_gb
    sparing = TorchReconstructor("cpu", memory_gb)
    (found,) = sparing.reconstruct(small_table, pose_sets, OPTIONS)
    assert 1 <= max(batches) < 20
    assert sum(batches) == 60
    assert_same(found, whole)


def test_too_small_a_budget_is_refused_before_anything_is_read(small_table, monkeypatch):
    pose_sets = [PoseSet(small_table.poses)] * 3
    with pytest.raises(OptionError, match=r"3 maps of 24 px at once need .* GB on cpu, and 0.0005"):
        TorchReconstructor("cpu", 5e-4).reconstruct(small_table, pose_sets, OPTIONS)


@pytest.mark.parametrize("gridding", [True, False])
@pytest.mark.parametrize("symmetry", ["C1", "D2"])
def test_a_second_device_makes_the_same_maps(small_table, symmetry, gridding):
    """The way that a GPU takes, without one."""
    options = replace(OPTIONS, symmetry=symmetry, gridding=gridding)
    pose_sets = [PoseSet(small_table.poses, small_table.poses.confidence)]
    (expected,) = NativeReconstructor().reconstruct(small_table, pose_sets, options)
    with second_device():
        engine = TorchReconstructor(ELSEWHERE.type)
        (found,) = engine.reconstruct(small_table, pose_sets, options)
    assert_same(found, expected)


@pytest.mark.gpu
def test_the_budget_is_kept(make_particles, tmp_path):
    table = make_particles(tmp_path, box=96, n_particles=300)
    pose_sets = [PoseSet(table.poses)] * 2
    (expected, _) = NativeReconstructor().reconstruct(table, pose_sets, OPTIONS)
    for memory_gb in (0.12, 0.5):
        torch.cuda.reset_peak_memory_stats()
        (found, _) = TorchReconstructor("cuda", memory_gb).reconstruct(table, pose_sets, OPTIONS)
        assert torch.cuda.max_memory_allocated() < 1e9 * memory_gb
        assert_same(found, expected)


@pytest.mark.parametrize("name", ["cuda", None])
def test_each_rank_of_a_machine_has_its_own_gpu(monkeypatch, name):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "empty", lambda *_, device: asked.append(device))
    for rank in ("0", "1", "2"):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert TorchReconstructor(name).device == torch.device("cuda", int(rank) % 2)
    assert TorchReconstructor("cuda:1").device == torch.device("cuda:1")
    assert [device.index for device in asked] == [0, 1, 0, 1]


class TwoRanks:
    """Stands for torch.distributed: the other rank has the same values."""

    def __init__(self):
        self.groups = []

    def new_group(self, **options):
        return options["backend"]

    def reduce(self, values, dst, group=None):
        assert not isinstance(values, FarTensor) or group == "nccl"  # gloo knows main memory alone
        self.groups.append(group)
        values *= 2


@pytest.mark.parametrize(("gpus", "group"), [(0, None), (1, None), (2, "nccl")])
def test_sums_of_a_device_are_added_up_also_where_ranks_share_it(monkeypatch, gpus, group):
    ranks = TwoRanks()
    for name in ("new_group", "reduce"):
        monkeypatch.setattr(torch.distributed, name, getattr(ranks, name))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr("cesped.reconstruction.sharding._CHUNK_VALUES", 4)
    with second_device():
        far = there(torch.arange(6.0))
        TorchrunShards(0, 2).add_up(far, 0)
        assert back(far).tolist() == [0, 2, 4, 6, 8, 10]
    assert ranks.groups == [group, group]


def test_impossible_devices_and_budgets_are_refused():
    with pytest.raises(OptionError, match="torch cannot compute on the device 'abacus'"):
        TorchReconstructor("abacus")
    with pytest.raises(OptionError, match="0 GB was given; it must be positive"):
        TorchReconstructor("cpu", 0)


def test_what_does_not_fit_is_named():
    sums = TorchBackProjector(8, 2, torch.device("cpu"))
    planes = torch.zeros((2, 8, 5), dtype=torch.complex64)
    with pytest.raises(GeometryError, match=r"give \(B, 8, 5\) and \(B, 3, 3\)"):
        sums.insert(planes, None, np.eye(3)[None])
    sums.symmetrise()
    with pytest.raises(OptionError, match="symmetrised already; insert"):
        sums.insert(planes, None, np.stack([np.eye(3)] * 2))
    with pytest.raises(OptionError, match="once"):
        sums.symmetrise()
    with pytest.raises(OptionError, match="do not add up"):
        sums.merge(TorchBackProjector(8, 2, torch.device("cpu")))


def test_it_is_made_by_name_and_says_where_it_ran():
    made = make_reconstructor("torch", device="cpu")
    assert made.name is Backend.TORCH
    assert " torch " in made.version()
    assert made.version().endswith("on CPU")
