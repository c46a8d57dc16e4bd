"""Kept maps: bit for bit those that would be made, named by all that determines them."""

import os
import threading
from dataclasses import replace

import numpy as np
import pytest
from fake_entry import write_fake_entry

from cesped.data.conventions import read_particle_table
from cesped.geometry.poses import Poses
from cesped.reconstruction.backends import make_reconstructor
from cesped.reconstruction.map_cache import CachedReconstructor, keep_map, read_kept_map
from cesped.reconstruction.protocol import PoseSet, ReconstructionOptions
from cesped.vocabulary import Backend, CtfCorrection

OPTIONS = ReconstructionOptions(threads=1)


class Counting:
    """Makes maps that depend on the poses alone, and remembers how many."""

    name = Backend.NATIVE

    def __init__(self, version="1"):
        self.made = 0
        self._version = version

    def version(self):
        return self._version

    def reconstruct(self, table, pose_sets, options, progress=None):
        self.made += len(pose_sets)
        box = table.image_size
        return [
            np.full((box,) * 3, pose_set.poses.rotations[0, 0, 0], np.float32)
            for pose_set in pose_sets
        ]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    entry = write_fake_entry(tmp_path_factory.mktemp("cache-entry"), n_particles=12)
    return read_particle_table(entry.star(0))


def test_a_kept_map_is_the_map_that_would_be_made(table, tmp_path):
    engine = make_reconstructor("native")
    cached = CachedReconstructor(engine, tmp_path / "maps")
    truth = PoseSet(table.poses, reusable=True)
    weighted = PoseSet(table.poses, np.linspace(0.1, 1, len(table)))
    plain = engine.reconstruct(table, [truth, weighted], OPTIONS)
    first = cached.reconstruct(table, [truth, weighted], OPTIONS)
    again = cached.reconstruct(table, [weighted, truth], OPTIONS)
    for made in (first, again[::-1]):
        for volume, expected in zip(made, plain, strict=True):
            np.testing.assert_array_equal(volume, expected)
            assert volume.dtype == expected.dtype == np.float32
            assert volume.flags.writeable
    assert len(list((tmp_path / "maps").iterdir())) == 1
    assert (cached.name, cached.version()) == (engine.name, engine.version())


def test_only_what_is_reusable_and_missing_is_made(table, tmp_path):
    engine = Counting()
    cached = CachedReconstructor(engine, tmp_path)
    sets = [PoseSet(table.poses, reusable=True), PoseSet(table.poses)]
    cached.reconstruct(table, sets, OPTIONS)
    assert engine.made == 2
    cached.reconstruct(table, sets, OPTIONS)
    assert engine.made == 3
    cached.reconstruct(table, sets[:1], replace(OPTIONS, threads=2))
    assert engine.made == 3  # threads change no map


def other_pose(table):
    rotations = np.array(table.poses.rotations)
    rotations[-1] = rotations[-1] @ np.diag([1.0, -1.0, -1.0])
    return Poses(rotations, table.poses.origins_angst, table.poses.confidence)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: (t, other_pose(t), OPTIONS),
        lambda t: (t, replace(t.poses, origins_angst=t.poses.origins_angst + 0.1), OPTIONS),
        lambda t: (t, t.poses, replace(OPTIONS, symmetry="C2")),
        lambda t: (t, t.poses, replace(OPTIONS, gridding=False)),
        lambda t: (t, t.poses, replace(OPTIONS, ctf=False)),
        lambda t: (replace(t, section=t.section[::-1].copy()), t.poses, OPTIONS),
        lambda t: (replace(t, pixel_size_angst=t.pixel_size_angst * 1.01), t.poses, OPTIONS),
        lambda t: (replace(t, ctf=replace(t.ctf, b_factor_angst2=1.0)), t.poses, OPTIONS),
        lambda t: (replace(t, ctf_correction_done=CtfCorrection.PHASE_FLIP), t.poses, OPTIONS),
        lambda t: (replace(t, particles=t.particles.assign(rlnBeamTiltX=0.1)), t.poses, OPTIONS),
    ],
    ids=[
        *("pose", "origin", "symmetry", "gridding", "ctf", "images", "pixel size", "b-factor"),
        *("correction", "other column"),
    ],
)
def test_whatever_determines_a_map_names_it(table, tmp_path, change):
    engine = Counting()
    cached = CachedReconstructor(engine, tmp_path)
    cached.reconstruct(table, [PoseSet(table.poses, reusable=True)], OPTIONS)
    other_table, poses, options = change(table)
    cached.reconstruct(other_table, [PoseSet(poses, reusable=True)], options)
    assert engine.made == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_another_version_and_changed_images_do_not_find_it(table, tmp_path):
    truth = [PoseSet(table.poses, reusable=True)]
    engines = [Counting("1"), Counting("2"), Counting("1")]
    for engine in engines[:2]:
        CachedReconstructor(engine, tmp_path).reconstruct(table, truth, OPTIONS)
    stack = table.stacks[0]
    status = stack.stat()
    os.utime(stack, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    CachedReconstructor(engines[2], tmp_path).reconstruct(table, truth, OPTIONS)
    assert [engine.made for engine in engines] == [1, 1, 1]


@pytest.mark.parametrize("fault", ["bit", "short", "empty", "long", "folder"])
def test_a_damaged_file_is_made_again(table, tmp_path, fault):
    engine = Counting()
    cached = CachedReconstructor(engine, tmp_path / "maps")
    truth = [PoseSet(table.poses, reusable=True)]
    (expected,) = cached.reconstruct(table, truth, OPTIONS)
    (path,) = (tmp_path / "maps").iterdir()
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    spoilt = {"bit": content, "short": content[:-1], "empty": b"", "long": content + b"x"}
    if fault == "folder":
        path.unlink()
        assert read_kept_map(tmp_path, table.image_size) is None
    else:
        path.write_bytes(spoilt[fault])
    assert read_kept_map(path, table.image_size) is None
    (again,) = cached.reconstruct(table, truth, OPTIONS)
    np.testing.assert_array_equal(again, expected)
    assert engine.made == 2
    np.testing.assert_array_equal(read_kept_map(path, table.image_size), expected)


def test_many_writers_and_readers_meet_whole_maps_only(tmp_path):
    volume = np.random.default_rng(0).normal(size=(32, 32, 32)).astype(np.float32)
    path, faults = tmp_path / "a.map", []

    def work():
        for _ in range(20):
            keep_map(path, volume)
            found = read_kept_map(path, 32)
            if found is None or not np.array_equal(found, volume):
                faults.append(found)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert faults == []
    assert [found.name for found in tmp_path.iterdir()] == ["a.map"]


def test_ranks_that_share_the_work_do_not_use_it(table, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    engine = Counting()
    cached = CachedReconstructor(engine, tmp_path)
    for _ in range(2):
        cached.reconstruct(table, [PoseSet(table.poses, reusable=True)], OPTIONS)
    assert engine.made == 2
    assert list(tmp_path.iterdir()) == []
