"""The counterpart of the paper's "Simulated 10648" in one command: map, entry, training, figures.

A map of D2 of your choice (or a phantom) is brought to 222 px of 1.5 angstrom, or to its form
binned four times, 56 px of 6 angstrom. Two halves of it are simulated, for validation and for the
test. The plain baseline learns from images that are drawn on the fly from the same map, with the
entry's shifts, CTFs and noise and with other poses in every step; then it predicts half 1, whose
errors are written down. Every figure it makes is one of simulated images.
"""

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from make_entry import PAPER_FACTOR, binned, phantom, snr_after_binning

from cesped.cli.progress_bar import make_progress
from cesped.data.conventions import read_particle_table
from cesped.data.opening import open_entry
from cesped.data.simulation.entry import TRUTH_NAME, SimulatedMap
from cesped.data.simulation.optics import OpticsRanges
from cesped.data.simulation.plan import SimulationPlan
from cesped.geometry.rotations import random_rotations
from cesped.geometry.symmetry import point_group, symmetric_distance_deg
from cesped.io.files import write_text_atomic
from cesped.physics.batch_projection import BatchProjector
from cesped.physics.fourier import half_space_to_volume, volume_to_half_space
from cesped.physics.masks import mask_from_density
from cesped.workflows.learning import read_recipe, train_and_predict
from cesped.workflows.simulation import map_to_simulate, simulate

FOLDER = Path(__file__).resolve().parent
PAPER_MEAN_DEG = 6.0  # MAnE of "Simulated 10648", CESPED paper, appendix C
#: What a map of the group looks like from directions that the group makes alike.
LEAST_AGREEMENT = 0.95
_VIEWS = 24
_RADIUS_ANGST = 62.0  # of the phantom


@dataclasses.dataclass(frozen=True)
class Size:
    """What one form of the experiment is: images, particles of each half, recipe, length."""

    box: int
    pixel_size_angst: float
    binned_box: int | None
    particles: int
    recipe: str
    settings: dict


SIZES = {
    "whole": Size(222, 1.5, None, 10000, "simulated_10648_gpu.yaml", {}),
    "binned": Size(
        222, 1.5, 56, 10000, "simulated_10648_gpu.yaml",
        {
            "data.batch_size": 512, "data.image_size": 56, "data.image_size_factor_for_crop": 0.0,
            "model.input_px": 128, "trainer.max_steps": 8000,
        },
    ),
    "cpu": Size(222, 1.5, 56, 3000, "simulated_10648_cpu.yaml", {}),
    "tiny": Size(
        48, 6.0, 24, 24, "simulated_10648_cpu.yaml",
        {
            "data.image_size": 16, "data.batch_size": 8, "model.widths": [4, 8, 8],
            "model.l_max": 2, "model.sphere_features": 8, "model.so3_features": 4,
            "model.projector_order": 1, "model.filter_order": 1, "model.grid_order": 1,
            "trainer.max_steps": 4, "trainer.steps_per_round": 2,
        },
    ),
}  # fmt: skip


