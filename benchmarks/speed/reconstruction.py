"""Reconstruct the same particles with cesped and with relion_reconstruct, and print the ratio.

    python benchmarks/speed/reconstruction.py [--box 128] [--particles 2000] [--repeats 3]
        [--symmetry C1] [--threads 2]
    python benchmarks/speed/reconstruction.py --full

The particles (a chain phantom with poses, shifts, astigmatic CTFs and noise, SNR 0.1) are made in a
temporary folder. The programs then run in turn on them, with and without the gridding iterations:
ours (the library call, from star file and stack to map; loading it is printed apart), RELION in one
process, and RELION in two MPI processes where that is installed. The ratio is to the faster of the
two; the number of its processes stands behind its seconds. The ratio of processor seconds, which
other work on the machine disturbs less, and that of memory are to RELION in one process. Last comes
how well the maps agree up to 0.9 Nyquist.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from cesped.data.conventions import read_particle_table
from cesped.data.simulation.stack import simulate_stack
from cesped.geometry.poses import Poses
from cesped.io.mrc import read_volume
from cesped.physics.ctf import CtfParameters
from cesped.physics.density import density_from_atoms
from cesped.physics.phantom import chain_phantom
from cesped.reconstruction.protocol import PoseSet
from cesped.reconstruction.relion_star import write_relion_star

PIXEL_SIZE_ANGST = 2.0
SNR = 0.1

#: A small process that runs another one: of a large one's child, the system counts both.
WATCH = """
import json, os, resource, subprocess, sys, time
started = time.perf_counter()
status = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
wall_s = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([status, wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024e-9]))
"""


def make_particles(folder: Path, box: int, n_particles: int, symmetry: str) -> Path:
    """Write a star file and its stack, and return the star file."""
    generator = np.random.default_rng(7)
    radius_angst = 0.3 * box * PIXEL_SIZE_ANGST
    phantom = chain_phantom(1200, radius_angst, generator, symmetry)
    volume = density_from_atoms(
        phantom.positions_angst, phantom.weights, box, PIXEL_SIZE_ANGST, 2.5 * PIXEL_SIZE_ANGST
    )
    poses = Poses(
        Rotation.random(n_particles, random_state=generator).as_matrix(),
        generator.uniform(-3, 3, (n_particles, 2)) * PIXEL_SIZE_ANGST,
        np.ones(n_particles),
    )
    defocus_angst = generator.uniform(8000, 25000, n_particles)
    ctf = CtfParameters(
        defocus_u_angst=defocus_angst + 250,
        defocus_v_angst=defocus_angst - 250,
        defocus_angle_deg=generator.uniform(0, 180, n_particles),
        voltage_kv=300.0,
        spherical_aberration_mm=2.7,
        amplitude_contrast=0.1,
    )
    drawn = folder / "drawn.star"
    simulate_stack(drawn, volume, PIXEL_SIZE_ANGST, poses, ctf, snr=SNR, generator=generator)
    # with as many digits as RELION's star files have: rounding decides about samples at Nyquist
    table = read_particle_table(drawn)
    star = folder / "particles.star"
    write_relion_star(star, [table], [PoseSet(table.require_poses())], PIXEL_SIZE_ANGST, True)
    return star


@dataclass(frozen=True)
class Run:
    """What one run took; memory is that of the largest process."""

    wall_s: float
    cpu_s: float
    peak_gb: float
    volume: np.ndarray


def run_ours(star: Path, warm_up: Path, case: "Case") -> Run:
    """Run the library call in a process of its own; its start is not in the figures."""
    out = star.parent / "ours.npy"
    command = [sys.executable, str(Path(__file__).with_name("one_reconstruction.py"))]
    command += [str(star), str(out), "--symmetry", case.symmetry, "--warm-up", str(warm_up)]
    command += ["--threads", str(case.threads)] + ([] if case.gridding else ["--no-gridding"])
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    return Run(figures["wall_s"], figures["cpu_s"], figures["peak_gb"], np.load(out))


def run_relion(star: Path, case: "Case", n_processes: int) -> Run:
    """Run RELION's program in the folder of the star file and read its map."""
    command = ["relion_reconstruct"]
    if n_processes > 1:
        command = [
            *("mpirun", "--allow-run-as-root", "--oversubscribe", "-np", str(n_processes)),
            "relion_reconstruct_mpi",
        ]
    command += ["--i", star.name, "--o", "relion.mrc", "--ctf", "--pad", "2"]
    command += ["--sym", case.symmetry.lower()] + ([] if case.gridding else ["--skip_gridding"])
    watched = [sys.executable, "-S", "-c", WATCH, *command]
    done = subprocess.run(watched, cwd=star.parent, check=True, stdout=subprocess.PIPE, text=True)
    status, wall_s, cpu_s, peak_gb = json.loads(done.stdout.splitlines()[-1])
    if status:
        raise SystemExit(f"{' '.join(command)} ended with status {status}")
    return Run(wall_s, cpu_s, peak_gb, read_volume(star.parent / "relion.mrc")[0])


