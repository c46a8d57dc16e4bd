"""What the tests of this room share: tiny entries, known errors, and a stub reconstructor."""

from dataclasses import replace

import numpy as np

from cesped.data.conventions import read_particle_table
from cesped.data.demo_specifications import DemoSpecification
from cesped.data.store import EntryStore
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import rotations_about_random_axes
from cesped.vocabulary import Backend

TINY = DemoSpecification(
    name="TINY",
    symmetry="C1",
    seed=5,
    n_particles_per_half=150,
    box=32,
    pixel_size_angst=6.0,
    n_atoms=300,
    resolution_angst=16.0,
)
TINY_D2 = replace(TINY, name="TINY-D2", symmetry="D2", seed=6, n_particles_per_half=60)


def read_entry(benchmark_dir, target):
    """Return the particles of both halves of an entry."""
    halves = [EntryStore(benchmark_dir).locate(target, half) for half in (0, 1)]
    return tuple(read_particle_table(half.star_path, half.root_dir) for half in halves)


def turned(poses, angle_deg, generator):
    """Return poses whose rotations are off by exactly `angle_deg` about random axes."""
    turns = rotations_about_random_axes(len(poses), angle_deg, generator)
    return Poses(turns @ poses.rotations, poses.origins_angst, poses.confidence)


class StubReconstructor:
    """Returns noise that depends only on the poses and weights, and remembers what it was asked."""

    name = Backend.NATIVE

    def __init__(self):
        self.asked = []

    def version(self):
        return "stub 1"

    def reconstruct(self, table, pose_sets, options, progress=None):
        self.asked.append((table, list(pose_sets), options))
        volumes = []
        for pose_set in pose_sets:
            seed = abs(hash((pose_set.poses.rotations.tobytes(), str(pose_set.weights)))) % 2**32
            generator = np.random.default_rng(seed)
            n = table.image_size
            volumes.append(generator.normal(size=(n, n, n)).astype(np.float32))
        return volumes
