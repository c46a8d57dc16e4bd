"""What the ingredients of the recipe `strong` are worth, and those that it could have besides.

Plain, strong, strong less each of its ingredients, and strong with each of the additions that it
leaves out. A model learns on one half of an entry and predicts particles of the other. All variants
take the same number of steps, those of pre-training included. Ingredients that matter only when a
model predicts are switched off in the strong model, which is not trained again. With several seeds
every variant is trained once with each, and the table says how far apart they came out. An ablation
that was stopped goes on where it stood.
"""

import argparse
import csv
import dataclasses
import io
import itertools
import sys
import time
from pathlib import Path

import numpy as np

from cesped.cli.progress_bar import make_progress
from cesped.data.conventions import read_particle_table
from cesped.data.opening import open_entry
from cesped.geometry.symmetry import point_group, symmetric_distance_deg
from cesped.inference.predict import predict_particles
from cesped.inference.sampling import SampledParticles
from cesped.io.files import write_text_atomic
from cesped.models.registry import build_model, model_class
from cesped.training.checkpoint import load_checkpoint
from cesped.workflows.learning import read_recipe, train_and_predict

#: What belongs to an ingredient; switched off, it has the value of the plain recipe.
INGREDIENTS = {
    "inputs": ("model.sigmas_px",),
    "high degrees": ("model.l_max",),
    "soft labels": ("model.label_width_deg", "model.label_smoothing"),
    "averaging": ("trainer.average_decay",),
    "decoding below the grid": ("model.decoding",),
    "test-time turns": ("model.test_time_turns",),
}
#: Those that a trained model can do with or without.
AT_TEST_TIME = ("decoding below the grid", "test-time turns")
#: What `strong` leaves out, as it would be added; see `added` for pre-training.
ADDITIONS = {
    "copies": {"augmentation.copies": 4},
    "raw channel": {"data.raw_channel": True},
    "pre-training": {"pretraining.projections": 3000},
}
FIELDS = (
    "variant", "seed", "particles", "mean_deg", "standard_error_deg", "median_deg", "under_5_deg",
    "under_10_deg", "steps", "cpu_s",
)  # fmt: skip


def setting(recipe, dotted):
    """Return what a recipe says of a dotted name, its model's preset and defaults included."""
    section, key = dotted.split(".")
    if section != "model":
        return getattr(getattr(recipe, section), key)
    chosen = model_class(recipe.model.name)
    preset = chosen.presets[recipe.model.preset] if recipe.model.preset else {}
    defaults = chosen.__init__.__kwdefaults__ or {}
    return {**defaults, **preset, **recipe.model.options}[key]


def switched_off(plain, ingredient):
    """Return the settings, by dotted name, that take an ingredient out of the strong recipe."""
    return {dotted: setting(plain, dotted) for dotted in INGREDIENTS[ingredient]}