def agreement(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, float]:
    """Return the lowest FSC, the largest error of amplitudes from shell 2 on, and Pearson's r.

    Shells are those of round(|k|) up to 0.9 Nyquist.
    """
    box = len(ours)
    k = np.fft.fftfreq(box, 1 / box)
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(box // 2 + 1) ** 2)
    shells = np.rint(radius).astype(int).ravel()
    a, b = (np.fft.rfftn(volume.astype(np.float64)).ravel() for volume in (ours, theirs))
    power_a, power_b = (np.bincount(shells, np.abs(values) ** 2) for values in (a, b))
    kept = slice(0, int(0.9 * box / 2) + 1)
    fsc = (np.bincount(shells, (a * b.conj()).real) / np.sqrt(power_a * power_b))[kept]
    amplitudes = np.sqrt(power_a / power_b)[kept]
    pearson = np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]
    return float(fsc.min()), float(np.abs(amplitudes[2:] - 1).max()), float(pearson)


def compare(star: Path, warm_up: Path, case: "Case", repeats: int) -> None:
    """Run all programs in turn and print one row; RELION's figures are those of its better way."""
    ours: list[Run] = []
    theirs: dict[int, list[Run]] = {1: []}
    if shutil.which("mpirun") and shutil.which("relion_reconstruct_mpi"):
        theirs[2] = []
    for _ in range(repeats):
        ours.append(run_ours(star, warm_up, case))
        for n_processes, runs in theirs.items():
            runs.append(run_relion(star, case, n_processes))
    best = min(theirs, key=lambda n: median_of(theirs[n], "wall_s"))
    lowest_fsc, amplitude_error, pearson = agreement(ours[-1].volume, theirs[1][-1].volume)
    mine, other = median_of(ours, "wall_s"), median_of(theirs[best], "wall_s")
    cpu = median_of(theirs[1], "cpu_s") / median_of(ours, "cpu_s")
    peak, their_peak = median_of(ours, "peak_gb"), median_of(theirs[1], "peak_gb")
    print(
        f"{case.label:28s} {mine:7.2f} {other:8.2f} ({best}) {other / mine:6.1f} {cpu:6.1f} "
        f"{peak:6.2f} {their_peak:6.2f} {their_peak / peak:5.1f} "
        f"{lowest_fsc:10.6f} {100 * amplitude_error:7.3f} {pearson:9.6f}",
        flush=True,
    )


def median_of(runs: list[Run], name: str) -> float:
    return statistics.median(getattr(run, name) for run in runs)


def print_limit(case: "Case") -> None:
    """Print what the work amounts to, whoever does it, to set the seconds against."""
    size = 2 * case.box
    samples = case.particles * np.pi / 2 * (case.box / 2) ** 2
    moved_gb = samples * 8 * 12 * 2 / 1e9
    # the density and its transform are real and even: a quarter of a complex transform
    transforms = 20 * 1.25 * size**3 * 3 * np.log2(size) / 1e9
    print(
        f"{'':28s} insertion reads and writes {moved_gb:.1f} GB (8 voxels of 12 bytes a sample)"
        + (f"; the gridding iterations take {transforms:.1f} GFLOP of FFT" if case.gridding else "")
    )


