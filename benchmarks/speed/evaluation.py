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

RELION's processes are counted with the program that starts them. Last come the published figures
of both.
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
from cesped.data.demo_entry import DemoSpecification, make_entry
from cesped.evaluation.published import PUBLISHED_KEYS
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import rotations_about_random_axes

ENTRY = "SPEED"
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


def make_inputs(folder: Path, box: int, n_particles: int) -> tuple[Path, Path]:
    """Write an entry and predictions of its halves; return the predictions."""
    specification = DemoSpecification(
        ENTRY, "C1", n_particles_per_half=n_particles, box=box, pixel_size_angst=2.0, snr=0.1
    )
    make_entry(specification, folder / "entries")
    generator = np.random.default_rng(3)
    predictions = []
    for half in (0, 1):
        star = folder / "entries" / ENTRY / f"particles_{half}.star"
        # without this the published program would want to download an entry that is not known
        star.with_name(f"SUCCESSFUL_DOWNLOAD_{half}.txt").touch()
        table = read_particle_table(star)
        truth = table.require_poses()
        table.particles["rlnMaxValueProbDistribution"] = generator.uniform(0.1, 1, len(table))
        write_particle_table(star, table)
        turns = rotations_about_random_axes(len(table), 6.0, generator)
        turned = Poses(turns @ truth.rotations, truth.origins_angst, truth.confidence)
        predictions.append(folder / f"predicted_{half}.star")
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
    folder: Path, predictions: tuple[Path, Path], args: argparse.Namespace
) -> dict[str, Way]:
    """Return the ways to evaluate; the cached ones need a cold run before."""

    def ours(cache: str | None) -> tuple[float, float, float]:
        command = [sys.executable, "-m", "cesped.evaluateEntry", "--targetName", ENTRY]
        command += ["--predictionType", "SO3", "--benchmarkDir", str(folder / "entries")]
        command += ["--half0PredsFname", str(predictions[0])]
        command += ["--half1PredsFname", str(predictions[1])]
        command += ["--outdir", str(folder / "ours"), "--n_cpus", str(args.threads)]
        if cache:
            command += ["--mapCache", str(folder / cache)]
        return watched(command)

    def peer(is_cold: bool) -> tuple[float, float, float]:
        outdir = folder / "peer"
        if is_cold:
            shutil.rmtree(outdir, ignore_errors=True)
            outdir.mkdir()
            shutil.copy(folder / "entries" / ENTRY / "mask.mrc", outdir)
        command = [args.peer, "-W", "ignore", str(TIMER), ENTRY, str(folder / "entries")]
        command += [*map(str, predictions), str(outdir), str(args.peer_processes)]
        return watched(command)

    ways = {"ours cold": lambda: ours(None), "ours cached": lambda: ours("cache")}
    if args.peer:
        ways |= {"peer cold": lambda: peer(True), "peer cached": lambda: peer(False)}
    return {name: Way(name, run) for name, run in ways.items()}


def print_ratios(ways: dict[str, Way]) -> None:
    """Print what each way took, and the ratios."""
    for way in ways.values():
        wall_s, cpu_s, peak_gb = (way.median(what) for what in range(3))
        print(f"  {way.name:12s}{wall_s:8.1f} s {cpu_s:8.1f} CPU s {peak_gb:6.2f} GB")
    for kind, wanted in WANTED.items():
        ours = ways[f"ours {kind}"]
        for peers in (way for name, way in ways.items() if name.startswith("peer")):
            wall, cpu = (peers.median(what) / ours.median(what) for what in (0, 1))
            goal = f" (wanted: {wanted})" if peers.name == "peer cold" else ""
            print(f"  {ours.name} to {peers.name}: {wall:.1f} of time, {cpu:.1f} of CPU time{goal}")


def print_figures(folder: Path) -> None:
    """Print the published figures of both programs beside each other."""
    ours, peers = (
        json.loads((folder / name / "metrics.json").read_text()) for name in ("ours", "peer")
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
        predictions = make_inputs(folder, args.box, args.particles)
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
