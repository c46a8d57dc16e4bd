"""Print and draw how the cost of a reconstruction grows with particles, box and symmetry.

    python benchmarks/speed/reconstruction_cost.py [--quick] [--threads 2] [--repeats 3]
        [--backend native] [--out benchmarks/speed/reconstruction_cost.png]

Each run is a process of its own (`one_reconstruction.py`): the library call from star file and
stack to map, gridding iterations included, with what loading it costs left out. Medians. Processor
seconds are what to look at where other work shares the machine. The table is Markdown, and so are
the lines below it, which say how steep the cost is: what a particle adds (a straight line through
all runs), the dearest group, and the power of the box that it grows with (between the largest two).

The limit is measured in the same run, on one thread: the transforms that cannot be avoided (one of
each image, and two of half of the padded grid for each gridding iteration, at the rate of lines in
the cache), and the bytes that adding each sample to eight voxels of 12 bytes moves, at the rate at
which a large array is copied.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.fft
from reconstruction import make_particles

from cesped.physics.gridding import GRIDDING_ITERATIONS, convolution_size
from cesped.physics.half_ball import ball_radius

#: What is varied: name, and (box, particles, symmetry) of each run.
SERIES: dict[str, list[tuple[int, int, str]]] = {
    "particles": [(128, n, "C1") for n in (500, 1000, 2000, 4000, 8000)],
    "box [px]": [(box, 500, "C1") for box in (64, 96, 128, 192, 256)],
    "operators": [(128, 500, name) for name in ("C1", "C2", "D2", "D7", "T", "O", "I1")],
}
QUICK: dict[str, list[tuple[int, int, str]]] = {
    "particles": [(48, n, "C1") for n in (50, 100, 200)],
    "box [px]": [(box, 100, "C1") for box in (32, 48, 64)],
    "operators": [(48, 100, name) for name in ("C1", "D2", "O")],
}
OPERATORS = {"C1": 1, "C2": 2, "D2": 4, "T": 12, "D7": 14, "O": 24, "I1": 60}


class Cost(NamedTuple):
    """One row of the table; times are medians."""

    box: int
    particles: int
    symmetry: str
    wall_s: float
    cpu_s: float
    peak_gb: float

    def along(self, series: str) -> int:
        """Return what is varied in a series."""
        values = {"particles": self.particles, "box [px]": self.box}
        return values.get(series, OPERATORS[self.symmetry])


def measure(
    star: Path, warm_up: Path, case: tuple[int, int, str], arguments: argparse.Namespace
) -> Cost:
    """Run one case several times."""
    command = [sys.executable, str(Path(__file__).with_name("one_reconstruction.py"))]
    command += [str(star), str(star.parent / "map.npy"), "--symmetry", case[2]]
    command += ["--first", str(case[1]), "--threads", str(arguments.threads)]
    command += ["--backend", arguments.backend, "--warm-up", str(warm_up)]
    runs = []
    for _ in range(arguments.repeats):
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    figures = [
        statistics.median(run[name] for run in runs) for name in ("wall_s", "cpu_s", "peak_gb")
    ]
    return Cost(*case, *figures)


def particle_maker(
    folder: Path, series: dict[str, list[tuple[int, int, str]]]
) -> Callable[[int], Path]:
    """Return a function that gives the star file of a box, made when first asked for."""
    made: dict[int, Path] = {}

    def star_of(box: int) -> Path:
        if box not in made:
            cases = [case for rows in series.values() for case in rows]
            most = max(particles for size, particles, _ in cases if size == box)
            made[box] = make_particles(folder / str(box), box, most, "C1")
        return made[box]

    return star_of


def processor_s(work: Callable[[], object], repeats: int = 3) -> float:
    """Return the least processor time of a piece of work [s]."""
    taken = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return min(taken)


class Limit:
    """What a reconstruction cannot cost less than, measured here, on one thread."""

    _BYTES_A_SAMPLE = 2 * 8 * 12  # eight voxels, read and written

    def __init__(self) -> None:
        source = np.ones(1 << 24, np.float32)
        target = np.zeros_like(source)
        copied_s = processor_s(lambda: np.copyto(target, source))
        self._s_a_byte = copied_s / (2 * source.nbytes)
        self._transforms: dict[int, tuple[float, float]] = {}

    def processor_s(self, box: int, particles: int) -> float:
        """Return the processor seconds of the transforms and of the memory traffic."""
        if box not in self._transforms:
            images = np.ones((max(1, (1 << 20) // box**2), box, box), np.float32)
            image_s = processor_s(lambda: scipy.fft.rfft2(images)) / len(images)
            n = convolution_size(ball_radius(box, 2))
            lines = np.ones((max(1, (1 << 16) // n), n), np.float32)
            line_s = processor_s(lambda: scipy.fft.rfft(lines), 50) / len(lines)
            # a grid is n^2 lines along each of three axes, of which symmetry makes half the same
            self._transforms[box] = image_s, 3 * n**2 / 2 * line_s
        image_s, grid_s = self._transforms[box]
        samples = np.pi / 2 * (box / 2) ** 2
        particle_s = image_s + samples * self._BYTES_A_SAMPLE * self._s_a_byte
        return particles * particle_s + 2 * GRIDDING_ITERATIONS * grid_s


def slopes(costs: dict[str, list[Cost]]) -> dict[str, str]:
    """Return in words how the processor seconds of each series grow."""
    particles, boxes, operators = costs["particles"], costs["box [px]"], costs["operators"]
    each_s, fixed_s = _line(particles, "particles")
    one, most = operators[0], max(operators, key=lambda row: row.cpu_s)
    small, large = boxes[-2:]
    power = np.log(large.cpu_s / small.cpu_s) / np.log(large.box / small.box)
    growth = np.log(large.peak_gb / small.peak_gb) / np.log(large.box / small.box)
    return {
        "particles": f"{fixed_s:.2f} s + {1e3 * each_s:.3f} ms a particle",
        "box [px]": f"box to the power {power:.1f} in time, {growth:.1f} in memory",
        "operators": f"{most.symmetry} most: {most.cpu_s / one.cpu_s:.1f} times {one.symmetry}",
    }


def _line(rows: list[Cost], series: str) -> tuple[float, float]:
    """Return slope and start of the straight line through the processor seconds."""
    slope, start = np.polyfit([row.along(series) for row in rows], [row.cpu_s for row in rows], 1)
    return float(slope), float(start)


def draw(costs: dict[str, list[Cost]], limit: Limit, path: Path, label: str) -> None:
    """Draw processor seconds, their limit and memory against what is varied, one panel each."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
    grown = slopes(costs)
    for panel, (series, rows) in zip(panels, costs.items(), strict=True):
        rows = sorted(rows, key=lambda row: row.along(series))
        values = [row.along(series) for row in rows]
        panel.plot(values, [row.cpu_s for row in rows], "o-", color="#0072B2", label="time")
        least = [limit.processor_s(row.box, row.particles) for row in rows]
        panel.plot(values, least, ":", color="#555555", label="its limit")
        panel.set(xlabel=series, ylabel="processor seconds", xlim=(0, 1.05 * max(values)))
        panel.set_ylim(0, 1.25 * max(row.cpu_s for row in rows))
        shown = [
            v for at, v in enumerate(values) if at == 0 or v - values[at - 1] > values[-1] / 12
        ]
        panel.set_xticks(shown, [str(value) for value in shown], fontsize=8)
        if series == "operators":
            for value, row in zip(values, rows, strict=True):
                panel.annotate(
                    row.symmetry, (value, row.cpu_s), (3, 6), textcoords="offset points", fontsize=8
                )
        memory = panel.twinx()
        peaks = [row.peak_gb for row in rows]
        memory.plot(values, peaks, "s--", color="#D55E00", markersize=4, label="memory")
        memory.set_ylim(0, 1.25 * max(peaks))
        memory.set_ylabel("peak memory [GB]")
        panel.set_title(f"{_fixed(series, rows[0])}\n{grown[series]}", fontsize=9)
    lines = [line for axes in figure.axes[:4:3] for line in axes.get_lines()]
    panels[0].legend(handles=lines, loc="upper left", frameon=False, fontsize=8)
    figure.suptitle(label, fontsize=10)
    figure.savefig(path, dpi=110)


