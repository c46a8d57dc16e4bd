"""Compare a training step of our Image2Sphere with that of the published one.

    python benchmarks/speed/image2sphere.py [--peer PYTHON] [--orders 4] [--repeats 5]
        [--encoder resnet50] [--pixels 256] [--batch 4]

PYTHON is the interpreter of an environment with `cesped==25.12.0` and torchvision (see README.md);
without it our own figures are printed alone. Each package builds the paper's head (l_max 8, 512 and
16 features) in a process of its own, with one thread and an empty temporary folder, which is where
the published one leaves its tables; then they take steps in turn. Processor seconds are compared,
medians, the first step left out: it warms up.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TIMER = Path(__file__).with_name("image2sphere_timer.py")
COLUMNS = ("step_s", "head_s", "optimizer_s")


class Timer:
    """A process with one package that takes a step whenever it is told to."""

    def __init__(self, python: str, order: int, args: argparse.Namespace, folder: Path) -> None:
        folder.mkdir(parents=True)
        command = [python, "-W", "ignore", str(TIMER), "--order", str(order)]
        command += ["--encoder", args.encoder, "--pixels", str(args.pixels)]
        command += ["--batch", str(args.batch)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"},
        )
        self.batch = args.batch
        self.about = self._answer()
        self.steps: list[dict[str, float]] = []

    def run(self) -> None:
        """Take one step."""
        if self._process.stdin is not None:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        self.steps.append(self._answer())

    def median_s(self, column: str) -> float:
        """Return the median processor seconds for each image, the first step left out."""
        return statistics.median(step[column] for step in self.steps[1:]) / self.batch

    @property
    def memory_gib(self) -> float:
        """The largest memory of the process [GiB]."""
        return self.steps[-1]["memory_gib"]

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> dict:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise SystemExit(f"{' '.join(map(str, self._process.args))} ended; see above")
        return json.loads(line)


def describe(name: str, timer: Timer) -> str:
    """Return a line of the table."""
    about = timer.about
    times = "".join(f"{1e3 * timer.median_s(column):12.1f}" for column in COLUMNS)
    return (
        f"{name:8s}{about['build_wall_s']:9.1f}{about['build_cpu_s']:9.1f}"
        f"{about['disk_gib']:9.2f}{timer.memory_gib:9.2f}{times}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="python with cesped 25.12.0 and torchvision")
    parser.add_argument("--orders", type=int, nargs="+", default=[4])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--encoder", default="resnet50")
    parser.add_argument("--pixels", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    args = parser.parse_args()
    pythons = {"ours": sys.executable, **({"peer": args.peer} if args.peer else {})}
    for order in args.orders:
        print(
            f"order {order}, {args.encoder}, {args.pixels} px, batch {args.batch}; CPU ms an image"
        )
        print("         build s    CPU s  disk GiB  RSS GiB        step    no encoder   optimizer")
        with tempfile.TemporaryDirectory() as folder:
            timers = {
                name: Timer(python, order, args, Path(folder) / name)
                for name, python in pythons.items()
            }
            for _ in range(args.repeats + 1):
                for timer in timers.values():
                    timer.run()
            for name, timer in timers.items():
                timer.close()
                print(describe(name, timer), flush=True)
        if len(timers) == 2:
            ours, peer = timers["ours"], timers["peer"]
            ratios = "".join(f"{peer.median_s(c) / ours.median_s(c):12.2f}" for c in COLUMNS)
            build = f"{peer.about['build_cpu_s'] / ours.about['build_cpu_s']:9.1f}"
            memory = f"{peer.memory_gib / ours.memory_gib:9.2f}"
            print(f"ratio            {build}         {memory}{ratios}")


if __name__ == "__main__":
    main()
