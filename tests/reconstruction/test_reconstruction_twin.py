"""Our maps against those of `relion_reconstruct` from the same particles, shell by shell."""

import numpy as np
import pytest

from cesped.reconstruction.native import NativeReconstructor
from cesped.reconstruction.protocol import PoseSet, ReconstructionOptions
from cesped.reconstruction.relion import RelionReconstructor

pytestmark = pytest.mark.relion

#: Lowest FSC and largest error of amplitudes. Which samples with |k| = n / 2 exactly RELION takes
#: is a matter of rounding; in a small box with few particles they reach down to 0.9 Nyquist.
SMALL = (0.998, 0.006)
LARGE = (0.9999, 0.001)


def compare_shells(first, second):
    """Return FSC and ratio of amplitudes, shells by round(|k|), up to 0.9 Nyquist, in float64."""
    box = len(first)
    k = np.fft.fftfreq(box, 1 / box)
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(box // 2 + 1) ** 2)
    shells = np.rint(radius).astype(int).ravel()
    a, b = (np.fft.rfftn(volume.astype(np.float64)).ravel() for volume in (first, second))
    power_a, power_b = (np.bincount(shells, np.abs(values) ** 2) for values in (a, b))
    shared = np.bincount(shells, (a * b.conj()).real)
    kept = slice(0, int(0.9 * box / 2) + 1)
    fsc = shared / np.sqrt(power_a * power_b)
    return fsc[kept], np.sqrt(power_a / power_b)[kept]


def check_twins(ours, theirs, lowest_fsc, largest_amplitude_error):
    fsc, amplitudes = compare_shells(ours, theirs)
    assert fsc.min() >= lowest_fsc
    assert np.abs(amplitudes[2:] - 1).max() <= largest_amplitude_error


@pytest.fixture(scope="module")
def asymmetric(make_particles, tmp_path_factory):
    return make_particles(tmp_path_factory.mktemp("c1"), box=48, n_particles=400)


@pytest.mark.parametrize("gridding", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_asymmetric_maps_are_twins(asymmetric, gridding, weighted):
    options = ReconstructionOptions(gridding=gridding, threads=1)
    poses = asymmetric.poses
    pose_sets = [PoseSet(poses, poses.confidence if weighted else None)]
    (ours,) = NativeReconstructor().reconstruct(asymmetric, pose_sets, options)
    (theirs,) = RelionReconstructor().reconstruct(asymmetric, pose_sets, options)
    check_twins(ours, theirs, *SMALL)


@pytest.mark.parametrize("symmetry", ["C3", "D2", "T", "O"])
def test_symmetric_maps_are_twins(make_particles, tmp_path, symmetry):
    table = make_particles(tmp_path, box=48, n_particles=120, symmetry=symmetry)
    options = ReconstructionOptions(symmetry, threads=1)
    (ours,) = NativeReconstructor().reconstruct(table, [PoseSet(table.poses)], options)
    (theirs,) = RelionReconstructor().reconstruct(table, [PoseSet(table.poses)], options)
    check_twins(ours, theirs, *SMALL)


def test_without_ctf_maps_are_twins(asymmetric):
    options = ReconstructionOptions(ctf=False, threads=1)
    pose_sets = [PoseSet(asymmetric.poses)]
    (ours,) = NativeReconstructor().reconstruct(asymmetric, pose_sets, options)
    (theirs,) = RelionReconstructor().reconstruct(asymmetric, pose_sets, options)
    check_twins(ours, theirs, *SMALL)


def test_half_maps_are_twins_and_mpi_changes_nothing(asymmetric):
    rows = np.arange(len(asymmetric))
    tables = (asymmetric.select(rows[::2]), asymmetric.select(rows[1::2]))
    pair = tuple(PoseSet(table.poses) for table in tables)
    options = ReconstructionOptions(gridding=False, threads=1)
    ours = NativeReconstructor().reconstruct_halves(tables, [pair], options)[0]
    theirs = RelionReconstructor(n_processes=2).reconstruct_halves(tables, [pair], options)[0]
    for name in ("half0", "half1", "full"):
        check_twins(getattr(ours, name), getattr(theirs, name), *SMALL)


def test_relion_says_its_version():
    assert RelionReconstructor().version().startswith("RELION 3.")


@pytest.mark.slow
@pytest.mark.parametrize("symmetry", ["C1", "D2"])
@pytest.mark.parametrize("gridding", [True, False])
def test_maps_of_2000_particles_are_twins(make_particles, tmp_path, symmetry, gridding):
    table = make_particles(tmp_path, box=128, n_particles=2000, symmetry=symmetry)
    options = ReconstructionOptions(symmetry, gridding=gridding)
    (ours,) = NativeReconstructor().reconstruct(table, [PoseSet(table.poses)], options)
    (theirs,) = RelionReconstructor().reconstruct(table, [PoseSet(table.poses)], options)
    check_twins(ours, theirs, *LARGE)
