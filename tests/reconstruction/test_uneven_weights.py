"""Weights that leave few particles: their effective number, and maps that are RELION's still."""

import shutil

import numpy as np
import pytest

from cesped.geometry.poses import Poses
from cesped.geometry.rotations import random_rotations
from cesped.reconstruction.native import NativeReconstructor
from cesped.reconstruction.protocol import PoseSet, ReconstructionOptions
from cesped.reconstruction.relion import RelionReconstructor
from cesped.reconstruction.sampling import carried_by_few, effective_number
from cesped.reconstruction.torch_engine import TorchReconstructor

BOX, N = 32, 120
OPTIONS = ReconstructionOptions(threads=1)


def spread_weights(decades, seed=3):
    return 10.0 ** (-decades * np.random.default_rng(seed).uniform(size=N))


@pytest.fixture(scope="module")
def particles(make_particles, tmp_path_factory):
    return make_particles(tmp_path_factory.mktemp("uneven"), BOX, N)


def pearson_gap(first, second):
    return 1 - np.corrcoef(first.ravel(), second.ravel())[0, 1]


def test_the_effective_number_is_that_of_equal_weights():
    assert effective_number(np.full(7, 0.1)) == pytest.approx(7)
    assert effective_number(np.array([1e300, 1e300, 0.0])) == pytest.approx(2)
    weights = np.random.default_rng(0).uniform(size=50)
    variance = (weights**2).sum() / weights.sum() ** 2  # of a weighted mean of unit variances
    assert 1 / effective_number(weights) == pytest.approx(variance)


def test_each_operator_makes_a_view_of_a_particle():
    poses = Poses(random_rotations(N, np.random.default_rng(0)), np.zeros((N, 2)), np.ones(N))
    uneven = PoseSet(poses, np.r_[np.ones(20), np.full(N - 20, 1e-9)])
    assert carried_by_few([uneven], BOX, 1)
    assert not carried_by_few([uneven], BOX, 4)
    assert not carried_by_few([uneven], 10, 1)
    assert not carried_by_few([uneven, PoseSet(poses)], BOX, 1)  # both halves together
    assert not carried_by_few([PoseSet(poses)], 1000, 1)
    assert not carried_by_few([PoseSet(poses, np.full(N, 0.3))], 1000, 1)


@pytest.mark.relion
@pytest.mark.skipif(shutil.which("relion_reconstruct") is None, reason="RELION is not installed")
@pytest.mark.parametrize("decades", [2.0, 4.0])
def test_maps_of_few_that_carry_the_weight_are_relions(particles, decades):
    """They are 3e-5 apart at four decades where the blob comes in again at another distance."""
    pose_sets = [PoseSet(particles.poses, spread_weights(decades))]
    assert carried_by_few(pose_sets, BOX, 1)
    (ours,) = NativeReconstructor().reconstruct(particles, pose_sets, OPTIONS)
    (theirs,) = RelionReconstructor().reconstruct(particles, pose_sets, OPTIONS)
    assert pearson_gap(ours, theirs) < 1e-6


def test_every_engine_and_both_halves_together_weight_alike(particles):
    rows = np.arange(N)
    tables = (particles.select(rows[::2]), particles.select(rows[1::2]))
    weights = spread_weights(4.0)
    pair = tuple(
        PoseSet(table.poses, weights[half::2]) for half, table in enumerate(tables)
    )  # fmt: skip
    made = NativeReconstructor().reconstruct_halves(tables, [pair], OPTIONS)[0]
    whole = PoseSet(particles.poses, weights)
    for engine in (
        NativeReconstructor(),
        TorchReconstructor("cpu"),
        TorchReconstructor("cpu", memory_gb=0.02),  # too little: the weighting is the processor's
    ):
        (together,) = engine.reconstruct(particles, [whole], OPTIONS)
        assert pearson_gap(together, made.full) < 1e-6
    (half0,) = TorchReconstructor("cpu").reconstruct(tables[0], [pair[0]], OPTIONS)
    assert pearson_gap(half0, made.half0) < 1e-6