def in_frame(source, box, pixel_size_angst):
    """Return a map cut or padded to the extent of a box, and resampled to its voxels.

    The voxel size is met as well as an even number of the map's own voxels allows.
    """
    own = source.pixel_size_angst
    if len(source.volume) == box and abs(own / pixel_size_angst - 1) < 1e-3:
        return source
    even = 2 * round(box * pixel_size_angst / own / 2)
    cut = centred_cube(source.volume, even)
    half_space = volume_to_half_space(torch.from_numpy(cut))
    n = min(even, box)
    rows = np.r_[0 : n // 2, -(n // 2) : 0] if n % 2 == 0 else np.r_[0 : n // 2 + 1, -(n // 2) : 0]
    grid = torch.zeros((box, box, box // 2 + 1), dtype=half_space.dtype)
    grid[np.ix_(rows, rows, range(n // 2 + 1))] = half_space[np.ix_(rows, rows, range(n // 2 + 1))]
    if n < box:  # the plane of the old Nyquist frequency belongs to one side only
        grid[-(n // 2)], grid[:, -(n // 2)], grid[:, :, n // 2] = 0, 0, 0
    volume = half_space_to_volume(grid).numpy() * (box / even) ** 3
    volume = np.ascontiguousarray(volume, dtype=np.float32)
    description = {**source.description, "resampled_from_px": len(source.volume)}
    return SimulatedMap(volume, own * even / box, mask_from_density(volume), description)


def centred_cube(volume, side):
    """Return the central `side` voxels along each axis, the map's border value where it ends."""
    n = len(volume)
    low = n // 2 - side // 2
    if low < 0:
        edge = float(np.mean([volume[0].mean(), volume[-1].mean()]))
        after = max(0, low + side - n)
        volume = np.pad(volume, (-low, after), constant_values=edge)
        low = 0
    return np.ascontiguousarray(volume[low : low + side, low : low + side, low : low + side])


def agreement(volume, symmetry):
    """Return how projections correlate that the group makes alike, `(worst, mean)`.

    1 for a map that has the group about RELION's axes, little for one that is turned against them.
    """
    operators = np.asarray(point_group(symmetry).operators)
    moving = operators[np.abs(operators - np.eye(3)).max(axis=(1, 2)) > 1e-6]
    views = random_rotations(_VIEWS, np.random.default_rng(0))
    projector = BatchProjector(volume, 1.0)
    images = projector.project(views).numpy().reshape(_VIEWS, -1)
    found = [
        np.corrcoef(image, mate.ravel())[0, 1]
        for turn in moving
        for image, mate in zip(images, projector.project(turn @ views).numpy(), strict=True)
    ]
    return (min(found), float(np.mean(found))) if found else (1.0, 1.0)


def entry_of(args, size):
    """Make the two halves; return the map, its plan and how well it has the symmetry."""
    if args.map is None:
        pixel = size.pixel_size_angst
        source = phantom(size.box, pixel, args.symmetry, _RADIUS_ANGST, 2.2 * pixel, args.seed)
    else:
        source = map_to_simulate(args.map)
    worst, mean = agreement(source.volume, args.symmetry)
    if worst < LEAST_AGREEMENT:
        raise SystemExit(
            f"{args.map}: projections that {args.symmetry} makes alike correlate {worst:.3f} at "
            f"worst; turn the map to RELION's axes of {args.symmetry} first "
            "(relion_align_symmetry)"
        )
    source = in_frame(source, size.box, size.pixel_size_angst)
    snr, shift_px = args.input_snr * args.relion_factor**2, args.shift_sigma
    if size.binned_box is not None:
        snr = snr_after_binning(source, size.binned_box, snr, args.seed)
        shift_px *= size.binned_box / size.box
        source = binned(source, size.binned_box)
    plan = SimulationPlan(
        n_particles=args.particles or size.particles,
        symmetry=args.symmetry,
        shift_sigma_px=shift_px,
        snr=snr,
        seed=args.seed,
    )
    made = simulate(plan, source, args.name, args.benchmarkDir, progress=make_progress())
    facts = {
        "map": source.description, "symmetry": args.symmetry, "symmetry_worst": worst,
        "symmetry_mean": mean, "box": len(source.volume),
        "pixel_size_angst": source.pixel_size_angst, "snr": snr,
    }  # fmt: skip
    return made.folder, plan, facts


def recipe_of(args, size, folder, plan):
    """Return the plain baseline, its images drawn as the entry's were."""
    settings = {
        **size.settings,
        "simulation.map": str(folder / TRUTH_NAME),
        "simulation.snr": plan.snr,
        "simulation.coloured_noise": False,
        "simulation.shift_sigma_px": plan.shift_sigma_px,
        "simulation.defocus_angst": list(OpticsRanges().defocus_angst),
        **dict(word.split("=", 1) for word in args.set),
    }
    return read_recipe(str(args.recipe or FOLDER / size.recipe), (), settings)


def figures(star, args):
    """Return what is to be said of the predictions of half 1."""
    entry = open_entry(args.name, 1, args.benchmarkDir)
    truth = read_particle_table(entry.star_path, entry.root_dir)
    found = read_particle_table(star, entry.root_dir)
    place = {name: row for row, name in enumerate(found.ids)}
    rows = np.array([place[name] for name in truth.ids])
    errors_deg = symmetric_distance_deg(
        truth.require_poses().rotations,
        found.require_poses().rotations[rows],
        point_group(entry.symmetry),
    )
    return {
        "particles": len(errors_deg),
        "mean_deg": float(errors_deg.mean()),
        "standard_error_deg": float(errors_deg.std() / np.sqrt(len(errors_deg))),
        "median_deg": float(np.median(errors_deg)),
        "under_5_deg": float((errors_deg < 5).mean()),
        "under_10_deg": float((errors_deg < 10).mean()),
    }


def as_markdown(result):
    """Return the result as a table, the paper's figure beside it."""
    mean = f"{result['mean_deg']:.1f} ± {result['standard_error_deg']:.1f}"
    return (
        "| what | MAnE (°) | median (°) | < 5° | < 10° | images | CPU s |\n"
        "|---|---:|---:|---:|---:|---:|---:|\n"
        f"| here, **simulated** ({result['size']}) | {mean} | {result['median_deg']:.1f} "
        f"| {result['under_5_deg']:.1%} | {result['under_10_deg']:.1%} "
        f"| {result['images']:,} | {result['cpu_s']:.0f} |\n"
        f"| the paper, Simulated 10648 | {PAPER_MEAN_DEG} | | | | | |\n"
    )


def run(args):
    """Do it all; return the result."""
    size = SIZES["tiny" if args.tiny else args.size]
    folder, plan, facts = entry_of(args, size)
    recipe = recipe_of(args, size, folder, plan)
    began = time.process_time()
    outcome = train_and_predict(
        args.name,
        0,
        args.outdir / "half0",
        recipe,
        benchmark_dir=args.benchmarkDir,
        progress=make_progress(),
    )
    provenance = json.loads((args.outdir / "half0" / "provenance.json").read_text("utf-8"))
    result = {
        "size": "tiny" if args.tiny else args.size,
        **facts,
        **figures(outcome.predictions, args),
        "steps": provenance["steps"],
        "images": provenance["drawn"]["images"],
        "cpu_s": time.process_time() - began,
        "paper_mean_deg": PAPER_MEAN_DEG,
    }
    write_text_atomic(args.outdir / "simulated_10648.json", json.dumps(result, indent=2) + "\n")
    write_text_atomic(args.outdir / "simulated_10648.md", as_markdown(result))
    return result


def main(words=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--map", type=Path, help="MRC map, about RELION's axes; else a phantom")
    parser.add_argument("--symmetry", default="D2", help="of the map")
    parser.add_argument(
        "--size", choices=[name for name in SIZES if name != "tiny"], default="whole"
    )
    parser.add_argument("--tiny", action="store_true", help="all steps in seconds, for a test")
    parser.add_argument("--name", default="SIM-10648-drawn", help="of the entry, beginning SIM-")
    parser.add_argument("--outdir", type=Path, default=Path("simulated_10648"))
    parser.add_argument("--recipe", help="in place of the size's own")
    parser.add_argument("--particles", type=int, help="in each half, to validate and to test")
    parser.add_argument("--input-snr", type=float, default=0.05, help="before the factor")
    parser.add_argument(
        "--relion-factor", type=float, default=PAPER_FACTOR, help="of --adjust_simulation_SNR"
    )
    parser.add_argument("--shift-sigma", type=float, default=2.0, help="[px of the whole box]")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="setting of the recipe"
    )
    parser.add_argument("--seed", type=int, default=10648)
    parser.add_argument("--benchmarkDir", type=Path)
    args = parser.parse_args(words)
    print(as_markdown(run(args)), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
