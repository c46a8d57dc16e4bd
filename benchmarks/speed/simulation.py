"""Images a second of `cesped simulate` and of `relion_project`, on the same map and particles.

    python benchmarks/speed/simulation.py [--box 128] [--particles 6000] [--repeats 3] [--threads 2]

Both write stacks and star files, in turn, with the CTF; first without noise, then with white noise.
RELION has no threads here: it is run in one process, and with each half in a process of its own, at
the same time; the ratio is to the faster of the two. Ours is timed inside a running interpreter, as
a process that has paid its imports (2 to 3 s) once.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

from cesped.data.simulation.entry import SimulatedMap, simulate_entry
from cesped.data.simulation.plan import SimulationPlan, draw_halves
from cesped.data.simulation.stack import simulated_tables
from cesped.io.mrc import write_volume
from cesped.io.star_writer import write_star
from cesped.physics.atom_density import molecule_density
from cesped.physics.density import density_from_atoms
from cesped.physics.phantom import chain_phantom

PIXEL_ANGST = 3.0
SNR = 0.1
COMPLEX_ATOMS = 118_000


def usage(who):
    """Return the CPU seconds so far."""
    spent = resource.getrusage(who)
    return spent.ru_utime + spent.ru_stime


def timed(call):
    """Return wall seconds and CPU seconds, of this process and its children, of a call."""
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    wall, cpu = time.perf_counter(), sum(map(usage, both))
    call()
    return time.perf_counter() - wall, sum(map(usage, both)) - cpu


class Ours:
    """The native simulator."""

    def __init__(self, folder, volume, plan, threads):
        self.folder, self.plan, self.threads = folder, plan, threads
        self.source = SimulatedMap(volume, PIXEL_ANGST, None, {})

    def run(self):
        shutil.rmtree(self.folder / "SIM-ours", ignore_errors=True)
        simulate_entry(self.plan, self.source, "SIM-ours", self.folder, threads=self.threads)


class Relion:
    """`relion_project`, one process after the other or both at once."""

    def __init__(self, folder, volume, plan, sigma):
        self.folder, self.sigma = folder, sigma
        write_volume(folder / "map.mrc", volume, PIXEL_ANGST)
        halves = draw_halves(plan, PIXEL_ANGST)
        whole = [
            simulated_tables(f"{half}.mrcs", len(volume), PIXEL_ANGST, *drawn)
            for half, drawn in enumerate(halves)
        ]
        for half, tables in enumerate(whole):
            write_star(folder / f"poses_{half}.star", tables)

    def start(self, half):
        command = ["relion_project", "--i", "map.mrc", "--ang", f"poses_{half}.star", "--ctf"]
        command += ["--o", f"relion_{half}", "--angpix", str(PIXEL_ANGST)]
        if self.sigma:
            command += ["--add_noise", "--white_noise", str(self.sigma)]
        return subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL)

    def in_turn(self):
        for half in (0, 1):
            assert self.start(half).wait() == 0

    def at_once(self):
        processes = [self.start(half) for half in (0, 1)]
        assert [process.wait() for process in processes] == [0, 0]


def compare(options, snr):
    """Print one table: medians of runs in turn."""
    radius = 0.3 * options.box * PIXEL_ANGST
    phantom = chain_phantom(1000, radius, np.random.default_rng(0))
    volume = density_from_atoms(
        phantom.positions_angst, phantom.weights, options.box, PIXEL_ANGST, 9.0
    )
    count = options.particles // 2
    plan = SimulationPlan(n_particles=count, max_shift_px=10.0, snr=snr)
    with tempfile.TemporaryDirectory(dir=options.workdir) as name:
        folder = Path(name)
        ours = Ours(folder, volume, plan, options.threads)
        relion = Relion(folder, volume, plan, 1e-3 if snr else None)
        ways = {
            "ours": ours.run,
            "relion_project, one process": relion.in_turn,
            "relion_project, two at once": relion.at_once,
        }
        ours.run()  # compiles, and warms the page cache
        found = {way: [] for way in ways}
        for _ in range(options.repeats):
            for way, call in ways.items():
                found[way].append(timed(call))
    print(f"box {options.box}, {2 * count} particles, {'SNR ' + str(snr) if snr else 'no noise'}:")
    medians = {}
    for way, runs in found.items():
        wall, cpu = (statistics.median(values) for values in zip(*runs, strict=True))
        medians[way] = wall, cpu
        rate = 2 * count / wall
        print(f"  {way:<28} {wall:6.2f} s  {cpu:6.2f} CPU s  {rate:7.0f} images/s")
    own, *theirs = medians.values()
    print(
        f"  ratio of images/s {min(wall for wall, _ in theirs) / own[0]:.2f} to the faster way, "
        f"{theirs[0][0] / own[0]:.2f} to one process; of CPU seconds "
        f"{min(cpu for _, cpu in theirs) / own[1]:.2f}"
    )


def density_of_a_complex():
    """Print how long the density of a large complex takes."""
    generator = np.random.default_rng(0)
    positions = generator.normal(scale=60.0, size=(COMPLEX_ATOMS, 3))
    numbers = generator.choice([6, 7, 8, 16], COMPLEX_ATOMS, p=[0.62, 0.17, 0.2, 0.01])
    molecule_density(positions[:2], numbers[:2], 32, 4.0, 10.0)  # compiles
    wall, cpu = timed(lambda: molecule_density(positions, numbers, 128, 4.0, 10.0))
    print(f"density of {COMPLEX_ATOMS:,} atoms on 128^3: {wall:.2f} s, {cpu:.2f} CPU s")


def main():
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--box", type=int, default=128)
    parser.add_argument("--particles", type=int, default=6000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--workdir", default=None, help="folder on the disk to write to")
    options = parser.parse_args()
    density_of_a_complex()
    for snr in (None, SNR):
        compare(options, snr)


if __name__ == "__main__":
    main()
