"""Print what large inputs need: seconds to open many particles, memory to go through a large stack.

    python benchmarks/speed/scale.py [--particles 500000] [--gigabytes 20] [--workers 1]

The particles to open are rows of a star file with the columns of a refinement, beside a stack of
small images, most of which is a hole in the file; opening reads and checks all of it. Then a worker
goes once through a stack of the given size (sparse too: it takes 2 % of that on the disk), and the
largest memory that it had is printed.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from dataset import make_particles
from torch.utils.data import DataLoader

from cesped import ParticlesRelionStarDataset
from cesped.io.mrc import new_header

PIXEL_SIZE_ANGST = 1.5


def write_sparse_stack(path: Path, count: int, box: int) -> None:
    """Write images of which the first line is noise and the rest is a hole in the file."""
    line = np.random.default_rng(2).normal(size=box).astype("<f4").tobytes()
    header = new_header((count, box, box), np.dtype(np.float32), PIXEL_SIZE_ANGST)
    with path.open("wb") as stream:
        stream.write(header.tobytes())
        for image in range(count):
            stream.seek(1024 + image * 4 * box**2)
            stream.write(line)
        stream.truncate(1024 + count * 4 * box**2)


def open_dataset(star: Path) -> ParticlesRelionStarDataset:
    """Return the dataset of a star file, with the usual preparation."""
    return ParticlesRelionStarDataset(
        star, star.parent, "C1", ctf_correction="phase_flip", image_size_factor_for_crop=0.25
    )


def memory_of_worker(samples: list) -> tuple[int, float]:
    """Return the number of samples and the memory of this process [MiB]."""
    status = Path("/proc/self/status").read_text()
    return len(samples), int(status.partition("VmRSS:")[2].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--particles", type=int, default=500_000)
    parser.add_argument("--gigabytes", type=float, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--folder", help="where there is room for 2 %% of that and the star file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        star = make_particles(Path(name) / "many", 8, args.particles, write_sparse_stack)
        open_dataset(star)  # from the disk once
        wall, cpu = time.perf_counter(), time.process_time()
        open_dataset(star)
        print(
            f"opening {args.particles} particles (star file of "
            f"{star.stat().st_size / 1e6:.0f} MB): {time.perf_counter() - wall:.2f} s, CPU "
            f"{time.process_time() - cpu:.2f} s; memory of this process at most "
            f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB"
        )
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        box = 256
        count = int(args.gigabytes * 1e9 / (4 * box**2))
        star = make_particles(Path(name) / "large", box, count, write_sparse_stack)
        loader = DataLoader(
            open_dataset(star), 64, num_workers=args.workers, collate_fn=memory_of_worker
        )
        started = time.perf_counter()
        batches = list(loader)
        n_images = sum(n for n, _ in batches)
        print(
            f"{n_images} images of {box} px ({n_images * 4 * box**2 / 1e9:.1f} GB), "
            f"{args.workers} worker(s): memory of a worker at most "
            f"{max(mib for _, mib in batches):.0f} MiB, {min(mib for _, mib in batches):.0f} at "
            f"least; {n_images / (time.perf_counter() - started):.0f} images/s"
        )


if __name__ == "__main__":
    main()