def startup_seconds(star: Path, cache_dir: Path | None) -> float:
    """Return how long a fresh process takes to reconstruct a handful of 32 px particles."""
    words = "from cesped.data.conventions import read_particle_table as read\n"
    words += "from cesped.reconstruction.backends import make_reconstructor\n"
    words += "from cesped.reconstruction.protocol import PoseSet, ReconstructionOptions\n"
    words += f"table = read({str(star)!r})\n"
    words += "sets = [PoseSet(table.require_poses())]\n"
    words += "make_reconstructor('native').reconstruct(table, sets, ReconstructionOptions())"
    environment = dict(os.environ)
    if cache_dir is not None:
        environment["NUMBA_CACHE_DIR"] = str(cache_dir)
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", words], check=True, env=environment)
    return time.perf_counter() - started


@dataclass(frozen=True)
class Case:
    """One comparison."""

    box: int
    particles: int
    symmetry: str
    gridding: bool
    threads: int

    @property
    def label(self) -> str:
        how = "gridding" if self.gridding else "no gridding"
        return f"{self.box} px {self.particles:6d} {self.symmetry} {how}"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--box", type=int, default=128, help="image size [px]")
    parser.add_argument("--particles", type=int, default=2000, help="number of particles")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each program")
    parser.add_argument("--symmetry", default="C1", help="point group, e.g. D2")
    parser.add_argument("--threads", type=int, default=2, help="of ours")
    parser.add_argument(
        "--full", action="store_true", help="all sizes of the README's table; half an hour"
    )
    return parser.parse_args()


def chosen_cases(arguments: argparse.Namespace) -> list[Case]:
    """Return what to compare; cases of one size follow each other."""
    if not arguments.full:
        sizes = [(arguments.box, arguments.particles, arguments.symmetry, (True, False))]
    else:
        sizes = [
            (128, 2000, "C1", (True, False)),
            (128, 2000, "D2", (True, False)),
            (128, 20000, "C1", (True, False)),
            (256, 300, "C1", (True,)),
        ]
    return [
        Case(box, particles, symmetry, gridding, arguments.threads)
        for box, particles, symmetry, ways in sizes
        for gridding in ways
    ]


def main() -> int:
    arguments = parse_arguments()
    if shutil.which("relion_reconstruct") is None:
        print("relion_reconstruct is not installed (apt-get install relion): nothing to compare")
        return 0
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OMPI_ALLOW_RUN_AS_ROOT", "1")
    os.environ.setdefault("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
    with tempfile.TemporaryDirectory(prefix="cesped-speed-") as name:
        folder = Path(name)
        small = make_particles(folder / "small", 32, 8, "C1")
        first = startup_seconds(small, folder / "numba")
        print(f"medians of {arguments.repeats} runs in turn; ours on {arguments.threads} threads")
        print(
            f"start-up of ours, not in the table: {startup_seconds(small, None):.1f} s a process, "
            f"{first:.1f} s the first time (kernels are compiled)"
        )
        print(
            f"{'':28s} {'ours s':>7s} {'RELION s':>12s} {'ratio':>6s} {'of CPU':>6s} "
            f"{'GB':>6s} {'RELION':>6s} {'ratio':>5s} {'FSC':>10s} {'ampl %':>7s} {'Pearson':>9s}"
        )
        made: tuple[int, int, str] | None = None
        for case in chosen_cases(arguments):
            size = (case.box, case.particles, case.symmetry)
            if size != made:
                star = make_particles(folder / "all", *size)
                made = size
            compare(star, small, case, arguments.repeats)
            print_limit(case)
    return 0


if __name__ == "__main__":
    sys.exit(main())
