"""Teach a CryoFastAR network the relative poses of views of one structure, on a processor.

    python two_views.py 5nrl.cif.gz clean [--steps 8000]
    python two_views.py 5nrl.cif.gz noisy --begin clean/weights.safetensors --reference-within 180
        --steps 6000 --lr 5e-4 --snr 0.5 20 --max-shift 2.5 --ctf [--views 8 16 32]

Images are drawn on the fly and none is seen twice. The reference view of a set starts at one fixed
orientation (`drawn_views.py` says why); whenever the mean squared error of recent steps is below
TAU, the ball of its orientations widens, until it is all of SO(3). Sets have 8 views, which is
seven relative poses for one reference; of several `--views`, each step takes the next, in as many
sets as keep the number of images. Every few hundred steps the mean Frobenius error of the rotation
is measured on pairs (two views), on sets of 8 and of other sizes trained on; none of them is ever
trained on itself, and all orientations are uniform; beside it stands that of the one rotation that
is best for all of them.
A stopped run goes on with the same command; `--piece-minutes` stops it.
"""

import argparse
import json
import math
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from drawn_views import DrawnViews, map_at

from cesped.geometry.rotations import nearest_rotations
from cesped.io.files import atomic_path, write_text_atomic
from cesped.models.cryofastar.losses import planar_map_loss
from cesped.models.cryofastar.model import CryoFastAR
from cesped.models.cryofastar.pixel_sizes import PixelSizes
from cesped.models.cryofastar.planar_maps import maps_of_poses
from cesped.models.cryofastar.poses import poses_of_maps
from cesped.models.cryofastar.views import normalized_views

HELD_OUT = {2: 256, 8: 32}  # sets by views; of other sizes that are trained on, 512 views
TAU, WIDEN_DEG, MEMORY = 0.2, 0.25, 0.05  # of 0.667, the error of the best constant map
WARM_UP = 50


