"""Time a reconstruction by torch from disk to map: many particles, on a GPU.

    python benchmarks/speed/gpu_reconstruction_timer.py FOLDER [--particles 235000] [--box 222]
        [--symmetry C1] [--device cuda] [--bandwidth-gb-s 4300]

Particles of noise with poses, shifts and CTFs are written once to FOLDER: 46 GB for the defaults,
less where the disk has no room for them, and images come several times where that is faster to
write. Then: reading alone, insertion alone (a batch that lies on the device), and all of it from
star file to map. A sample of a slice adds to 8 voxels of 12 bytes, which are read and written: the
share is of what the device copies.
"""

import argparse
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from dataset import PIXEL_SIZE_ANGST, make_particles
from gpu_limits_timer import finished

from cesped.data.conventions import read_particle_table
from cesped.data.images import ImageSource
from cesped.io.stack import StackWriter
from cesped.physics.ctf import ctf_half_plane
from cesped.physics.torch_backprojection import TorchBackProjector
from cesped.reconstruction.backends import make_reconstructor
from cesped.reconstruction.protocol import PoseSet, ReconstructionOptions

#: Images that differ; more of them would take longer to make than to reconstruct.
_DIFFERENT = 500
_BATCH = 256
#: Of the free disk, for images.
_SHARE_OF_DISK = 0.7


def write_repeated_stack(path, count, box):
    """Write images of noise, the same ones over and over."""
    images = np.random.default_rng(0).normal(size=(min(count, _DIFFERENT), box, box))
    images = images.astype(np.float32)
    with StackWriter(path, count, box, PIXEL_SIZE_ANGST) as writer:
        for number in range(count):
            writer.append(images[number % len(images)])


def particles_of(options):
    """Make the particles if they are not there, and return their table."""
    room = _SHARE_OF_DISK * shutil.disk_usage(options.folder).free
    most = max(1, int(room / (4 * options.box**2)))
    count = min(options.particles, most)
    folder = options.folder / f"noise_{options.box}px_{options.particles}"
    if not (folder / "particles.star").is_file():
        if folder.exists():
            shutil.rmtree(folder)  # was not finished
        make_particles(folder, options.box, count, write_repeated_stack)
    table = read_particle_table(folder / "particles.star")
    if len(table) < options.particles:
        print(f"the disk has room for {len(table):,} of {options.particles:,} particles only")
    return table


def insertion_seconds(table, options, device):
    """Return how long a batch takes that is on the device already, and its samples."""
    rows = np.arange(min(_BATCH, len(table)))
    some, poses = table.select(rows), table.poses.select(rows)
    images = torch.from_numpy(ImageSource(table).read(rows)).to(device)
    planes = torch.fft.rfft2(images)
    ctf = ctf_half_plane(some.require_ctf(), options.box, PIXEL_SIZE_ANGST, device=device)
    sums = TorchBackProjector(options.box, 2, device)
    taken = []
    for _ in range(6):
        finished(device)
        started = time.perf_counter()
        sums.insert(planes, ctf, poses.rotations, None, poses.origins_angst / PIXEL_SIZE_ANGST)
        finished(device)
        taken.append(time.perf_counter() - started)
    return min(taken), len(rows) * np.pi / 2 * (options.box / 2) ** 2


def main(args=None):
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--particles", type=int, default=235_000)
    parser.add_argument("--box", type=int, default=222)
    parser.add_argument("--symmetry", default="C1")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--bandwidth-gb-s", type=float, default=4300.0)
    options = parser.parse_args(args)
    options.folder.mkdir(parents=True, exist_ok=True)
    device = torch.device(options.device)
    table = particles_of(options)
    source, started = ImageSource(table), time.perf_counter()
    read = min(len(table), 20 * _BATCH)
    for start in range(0, read, _BATCH):
        source.read(np.arange(start, min(start + _BATCH, read)))
    seconds = time.perf_counter() - started
    print(f"reading   {read / seconds:10,.0f} images/s by one thread, "
          f"{4e-9 * read * options.box**2 / seconds:.2f} GB/s")  # fmt: skip
    seconds, samples = insertion_seconds(table, options, device)
    moved = samples * 8 * 12 * 2
    count = min(_BATCH, len(table))
    print(f"insertion {count / seconds:10,.0f} images/s, {samples / seconds:.3g} samples/s, "
          f"{1e-9 * moved / seconds:,.0f} GB/s: "
          f"{1e-7 * moved / seconds / options.bandwidth_gb_s:.0f} % of {options.bandwidth_gb_s:g}"
    )  # fmt: skip
    engine = make_reconstructor("torch", device=options.device)
    settings = ReconstructionOptions(options.symmetry)
    started = time.perf_counter()
    table = read_particle_table(table.source)
    engine.reconstruct(table, [PoseSet(table.require_poses())], settings)
    seconds = time.perf_counter() - started
    print(f"all       {len(table) / seconds:10,.0f} images/s: {len(table):,} particles of "
          f"{options.box} px in {seconds:.1f} s, from star file to map; 235,000 at this rate: "
          f"{235_000 * seconds / len(table):.0f} s")  # fmt: skip
    if device.type == "cuda":
        print(f"memory    {torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB at most")


if __name__ == "__main__":
    main()
