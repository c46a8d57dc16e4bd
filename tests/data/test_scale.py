"""Large inputs: memory does not grow with the stack, nor open files with the number of stacks."""

import json
import pickle
import resource
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from cesped.data.dataset import ParticlesRelionStarDataset
from cesped.io.mrc import new_header
from cesped.io.star_writer import write_star

BOX = 256
IMAGE_BYTES = BOX**2 * 4

#: Goes through all particles with one worker and prints what memory that worker had, at each batch.
READER = """
import json, sys
from torch.utils.data import DataLoader, default_collate
from cesped import ParticlesRelionStarDataset

def memory_of_worker(samples):
    status = open("/proc/self/status").read()
    kib = int(status.partition("VmRSS:")[2].split()[0])
    return len(default_collate(samples)[1]), kib / 1024

star, root, options = sys.argv[1:]
dataset = ParticlesRelionStarDataset(star, root, "C1", **json.loads(options))
loader = DataLoader(dataset, batch_size=32, num_workers=1, collate_fn=memory_of_worker)
print(json.dumps(list(loader)))
"""


def write_particles(folder, image_names, box):
    count = len(image_names)
    rng = np.random.default_rng(1)
    particles = {
        "rlnImageName": image_names,
        "rlnAngleRot": rng.uniform(0, 360, count),
        "rlnAngleTilt": rng.uniform(0, 180, count),
        "rlnAnglePsi": rng.uniform(0, 360, count),
        "rlnDefocusU": rng.uniform(9000, 20000, count),
        "rlnOpticsGroup": np.ones(count, int),
    }
    optics = {
        "rlnOpticsGroup": [1],
        "rlnVoltage": [300.0],
        "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.1],
        "rlnImagePixelSize": [1.5],
        "rlnImageSize": [box],
    }
    star = folder / "particles.star"
    write_star(star, {"optics": pd.DataFrame(optics), "particles": pd.DataFrame(particles)})
    return star


def write_sparse_stack(folder, count):
    """Write images of which the first line is noise and the rest a hole in the file."""
    line = np.random.default_rng(2).normal(size=BOX).astype("<f4").tobytes()
    with (folder / "particles.mrcs").open("wb") as stream:
        stream.write(new_header((count, BOX, BOX), np.dtype(np.float32), 1.5).tobytes())
        for image in range(count):
            stream.seek(1024 + image * IMAGE_BYTES)
            stream.write(line)
        stream.truncate(1024 + count * IMAGE_BYTES)
    return write_particles(folder, [f"{i + 1}@particles.mrcs" for i in range(count)], BOX)


PREPARED = {"ctf_correction": "phase_flip", "image_size_factor_for_crop": 0.25}
AS_THEY_ARE = {"perImg_normalization": "none"}


@pytest.mark.parametrize(
    ("gigabytes", "options"),
    [(0.4, PREPARED), pytest.param(6, AS_THEY_ARE, marks=pytest.mark.slow)],
    ids=["part", "whole"],
)
def test_a_worker_needs_no_more_memory_for_a_larger_stack(tmp_path, gigabytes, options):
    count = int(gigabytes * 1e9 / IMAGE_BYTES)
    star = write_sparse_stack(tmp_path, count)
    command = [sys.executable, "-c", READER, star, tmp_path, json.dumps(options)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    batches = json.loads(output)
    assert sum(n for n, _ in batches) == count
    memory_mib = [mib for _, mib in batches]
    assert max(memory_mib) < 600
    assert max(memory_mib) - memory_mib[2] < 100  # a mapped stack would count as a whole


def test_five_thousand_stacks_of_one_particle_under_a_limit_of_256_files(tmp_path):
    image = np.random.default_rng(3).normal(size=(1, 16, 16)).astype("<f4")
    first = tmp_path / "0.mrcs"
    header = new_header(image.shape, np.dtype(np.float32), 1.5)
    first.write_bytes(header.tobytes() + image.tobytes())
    for number in range(1, 5000):
        (tmp_path / f"{number}.mrcs").hardlink_to(first)
    star = write_particles(tmp_path, [f"1@{number}.mrcs" for number in range(5000)], 16)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        dataset = ParticlesRelionStarDataset(star, tmp_path, "C1", perImg_normalization="none")
        # several at a time, as a training with validation and prediction has
        copies = [pickle.loads(pickle.dumps(dataset)) for _ in range(4)]
        for start in range(0, 5000, 500):
            rows = np.arange(start, start + 500)
            for reader, wanted in [(dataset, rows), *((copy, rows[::5]) for copy in copies)]:
                assert (reader.batch(wanted).images[:, 0].numpy() == image).all()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