def held_out(source, trained_views=(), seed=2):
    """Return pairs and larger sets that are never trained on, by their views."""
    generator = np.random.default_rng([seed, 2])
    sets = HELD_OUT | {views: 512 // views for views in trained_views if views not in HELD_OUT}
    return {views: source.draw(count, views, generator) for views, count in sets.items()}


def errors(model, views):
    """Return mean errors of rotation (Frobenius) and shift [px] of the targets, by views in a set,
    and the rotation error of the best constant."""
    model.eval()
    found = {}
    with torch.inference_mode():
        for count, (images, relative, shifts) in views.items():
            parts = [
                poses_of_maps(model(normalized_views(part, model.normalization), False))
                for part in images.split(128 // count)
            ]
            turns = torch.cat([part.rotations for part in parts])[:, 1:]
            moved = torch.cat([part.shifts_px for part in parts])[:, 1:]
            truth = relative[:, 1:]
            mean = nearest_rotations(truth.flatten(0, 1).mean(0).double().cpu().numpy())
            best = torch.from_numpy(mean).to(truth)
            miss = torch.linalg.matrix_norm(turns - truth)
            found[f"rotation_error_{count}_views"] = float(miss.mean())
            found[f"median_{count}_views"] = float(miss.median())
            found[f"best_constant_{count}_views"] = float(
                torch.linalg.matrix_norm(best - truth).mean()
            )
            found[f"shift_error_px_{count}_views"] = float(
                (moved - shifts[:, 1:]).norm(dim=-1).mean()
            )
    model.train()
    return {name: round(value, 4) for name, value in found.items()}


def rate_at(step, steps, lr):
    """Return the learning rate: a short warm-up, constant, then a cosine over the last 40 %."""
    share = step / steps
    falling = 0.5 * (1 + math.cos(math.pi * max(0.0, (share - 0.6) / 0.4)))
    return lr * min(1.0, (step + 1) / WARM_UP) * falling


class Training:
    """Network, optimiser and place in the curriculum; written to and read from one file."""

    def __init__(self, options):
        torch.manual_seed(options.seed)
        self.options, self.state_file = options, options.out / "state.pt"
        self.pixel_sizes = PixelSizes()
        if options.begin is None:
            self.model = CryoFastAR(options.preset)
        else:
            self.model = CryoFastAR.load(options.begin)
        self.model = self.model.float().to(options.device).train()
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=options.lr, weight_decay=0.01, fused=True
        )
        self.place = {"step": 0, "error": 0.667, "within_deg": float(options.reference_within),
                      "targets": 0, "cpu_seconds": 0.0, "curve": []}  # fmt: skip
        if self.state_file.is_file():
            kept = torch.load(self.state_file, weights_only=True)
            self.model.load_state_dict(kept["model"])
            self.optimizer.load_state_dict(kept["optimizer"])
            self.place = kept["place"]

    def keep(self):
        with atomic_path(self.state_file) as temporary:
            torch.save({"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
                        "place": self.place}, temporary)  # fmt: skip

    def learn(self, source):
        """Do one step."""
        options, place = self.options, self.place
        generator = np.random.default_rng([options.seed, 1, place["step"]])
        views = options.views[place["step"] % len(options.views)]
        sets = max(1, options.batch * options.views[0] // views)
        images, relative, shifts = source.draw(sets, views, generator, place["within_deg"])
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(place["step"], options.steps, options.lr)
        model = self.model
        with torch.autocast(images.device.type, torch.bfloat16, enabled=options.bfloat16):
            maps = model(normalized_views(images, model.normalization), with_images=False)
        truth = maps_of_poses(relative, shifts, options.box, options.box, model.convention)
        loss = planar_map_loss(maps, truth, model.convention, alpha=options.alpha).total
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        self.optimizer.step()
        missed = float((maps.points - truth).detach()[:, 1:].square().sum(-1).mean())
        place["error"] += MEMORY * (missed - place["error"])
        if place["error"] < options.tau:
            place["within_deg"] = min(180.0, place["within_deg"] + options.widen)
        place["step"] += 1
        place["targets"] += sets * (views - 1)

    def run(self, source):
        """Learn until all steps are done, or the piece is."""
        options, place = self.options, self.place
        judged = held_out(source, options.views)
        started, begun = time.monotonic(), time.process_time() - place["cpu_seconds"]
        while place["step"] < options.steps:
            self.learn(source)
            place["cpu_seconds"] = time.process_time() - begun
            if place["step"] % options.check_every == 0 or place["step"] == options.steps:
                row = {"step": place["step"], "targets": place["targets"],
                       "cpu_seconds": round(place["cpu_seconds"], 1),
                       "within_deg": round(place["within_deg"], 1),
                       "training_error": round(place["error"], 4),
                       **errors(self.model, judged)}  # fmt: skip
                place["curve"].append(row)
                self.keep()
                write_result(self)
                print(json.dumps(row), flush=True)
            if time.monotonic() - started > 60 * options.piece_minutes:
                break
        self.keep()


def write_result(training):
    """Write weights and curve."""
    options = vars(training.options)
    result = {
        "what": "errors of held-out sets of one structure, all orientations uniform; simulated",
        "curve": training.place["curve"],
        "options": {k: str(v) if isinstance(v, Path) else v for k, v in options.items()},
        "sizes": training.model.config.to_dict(),
        "package_version": version("cesped"),
        "torch": torch.__version__,
    }
    write_text_atomic(training.options.out / "curve.json", json.dumps(result, indent=1) + "\n")
    facts = {"recipe": "benchmarks/recipes/cryofastar/two_views.py", **result["options"]}
    facts |= training.pixel_sizes.as_fact()
    training.model.save(training.options.out / "weights.safetensors", facts)


def parsed(args):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("map", type=Path, help="structure (mmCIF, PDB, npz) or MRC map")
    parser.add_argument("out", type=Path, help="folder for weights, curve and state")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--views", type=int, nargs="+", default=[8], help="of a set, in turn")
    parser.add_argument("--batch", type=int, default=16, help="sets of the first --views in a step")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--alpha", type=float, default=0.3)
    parser.add_argument("--preset", default="nano")
    parser.add_argument("--box", type=int, default=32)
    parser.add_argument("--begin", type=Path, help="weights to begin with")
    parser.add_argument(
        "--reference-within",
        type=float,
        default=0.0,
        metavar="DEG",
        help="ball of the reference at the first step; 180: no curriculum",
    )
    parser.add_argument("--widen", type=float, default=WIDEN_DEG, help="degrees in a step")
    parser.add_argument("--tau", type=float, default=TAU, help="error below which it widens")
    parser.add_argument("--snr", type=float, nargs=2, default=None)
    parser.add_argument("--max-shift", type=float, default=0.0, help="px of --box")
    parser.add_argument("--ctf", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--check-every", type=int, default=250)
    parser.add_argument("--piece-minutes", type=float, default=math.inf)
    return parser.parse_args(args)


def main(args=None):
    """Train, print and write."""
    options = parsed(args)
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    volume, pixel_size = map_at(options.map, options.box)
    source = DrawnViews(volume, pixel_size, options.device, snr=options.snr,
                        max_shift_px=options.max_shift, ctf=options.ctf)  # fmt: skip
    training = Training(options)
    training.pixel_sizes = PixelSizes().with_sizes([pixel_size])
    training.run(source)
    return training.place["curve"]


if __name__ == "__main__":
    main()
