"""Particles of a small map in our convention, with images by the package's own projector."""

from dataclasses import dataclass
from pathlib import Path

import fake_entry as fake
import foreign_rules as rules
import numpy as np

from cesped.geometry.poses import Poses
from cesped.physics.ctf import CtfParameters, ctf_half_plane
from cesped.physics.projection import Projector

COUNT, BOX, PIXEL = 6, 20, 3.0


@dataclass
class Set:
    balls: rules.Balls
    poses: Poses
    ctf: CtfParameters
    images: np.ndarray
    star: Path
    stack: Path


def some_poses(rng, count=COUNT):
    poses = fake.fake_poses(count, rng)
    signs = rng.choice([-1, 1], (count, 2))
    return Poses(poses.rotations, signs * rng.uniform(4, 8, (count, 2)), np.ones(count))


def some_ctf(rng, count=COUNT):
    mean = rng.uniform(14000, 20000, count)
    phase = np.linspace(0, 60, count)
    angle = rng.uniform(0, 180, count)
    return CtfParameters(mean + 6000, mean - 6000, angle, 300.0, 2.7, 0.1, phase)


def our_images(balls, poses, ctf, pixel_size=PIXEL):
    """Images by the package's own projector."""
    transfer = ctf_half_plane(ctf, balls.box, pixel_size)
    origins_px = poses.origins_angst / pixel_size
    return Projector(balls.volume()).project(poses.rotations, origins_px, transfer).numpy()
