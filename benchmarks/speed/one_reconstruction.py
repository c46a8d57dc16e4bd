"""Reconstruct once in a process of its own and print what it took, for `reconstruction.py`.

    python benchmarks/speed/one_reconstruction.py particles.star map.npy [--symmetry C1]
        [--no-gridding] [--threads 2] [--backend native] [--warm-up small.star] [--first N]

Prints one line of JSON: wall and processor seconds of the library call, from star file and stack
to map, the most memory the process ever held [GB], and what it held before the call.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from cesped.data.conventions import read_particle_table
from cesped.reconstruction.backends import make_reconstructor
from cesped.reconstruction.protocol import PoseSet, ReconstructionOptions


def reconstruct(
    star: Path, backend: str, options: ReconstructionOptions, first: int | None = None
) -> np.ndarray:
    """Star file in, map out; of the first particles, or all."""
    table = read_particle_table(star)
    table = table.select(np.arange(len(table))[:first])
    reconstructor = make_reconstructor(backend)
    return reconstructor.reconstruct(table, [PoseSet(table.require_poses())], options)[0]


def peak_gb() -> float:
    """Return the most memory that this program held; `getrusage` would count its parent's too."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024e-9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("star", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--symmetry", default="C1")
    parser.add_argument("--no-gridding", action="store_true")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--backend", default="native")
    parser.add_argument("--warm-up", type=Path)
    parser.add_argument("--first", type=int, help="particles to use; all when not given")
    arguments = parser.parse_args()
    options = ReconstructionOptions(
        arguments.symmetry, gridding=not arguments.no_gridding, threads=arguments.threads
    )
    if arguments.warm_up is not None:  # loads compiled code, which is paid once a process
        reconstruct(arguments.warm_up, arguments.backend, options)
    held_before = peak_gb()
    wall, processor = time.perf_counter(), time.process_time()
    volume = reconstruct(arguments.star, arguments.backend, options, arguments.first)
    figures = {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - processor,
        "peak_gb": peak_gb(),
        "before_gb": held_before,
    }
    np.save(arguments.out, volume)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
