"""Teach a network one structure on one GPU, and report what it learned: one command.

    python one_gpu.py OUT --structure 5nrl.cif.gz [--device cuda]
        [--particles 50000] [-- --model.preset base --trainer.bfloat16 false ...]

1. `cesped train-views` with clean.yaml: clean views; then errors of held-out pairs (two views).
2. `cesped train-views` with noisy.yaml from those weights: SNR 1, CTF, shifts, up to 32 views.
3. Errors against views (8 to 128) and SNR, with plot: views_and_noise.py.
4. Poses, map and FSC of a set as the paper's, at SNR 1 and 0.1: pose_tables.py.

What follows `--` goes to both trainings. Each step is skipped or resumed if it was done or begun.
The two trainings are meant to take about ten minutes each on an H200; nobody has measured it.
"""

import argparse
import json
import sys
from pathlib import Path

import pose_tables
import torch
import two_views
import views_and_noise
from drawn_views import SET_BOX, DrawnViews, map_at

from cesped.cli.main import main as cesped
from cesped.inference.predict import chosen_device
from cesped.io.files import write_text_atomic
from cesped.io.mrc import write_volume
from cesped.models.cryofastar.model import CryoFastAR

HERE = Path(__file__).resolve().parent


def trained(options, name, begin=None):
    """Train with one of the recipes here, and return the weights."""
    out = options.out / name
    words = ["train-views", "--recipe", str(HERE / f"{name}.yaml"), "--map",
             str(options.out / "map.mrc"), "--outdir", str(out), "--device",
             options.device, *options.settings]  # fmt: skip
    if begin is not None:
        words += ["--weights", str(begin)]
    if cesped(words):
        raise SystemExit(f"the training {name} failed")
    return out / "weights.safetensors"


def pairs_of(options, weights):
    """Measure held-out clean pairs and sets of eight, and write what was found."""
    device = chosen_device(options.device)
    model = CryoFastAR.load(weights).to(device)
    source = DrawnViews(*map_at(options.out / "map.mrc", options.box), device)
    with torch.no_grad():
        found = two_views.errors(model, two_views.held_out(source))
    write_text_atomic(options.out / "pairs.json", json.dumps(found, indent=1) + "\n")
    print(json.dumps(found), flush=True)
    return found


def sets_of(options):
    """Simulate sets as the paper's at SNR 1 and 0.1, and return their names and folder."""
    folder = options.out / "entries"
    names = []
    for snr in options.snr:
        names.append(f"SIM-5NRL-SNR{snr:g}")
        if (folder / names[-1] / "particles_1.star").is_file():
            continue
        pixel = views_and_noise.FIELD_ANGST / options.box
        words = ["simulate", "--name", names[-1], "--structure", str(options.structure),
                 "--pixel-size", f"{pixel:g}", "--box", str(options.box), "--particles",
                 str(options.particles // 2), "--snr", f"{snr:g}", "--max-shift",
                 f"{10 * options.box / SET_BOX:g}", "--benchmarkDir", str(folder)]  # fmt: skip
        if cesped(words):
            raise SystemExit("the set could not be simulated")
    return names, folder


def main(args=None):
    """Train, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--structure", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--box", type=int, default=SET_BOX, help="of images and map")
    parser.add_argument("--particles", type=int, default=50_000)
    parser.add_argument("--snr", type=float, nargs="+", default=[1.0, 0.1])
    parser.add_argument("--views", type=int, nargs="+", default=[8, 16, 32, 64, 128])
    words = list(sys.argv[1:] if args is None else args)
    split = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:split])
    options.settings = words[split + 1 :]
    options.out.mkdir(parents=True, exist_ok=True)
    if not (options.out / "map.mrc").is_file():
        write_volume(options.out / "map.mrc", *map_at(options.structure, options.box))
    clean = trained(options, "clean")
    pairs = pairs_of(options, clean)
    noisy = trained(options, "noisy", clean)
    common = ["--weights", str(noisy), "--device", options.device]
    errors = views_and_noise.main([
        str(options.out / "figure5"), *common, "--structure", str(options.structure), "--box",
        str(options.box), "--particles", str(min(options.particles, 10_000)), "--views",
        *map(str, options.views), "--snr", *(str(snr) for snr in options.snr),
    ])  # fmt: skip
    names, folder = sets_of(options)
    rows = pose_tables.main([
        str(options.out / "tables"), *names, *common, "--benchmarkDir", str(folder),
        "--views", str(max(options.views)),
    ])  # fmt: skip
    return {"pairs": pairs, "errors": errors, "tables": rows}


if __name__ == "__main__":
    main()
