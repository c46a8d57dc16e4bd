"""Train recipes on SIM-5NRL, score them, and set them beside poses that know nothing: one table.

Makes the entry if it is not there. Each recipe learns half 0 and predicts half 1, then the
converse, and both are evaluated as `cesped campaign` does. Stopped, it goes on where it stood; the
figures of a half are printed as soon as it has been predicted.

Poses that know nothing of the image: random ones; the pose of any particle of the other half, which
knows the preferred views; and the one pose whose mean angle to those of the other half is least.
"""

import argparse
import csv
import io
import sys
from pathlib import Path

import numpy as np
from make_entry import TARGET, make_entry

from cesped.cli.progress_bar import make_progress
from cesped.data.conventions import read_particle_table, read_predictions, write_particle_table
from cesped.data.store import EntryStore
from cesped.geometry.grids import So3Grid
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import geodesic_distance_deg, random_rotations
from cesped.io.files import write_text_atomic
from cesped.workflows.campaign import run_campaign
from cesped.workflows.learning import read_recipe, train_and_predict
from cesped.workflows.scoring import ScoringOptions, score_predictions

HERE = Path(__file__).resolve().parent
FIELDS = (
    "poses", "mean_angular_error_deg", "weighted_mean_angular_error_deg",
    "median_angular_error_deg", "share_under_5_deg", "share_under_10_deg",
    "mean_direction_error_deg", "pcc_to_truth", "delta_pcc", "resolution_to_truth_05_angst",
    "resolution_halves_0143_angst",
)  # fmt: skip
HEADER = (
    "| poses | MAnE (°) | wMAnE (°) | median (°) | < 5° | < 10° | view (°) | PCC to truth | ΔPCC | "
    "FSCR0.5 (Å) | half maps 0.143 (Å) |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
)
_CONSTANT_ORDER = 2  # of the grid on which the best constant is looked for: 15 degrees
_CONSTANT_SAMPLE = 2000  # poses of the other half that it is compared with


