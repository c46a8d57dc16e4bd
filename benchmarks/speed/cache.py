"""Read prepared images, and let the peer prepare the same ones from raw, in turn; print the ratio.

    python benchmarks/speed/cache.py --peer-python PYTHON [--boxes 128 256] [--particles 1024]
        [--repeats 5] [--batch 64]

PYTHON is that of an environment with `cesped==25.12.0` from the package index. The peer reads raw
particles through a DataLoader (phase flip, normalisation, default crop and resize), as its users
must. Ours reads the set that `cesped preprocess` made of them with the same options, as float32 and
float16: through a DataLoader in the order of the file, shuffled, and as numpy batches. One process,
one thread each, files in the system's cache. Medians of processor time, of passes that take turns;
what preparing costs is printed beside them.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from reconstruction import make_particles
from torch.utils.data import DataLoader

from cesped.data.batches import iterate_batches
from cesped.data.conventions import read_particle_table
from cesped.data.prepared.dataset import PreparedDataset
from cesped.data.prepared.writer import prepare_images
from cesped.data.preprocessing import PreprocessingOptions
from cesped.vocabulary import PixelType

WANTED_RATIO = 15

Pass = Callable[[], int]


class Peer:
    """The peer's process: goes through its DataLoader once for each line it is sent."""

    def __init__(self, python: Path, star: Path, batch: int):
        timer = Path(__file__).with_name("dataset_timer.py")
        words = [python, "-W", "ignore", timer, star, star.parent, "--batch", str(batch)]
        self._process = subprocess.Popen(
            [str(word) for word in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.version = json.loads(self._process.stdout.readline())["version"]

    def items_per_cpu_s(self) -> float:
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return answer["particles"] / answer["cpu_s"]

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def items_per_cpu_s(once: Pass) -> float:
    """Time one pass over a dataset, which returns the number of its particles."""
    started_s = time.process_time()
    count = once()
    return count / (time.process_time() - started_s)


def passes(dataset: PreparedDataset, batch: int) -> dict[str, Pass]:
    """Return the ways through a prepared set."""

    def through_loader(shuffle: bool) -> int:
        return sum(len(b[1]) for b in DataLoader(dataset, batch_size=batch, shuffle=shuffle))

    return {
        "DataLoader": lambda: through_loader(False),
        "DataLoader, shuffled": lambda: through_loader(True),
        "numpy batches, shuffled": lambda: sum(
            len(b["rows"]) for b in iterate_batches(dataset, batch, seed=1)
        ),
    }


def prepare(star: Path, folder: Path) -> dict[PixelType, PreparedDataset]:
    """Return the prepared sets of a star file."""
    table = read_particle_table(star)
    sets = {}
    for stored_as in PixelType:
        started_s = time.process_time()
        target = folder / str(stored_as) / "particles"
        files = prepare_images(table, target, PreprocessingOptions(), stored_as, "C1")
        rate = len(table) / (time.process_time() - started_s)
        size_mb = files.images.stat().st_size / 1e6
        print(f"  preparing as {stored_as}: {rate:,.0f} items/s, {size_mb:,.0f} MB")
        sets[stored_as] = PreparedDataset(files.star)
    return sets


def compare(box: int, args: argparse.Namespace, folder: Path) -> None:
    """Print a table for one box."""
    print(f"box {box}, {args.particles} particles, batches of {args.batch}")
    star = make_particles(folder, box, args.particles, "C1")
    ways = {
        f"{stored_as}, {name}": once
        for stored_as, dataset in prepare(star, folder).items()
        for name, once in passes(dataset, args.batch).items()
    }
    peer = Peer(args.peer_python, star, args.batch) if args.peer_python else None
    rates: dict[str, list[float]] = {name: [] for name in [*ways, "peer"]}
    for once in ways.values():
        once()  # what is loaded once is not timed
    for _ in range(args.repeats):
        for name, once in ways.items():
            rates[name].append(items_per_cpu_s(once))
        if peer:
            rates["peer"].append(peer.items_per_cpu_s())
    peers_rate = statistics.median(rates["peer"]) if peer else float("nan")
    for name in ways:
        rate = statistics.median(rates[name])
        print(f"  {name:<36}{rate:>10,.0f} items/s {rate / peers_rate:>8.1f} x")
    if peer:
        print(f"  {'peer ' + peer.version + ', raw, DataLoader':<36}{peers_rate:>10,.0f} items/s")
        peer.close()
    else:
        print("  no --peer-python: nothing to compare with")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", type=Path, help="python of the peer's environment")
    parser.add_argument("--boxes", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--particles", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"wanted: at least {WANTED_RATIO} x the peer through a DataLoader", file=sys.stderr)
    for box in args.boxes:
        with tempfile.TemporaryDirectory() as folder:
            compare(box, args, Path(folder))


if __name__ == "__main__":
    main()
