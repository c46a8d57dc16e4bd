"""What the tests of this room share: predictions of a known error, a complete manifest."""

from dataclasses import replace

import numpy as np

from cesped.data.conventions import read_particle_table, write_particle_table
from cesped.data.store import EntryStore
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import rotations_about_random_axes
from cesped.leaderboard.submission import unwritten_manifest


def write_predictions(folder, benchmark_dir, angle_deg, seed=1, name="FAKE"):
    """Write both halves' labels, each turned by `angle_deg`; return the paths."""
    generator = np.random.default_rng(seed)
    paths = []
    for half in (0, 1):
        located = EntryStore(benchmark_dir).locate(name, half)
        table = read_particle_table(located.star_path, located.root_dir)
        truth = table.require_poses()
        turns = rotations_about_random_axes(len(table), angle_deg, generator)
        poses = Poses(turns @ truth.rotations, truth.origins_angst * 0, truth.confidence)
        path = folder / f"predicted_{angle_deg:g}_{half}.star"
        write_particle_table(
            path,
            table.with_poses(poses),
            predicted_confidence=generator.uniform(0.5, 1, len(table)),
        )
        paths.append(path)
    return tuple(paths)


def honest_manifest():
    """Return a manifest with nothing left to fill in, and no entry."""
    blank = unwritten_manifest()
    return replace(
        blank,
        method=replace(
            blank.method,
            name="Turner",
            description="Turns the labels by three degrees.",
            paper="10.1103/PhysRevResearch.6.023245",
            code="https://example.org/turner",
            seeds=(1,),
            parameters=0,
        ),
        training=replace(blank.training, data="The other half.", hardware="2 CPU cores", hours=0.1),
    )