def best_constant(rotations):
    """Return the rotation `(3, 3)` whose mean angle to `(P, 3, 3)` rotations is least.

    The best node of a grid; between nodes the mean differs by a fraction of a degree.
    """
    grid = So3Grid(_CONSTANT_ORDER)
    nodes = grid.rotations(np.arange(grid.size)).reshape(grid.size, 9)
    sample = rotations[:: -(-len(rotations) // _CONSTANT_SAMPLE)].reshape(-1, 9)
    angles = np.arccos(np.clip((nodes @ sample.T - 1) / 2, -1, 1))
    return nodes[angles.mean(axis=1).argmin()].reshape(3, 3)


def guesses(kind, others, count, generator):
    """Return `(count, 3, 3)` poses that know at most the poses `(P, 3, 3)` of the other half."""
    if kind == "random":
        return random_rotations(count, generator)
    if kind == "another particle's":
        return others[generator.integers(len(others), size=count)]
    return np.broadcast_to(best_constant(others), (count, 3, 3))


def write_guesses(kind, benchmark_dir, outdir, seed=11):
    """Write predictions of both halves without looking at an image; return the two files."""
    generator = np.random.default_rng(seed)
    halves = [EntryStore(benchmark_dir).locate(TARGET, halfset) for halfset in (0, 1)]
    tables = [read_particle_table(half.star_path, half.root_dir) for half in halves]
    paths = []
    for halfset, table in enumerate(tables):
        others = tables[1 - halfset].require_poses().rotations
        found = guesses(kind, others, len(table), generator)
        truth = table.require_poses()
        path = outdir / f"predictions_{halfset}.star"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_particle_table(
            path,
            table.with_poses(Poses(found, truth.origins_angst, truth.confidence)),
            predicted_confidence=np.ones(len(table)),
        )
        paths.append(path)
    return tuple(paths)


def tell_half(name, prediction, halfset, benchmark_dir):
    """Print the angular errors of one predicted half."""
    half = EntryStore(benchmark_dir).locate(TARGET, halfset)
    truth = read_particle_table(half.star_path, half.root_dir).require_poses().rotations
    errors_deg = geodesic_distance_deg(truth, read_predictions(prediction)[1].rotations)
    print(
        f"{name}, half {halfset}: MAnE {errors_deg.mean():.1f}, median {np.median(errors_deg):.1f} "
        f"degrees, under 5 {np.mean(errors_deg < 5):.1%}, under 10 {np.mean(errors_deg < 10):.1%}",
        flush=True,
    )


def figures(name, result):
    """Return the row of a table for the evaluation of some poses; masked figures of maps."""
    found = {
        row.metric: row.value
        for row in sorted(result.rows, key=lambda row: row.masked)
        if row.half == "all"
    }
    return {"poses": name, **{field: found[field] for field in FIELDS[1:]}}


def as_markdown(rows):
    lines = [HEADER]
    for row in rows:
        v = [row[field] for field in FIELDS]
        lines.append(
            f"| {v[0]} | {v[1]:.1f} | {v[2]:.1f} | {v[3]:.1f} | {v[4]:.1%} | {v[5]:.1%} "
            f"| {v[6]:.1f} | {v[7]:.3f} | {v[8]:.3f} | {v[9]:.1f} | {v[10]:.1f} |\n"
        )
    return "".join(lines)


def write_tables(outdir, rows):
    """Write `presets.csv` and `presets.md`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text_atomic(outdir / "presets.csv", text.getvalue())
    write_text_atomic(outdir / "presets.md", as_markdown(rows))


def measure(args):
    """Train, predict and score; return the rows of the table."""
    options, progress = ScoringOptions(threads=args.n_cpus), make_progress()
    rows = []
    for kind in ("random", "another particle's", "best constant"):
        folder = args.outdir / kind.replace(" ", "_").replace("'", "")
        paths = write_guesses(kind, args.benchmarkDir, folder)
        scored = score_predictions(
            TARGET, paths, folder, options,
            benchmark_dir=args.benchmarkDir, reuse=True, progress=progress,
        )  # fmt: skip
        rows.append(figures(kind, scored))
    for word in args.recipe:
        name, folder = Path(word).stem, args.outdir / Path(word).stem
        recipe = read_recipe(word, (), dict(setting.split("=", 1) for setting in args.set))
        for halfset in (0, 1):  # as the campaign would, with word of each half in between
            star = folder / f"predictions_{1 - halfset}.star"
            train_and_predict(
                TARGET, halfset, folder / "training" / f"half{halfset}", recipe,
                out_star=star, benchmark_dir=args.benchmarkDir, progress=progress,
            )  # fmt: skip
            tell_half(name, star, 1 - halfset, args.benchmarkDir)
        outcome = run_campaign(
            TARGET, folder, recipe,
            benchmark_dir=args.benchmarkDir, options=options, progress=progress,
        )  # fmt: skip
        rows.append(figures(name, outcome.result))
        write_tables(args.outdir, rows)
    return rows


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--benchmarkDir", type=Path, required=True, help="folder of entries")
    parser.add_argument("--outdir", type=Path, default=Path("presets"))
    parser.add_argument("--atoms", help="npz of PDB 5NRL, where there is no entry yet")
    parser.add_argument("--poses", help="npz of EMPIAR-10180's poses and CTFs")
    parser.add_argument("--particles", type=int, default=12000, help="in each half, of a new entry")
    parser.add_argument(
        "--recipe", action="append", metavar="NAME|YAML",
        help="cpu_plain.yaml and cpu_strong.yaml when not given; paper and strong on a GPU",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="setting of every recipe"
    )
    parser.add_argument("--n_cpus", type=int, default=1)
    args = parser.parse_args(words)
    args.recipe = args.recipe or [str(HERE / f"cpu_{name}.yaml") for name in ("plain", "strong")]
    if not (args.benchmarkDir / TARGET).is_dir():
        if not (args.atoms and args.poses):
            parser.error(f"{args.benchmarkDir / TARGET} is not there; give --atoms and --poses")
        make_entry(args.atoms, args.poses, args.benchmarkDir, args.particles)
    print(as_markdown(measure(args)), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
