"""Print what it costs to read sets of views of 128 px out of shards, in processor time.

    python benchmarks/speed/view_shards.py [--sets 24] [--folder DIR]

Shards of random images are written for it (66 MB each) and removed; they are in the disk's cache
when they are read, so this is the cost of checking, choosing and converting, not of the disk.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from cesped.geometry.rotations import random_rotations
from cesped.io.shards import Block, ShardWriter
from cesped.training.views.sets import TRAINING
from cesped.training.views.streamed import ShardViews, StreamOptions

BOX, IMAGES, STRUCTURES, SHARDS = 128, 100, 20, 3
NO_CTF = (0.0, 0.0, 0.0, 300.0, 0.0, 1.0, 0.0, 0.0, 1.0)


def write_shards(folder: Path) -> list[Path]:
    """Write shards of the size that `cesped shards make` gives a structure."""
    generator = np.random.default_rng(0)
    paths = []
    for number in range(SHARDS):
        paths.append(folder / f"{number}.shard")
        with ShardWriter(paths[-1], "speed") as shard:
            for place in range(STRUCTURES):
                noise = generator.standard_normal((IMAGES, BOX, BOX), np.float32)
                arrays = {
                    "images": noise.astype(np.float16),
                    "rotations": random_rotations(IMAGES, generator).astype(np.float32),
                    "origins_angst": np.zeros((IMAGES, 2), np.float32),
                    "ctf": np.tile(np.float32(NO_CTF), (IMAGES, 1)),
                }
                facts = {"pixel_size_angst": 2.0, "scale": 1.0, "sigma": 0.0}
                shard.append(Block(f"{number}-{place}", facts, arrays))
    return paths


def seconds_of_a_set(paths: list[Path], views: int, uses: int, sets: int) -> float:
    """Return the processor time of a set, of all threads."""
    source = ShardViews(paths, 2, BOX, StreamOptions(2, 4, uses, 1))
    stream = (0, 1, TRAINING)
    source.draw([0, 1], views, stream)  # fills the buffers
    started = time.process_time()
    for step in range(1, sets // 2 + 1):
        source.draw([2 * step, 2 * step + 1], views, stream)
    spent = time.process_time() - started
    source.close()
    return spent / (sets // 2 * 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=24)
    parser.add_argument("--folder", help="where to write for the time being")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        paths = write_shards(Path(folder))
        print("views  sets of a structure  ms of a core a set  images/s a core")
        for views, uses in ((2, 1), (2, 8), (32, 1), (32, 3)):
            seconds = seconds_of_a_set(paths, views, uses, given.sets)
            print(f"{views:5d}  {uses:19d}  {1e3 * seconds:18.2f}  {views / seconds:15,.0f}")


if __name__ == "__main__":
    main()
