"""Compare how fast images come out of our dataset and out of the published one.

    python benchmarks/speed/dataset.py [--peer PYTHON] [--boxes 128 256] [--workers 0 1 2]
        [--repeats 5] [--augment no yes] [--batch 64]

PYTHON is the interpreter of an environment with `cesped==25.12.0` and torchvision (see README.md);
without it our own figures are printed alone. Both go through the same particles in turn, a pass
each: phase flip, normalisation by the background, default crop (0.25) and resize to the size of the
file, through `torch.utils.data.DataLoader`, each process with one thread. Medians are printed, and
beside them the floor: reading an image and its two real Fourier transforms cannot be avoided.
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

import numpy as np
import pandas as pd
import torch

from cesped.io.stack import StackReader, StackWriter
from cesped.io.star_writer import write_star

TIMER = Path(__file__).with_name("dataset_timer.py")
#: Pixels of a pass: large enough for a second or so.
PASS_PX = 8192 * 128**2
PIXEL_SIZE_ANGST = 1.5


def write_noise_stack(path: Path, count: int, box: int) -> None:
    """Write images of noise."""
    rng = np.random.default_rng(1)
    with StackWriter(path, count, box, PIXEL_SIZE_ANGST) as writer:
        for _ in range(count):
            writer.append(1 + 3 * rng.standard_normal((box, box), dtype=np.float32))


def make_particles(
    folder: Path,
    box: int,
    count: int,
    write_stack: Callable[[Path, int, int], None] = write_noise_stack,
) -> Path:
    """Write images and a star file with the columns of a refinement; return its path."""
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True)
    write_stack(folder / "particles.mrcs", count, box)
    defocus_angst = rng.uniform(8_000, 25_000, count)
    columns = {
        "rlnImageName": [f"{row + 1:06d}@particles.mrcs" for row in range(count)],
        "rlnMicrographName": [f"micrograph_{row // 100:05d}.mrc" for row in range(count)],
        "rlnDefocusU": defocus_angst,
        "rlnDefocusV": defocus_angst - rng.uniform(0, 500, count),
    }
    for name, (low, high) in {
        "rlnCoordinateX": (0, 4000),
        "rlnCoordinateY": (0, 4000),
        "rlnAngleRot": (-180, 180),
        "rlnAngleTilt": (0, 180),
        "rlnAnglePsi": (-180, 180),
        "rlnOriginXAngst": (-5, 5),
        "rlnOriginYAngst": (-5, 5),
        "rlnDefocusAngle": (0, 180),
        "rlnCtfMaxResolution": (3, 6),
        "rlnCtfFigureOfMerit": (0, 0.2),
        "rlnMaxValueProbDistribution": (0.1, 1),
        "rlnLogLikeliContribution": (1e4, 1e5),
        "rlnNormCorrection": (0.9, 1.1),
    }.items():
        columns[name] = rng.uniform(low, high, count)
    for name in ("rlnClassNumber", "rlnGroupNumber", "rlnRandomSubset", "rlnOpticsGroup"):
        columns[name] = np.ones(count, dtype=int)
    optics = {
        "rlnOpticsGroup": [1],
        "rlnOpticsGroupName": ["opticsGroup1"],
        "rlnVoltage": [300.0],
        "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.1],
        "rlnImagePixelSize": [PIXEL_SIZE_ANGST],
        "rlnImageSize": [box],
        "rlnImageDimensionality": [2],
    }
    star = folder / "particles.star"
    write_star(star, {"optics": pd.DataFrame(optics), "particles": pd.DataFrame(columns)})
    return star


class Timer:
    """A process with one package that goes through the particles whenever it is told to."""

    def __init__(self, python: str, star: Path, augment: bool, workers: int, batch: int):
        command = [python, "-W", "ignore", str(TIMER), str(star), str(star.parent)]
        command += ["--workers", str(workers), "--batch", str(batch)]
        command += ["--augment"] if augment else []
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.about = self._answer()
        self.passes: list[dict[str, float]] = []

    def run(self) -> None:
        """Go through all particles once."""
        if self._process.stdin is not None:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        self.passes.append(self._answer())

    def median_us(self, key: str) -> float:
        """Return the median over the passes of a time for each particle [microseconds]."""
        return 1e6 * statistics.median(one[key] / one["particles"] for one in self.passes)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> dict:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise SystemExit(f"{' '.join(map(str, self._process.args))} ended; see above")
        return json.loads(line)


def floor_us(star: Path, box: int, repeats: int) -> float:
    """Return what reading an image and two real FFTs of it cost on one thread [microseconds]."""
    torch.set_num_threads(1)
    reader, stack = StackReader(), star.with_name("particles.mrcs")
    count, step = reader.info(stack).n_images, max(1, 2**17 // box**2)
    memory = np.empty((step, box, box), np.float32)
    seconds = []
    for _ in range(repeats + 1):  # the first one warms up
        started = time.process_time()
        for start in range(0, count - step + 1, step):
            images = reader.read(stack, np.arange(start, start + step), memory)
            half_planes = torch.fft.rfft2(torch.from_numpy(images))
            torch.fft.irfft(torch.fft.ifft(half_planes, dim=-2), n=box)
        seconds.append((time.process_time() - started) / (count // step * step))
    return 1e6 * statistics.median(seconds[1:])


def compare(args: argparse.Namespace, star: Path, augment: bool, workers: int) -> list[Timer]:
    """Return ours and the peer's timer after `repeats` passes in turn."""
    pythons = [sys.executable, *([args.peer] if args.peer else [])]
    timers = [Timer(python, star, augment, workers, args.batch) for python in pythons]
    for _ in range(args.repeats):
        for timer in timers:
            timer.run()
    for timer in timers:
        timer.close()
    return timers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="python with cesped 25.12.0 and torchvision")
    parser.add_argument("--boxes", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--augment", nargs="+", choices=["no", "yes"], default=["no", "yes"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args()
    print(
        "box augment workers |   ours/s   peer/s  ratio | CPU us an item: ours   peer  ratio |",
        end="",
    )
    print(" ours/s a core  share of the floor")
    alone: dict[tuple[int, str], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for box in args.boxes:
            star = make_particles(Path(folder) / str(box), box, max(64, PASS_PX // box**2))
            floor = floor_us(star, box, args.repeats)
            for augment in args.augment:
                for workers in args.workers:
                    timers = compare(args, star, augment == "yes", workers)
                    wall = [timer.median_us("wall_s") for timer in timers] + [float("nan")]
                    cpu = [timer.median_us("cpu_s") for timer in timers] + [float("nan")]
                    print(
                        f"{box:3d} {augment:>7s} {workers:7d} | {1e6 / wall[0]:8.0f} "
                        f"{1e6 / wall[1]:8.0f} {wall[1] / wall[0]:6.2f} | {cpu[0]:20.0f} "
                        f"{cpu[1]:6.0f} {cpu[1] / cpu[0]:6.2f} | {1e6 / cpu[0]:14.0f} "
                        f"{100 * floor / cpu[0]:18.0f} %",
                        flush=True,
                    )
                    if workers == 1:
                        alone[box, augment] = wall[0]
                    elif workers == 2 and (box, augment) in alone:
                        scaling = alone[box, augment] / wall[0]
                        print(f"    two workers are {scaling:.2f} times as fast as one")
            print(f"    floor at {box}: {floor:.0f} us of CPU an image", flush=True)


if __name__ == "__main__":
    main()
