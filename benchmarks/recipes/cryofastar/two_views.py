"""Teach a CryoFastAR network the relative pose of two clean views of one structure.

    python benchmarks/recipes/cryofastar/two_views.py OUT.json [--minutes 20] [--preset tiny]
        [--box 32] [--batch 32] [--lr 5e-4] [--threads 1] [--device cpu] [--weights FILE]

The first stage of the paper's training (section 4.2), small enough for a processor: images of a
chain phantom are drawn on the fly, uniform on SO(3), and none is seen twice. Every 100 steps the
mean Frobenius error of the rotation of 256 pairs that are never trained on is measured; beside it
stands that of the one rotation that is best for all of them. The rate warms up, then falls as a
cosine of the minutes that are left, so runs of other lengths are other runs.
"""

import argparse
import json
import math
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from cesped.geometry.rotations import nearest_rotations, random_rotations
from cesped.models.cryofastar.losses import planar_map_loss
from cesped.models.cryofastar.model import CryoFastAR
from cesped.models.cryofastar.planar_maps import maps_of_poses, relative_rotations
from cesped.models.cryofastar.poses import poses_of_maps
from cesped.models.cryofastar.views import normalized_views
from cesped.physics.phantom import chain_phantom

ATOMS, WIDTH_PX, FILL, HELD_OUT = 300, 1.0, 0.4, 256
CHECK_EVERY, WARM_UP = 100, 200


class CleanPairs:
    """Pairs of noise-free projections of one phantom, with their relative poses."""

    def __init__(self, box, device, seed=0):
        phantom = chain_phantom(ATOMS, FILL * box, np.random.default_rng(seed))
        self.box, self.device = box, device
        self.positions = torch.from_numpy(phantom.positions_angst).float().to(device)
        self.weights = torch.from_numpy(phantom.weights).float().to(device)

    def draw(self, count, rng):
        """Return normalised images `(B, 2, 1, n, n)` and relative rotations `(B, 2, 3, 3)`."""
        drawn = random_rotations(2 * count, rng).reshape(count, 2, 3, 3)
        rotations = torch.from_numpy(drawn).float().to(self.device)
        seen = self.positions @ rotations  # x_volume = R @ x_image
        axis = torch.arange(self.box, device=self.device) - self.box // 2
        x, y = (
            torch.exp(-((axis - seen[..., i, None]) ** 2) / (2 * WIDTH_PX**2)) for i in range(2)
        )
        images = torch.einsum("bvay,bvax->bvyx", y * self.weights[:, None], x)[:, :, None]
        return images, relative_rotations(rotations)


def rotation_error(model, images, relative):
    """Return the mean Frobenius norm of R - R_true over the second views."""
    model.eval()
    with torch.inference_mode():
        maps = [model(normalized_views(part, model.normalization)) for part in images.split(64)]
        found = torch.cat([poses_of_maps(part, model.convention).rotations for part in maps])
    model.train()
    return float((found - relative)[:, 1].norm(dim=(1, 2)).mean())


def best_constant_error(relative):
    """Return the error of the one rotation nearest to all second views."""
    views = relative[:, 1].cpu().numpy()
    constant = nearest_rotations(views.mean(axis=0))
    return float(np.linalg.norm(views - constant, axis=(1, 2)).mean())


def rate_at(step, share_spent, lr):
    falling = 0.5 * (1 + math.cos(math.pi * min(share_spent, 1.0)))
    return lr * min(1.0, (step + 1) / WARM_UP) * falling


def main():
    """Train, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--box", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32, help="pairs in a step")
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--weights", type=Path, help="safetensors file to write in the end")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    pairs, rng = CleanPairs(options.box, options.device), np.random.default_rng(1)
    held_out = pairs.draw(HELD_OUT, np.random.default_rng(2))
    constant = best_constant_error(held_out[1])
    model = CryoFastAR(options.preset).to(options.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.lr, weight_decay=0.01)
    still = torch.zeros(options.batch, 2, 2, device=options.device)
    curve, started, spent, step = [], time.perf_counter(), 0.0, 0
    while spent < 60 * options.minutes:
        images, relative = pairs.draw(options.batch, rng)
        truth = maps_of_poses(relative, still, options.box, options.box, model.convention)
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, spent / (60 * options.minutes), options.lr)
        maps = model(normalized_views(images, model.normalization), with_images=False)
        loss = planar_map_loss(maps, truth, model.convention)
        optimizer.zero_grad()
        loss.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step, spent = step + 1, time.perf_counter() - started
        if step % CHECK_EVERY == 0 or spent >= 60 * options.minutes:
            error = rotation_error(model, *held_out)
            curve.append({"step": step, "pairs": step * options.batch, "seconds": round(spent, 1),
                          "cpu_seconds": round(time.process_time(), 1),
                          "rotation_error": round(error, 4)})  # fmt: skip
            print(f"step {step:6d}, {step * options.batch:8,d} pairs, {spent:6.0f} s: error "
                  f"{error:.3f} (best constant {constant:.3f})", flush=True)  # fmt: skip
    result = {
        "what": "mean Frobenius error of the rotation of held-out clean pairs, one structure",
        "best_constant": round(constant, 4),
        "curve": curve,
        "options": {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()},
        "sizes": model.config.to_dict(),
        "package_version": version("cesped"),
        "torch": torch.__version__,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    if options.weights is not None:
        model.save(options.weights)


if __name__ == "__main__":
    main()