def with_steps(recipe, steps):
    """Return a recipe of so many optimizer steps, those of its pre-training included."""
    ahead = 0
    if recipe.pretraining.projections:
        ahead = min(recipe.pretraining.max_steps or max(1, steps // 4), steps - 1)
        pretraining = dataclasses.replace(recipe.pretraining, max_steps=ahead)
        recipe = dataclasses.replace(recipe, pretraining=pretraining)
    trainer = dataclasses.replace(recipe.trainer, max_steps=steps - ahead)
    return dataclasses.replace(recipe, trainer=trainer)


def variants(args):
    """Return the recipe of each variant that is trained, by name."""
    overrides = dict(word.split("=", 1) for word in args.set)
    plain = read_recipe(args.plain, (), overrides)
    strong = read_recipe(args.strong, (), overrides)
    for ingredient in INGREDIENTS:
        off = switched_off(plain, ingredient)
        if all(setting(strong, dotted) == value for dotted, value in off.items()):
            raise SystemExit(f"{ingredient}: plain and strong recipe do the same; see --set")
    recipes = {"plain": plain, "strong": strong}
    for ingredient in INGREDIENTS:
        if ingredient not in AT_TEST_TIME:
            off = {**overrides, **switched_off(plain, ingredient)}
            recipes[f"without {ingredient}"] = read_recipe(args.strong, (), off)
    for addition, settings in ADDITIONS.items():
        on = {dotted: value for dotted, value in settings.items() if dotted not in overrides}
        recipes[f"with {addition}"] = read_recipe(args.strong, (), {**overrides, **on})
    return {name: with_steps(recipe, args.steps) for name, recipe in recipes.items()}


def figures(name, seed, errors_deg, steps, cpu_s):
    """Return a row of the table."""
    values = (
        name, seed, len(errors_deg), errors_deg.mean(), errors_deg.std() / np.sqrt(len(errors_deg)),
        np.median(errors_deg), (errors_deg < 5).mean(), (errors_deg < 10).mean(), steps, cpu_s,
    )  # fmt: skip
    return dict(zip(FIELDS, values, strict=True))


def errors_of(model, card, args):
    """Return the errors [degrees] of a model on particles of the half it did not learn from."""
    entry = open_entry(args.target, 1 - args.halfset, args.benchmarkDir)
    table = read_particle_table(entry.star_path, entry.root_dir)
    rows = np.linspace(0, len(table) - 1, min(len(table), args.particles)).astype(int)
    chosen = table.select(np.unique(rows))
    particles = SampledParticles(chosen, card)
    found = predict_particles(model, particles, make_progress(), device=args.device)
    group = point_group(entry.symmetry)
    return symmetric_distance_deg(chosen.poses.rotations, found.rotations.double().numpy(), group)


def changed(model, card, settings):
    """Return a trained model with other settings that its weights do not depend on."""
    options = {dotted.split(".")[1]: value for dotted, value in settings.items()}
    other = build_model(**{**card.model, **options})
    other.load_state_dict(model.state_dict())
    return other.eval()


def cpu_before(outdir):
    """Return the CPU time [s] that an earlier call spent on a variant with a seed."""
    path = outdir / "ablation.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {
            (row["variant"], int(row["seed"])): float(row["cpu_s"]) for row in csv.DictReader(file)
        }


def run(args):
    """Train and measure every variant with every seed; return the rows."""
    rows, recipes, before_s = [], variants(args), cpu_before(args.outdir)
    chosen = [name for name in recipes if not args.only or name in args.only]
    for seed, name in itertools.product(args.seeds, chosen):
        trainer = dataclasses.replace(recipes[name].trainer, seed=seed)
        recipe = dataclasses.replace(recipes[name], trainer=trainer)
        began = time.process_time()
        outcome = train_and_predict(
            args.target,
            args.halfset,
            args.outdir / f"seed{seed}" / name.replace(" ", "_"),
            recipe,
            predict_other_half=False,
            benchmark_dir=args.benchmarkDir,
            progress=make_progress(),
        )
        # a training that was there already has cost what it cost
        cpu_s = max(time.process_time() - began, before_s.get((name, seed), 0.0))
        model, card = load_checkpoint(outcome.checkpoint)
        tested = {name: model}
        if name == "strong":
            plain = recipes["plain"]
            for off in AT_TEST_TIME:
                tested[f"without {off}"] = changed(model, card, switched_off(plain, off))
        for label, each in tested.items():
            rows.append(figures(label, seed, errors_of(each, card, args), args.steps, cpu_s))
            print(as_markdown(rows[-1:], header=len(rows) == 1), end="", flush=True)
            write_tables(args.outdir, rows)
    return rows


def as_markdown(rows, header=True):
    """Return the means over seeds as lines of a table, each with the range of its MAnE."""
    lines, variants_found = [], {}
    for row in rows:
        variants_found.setdefault(row["variant"], []).append(row)
    if header:
        lines += [
            "| variant | MAnE (°) | median (°) | < 5° | < 10° | CPU s |",
            "|---|---:|---:|---:|---:|---:|",
        ]
    for name, same in variants_found.items():
        means = [row["mean_deg"] for row in same]
        mean = f"{np.mean(means):.1f}"
        mean += f" ({min(means):.1f} to {max(means):.1f})" if len(means) > 1 else ""
        median, under_5, under_10, cpu_s = (
            np.mean([row[key] for row in same])
            for key in ("median_deg", "under_5_deg", "under_10_deg", "cpu_s")
        )
        lines.append(
            f"| {name} | {mean} | {median:.1f} | {under_5:.1%} | {under_10:.1%} | {cpu_s:.0f} |"
        )
    return "\n".join(lines) + "\n"


def write_tables(outdir, rows):
    """Write `ablation.csv` and `ablation.md`."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text_atomic(outdir / "ablation.csv", text.getvalue())
    write_text_atomic(outdir / "ablation.md", as_markdown(rows))


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="DEMO-D2", help="name of the entry")
    parser.add_argument("--halfset", type=int, default=0, choices=(0, 1), help="half to learn from")
    parser.add_argument("--outdir", type=Path, default=Path("ablation"))
    parser.add_argument("--plain", default="paper", help="recipe without the ingredients")
    parser.add_argument("--strong", default="strong", help="recipe with all of them")
    parser.add_argument("--steps", type=int, required=True, help="optimizer steps of each variant")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the trainings")
    parser.add_argument("--particles", type=int, default=3000, help="of the other half, predicted")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="setting of every recipe"
    )
    parser.add_argument("--only", action="append", help="variant to run; all when not given")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--benchmarkDir", type=Path)
    args = parser.parse_args(words)
    run(args)
    print(f"Wrote {args.outdir / 'ablation.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
