"""Reconstruct the same particles with cesped and with relion_reconstruct, and print the ratio.

    python benchmarks/speed/reconstruction.py [--box 128] [--particles 2000] [--repeats 3]
        [--symmetry C1] [--threads 2]

The particles (a chain phantom with poses, shifts, astigmatic CTFs and noise, SNR 0.1) are made in a
temporary folder. The two programs then run in turn on them, with and without the gridding
iterations; medians are printed, and how well the maps agree. Ours is the library call, from star
file and stack to map; what a first call costs more (loading compiled code, or compiling it) is
printed apart. RELION's is its process. Times on a busy machine are worth little: look at the ratio.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from cesped.data.conventions import read_particle_table
from cesped.data.simulation import simulate_stack
from cesped.geometry.poses import Poses
from cesped.io.mrc import read_volume
from cesped.physics.ctf import CtfParameters
from cesped.physics.density import density_from_atoms
from cesped.physics.phantom import chain_phantom
from cesped.reconstruction.native import NativeReconstructor
from cesped.reconstruction.protocol import PoseSet, ReconstructionOptions

PIXEL_SIZE_ANGST = 2.0
SNR = 0.1


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
    star = folder / "particles.star"
    simulate_stack(star, volume, PIXEL_SIZE_ANGST, poses, ctf, snr=SNR, generator=generator)
    return star


def reconstruct_ours(star: Path, options: ReconstructionOptions) -> np.ndarray:
    """Star file in, map out."""
    table = read_particle_table(star)
    return NativeReconstructor().reconstruct(table, [PoseSet(table.require_poses())], options)[0]


def reconstruct_relion(star: Path, options: ReconstructionOptions) -> np.ndarray:
    """Run relion_reconstruct in the folder of the star file and read its map."""
    command = ["relion_reconstruct", "--i", star.name, "--o", "relion.mrc", "--ctf", "--pad", "2"]
    command += ["--sym", options.symmetry.lower()]
    if not options.gridding:
        command.append("--skip_gridding")
    subprocess.run(command, cwd=star.parent, check=True, stdout=subprocess.DEVNULL)
    return read_volume(star.parent / "relion.mrc")[0]


def timed(
    program: Callable[[Path, ReconstructionOptions], np.ndarray],
    star: Path,
    options: ReconstructionOptions,
) -> tuple[float, np.ndarray]:
    started = time.perf_counter()
    volume = program(star, options)
    return time.perf_counter() - started, volume


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


def compare(star: Path, options: ReconstructionOptions, repeats: int) -> None:
    """Run both programs in turn and print one row."""
    ours, theirs = [], []
    for _ in range(repeats):
        seconds, our_map = timed(reconstruct_ours, star, options)
        ours.append(seconds)
        seconds, their_map = timed(reconstruct_relion, star, options)
        theirs.append(seconds)
    lowest_fsc, amplitude_error, pearson = agreement(our_map, their_map)
    mine, other = statistics.median(ours), statistics.median(theirs)
    label = "with gridding" if options.gridding else "without gridding"
    print(
        f"{label:17s} {mine:8.2f} {other:9.2f} {other / mine:7.1f} "
        f"{lowest_fsc:12.6f} {100 * amplitude_error:12.3f} {pearson:10.6f}"
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


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--box", type=int, default=128, help="image size [px]")
    parser.add_argument("--particles", type=int, default=2000, help="number of particles")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each program")
    parser.add_argument("--symmetry", default="C1", help="point group, e.g. D2")
    parser.add_argument("--threads", type=int, default=None, help="of ours; all when not given")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    if shutil.which("relion_reconstruct") is None:
        print("relion_reconstruct is not installed (apt-get install relion): nothing to compare")
        return 0
    options = [
        ReconstructionOptions(arguments.symmetry, gridding=gridding, threads=arguments.threads)
        for gridding in (True, False)
    ]
    threads = arguments.threads or len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="cesped-speed-") as name:
        folder = Path(name)
        small = make_particles(folder / "small", 32, 8, "C1")
        star = make_particles(
            folder / "all", arguments.box, arguments.particles, arguments.symmetry
        )
        print(
            f"{arguments.particles} particles of {arguments.box} px, {arguments.symmetry}; "
            f"medians of {arguments.repeats} runs in turn"
        )
        print(f"ours on {threads} threads, RELION in 1 process")
        first = startup_seconds(small, folder / "numba")
        print(
            f"start-up of ours, not in the table: {startup_seconds(small, None):.1f} s a process, "
            f"{first:.1f} s the first time (kernels are compiled)"
        )
        reconstruct_ours(small, options[0])
        print(
            f"{'':17s} {'ours s':>8s} {'RELION s':>9s} {'ratio':>7s} "
            f"{'lowest FSC':>12s} {'amplitude %':>12s} {'Pearson':>10s}"
        )
        for one in options:
            compare(star, one, arguments.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