def _fixed(series: str, row: Cost) -> str:
    parts = {
        "particles": f"{row.particles} particles",
        "box [px]": f"{row.box} px",
        "operators": row.symmetry,
    }
    return ", ".join(text for name, text in parts.items() if name != series)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, in a minute")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--backend", default="native", help="native or torch")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".png"))
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    series = QUICK if arguments.quick else SERIES
    costs: dict[str, list[Cost]] = {}
    print("| box px | particles | symmetry | wall s | processor s | peak GB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="cesped-speed-") as name:
        warm_up = make_particles(Path(name) / "small", 32, 8, "C1")
        star_of = particle_maker(Path(name), series)
        for what, cases in series.items():
            costs[what] = []
            for case in cases:
                cost = measure(star_of(case[0]), warm_up, case, arguments)
                costs[what].append(cost)
                print(
                    f"| {cost.box} | {cost.particles} | {cost.symmetry} | {cost.wall_s:.2f} "
                    f"| {cost.cpu_s:.2f} | {cost.peak_gb:.2f} |",
                    flush=True,
                )
    print()
    for what, words in slopes(costs).items():
        print(f"* {what}: {words}")
    limit = Limit()
    for what, rows in costs.items():
        last = rows[-1]
        least = limit.processor_s(last.box, last.particles)
        print(f"* limit of the last run of {what}: {least:.2f} s, {100 * least / last.cpu_s:.0f} %")
    draw(costs, limit, arguments.out, f"{arguments.backend} engine, {arguments.threads} threads")
    print(f"wrote {arguments.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
