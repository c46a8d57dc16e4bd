"""Make the simulated counterpart of the paper's entry "Simulated 10648", and the like of it.

That entry has the poses and CTFs of 234,956 particles of PKM2 (D2) in 222 px of 1.5 angstrom, and
images by `relion_project --simulate --adjust_simulation_SNR 2.0`. Measured with RELION 3.1.3, that
option multiplies the *amplitude* of the projections that are added to the noise of the input
images: their SNR grows by the square, fourfold for 2. What SNR the input had is not published, so
it is an option here.

The map is the user's own, or a chain phantom of the same symmetry, drawn from a seed. With
`--binned-box 56` the images are made at that box from the start, with the noise that images of the
full box have after binning: 3 GB in place of 46.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from cesped.cli.progress_bar import make_progress
from cesped.data.simulation.entry import SimulatedMap
from cesped.data.simulation.optics import OpticsRanges
from cesped.data.simulation.plan import SimulationPlan
from cesped.geometry.rotations import random_rotations
from cesped.physics.ctf import CtfParameters, ctf_half_plane
from cesped.physics.density import density_from_atoms
from cesped.physics.fourier import half_space_to_volume, volume_to_half_space
from cesped.physics.masks import mask_from_density
from cesped.physics.noise import signal_variance
from cesped.physics.phantom import chain_phantom
from cesped.physics.projection import Projector
from cesped.physics.resampling import resize_band_limited
from cesped.workflows.simulation import map_to_simulate, simulate

PAPER_FACTOR = 2.0  # of --adjust_simulation_SNR
_ATOMS_PER_CUBIC_ANGST = 0.006
_MEASURED = 64  # projections that the loss of signal by binning is measured on


def phantom(box, pixel_size_angst, symmetry, radius_angst, resolution_angst, seed):
    """Return a chain of pseudo-atoms as a map."""
    n_atoms = int(_ATOMS_PER_CUBIC_ANGST * 4 / 3 * np.pi * radius_angst**3)
    chain = chain_phantom(n_atoms, radius_angst, np.random.default_rng(seed), symmetry)
    volume = density_from_atoms(
        chain.positions_angst, chain.weights, box, pixel_size_angst, resolution_angst
    )
    description = {"phantom": symmetry, "atoms": n_atoms, "seed": seed}
    return SimulatedMap(volume, pixel_size_angst, mask_from_density(volume), description)


def binned(source, box):
    """Return a map whose projections are those of `source`, resized to `box` pixels."""
    n = len(source.volume)
    if box % 2 or n % 2 or box > n:
        raise SystemExit(f"the box {n} and the binned one, {box}, must be even, {box} the smaller")
    whole = volume_to_half_space(torch.from_numpy(source.volume))
    kept = np.r_[0 : box // 2, n - box // 2 : n]
    part = whole[kept][:, kept][:, :, : box // 2 + 1].clone()
    edge = box // 2  # no frequency beyond the last whole shell
    part[edge], part[:, edge], part[:, :, edge] = 0, 0, 0
    volume = half_space_to_volume(part).numpy() * (box / n) ** 3
    volume = np.ascontiguousarray(volume, dtype=np.float32)
    return SimulatedMap(
        volume,
        source.pixel_size_angst * n / box,
        mask_from_density(volume),
        {**source.description, "binned_from_px": n},
    )


def snr_after_binning(source, box, snr, seed):
    """Return the SNR that images of the whole box at `snr` have once resized to `box` pixels.

    White noise loses the share of its band that is cut; the signal loses what it has there.
    """
    n, rng = len(source.volume), np.random.default_rng([seed, 1])
    ranges = OpticsRanges()
    defocus = rng.uniform(*ranges.defocus_angst, _MEASURED)
    ctf = CtfParameters(
        defocus, defocus, np.zeros(_MEASURED), ranges.voltage_kv,
        ranges.spherical_aberration_mm, ranges.amplitude_contrast,
    )  # fmt: skip
    transfer = ctf_half_plane(ctf, n, source.pixel_size_angst)
    images = Projector(source.volume).project(random_rotations(_MEASURED, rng), None, transfer)
    before = float(signal_variance(images).mean())
    after = float(signal_variance(resize_band_limited(images, box)).mean())
    return snr * (after / before) / (box / n) ** 2


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default="SIM-10648-like", help="of the entry; begin it with SIM-")
    parser.add_argument("--map", type=Path, help="MRC map of your choice; else a phantom")
    parser.add_argument("--symmetry", default="D2", help="of the map")
    parser.add_argument("--box", type=int, default=222, help="of the phantom [px]")
    parser.add_argument("--pixel-size", type=float, default=1.5, help="of the phantom [angstrom]")
    parser.add_argument("--radius", type=float, default=62.0, help="of the phantom [angstrom]")
    parser.add_argument("--resolution", type=float, default=3.5, help="of the phantom [angstrom]")
    parser.add_argument("--binned-box", type=int, help="make the images at this box [px]")
    parser.add_argument("--particles", type=int, default=117478, help="in each half")
    parser.add_argument("--input-snr", type=float, default=0.05, help="before the factor")
    parser.add_argument(
        "--relion-factor", type=float, default=PAPER_FACTOR, help="of --adjust_simulation_SNR"
    )
    parser.add_argument("--shift-sigma", type=float, default=2.0, help="[px of the whole box]")
    parser.add_argument("--seed", type=int, default=10648)
    parser.add_argument("--benchmarkDir", type=Path)
    args = parser.parse_args(words)
    source = (
        phantom(args.box, args.pixel_size, args.symmetry, args.radius, args.resolution, args.seed)
        if args.map is None
        else map_to_simulate(args.map)
    )
    snr, shift = args.input_snr * args.relion_factor**2, args.shift_sigma
    if args.binned_box is not None:
        snr = snr_after_binning(source, args.binned_box, snr, args.seed)
        shift *= args.binned_box / len(source.volume)
        source = binned(source, args.binned_box)
    plan = SimulationPlan(
        n_particles=args.particles,
        symmetry=args.symmetry,
        shift_sigma_px=shift,
        snr=snr,
        seed=args.seed,
    )
    made = simulate(plan, source, args.name, args.benchmarkDir, progress=make_progress())
    counts = " + ".join(map(str, made.counts))
    print(
        f"{made.folder}: {counts} particles of {len(source.volume)} px at "
        f"{source.pixel_size_angst:.4g} angstrom/px, SNR {snr:.4g} in these pixels"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
