"""Our maps against those of `relion_reconstruct` from the same particles, shell by shell."""

from dataclasses import replace

import numpy as np
import pytest

from cesped.reconstruction.native import NativeReconstructor
from cesped.reconstruction.protocol import PoseSet, ReconstructionOptions
from cesped.reconstruction.relion import RelionReconstructor
from cesped.vocabulary import CtfCorrection

pytestmark = pytest.mark.relion

#: Lowest FSC up to 0.9 Nyquist, and lowest correlation of the maps, in the noisiest case.
LOWEST_FSC = 0.999
LOWEST_PEARSON = 0.999
#: Largest error of amplitudes from shell 1 on, and of the mean, in standard deviations of the map.
LARGEST_ERROR = 0.002
LARGEST_ERROR_OF_THE_MEAN = 1e-4


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


def check_twins(ours, theirs):
    fsc, amplitudes = compare_shells(ours, theirs)
    assert fsc.min() >= LOWEST_FSC
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] >= LOWEST_PEARSON
    assert np.abs(amplitudes[1:] - 1).max() <= LARGEST_ERROR
    assert abs(ours.mean() - theirs.mean()) <= LARGEST_ERROR_OF_THE_MEAN * theirs.std()


def reconstruct_both(table, options, weights=None):
    pose_sets = [PoseSet(table.poses, weights)]
    (ours,) = NativeReconstructor().reconstruct(table, pose_sets, options)
    (theirs,) = RelionReconstructor().reconstruct(table, pose_sets, options)
    return ours, theirs


@pytest.fixture(scope="module")
def asymmetric(make_particles, tmp_path_factory):
    return make_particles(tmp_path_factory.mktemp("c1"), box=48, n_particles=400)


@pytest.mark.parametrize("gridding", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_asymmetric_maps_are_twins(asymmetric, gridding, weighted):
    weights = asymmetric.poses.confidence if weighted else None
    options = ReconstructionOptions(gridding=gridding, threads=1)
    check_twins(*reconstruct_both(asymmetric, options, weights))


@pytest.mark.parametrize("symmetry", ["C3", "D2", "T"])
def test_symmetric_maps_are_twins(make_particles, tmp_path, symmetry):
    table = make_particles(tmp_path, box=48, n_particles=120, symmetry=symmetry)
    check_twins(*reconstruct_both(table, ReconstructionOptions(symmetry, threads=1)))


@pytest.mark.parametrize(("box", "symmetry"), [(64, "D7"), (64, "O"), (40, "I1"), (40, "I3")])
def test_symmetric_maps_without_gridding_are_twins(make_particles, tmp_path, box, symmetry):
    table = make_particles(tmp_path, box, n_particles=60, symmetry=symmetry)
    options = ReconstructionOptions(symmetry, gridding=False, threads=1)
    check_twins(*reconstruct_both(table, options))


def test_without_ctf_maps_are_twins(asymmetric):
    check_twins(*reconstruct_both(asymmetric, ReconstructionOptions(ctf=False, threads=1)))


@pytest.mark.parametrize("done", [CtfCorrection.PHASE_FLIP, CtfCorrection.CTF_MULTIPLY])
def test_maps_of_corrected_images_are_twins(asymmetric, done):
    """The images are not corrected in truth: what counts is that both programs take them so."""
    table = replace(asymmetric, ctf_correction_done=done)
    check_twins(*reconstruct_both(table, ReconstructionOptions(gridding=False, threads=1)))


def test_half_maps_are_twins_and_mpi_changes_nothing(asymmetric):
    rows = np.arange(len(asymmetric))
    tables = (asymmetric.select(rows[::2]), asymmetric.select(rows[1::2]))
    pair = tuple(PoseSet(table.poses) for table in tables)
    options = ReconstructionOptions(gridding=False, threads=1)
    ours = NativeReconstructor().reconstruct_halves(tables, [pair], options)[0]
    theirs = RelionReconstructor(n_processes=2).reconstruct_halves(tables, [pair], options)[0]
    for name in ("half0", "half1", "full"):
        check_twins(getattr(ours, name), getattr(theirs, name))


def test_relion_says_its_version():
    assert RelionReconstructor().version().startswith("RELION 3.")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("box", "n_particles", "symmetry", "gridding"),
    [
        (64, 400, "T", True),
        (64, 400, "I1", True),
        (64, 400, "I2", True),
        (64, 400, "I3", True),
        (64, 400, "I4", True),
        (72, 400, "O", True),
        (100, 600, "C1", True),  # 50 is the hypotenuse of two whole right triangles
        (150, 300, "D7", False),
        (284, 150, "C4", False),
    ],
)
def test_maps_of_all_sizes_are_twins(
    make_particles, tmp_path, box, n_particles, symmetry, gridding
):
    table = make_particles(tmp_path, box, n_particles, symmetry)
    check_twins(*reconstruct_both(table, ReconstructionOptions(symmetry, gridding=gridding)))


@pytest.mark.slow
@pytest.mark.parametrize(("symmetry", "gridding"), [("C1", True), ("D2", False)])
def test_maps_of_1000_particles_are_twins(make_particles, tmp_path, symmetry, gridding):
    table = make_particles(tmp_path, box=128, n_particles=1000, symmetry=symmetry)
    check_twins(*reconstruct_both(table, ReconstructionOptions(symmetry, gridding=gridding)))
