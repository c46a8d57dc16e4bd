"""Shards of images that are quickly made: noise with poses, no structure behind it."""

import numpy as np

from cesped.geometry.rotations import random_rotations
from cesped.io.shards import Block, ShardWriter

BOX, PIXEL = 32, 3.0
PERFECT = (0.0, 0.0, 0.0, 300.0, 0.0, 1.0, 0.0, 0.0, 1.0)


def write_shards(folder, shards=4, structures=3, images=6, ctf=PERFECT, sigma=0.0):
    """Write shards of named structures and return their paths."""
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(0)
    for number in range(shards):
        with ShardWriter(folder / f"shard-{number:06d}.shard", "tiny") as shard:
            for place in range(structures):
                arrays = {
                    "images": generator.normal(size=(images, BOX, BOX)).astype(np.float16),
                    "rotations": random_rotations(images, generator).astype(np.float32),
                    "origins_angst": generator.uniform(-3, 3, (images, 2)).astype(np.float32),
                    "ctf": np.tile(np.float32(ctf), (images, 1)),
                }
                facts = {"pixel_size_angst": PIXEL, "scale": 2.0, "sigma": sigma}
                shard.append(Block(f"s{number}-{place}", facts, arrays))
    return sorted(folder.glob("*.shard"))
