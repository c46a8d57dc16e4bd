"""Evaluate the same predictions with ours and with the published program, in turn; print the ratio.

    python benchmarks/speed/evaluation.py [--peer PYTHON] [--box 128] [--particles 1000]
        [--repeats 3] [--threads 2] [--peer-processes 1]

PYTHON is the interpreter of an environment with `cesped==25.12.0` and torchvision (see README.md);
without it our own figures are printed alone. An entry (chain phantom, SNR 0.1, `--particles` in a
half, a mask) and predictions that are 6 degrees off are made in a temporary folder. Each run is a
program of its own, from its start to its last file:

cold    nothing is there. Ours makes, beside the maps of truth and prediction, those of the truth
        under the predicted weights and of random poses, and a report.
cached  the maps of the true poses are there from a run before: `--mapCache` of ours, the
        folder of the published program.
start   the same with an entry of 20 + 20 particles of 32 px, cold: what the program costs before
        it does anything, its imports, compiled kernels and figures of the report.

Processes that a program starts (RELION's, the one that draws half of our report) are counted with
it. The processor seconds are those of all; work is what a run takes beyond the start. Last come the
published figures of both.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from reconstruction import WATCH

from cesped.data.conventions import read_particle_table, write_particle_table
from cesped.data.demo_entry import make_entry
from cesped.data.demo_specifications import DemoSpecification
from cesped.evaluation.published import PUBLISHED_KEYS
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import rotations_about_random_axes

ENTRY, SMALL_ENTRY = "SPEED", "START"
#: Particles in a half and box of the entry that costs hardly more than starting the program.
SMALL = (20, 32)
TIMER = Path(__file__).with_name("evaluation_timer.py")
#: What must hold, at least: by wall time, cold and with the maps of the true poses at hand.
WANTED = {"cold": 5, "cached": 9}


@dataclass
class Way:
    """One way to evaluate, and what its runs took."""

    name: str
    run: Callable[[], tuple[float, float, float]]
    runs: list[tuple[float, float, float]] = field(default_factory=list)

    def median(self, what: int) -> float:
        """Return the median of wall seconds (0), processor seconds (1) or largest process (2)."""
        return statistics.median(run[what] for run in self.runs)


def make_inputs(folder: Path, entry: str, box: int, n_particles: int) -> tuple[Path, Path]:
    """Write an entry and predictions of its halves; return the predictions."""
    specification = DemoSpecification(
        entry, "C1", n_particles_per_half=n_particles, box=box, pixel_size_angst=2.0, snr=0.1
    )
    make_entry(specification, folder / "entries")
    generator = np.random.default_rng(3)
    predictions = []
    for half in (0, 1):
        star = folder / "entries" / entry / f"particles_{half}.star"
        # without this the published program would want to download an entry that is not known
        star.with_name(f"SUCCESSFUL_DOWNLOAD_{half}.txt").touch()
        table = read_particle_table(star)
        truth = table.require_poses()
        table.particles["rlnMaxValueProbDistribution"] = generator.uniform(0.1, 1, len(table))
        write_particle_table(star, table)
        turns = rotations_about_random_axes(len(table), 6.0, generator)
        turned = Poses(turns @ truth.rotations, truth.origins_angst, truth.confidence)
        predictions.append(folder / f"{entry}_{half}.star")
        weights = generator.uniform(0.1, 1, len(table))
        write_particle_table(
            predictions[half], table.with_poses(turned), predicted_confidence=weights
        )
    return predictions[0], predictions[1]


def watched(command: list[str]) -> tuple[float, float, float]:
    """Return wall seconds, processor seconds and GB of the largest process of a command."""
    words = [sys.executable, "-S", "-c", WATCH, *command]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    status, *figures = json.loads(done.stdout.splitlines()[-1])
    if status:
        raise SystemExit(f"{' '.join(command)} ended with status {status}")
    return figures[0], figures[1], figures[2]


def make_ways(
    folder: Path, predictions: dict[str, tuple[Path, Path]], args: argparse.Namespace
) -> dict[str, Way]:
    """Return the ways to evaluate; the cached ones need a cold run before."""

    def ours(entry: str, cache: str | None) -> tuple[float, float, float]:
        command = [sys.executable, "-m", "cesped.evaluateEntry", "--targetName", entry]
        command += ["--predictionType", "SO3", "--benchmarkDir", str(folder / "entries")]
        command += ["--half0PredsFname", str(predictions[entry][0])]
        command += ["--half1PredsFname", str(predictions[entry][1])]
        command += ["--outdir", str(folder / "ours" / entry), "--n_cpus", str(args.threads)]
        if cache:
            command += ["--mapCache", str(folder / cache)]
        return watched(command)

    def peer(entry: str, is_cold: bool) -> tuple[float, float, float]:
        outdir = folder / "peer" / entry
        if is_cold:
            shutil.rmtree(outdir, ignore_errors=True)
            outdir.mkdir(parents=True)
            shutil.copy(folder / "entries" / entry / "mask.mrc", outdir)
        command = [args.peer, "-W", "ignore", str(TIMER), entry, str(folder / "entries")]
        command += [*map(str, predictions[entry]), str(outdir), str(args.peer_processes)]
        return watched(command)

    ways = {
        "ours cold": lambda: ours(ENTRY, None),
        "ours cached": lambda: ours(ENTRY, "cache"),
        "ours start": lambda: ours(SMALL_ENTRY, None),
    }
    if args.peer:
        ways |= {
            "peer cold": lambda: peer(ENTRY, True),
            "peer cached": lambda: peer(ENTRY, False),
            "peer start": lambda: peer(SMALL_ENTRY, True),
        }
    return {name: Way(name, run) for name, run in ways.items()}


def print_ratios(ways: dict[str, Way]) -> None:
    """Print what each way took, and the ratios."""
    print("| | s | CPU s | work, s | work, CPU s | GB |")
    print("|---|---|---|---|---|---|")
    for name, way in ways.items():
        start = ways[f"{name.split()[0]} start"]
        wall_s, cpu_s, peak_gb = (way.median(what) for what in range(3))
        work = [way.median(what) - start.median(what) for what in (0, 1)]
        told = "| |" if way is start else f"{work[0]:.1f} | {work[1]:.1f} |"
        print(f"| {name} | {wall_s:.1f} | {cpu_s:.1f} | {told} {peak_gb:.2f} |")
    for kind, wanted in WANTED.items():
        ours = ways[f"ours {kind}"]
        for peers in (ways[name] for name in ("peer cold", "peer cached") if name in ways):
            wall, cpu = (peers.median(what) / ours.median(what) for what in (0, 1))
            goal = f" (wanted: {wanted})" if peers.name == "peer cold" else ""
            print(f"{ours.name} to {peers.name}: {wall:.1f} of time, {cpu:.1f} of CPU time{goal}")


def print_figures(folder: Path) -> None:
    """Print the published figures of both programs beside each other."""
    ours, peers = (
        json.loads((folder / name / ENTRY / "metrics.json").read_text())
        for name in ("ours", "peer")
    )
    for key in PUBLISHED_KEYS:
        print(f"  {key:32s}{ours[key]:12.5f}{peers[key]:12.5f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", metavar="PYTHON", help="has cesped 25.12.0")
    parser.add_argument("--box", type=int, default=128)
    parser.add_argument("--particles", type=int, default=1000, help="in each half")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="of ours")
    parser.add_argument("--peer-processes", type=int, default=1, help="of RELION; more: MPI")
    args = parser.parse_args()
    if args.peer and shutil.which("relion_reconstruct") is None:
        print("relion_reconstruct is not installed (apt-get install relion): ours alone is timed")
        args.peer = None
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with tempfile.TemporaryDirectory(prefix="cesped-speed-") as name:
        folder = Path(name)
        predictions = {
            ENTRY: make_inputs(folder, ENTRY, args.box, args.particles),
            SMALL_ENTRY: make_inputs(folder, SMALL_ENTRY, SMALL[1], SMALL[0]),
        }
        ways = make_ways(folder, predictions, args)
        ways["ours cached"].run()  # fills the cache, and compiles what is compiled once
        for _ in range(args.repeats):
            for way in ways.values():
                way.runs.append(way.run())
        print(f"{2 * args.particles} particles, box {args.box}, medians of {args.repeats} in turn")
        print_ratios(ways)
        if args.peer:
            print_figures(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
