"""The native backend: batches, shared reading, halves, and what it refuses."""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from cesped.data.images import ImageSource
from cesped.errors import MetadataError, OptionError, PixelSizeError, SymmetryError
from cesped.geometry.poses import Poses
from cesped.physics.ctf import ctf_half_plane
from cesped.physics.ctf_correction import correct_ctf
from cesped.physics.fourier import half_plane_to_images, images_to_half_plane
from cesped.reconstruction import native
from cesped.reconstruction.backends import make_reconstructor
from cesped.reconstruction.protocol import PoseSet, ReconstructionOptions
from cesped.vocabulary import Backend, CtfCorrection

OPTIONS = ReconstructionOptions(threads=1)


class CountingProgress:
    def __init__(self):
        self.tasks = {}

    @contextmanager
    def task(self, description, total):
        self.tasks[description] = [total, 0]

        def advance(units):
            self.tasks[description][1] += units

        yield advance


def turned(poses):
    """Other poses for the same particles."""
    return Poses(poses.rotations[::-1], poses.origins_angst[::-1], poses.confidence)


def test_small_batches_and_one_large_batch_agree(small_table, monkeypatch):
    pose_sets = [PoseSet(small_table.poses)]
    reconstructor = native.NativeReconstructor()
    (whole,) = reconstructor.reconstruct(small_table, pose_sets, OPTIONS)
    monkeypatch.setattr(native, "_BATCH_PIXELS", 7 * 24**2)
    (in_batches,) = reconstructor.reconstruct(small_table, pose_sets, OPTIONS)
    assert whole.shape == (24, 24, 24)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(in_batches, whole, atol=1e-4 * np.abs(whole).max())


def test_images_are_read_once_for_all_pose_sets(small_table, monkeypatch):
    poses = small_table.poses
    pose_sets = [PoseSet(poses), PoseSet(turned(poses)), PoseSet(poses, poses.confidence)]
    reconstructor = native.NativeReconstructor()
    apart = [reconstructor.reconstruct(small_table, [one], OPTIONS)[0] for one in pose_sets]
    rows_read = []
    read = ImageSource.read
    monkeypatch.setattr(
        ImageSource, "read", lambda self, rows: rows_read.extend(rows) or read(self, rows)
    )
    together = reconstructor.reconstruct(small_table, pose_sets, OPTIONS)
    assert rows_read == list(range(60))
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.allclose(together[0], together[1])


def test_equal_weights_are_no_weights(small_table):
    pose_sets = [PoseSet(small_table.poses), PoseSet(small_table.poses, np.full(60, 0.25))]
    options = replace(OPTIONS, gridding=False)
    plain, weighted = native.NativeReconstructor().reconstruct(small_table, pose_sets, options)
    np.testing.assert_allclose(weighted, plain, atol=1e-5 * np.abs(plain).max())


def test_halves_and_their_sum(small_table):
    rows = np.arange(60)
    tables = (small_table.select(rows[::2]), small_table.select(rows[1::2]))
    truth = tuple(PoseSet(table.poses, table.poses.confidence) for table in tables)
    other = tuple(PoseSet(turned(table.poses)) for table in tables)
    reconstructor = native.NativeReconstructor()
    maps = reconstructor.reconstruct_halves(tables, [truth, other], replace(OPTIONS, symmetry="C2"))
    options = replace(OPTIONS, symmetry="C2")
    for half, table in enumerate(tables):
        for number, pair in enumerate((truth, other)):
            (expected,) = reconstructor.reconstruct(table, [pair[half]], options)
            found = (maps[number].half0, maps[number].half1)[half]
            np.testing.assert_array_equal(found, expected)
    all_poses = PoseSet(small_table.poses, small_table.poses.confidence)
    (whole,) = reconstructor.reconstruct(small_table, [all_poses], options)
    np.testing.assert_allclose(maps[0].full, whole, atol=1e-4 * np.abs(whole).max())


def test_progress_hears_of_every_particle(small_table):
    progress = CountingProgress()
    pose_sets = [PoseSet(small_table.poses)]
    native.NativeReconstructor().reconstruct(small_table, pose_sets, OPTIONS, progress)
    assert [total for total, _ in progress.tasks.values()] == [60, 1]
    assert all(total == done for total, done in progress.tasks.values())


def test_without_ctf_no_defocus_is_needed(small_table):
    bare = replace(small_table, ctf=None)
    pose_sets = [PoseSet(bare.poses)]
    reconstructor = native.NativeReconstructor()
    reconstructor.reconstruct(bare, pose_sets, replace(OPTIONS, ctf=False))
    with pytest.raises(MetadataError, match="rlnDefocusU"):
        reconstructor.reconstruct(bare, pose_sets, OPTIONS)


