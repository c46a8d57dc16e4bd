"""Compute a masked FSC and both its resolutions with ours and with the published program, in turn.

    python benchmarks/speed/fsc.py [--peer PYTHON] [--box 256] [--repeats 3]

PYTHON is the interpreter of an environment with `cesped==25.12.0` and torchvision (see README.md);
without it our own figures are printed alone. Both get the same two maps (smooth noise and noise)
and a soft mask, in memory, and give the resolution at 0.143 and at 0.5. Every process has one
thread, lives through all repeats, and has computed a small FSC before it is timed. Medians are
printed; memory is what is held at most beyond the process with the maps, before the call.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from cesped.physics.masks import soft_sphere

TIMER = Path(__file__).with_name("fsc_timer.py")
#: What must hold at 256 voxels, at most.
WANTED_CPU_S, WANTED_GB = 1.0, 0.6


def write_maps(path: Path, box: int) -> None:
    """Write two maps that share a signal, and a mask."""
    generator = np.random.default_rng(1)
    signal = gaussian_filter(generator.standard_normal((box,) * 3, dtype=np.float32), 1.5)
    signal /= signal.std()
    first, second = (
        signal + np.float32(0.7) * generator.standard_normal(signal.shape, dtype=np.float32)
        for _ in range(2)
    )
    np.savez(path, first=first, second=second, mask=soft_sphere(box, 0.3 * box, 6.0))


class Timer:
    """A process with one package that computes whenever it is told to."""

    def __init__(self, python: str, maps: Path):
        command = [python, "-W", "ignore", str(TIMER), str(maps)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.before_gb = self._answer()["before_gb"]
        self.answers: list[dict] = []

    def run(self) -> None:
        """Compute once."""
        if self._process.stdin is not None:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
        self.answers.append(self._answer())

    def median(self, key: str) -> float:
        """Return the median of a figure over the runs."""
        return statistics.median(answer[key] for answer in self.answers)

    @property
    def extra_gb(self) -> float:
        """Return the most memory that the runs held beyond what was held before [GB]."""
        return max(answer["peak_gb"] for answer in self.answers) - self.before_gb

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> dict:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise SystemExit(f"{' '.join(map(str, self._process.args))} ended; see above")
        return json.loads(line)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", metavar="PYTHON", help="has cesped 25.12.0")
    parser.add_argument("--box", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    pythons = {"ours": sys.executable} | ({"peer": args.peer} if args.peer else {})
    with tempfile.TemporaryDirectory() as folder:
        maps = Path(folder) / "maps.npz"
        write_maps(maps, args.box)
        timers = {name: Timer(python, maps) for name, python in pythons.items()}
        for _ in range(args.repeats):
            for timer in timers.values():
                timer.run()
        for timer in timers.values():
            timer.close()
    print(f"masked FSC, box {args.box}, resolutions at 0.143 and 0.5, medians of {args.repeats}")
    for name, timer in timers.items():
        resolutions = ", ".join(f"{r:.3f}" for r in timer.answers[-1]["resolutions_angst"])
        print(
            f"  {name}: {timer.median('cpu_s'):6.2f} CPU s, {timer.median('wall_s'):6.2f} s, "
            f"{timer.extra_gb:5.2f} GB; {resolutions} A"
        )
    ours = timers["ours"]
    if "peer" in timers:
        peer = timers["peer"]
        cpu = peer.median("cpu_s") / ours.median("cpu_s")
        print(f"  ratio: {cpu:.1f} of CPU seconds, {peer.extra_gb / ours.extra_gb:.1f} of memory")
    holds = ours.median("cpu_s") <= WANTED_CPU_S and ours.extra_gb <= WANTED_GB
    if args.box == 256:
        verdict = "holds" if holds else "does not hold"
        print(f"  wanted: at most {WANTED_CPU_S:g} CPU s and {WANTED_GB:g} GB: {verdict}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
