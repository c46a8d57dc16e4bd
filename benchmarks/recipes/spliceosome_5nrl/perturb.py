"""Write predictions for an entry: the true poses, each turned by one exact angle.

The axes are random, so the mean angular error of the predictions is the angle itself.
"""

import argparse
from pathlib import Path

import numpy as np

from cesped.data.conventions import read_particle_table, write_particle_table
from cesped.data.store import EntryStore
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import rotations_about_random_axes


def perturb(target, benchmark_dir, outdir, angle_deg, confidence, seed=3):
    """Write `predictions_{0,1}.star` to `outdir` and return the two paths."""
    rng = np.random.default_rng(seed)
    paths = []
    for halfset in (0, 1):
        half = EntryStore(benchmark_dir).locate(target, halfset)
        table = read_particle_table(half.star_path, half.root_dir)
        truth = table.require_poses()
        turns = rotations_about_random_axes(len(table), angle_deg, rng)
        poses = Poses(turns @ truth.rotations, truth.origins_angst, truth.confidence)
        # drawn in every case, so that the turns do not depend on the confidence asked for
        drawn = rng.uniform(0.05, 1.0, len(table))
        path = Path(outdir) / f"predictions_{halfset}.star"
        write_particle_table(
            path,
            table.with_poses(poses),
            predicted_confidence={"none": None, "one": np.ones(len(table)), "random": drawn}[
                confidence
            ],
        )
        paths.append(path)
    return paths


def main(args=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="SIM-5NRL")
    parser.add_argument("--benchmarkDir", default=None, help="folder of entries")
    parser.add_argument("--outdir", required=True)
    parser.add_argument("--angle", type=float, default=3.0, help="of every turn [degrees]")
    parser.add_argument("--confidence", choices=("none", "one", "random"), default="one")
    options = parser.parse_args(args)
    for path in perturb(
        options.target,
        options.benchmarkDir,
        options.outdir,
        options.angle,
        options.confidence,
    ):
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