def test_what_cannot_share_a_map_is_named(small_table):
    reconstructor = native.NativeReconstructor()
    pose_sets = [PoseSet(small_table.poses)]
    sizes = small_table.pixel_size_angst.copy()
    sizes[7] = 2.5
    mixed = replace(small_table, pixel_size_angst=sizes)
    with pytest.raises(PixelSizeError, match=r"2 A/px \(row 1\) and of 2.5 A/px \(row 8\)"):
        reconstructor.reconstruct(mixed, pose_sets, OPTIONS)
    other = replace(small_table, pixel_size_angst=np.full(60, 1.5))
    with pytest.raises(PixelSizeError, match="sampled alike"):
        reconstructor.reconstruct_halves((small_table, other), [(pose_sets[0],) * 2], OPTIONS)
    empty = small_table.select([])
    with pytest.raises(MetadataError, match="holds no particles"):
        reconstructor.reconstruct(empty, [PoseSet(empty.poses)], OPTIONS)
    few = PoseSet(small_table.poses.select(np.arange(10)))
    with pytest.raises(MetadataError, match="pose set 1 has 10 poses for the 60 particles"):
        reconstructor.reconstruct(small_table, [few], OPTIONS)
    with pytest.raises(SymmetryError):
        reconstructor.reconstruct(small_table, pose_sets, ReconstructionOptions("Q7"))


@pytest.mark.parametrize("done", [CtfCorrection.PHASE_FLIP, CtfCorrection.CTF_MULTIPLY])
def test_images_that_are_corrected_already_give_the_same_map(small_table, monkeypatch, done):
    pose_sets = [PoseSet(small_table.poses)]
    (expected,) = native.NativeReconstructor().reconstruct(small_table, pose_sets, OPTIONS)
    monkeypatch.setattr(ImageSource, "read", corrected(ImageSource.read, done))
    flagged = replace(small_table, ctf_correction_done=done)
    (found,) = native.NativeReconstructor().reconstruct(flagged, pose_sets, OPTIONS)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def corrected(read, done):
    """Return a reader of images that were phase flipped, or multiplied by their CTF."""

    def read_corrected(self, rows):
        ctf = ctf_half_plane(self.table.ctf.select(rows), 24, self.table.pixel_size_angst[rows])
        planes = images_to_half_plane(torch.from_numpy(read(self, rows)))
        return half_plane_to_images(correct_ctf(planes, ctf, done)).numpy()

    return read_corrected


def test_maps_weighted_side_by_side_are_those_weighted_one_by_one(small_table, monkeypatch):
    poses = small_table.poses
    weights = [None, np.linspace(0.1, 1, 60), np.linspace(1, 0.1, 60)]
    sets = [PoseSet(poses, weight) for weight in weights]
    options = replace(OPTIONS, threads=2)
    engine = native.NativeReconstructor()
    together = engine.reconstruct(small_table, sets, options)
    monkeypatch.setattr(native, "_SIDE_BY_SIDE_BYTES", 0)  # as at a large box
    one_by_one = engine.reconstruct(small_table, sets, options)
    for found, expected in zip(together, one_by_one, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_map_that_fails_beside_others_is_told(small_table, monkeypatch):
    def fail(self, gridding=True):
        raise MemoryError("no room for the weights")

    monkeypatch.setattr(native.BackProjector, "reconstruct", fail)
    options = replace(OPTIONS, threads=2)
    with pytest.raises(MemoryError, match="no room"):
        native.NativeReconstructor().reconstruct(
            small_table, [PoseSet(small_table.poses)] * 3, options
        )


def test_nearly_equal_pixel_sizes_are_accepted(small_table):
    sizes = small_table.pixel_size_angst * np.where(np.arange(60) % 2, 1.0005, 1.0)
    table = replace(small_table, pixel_size_angst=sizes)
    native.NativeReconstructor().reconstruct(table, [PoseSet(table.poses)], OPTIONS)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(3), "give one weight per particle"),
        (np.where(np.arange(60) == 4, np.nan, 1.0), "particle 5 is nan"),
        (np.where(np.arange(60) == 9, -1.0, 1.0), "particle 10 is -1.0"),
        (np.zeros(60), "all weights are zero"),
    ],
)
def test_impossible_weights_are_refused(small_table, weights, message):
    with pytest.raises(MetadataError, match=message):
        PoseSet(small_table.poses, weights)


def test_impossible_options_are_refused():
    with pytest.raises(OptionError, match="padding is 0"):
        ReconstructionOptions(padding=0)
    with pytest.raises(OptionError, match="threads is 0"):
        ReconstructionOptions(threads=0)
    with pytest.raises(OptionError, match="native, torch, relion"):
        make_reconstructor("magic")


def test_backends_are_made_by_name():
    assert make_reconstructor("native").name is Backend.NATIVE
    assert make_reconstructor(Backend.RELION).name is Backend.RELION
    assert make_reconstructor("native").version().startswith("cesped ")
