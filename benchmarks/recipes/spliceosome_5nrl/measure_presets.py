"""Train recipes on SIM-5NRL, score them, and set them beside poses that know nothing: one table.

Makes the entry if it is not there. Each recipe learns half 0 and predicts half 1, then the
converse, and both are evaluated as `cesped campaign` does. With `--halfset` one half is learned and
the other predicted, which takes half of the time; the map of the predicted half is then compared
with that of its true poses. Stopped, it goes on where it stood.

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
from cesped.evaluation.half_sets import read_half
from cesped.geometry.grids import So3Grid
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import (
    direction_distance_deg,
    geodesic_distance_deg,
    random_rotations,
)
from cesped.io.files import write_text_atomic
from cesped.io.mrc import read_volume
from cesped.physics.fsc import fsc_curve, pearson, resolution_angst
from cesped.reconstruction.backends import make_reconstructor
from cesped.reconstruction.protocol import PoseSet, ReconstructionOptions
from cesped.vocabulary import Backend, PredictionType
from cesped.workflows.campaign import run_campaign
from cesped.workflows.learning import read_recipe, train_and_predict
from cesped.workflows.scoring import ScoringOptions, score_predictions

HERE = Path(__file__).resolve().parent
#: Figures of poses, then of maps (masked): how each is headed, and how it is written.
COLUMNS = {
    "mean_angular_error_deg": ("MAnE (°)", ".1f"),
    "weighted_mean_angular_error_deg": ("wMAnE (°)", ".1f"),
    "median_angular_error_deg": ("median (°)", ".1f"),
    "share_under_5_deg": ("< 5°", ".1%"),
    "share_under_10_deg": ("< 10°", ".1%"),
    "mean_direction_error_deg": ("view (°)", ".1f"),
    "pcc_to_truth": ("PCC to truth", ".3f"),
    "resolution_to_truth_05_angst": ("FSCR0.5 to truth (Å)", ".1f"),
    "delta_pcc": ("ΔPCC", ".3f"),
    "mean_delta_fsc": ("ΔFSC", ".3f"),
    "delta_resolution_05_angst": ("ΔFSCR0.5 (Å)", ".1f"),
    "resolution_halves_0143_angst": ("FSCR0.143 of halves (Å)", ".1f"),
}
KINDS = ("random", "another particle's", "best constant")
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


def half_figures(name, table, rotations, volume, truth, mask):
    """Return the figures of the poses of one half, masked where they are of maps."""
    poses = table.require_poses()
    errors_deg = geodesic_distance_deg(poses.rotations, rotations)
    views_deg = direction_distance_deg(poses.rotations[:, :, 2], rotations[:, :, 2])
    curve = fsc_curve(volume * mask, truth * mask, table.sampling_rate)
    values = (
        errors_deg.mean(), np.average(errors_deg, weights=poses.confidence),
        np.median(errors_deg), (errors_deg < 5).mean(), (errors_deg < 10).mean(),
        views_deg.mean(), pearson(volume, truth, mask), resolution_angst(curve, 0.5),
    )  # fmt: skip
    return {"poses": name, **dict(zip(COLUMNS, values, strict=False))}


def measure_half(args):
    """Learn one half with each recipe, predict the other; return the rows of the table."""
    store, progress = EntryStore(args.benchmarkDir), make_progress()
    generator = np.random.default_rng(11)
    learned, half = (store.locate(TARGET, halfset) for halfset in (args.halfset, 1 - args.halfset))
    others = read_particle_table(learned.star_path, learned.root_dir).require_poses().rotations
    table = read_particle_table(half.star_path, half.root_dir)
    truth = table.require_poses()
    found = {kind: (guesses(kind, others, len(table), generator), None) for kind in KINDS}
    for word in args.recipe:
        name, recipe = Path(word).stem, recipe_of(word, args)
        folder = args.outdir / name
        star = folder / f"predictions_{1 - args.halfset}.star"
        train_and_predict(
            TARGET, args.halfset, folder / "training" / f"half{args.halfset}", recipe,
            out_star=star, benchmark_dir=args.benchmarkDir, progress=progress,
        )  # fmt: skip
        predicted = read_half(table, str(star), PredictionType.SO3).predicted
        found[name] = (predicted.rotations, predicted.confidence)
    sets = [PoseSet(truth)]
    for rotations, weights in found.values():  # origins are not predicted: the true ones
        poses = Poses(np.ascontiguousarray(rotations), truth.origins_angst, truth.confidence)
        sets.append(PoseSet(poses, weights))
    options = ReconstructionOptions(threads=args.n_cpus)
    maps = make_reconstructor(Backend.NATIVE).reconstruct(table, sets, options, progress)
    mask = read_volume(half.mask_path)[0]
    rows = [
        half_figures(name, table, rotations, volume, maps[0], mask)
        for (name, (rotations, _)), volume in zip(found.items(), maps[1:], strict=True)
    ]
    write_tables(args.outdir, rows)
    return rows


def recipe_of(word, args):
    """Return a recipe with the settings that all are to have."""
    return read_recipe(word, (), dict(setting.split("=", 1) for setting in args.set))


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
    return {"poses": name, **{column: result.metrics[column] for column in COLUMNS}}


def as_markdown(rows):
    """Return rows as a table of the columns that they have."""
    columns = {name: COLUMNS[name] for name in rows[0] if name in COLUMNS}
    headings = " | ".join(heading for heading, _ in columns.values())
    lines = [f"| poses | {headings} |", f"|---|{'---:|' * len(columns)}"]
    for row in rows:
        cells = " | ".join(f"{row[name]:{form}}" for name, (_, form) in columns.items())
        lines.append(f"| {row['poses']} | {cells} |")
    return "\n".join(lines) + "\n"


def write_tables(outdir, rows):
    """Write `presets.csv` and `presets.md`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text_atomic(outdir / "presets.csv", text.getvalue())
    write_text_atomic(outdir / "presets.md", as_markdown(rows))


def measure(args):
    """Train, predict and score; return the rows of the table."""
    options, progress = ScoringOptions(threads=args.n_cpus), make_progress()
    rows = []
    for kind in KINDS:
        folder = args.outdir / kind.replace(" ", "_").replace("'", "")
        paths = write_guesses(kind, args.benchmarkDir, folder)
        scored = score_predictions(
            TARGET, paths, folder, options,
            benchmark_dir=args.benchmarkDir, reuse=True, progress=progress,
        )  # fmt: skip
        rows.append(figures(kind, scored))
    for word in args.recipe:
        name, folder = Path(word).stem, args.outdir / Path(word).stem
        recipe = recipe_of(word, args)
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
    parser.add_argument("--particles", type=int, default=6000, help="in each half, of a new entry")
    parser.add_argument(
        "--recipe", action="append", metavar="NAME|YAML",
        help="cpu_plain.yaml and cpu_strong.yaml when not given; paper and strong on a GPU",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="setting of every recipe"
    )
    parser.add_argument("--halfset", type=int, choices=(0, 1), help="learn this half alone")
    parser.add_argument("--n_cpus", type=int, default=1)
    args = parser.parse_args(words)
    args.recipe = args.recipe or [str(HERE / f"cpu_{name}.yaml") for name in ("plain", "strong")]
    if not (args.benchmarkDir / TARGET).is_dir():
        if not (args.atoms and args.poses):
            parser.error(f"{args.benchmarkDir / TARGET} is not there; give --atoms and --poses")
        make_entry(args.atoms, args.poses, args.benchmarkDir, args.particles)
    rows = measure(args) if args.halfset is None else measure_half(args)
    print(as_markdown(rows), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
