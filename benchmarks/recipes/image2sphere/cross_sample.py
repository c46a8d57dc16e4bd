"""A model of an embedded entry on the same particle at other pixel sizes and boxes.

The particle is simulated anew with the entry's phantom and noise of the same density per area, so a
model that is shown what it learned on is as good as on its own entry. What it is without the
resampling, and without the correction of the noise level, stands beside it.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import numpy as np

from cesped.cli.progress_bar import make_progress
from cesped.data.conventions import read_particle_table
from cesped.data.demo_entry import make_entry
from cesped.data.demo_specifications import DEMO_SPECIFICATIONS
from cesped.data.opening import open_entry
from cesped.geometry.symmetry import point_group, symmetric_distance_deg
from cesped.inference.predict import predict_particles
from cesped.inference.sampling import SampledParticles
from cesped.training.checkpoint import load_checkpoint

#: Box [px] and pixel size [angstrom] of the other samples.
SAMPLINGS = ((96, 2.0), (120, 2.3), (52, 3.7))


def resampled(specification, box, pixel_size_angst, count):
    """Return an embedded entry at another sampling, its noise as strong per square angstrom."""
    finer = pixel_size_angst / specification.pixel_size_angst
    wider = box * pixel_size_angst / (specification.box * specification.pixel_size_angst)
    return dataclasses.replace(
        specification,
        name=f"{specification.name}-{box}px-{pixel_size_angst:g}A",
        box=box,
        pixel_size_angst=pixel_size_angst,
        n_particles_per_half=count,
        snr=specification.snr * finer**2 / wider**2,  # the signal is spread over the wider frame
        shift_sigma_px=specification.shift_sigma_px / finer,
    )


def mean_error_deg(model, card, entry, count, with_grey_factor=True):
    """Return the mean angular error of particles of a half, and its standard error."""
    table = read_particle_table(entry.star_path, entry.root_dir)
    table = table.select(np.arange(min(count, len(table))))
    particles = SampledParticles(table, card)
    if not with_grey_factor:
        particles.plans[0] = dataclasses.replace(particles.plans[0], grey_factor=1.0)
    found = predict_particles(model, particles, make_progress()).rotations.double().numpy()
    errors = symmetric_distance_deg(table.poses.rotations, found, point_group(entry.symmetry))
    return errors.mean(), errors.std() / np.sqrt(len(errors))


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ckpt_path", type=Path, required=True, help="model of DEMO or DEMO-D2")
    parser.add_argument("--particles", type=int, default=600, help="predicted of each sample")
    parser.add_argument("--benchmarkDir", type=Path)
    args = parser.parse_args(words)
    model, card = load_checkpoint(args.ckpt_path)
    blind = dataclasses.replace(card, pixel_size_angst=None, box=None)
    own = open_entry(card.target, 1 - card.halfset, args.benchmarkDir)
    mean, error = mean_error_deg(model, card, own, args.particles)
    print("| sample | resampled (°) | noise level as it comes (°) | not resampled (°) |")
    print("|---|---:|---:|---:|")
    print(f"| {card.target}, its own | {mean:.1f} ± {error:.1f} | | |", flush=True)
    for box, pixel_size_angst in SAMPLINGS:
        specification = DEMO_SPECIFICATIONS[card.target]
        sample = resampled(specification, box, pixel_size_angst, args.particles)
        make_entry(sample, args.benchmarkDir)
        entry = open_entry(sample.name, 0, args.benchmarkDir)
        cells = [
            mean_error_deg(model, card, entry, args.particles),
            mean_error_deg(model, card, entry, args.particles, with_grey_factor=False),
            mean_error_deg(model, blind, entry, args.particles),
        ]
        row = " | ".join(f"{mean:.1f} ± {error:.1f}" for mean, error in cells)
        print(f"| {box} px at {pixel_size_angst:g} Å | {row} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
