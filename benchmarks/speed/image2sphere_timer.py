"""Time training steps of Image2Sphere, in the python and with the `cesped` that runs this file.

    python benchmarks/speed/image2sphere_timer.py [--order 4] [--encoder resnet50] [--pixels 256]
        [--batch 4]

Started by image2sphere.py, once with our python and once with the peer's. Says on one line how the
model was built; then, for each line that it reads, does one training step and answers with a line
of JSON: processor seconds of the step, of its optimizer, and of all but the encoder, and the
largest memory so far. For the last but one, the encoder's maps are made beforehand and the encoder
is left out of the model, so that both packages' own functions are timed as they stand.
"""

import argparse
import json
import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path
from tempfile import gettempdir

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import nn

#: Operators that torchvision, which only the peer imports, expects its compiled part to declare.
TORCHVISION_OPERATORS = ("nms", "qnms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool")


def memory_gib() -> float:
    """Return the largest memory that this process has held [GiB]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def peer_model(args: argparse.Namespace) -> nn.Module:
    """Build the peer's model with the options of its own configuration file."""
    library = torch.library.Library("torchvision", "DEF")
    for name in TORCHVISION_OPERATORS:
        library.define(f"{name}(Tensor x) -> Tensor")
    import e3nn.nn  # noqa: F401  the peer expects it to be there
    from cesped.network.featureExtractors import ResNetImageEncoder
    from cesped.network.image2sphere import I2S

    encoder = ResNetImageEncoder(args.encoder, load_imagenetweights=False)
    side = args.pixels // 32
    model = I2S(
        encoder,
        (2048 if args.encoder not in ("resnet18", "resnet34") else 512, side, side),
        symmetry="C1",
        lmax=8,
        s2_fdim=512,
        so3_fdim=16,
        hp_order_projector=3,
        hp_order_s2=3,
        hp_order_so3=args.order,
        rand_fraction_points_to_project=0.5,
    )
    model._library = library
    return model


def our_model(args: argparse.Namespace) -> nn.Module:
    """Build the preset `paper` with the encoder and the order that were asked for."""
    from cesped.models.registry import build_model

    options = {
        "encoder": args.encoder,
        "grid_order": args.order,
        "input_px": None,
    }
    return build_model("image2sphere", "C1", preset="paper", **options)


def loss_of(model: nn.Module, images: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
    """Return the training loss of either package."""
    weights = torch.ones(len(images))
    if hasattr(model, "forward_and_loss"):
        return model.forward_and_loss(images, rotations, weights[:, None])[0]
    return model.loss(images, rotations, weights)


class WithoutEncoder:
    """A model whose encoder hands its input on, for as long as the block lasts."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.names = [name for name in ("channels", "encoder") if hasattr(model, name)]

    def __enter__(self) -> None:
        self.held = {name: getattr(self.model, name) for name in self.names}
        for name in self.names:
            setattr(self.model, name, nn.Identity())

    def __exit__(self, *args: object) -> None:
        for name, module in self.held.items():
            setattr(self.model, name, module)


def encode(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return the encoder's maps as a leaf of the graph."""
    with torch.no_grad():
        channels = model.channels(images) if hasattr(model, "channels") else images
        return model.encoder(channels).detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--order", type=int, default=4)
    parser.add_argument("--encoder", default="resnet50")
    parser.add_argument("--pixels", type=int, default=256)
    parser.add_argument("--batch", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)

    is_peer = version("cesped") == "25.12.0"
    wall, cpu = time.perf_counter(), time.process_time()
    model = (peer_model if is_peer else our_model)(args)
    about = {
        "version": version("cesped"),
        "build_wall_s": time.perf_counter() - wall,
        "build_cpu_s": time.process_time() - cpu,
        "build_gib": memory_gib(),
        "disk_gib": sum(f.stat().st_size for f in Path(gettempdir()).rglob("*") if f.is_file())
        / 2**30,
    }
    optimizer = torch.optim.RAdam(model.parameters(), lr=1e-3, weight_decay=1e-5)
    images = torch.randn(args.batch, 1, args.pixels, args.pixels)
    rotations = torch.from_numpy(
        Rotation.random(args.batch, random_state=np.random.RandomState(0)).as_matrix()
    ).float()
    print(json.dumps(about), flush=True)
    for _ in sys.stdin:
        started = time.process_time()
        loss_of(model, images, rotations).backward()
        stepped = time.process_time()
        optimizer.step()
        optimizer.zero_grad()
        answer = {"step_s": stepped - started, "optimizer_s": time.process_time() - stepped}
        features = encode(model, images)
        with WithoutEncoder(model):
            features.requires_grad_()
            started = time.process_time()
            loss_of(model, features, rotations).backward()
            answer["head_s"] = time.process_time() - started
        optimizer.zero_grad()
        answer["memory_gib"] = memory_gib()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
