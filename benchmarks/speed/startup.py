"""Print what `import cesped` and the help of each command cost beside a bare interpreter.

    python benchmarks/speed/startup.py [--repeats 7]

Every command is a process of its own; all are run in turn, and medians are printed.
"""

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import cesped": ["-c", "import cesped"],
    "cesped --help": ["-m", "cesped", "--help"],
    "evaluateEntry --help": ["-m", "cesped.evaluateEntry", "--help"],
    "trainEntry --help": ["-m", "cesped.trainEntry", "--help"],
    "inferEntry --help": ["-m", "cesped.inferEntry", "--help"],
    "particlesDataset --help": ["-m", "cesped.particlesDataset", "--help"],
}


def seconds_of(words: list[str]) -> float:
    """Return the wall time of one Python process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats):
        for name, words in COMMANDS.items():
            times[name].append(seconds_of(words))
    bare = statistics.median(times["python -c pass"])
    print(f"{'command':26s} {'median s':>9s} {'over bare s':>12s}   ({repeats} runs in turn)")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:26s} {median:9.3f} {median - bare:12.3f}")


if __name__ == "__main__":
    main()
