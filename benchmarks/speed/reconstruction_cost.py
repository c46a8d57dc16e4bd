"""Print and draw how the cost of a reconstruction grows with particles, box and symmetry.

    python benchmarks/speed/reconstruction_cost.py [--quick] [--threads 2] [--repeats 3]
        [--backend native] [--out benchmarks/speed/reconstruction_cost.png]

Each run is a process of its own (`one_reconstruction.py`): the library call from star file and
stack to map, gridding iterations included, with what loading it costs left out. Medians. Processor
seconds are what to look at where other work shares the machine. The table is Markdown.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from reconstruction import make_particles

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


def draw(costs: dict[str, list[Cost]], path: Path, label: str) -> None:
    """Draw processor seconds and memory against what is varied, one panel each."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
    for panel, (series, rows) in zip(panels, costs.items(), strict=True):
        values = [row.along(series) for row in rows]
        panel.plot(values, [row.cpu_s for row in rows], "o-", color="#0072B2")
        panel.set(xlabel=series, ylabel="processor seconds", xlim=(0, 1.05 * max(values)))
        panel.set_ylim(0, 1.15 * max(row.cpu_s for row in rows))
        panel.set_xticks(values, [str(value) for value in values], fontsize=8)
        memory = panel.twinx()
        memory.plot(values, [row.peak_gb for row in rows], "s--", color="#D55E00", markersize=4)
        memory.set_ylim(0, 1.15 * max(row.peak_gb for row in rows))
        memory.set_ylabel("peak memory [GB], dashed")
        panel.set_title(_fixed(series, rows[0]), fontsize=9)
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
    draw(costs, arguments.out, f"{arguments.backend} engine, {arguments.threads} threads")
    print(f"wrote {arguments.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
