"""Rerun Tables V and VI of the paper: what misplaced particles do to the maps of an entry.

Table V adds uniform noise of +-1, 3 and 5 degrees to each Euler angle of every particle; Table VI
gives random orientations to 10, 20 and 30 % of the particles. Both halves of an entry are spoilt,
reconstructed and compared with the maps of the known poses.
"""

import argparse
import csv
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cesped.data.conventions import read_particle_table, write_particle_table
from cesped.data.opening import open_entry
from cesped.evaluation.entry import evaluate_entry
from cesped.geometry.euler import euler_to_rotation, rotation_to_euler
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import geodesic_distance_deg, random_rotations
from cesped.io.files import write_text_atomic

#: Half widths of the noise of Table V [degrees], and shares of Table VI.
NOISES_DEG = (0.0, 1.0, 3.0, 5.0)
SHARES = (0.0, 0.1, 0.2, 0.3)

#: Mean angle between two independent random rotations [degrees], without symmetry: the density of
#: the angle a is (1 - cos a) / pi, whose mean is pi / 2 + 2 / pi. The paper simulated 126.9.
RANDOM_ERROR_DEG = math.degrees(math.pi / 2 + 2 / math.pi)

FIGURES = (
    "mean_angular_error_deg",
    "pcc_halves",
    "pcc_crossed",
    "pcc_to_truth",
    "resolution_crossed_05_angst",
    "resolution_crossed_0143_angst",
)


@dataclass(frozen=True)
class Level:
    """One column of a table: noise on all particles, or random poses for some of them."""

    noise_deg: float = 0.0
    random_share: float = 0.0

    @property
    def label(self):
        return f"{self.random_share:.0%}" if self.random_share else f"{self.noise_deg:g}deg"


def with_euler_noise(poses, half_width_deg, generator):
    """Return poses whose Euler angles each have uniform noise of `half_width_deg` added."""
    angles = rotation_to_euler(poses.rotations)
    noise = generator.uniform(-half_width_deg, half_width_deg, angles.shape)
    return Poses(euler_to_rotation(angles + noise), poses.origins_angst, poses.confidence)


def with_random_share(poses, share, generator):
    """Return poses of which exactly `share`, rounded, have random orientations."""
    rotations = np.array(poses.rotations)
    chosen = generator.permutation(len(poses))[: round(share * len(poses))]
    rotations[chosen] = random_rotations(len(chosen), generator)
    return Poses(rotations, poses.origins_angst, poses.confidence)


def mean_noise_length_deg(half_width_deg, generator, count=200_000):
    """Return the mean length of the noise itself [degrees]: 0.9606 times its half width.

    It is what the paper expects as angular error. The error is that long where tilt is 90 degrees;
    elsewhere the noise of rot and psi partly adds up or cancels, and its mean is smaller.
    """
    noise = generator.uniform(-half_width_deg, half_width_deg, (count, 3))
    return float(np.linalg.norm(noise, axis=1).mean())


def expected_noise_error_deg(half_width_deg, generator, count=200_000):
    """Return the mean angular error that Euler noise makes in evenly spread views [degrees]."""
    truth = Poses(random_rotations(count, generator), np.zeros((count, 2)), np.ones(count))
    noisy = with_euler_noise(truth, half_width_deg, generator)
    return float(geodesic_distance_deg(truth.rotations, noisy.rotations).mean())


def write_misaligned(target, level, outdir, benchmark_dir, seed=0):
    """Write the predictions of one level and return their paths."""
    generator = np.random.default_rng(
        [seed, round(10 * level.noise_deg), round(1000 * level.random_share)]
    )
    paths = []
    for half in (0, 1):
        located = open_entry(target, half, benchmark_dir)
        table = read_particle_table(located.star_path, located.root_dir)
        poses = with_euler_noise(table.require_poses(), level.noise_deg, generator)
        poses = with_random_share(poses, level.random_share, generator)
        path = Path(outdir) / f"{target}_{level.label.replace('%', 'pc')}_{half}.star"
        # no confidence: the paper's maps are not weighted
        write_particle_table(path, table.with_poses(poses))
        paths.append(path)
    return paths


def misalign(target, outdir, benchmark_dir=None, seed=0, threads=None, backend="native"):
    """Return a row per level: label, expected error, and `FIGURES` unmasked and masked."""
    generator = np.random.default_rng(seed)
    levels = [Level(noise_deg=noise) for noise in NOISES_DEG]
    levels += [Level(random_share=share) for share in SHARES if share]
    rows = []
    for level in levels:
        stars = write_misaligned(target, level, outdir, benchmark_dir, seed)
        result = evaluate_entry(
            target,
            *stars,
            "SO3",
            use_pred_confidence=False,
            benchmark_dir=benchmark_dir,
            reconstructor=backend,
            threads=threads,
            random_reference=False,
            seed=seed,
        )
        expected_deg = (
            level.random_share * RANDOM_ERROR_DEG
            if level.random_share
            else expected_noise_error_deg(level.noise_deg, generator)
        )
        row = {"entry": target, "level": level.label, "expected_error_deg": expected_deg}
        for masked in (False, True) if result.has_mask else (False,):
            suffix = "_masked" if masked else ""
            for metric in FIGURES:
                is_pose = metric.endswith("_error_deg")
                if not (is_pose and masked):
                    row[metric + suffix] = result.value(metric, masked=masked and not is_pose)
        rows.append(row)
        print(
            f"{target} {level.label}: {row['mean_angular_error_deg']:.2f} degrees", file=sys.stderr
        )
    return rows


def tables(rows):
    """Return Tables V and VI of these rows as Markdown."""
    zero = [row for row in rows if row["level"] == "0deg"]
    noisy = [row for row in rows if row["level"].endswith("deg")]
    parts = []
    for title, chosen in (
        ("Table V: uniform noise on each Euler angle", noisy),
        (
            "Table VI: particles with random orientations",
            [*zero, *(r for r in rows if r not in noisy)],
        ),
    ):
        heads = [name for name in chosen[0] if name != "entry"]
        parts += [f"{title}, {chosen[0]['entry']}", "", "| " + " | ".join(heads) + " |"]
        parts.append("|---|" + "---:|" * (len(heads) - 1))
        for row in chosen:
            cells = [row["level"], *(f"{row[name]:.3f}" for name in heads[1:])]
            parts.append("| " + " | ".join(cells) + " |")
        parts.append("")
    return "\n".join(parts)


def main(args=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="DEMO", help="name of any entry")
    parser.add_argument("--benchmarkDir", default=None, help="folder of entries")
    parser.add_argument("--outdir", default="misalignment", help="folder for all that is written")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--backend", default="native", help="native, torch or relion")
    options = parser.parse_args(args)
    outdir = Path(options.outdir)
    rows = misalign(
        options.target, outdir, options.benchmarkDir, options.seed, options.threads, options.backend
    )
    text = tables(rows)
    write_text_atomic(outdir / f"{options.target}.md", text)
    with (outdir / f"{options.target}.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
