"""Particles to prepare, and what preparing them in memory gives."""

import os

import numpy as np
from fake_entry import write_fake_entry

from cesped.data.conventions import read_particle_table
from cesped.data.particle_images import ParticleImages
from cesped.data.preprocessing import PreprocessingOptions
from cesped.vocabulary import CtfCorrection, Normalization

OPTIONS = PreprocessingOptions(image_size=20, crop_fraction=0.25)
PLAIN = PreprocessingOptions(None, Normalization.NONE, CtfCorrection.NONE, 0.0)


def table_of(entry, halfset=0):
    return read_particle_table(entry.star(halfset), entry.folder)


def prepared_in_memory(table, options=OPTIONS):
    """Return `(P, n, n)` float32: what the set should hold."""
    return ParticleImages(table, options).prepared(np.arange(len(table))).numpy()


def make_entry(folder, **changes):
    return write_fake_entry(folder, **{"n_particles": 11, **changes})


def touch(path, seconds=5):
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + seconds * 10**9))
