"""What alignment costs: of poses by their number and symmetry, of maps by their box.

    python benchmarks/speed/alignment.py [--boxes 64 128] [--particles 10000 100000]

There is no peer that can be run here, so no ratio is printed: seconds of this machine, CPU time of
all threads beside wall time, and the error that was left.
"""

import argparse
import resource
import time

import numpy as np

from cesped.evaluation.abinitio.pose_alignment import Frame, align_poses, displaced
from cesped.evaluation.abinitio.volume_alignment import align_volumes
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import (
    geodesic_distance_deg,
    random_rotations,
    rotations_about_random_axes,
)
from cesped.geometry.symmetry import point_group
from cesped.physics.phantom import chain_phantom
from cesped.physics.volume_sampling import moved_volume

NOISE_DEG = 5.0
WRONG_SHARE = 0.5
VOXEL_NOISE = 0.1


def timed(function):
    """Return the result, the wall seconds and the CPU seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = function()
    return found, time.perf_counter() - wall, time.process_time() - cpu


def align_many_poses(count, symmetry, generator):
    """Print one line: poses with noise, half of them wrong, of the other hand."""
    group = point_group(symmetry)
    truth = Poses(random_rotations(count, generator), np.zeros((count, 2)), np.ones(count))
    frame = Frame(random_rotations(1, generator)[0], True, np.array([3.0, 4.0, 5.0]))
    moved = displaced(truth, frame)
    angles = np.linalg.norm(generator.normal(size=(count, 3)) * NOISE_DEG, axis=1)
    rotations = rotations_about_random_axes(count, angles, generator) @ moved.rotations
    wrong = generator.random(count) < WRONG_SHARE
    rotations[wrong] = random_rotations(int(wrong.sum()), generator)
    predicted = Poses(rotations, moved.origins_angst, moved.confidence)
    found, wall, cpu = timed(lambda: align_poses(truth, predicted, group, generator))
    mates = group.operators @ found.frame.rotation
    error = geodesic_distance_deg(mates, frame.rotation).min()
    print(
        f"poses {count:>8,} {symmetry:>3}: {wall:6.1f} s wall, {cpu:6.1f} s CPU, "
        f"frame off by {error:.3f} degrees (± {found.rotation_error_deg:.3f})"
    )


def align_maps(box, generator):
    """Print one line: a phantom with noise, turned, moved and mirrored."""
    phantom = chain_phantom(600, 0.32 * box, generator)
    axis = np.arange(box) - box // 2
    x, y, z = (np.exp(-0.5 * ((axis - p[:, None]) / 1.2) ** 2) for p in phantom.positions_angst.T)
    volume = np.einsum("az,ay,ax->zyx", z * phantom.weights[:, None], y, x, optimize=True)
    rotation = random_rotations(1, generator)[0]
    shift_px = np.array([2.5, -3.0, 1.3])
    moved, move_wall, move_cpu = timed(
        lambda: moved_volume(volume, rotation, shift_px, is_mirrored=True)
    )
    scale = VOXEL_NOISE * volume[volume > 0.1 * volume.max()].std()
    fixed, moving = (
        (v + scale * generator.normal(size=v.shape)).astype(np.float32) for v in (moved, volume)
    )
    found, wall, cpu = timed(lambda: align_volumes(fixed, moving))
    error = float(geodesic_distance_deg(found.rotation, rotation))
    distance = np.linalg.norm(found.shift_px - shift_px)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"maps  {box:>4} voxels: {wall:6.1f} s wall, {cpu:6.1f} s CPU, off by {error:.3f} degrees "
        f"and {distance:.3f} voxels; moving one {move_wall:.1f} s wall, {move_cpu:.1f} s CPU; "
        f"peak so far {peak_gb:.1f} GB"
    )


def main():
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--boxes", type=int, nargs="*", default=[64, 128, 256])
    parser.add_argument("--particles", type=int, nargs="*", default=[10_000, 300_000])
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    align_many_poses(1000, "C1", generator)  # compiles
    for count in options.particles:
        for symmetry in ("C1", "I"):
            align_many_poses(count, symmetry, generator)
    align_maps(32, generator)  # compiles
    for box in options.boxes:
        align_maps(box, generator)


if __name__ == "__main__":
    main()
