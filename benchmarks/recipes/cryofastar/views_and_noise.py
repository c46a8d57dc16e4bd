"""Errors against the number of views and the SNR: Figure 5 of the CryoFastAR paper.

    python views_and_noise.py OUT --weights W.safetensors
        --structure 5nrl.cif.gz [--image-size 128] [--particles 2000] [--snr 0.05 0.1 1.0]
        [--views 16 32 64 128] [--box 128] [--device cpu]

For each SNR a set is simulated by `cesped simulate` as the paper's are (its appendix B.1: uniform
orientations, CTF, shifts of up to 10 px at 128); all images are encoded once and decoded in groups
of so many views with one reference, chosen as in `cesped abinitio`. Errors are those of appendix D.
OUT gets errors.json, errors.md and errors.png; an SNR that is there already is not done again.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from cesped.cli.main import main as cesped
from cesped.data.conventions import read_particle_table
from cesped.data.particle_images import ParticleImages
from cesped.data.preprocessing import PreprocessingOptions
from cesped.evaluation.abinitio.figures import frobenius_error, translation_error_px
from cesped.inference.abinitio.groups import poses_in_one_frame
from cesped.inference.abinitio.kept_features import encode_particles
from cesped.inference.abinitio.reference import choose_reference
from cesped.inference.predict import chosen_device
from cesped.io.files import write_text_atomic
from cesped.vocabulary import CtfCorrection, Normalization
from cesped.workflows.abinitio import read_weights

FIELD_ANGST = 512.0  # of the paper's images of 5NRL: 128 px of 4 A
MAX_SHIFT_SHARE = 10 / 128


def simulated_set(options, snr):
    """Return the particles of a set of this SNR, made if it is not there."""
    name = f"SNR-{snr:g}-{options.box}px-{options.particles}"
    folder = options.out / "sets"
    if not (folder / name / "particles_0.star").is_file():
        words = ["simulate", "--name", name, "--structure", str(options.structure), "--pixel-size",
                 f"{FIELD_ANGST / options.box:g}", "--box", str(options.box), "--particles",
                 str(options.particles // 2), "--snr", f"{snr:g}", "--max-shift",
                 f"{MAX_SHIFT_SHARE * options.box:g}", "--benchmarkDir", str(folder)]  # fmt: skip
        if cesped(words):
            raise SystemExit("the set could not be simulated")
    return [read_particle_table(folder / name / f"particles_{half}.star") for half in (0, 1)]


def joined_features(model, tables, image_size, device):
    """Return what the encoder says of both halves, and how their images were read."""
    recipe = PreprocessingOptions(
        image_size, Normalization.NONE, CtfCorrection.NONE, crop_fraction=0.0
    )
    parts = [ParticleImages(table, recipe) for table in tables]
    encoded = [encode_particles(model, part, device=device)[0] for part in parts]
    joined = torch.cat([views.features for views in encoded])
    scale = float(parts[0].preprocessor.pixel_size_after(tables[0].sampling_rate))
    return type(encoded[0])(joined, encoded[0].rows, encoded[0].columns), scale


def errors_at(options, model, snr, device):
    """Return a row for each number of views at one SNR."""
    tables = simulated_set(options, snr)
    features, pixel_size = joined_features(model, tables, options.image_size, device)
    poses = [table.require_poses() for table in tables]
    truth = type(poses[0])(
        np.concatenate([p.rotations for p in poses]),
        np.concatenate([p.origins_angst for p in poses]),
        np.concatenate([p.confidence for p in poses]),
    )
    rows = []
    for views in options.views:
        generator = torch.Generator().manual_seed(0)
        choice = choose_reference(model, features, generator, 64, min(31, views - 1))
        frame = poses_in_one_frame(model, features, choice.index, views)
        found = frame.to_poses(pixel_size)
        rotation = frobenius_error(truth.rotations, found.rotations, np.random.default_rng(0))
        own = truth.rotations[choice.index].T @ truth.rotations
        rows.append({
            "snr": snr, "views": views, "particles": len(truth.rotations),
            "rotation_error": round(rotation, 4),
            "rotation_error_own_reference":
                round(float(np.linalg.norm(found.rotations - own, axis=(1, 2)).mean()), 4),
            # at the pixels of the set, as the paper's
            "shift_error_px":
                round(translation_error_px(truth, found, FIELD_ANGST / options.box), 4),
            "mean_confidence": round(float(frame.confidence.mean()), 4),
        })  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
    return rows


def table_of(rows, name):
    """Return one figure as Markdown, SNRs down and views across."""
    views = sorted({row["views"] for row in rows})
    lines = ["| SNR | " + " | ".join(f"{count} views" for count in views) + " |",
             "|---|" + "---:|" * len(views)]  # fmt: skip
    for snr in sorted({row["snr"] for row in rows}):
        these = {row["views"]: row[name] for row in rows if row["snr"] == snr}
        lines.append(f"| {snr:g} | " + " | ".join(f"{these[count]:.3f}" for count in views) + " |")
    return "\n".join(lines) + "\n"


def draw(rows, path, title):
    """Draw both errors against the number of views, a line for each SNR."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    names = {"rotation_error": "rotation error (Frobenius)", "shift_error_px": "shift error [px]"}
    for axis, (name, label) in zip(axes, names.items(), strict=True):
        for snr in sorted({row["snr"] for row in rows}):
            these = sorted((r["views"], r[name]) for r in rows if r["snr"] == snr)
            axis.plot(*zip(*these, strict=True), marker="o", label=f"SNR {snr:g}")
        axis.set_xscale("log", base=2)
        ticks = sorted({row["views"] for row in rows})
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.set_xlabel("views in a group")
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def main(args=None):
    """Measure, print, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--structure", type=Path, required=True)
    parser.add_argument("--image-size", type=int, default=None)
    parser.add_argument("--particles", type=int, default=2000)
    parser.add_argument("--box", type=int, default=128)
    parser.add_argument("--snr", type=float, nargs="+", default=[0.05, 0.1, 1.0])
    parser.add_argument("--views", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(args)
    options.out.mkdir(parents=True, exist_ok=True)
    device = chosen_device(options.device)
    model = read_weights(options.weights).to(device).eval()
    kept, rows = options.out / "errors.json", []
    if kept.is_file():
        rows = json.loads(kept.read_text("utf-8"))
    for snr in options.snr:
        if not any(row["snr"] == snr for row in rows):
            rows += errors_at(options, model, snr, device)
            write_text_atomic(kept, json.dumps(rows, indent=1) + "\n")
    tables = [f"{name}\n\n{table_of(rows, name)}" for name in ("rotation_error", "shift_error_px")]
    write_text_atomic(options.out / "errors.md", "\n".join(tables))
    title = f"Simulated 5NRL, {options.particles:,} particles of {options.box} px"
    draw(rows, options.out / "errors.png", title)
    return rows


if __name__ == "__main__":
    main()
