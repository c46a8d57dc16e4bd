"""Images a second of Image2Sphere in training and prediction, and the share of the device's peak.

    python benchmarks/speed/image2sphere_throughput.py [--preset paper] [--batch 256]
        [--device auto] [--precision bf16] [--compile] [--channels-last] [--steps 20]
        [--peak-tflops 989]
        [--set encoder=resnet50 ...]

Images and poses are random and lie on the device already: reading them is measured by dataset.py
and cache.py. A step is loss, backward and RAdam. Operations are counted by torch (multiplications
and additions of convolutions and matrix products, backward twice the forward); --peak-tflops is
what the device does at most in that precision (989 for the bf16 of an H200). Where the time goes is
told by timing the encoder alone: if it takes nearly all, the network bounds, not the head.
"""

import argparse
import contextlib
import time
from collections.abc import Callable

import torch
import yaml
from scipy.spatial.transform import Rotation
from torch.utils.flop_counter import FlopCounterMode

from cesped.models.registry import build_model


def seconds_of(work: Callable[[], object], device: torch.device, steps: int) -> float:
    """Return the mean time of `work` after three times that warm up [s]."""
    for _ in range(3):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(steps):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / steps


def operations_of(work: Callable[[], object]) -> float:
    """Return the floating-point operations of `work`."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--symmetry", default="D2")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--pixels", type=int, default=256)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=["bf16", "float32"], default="bf16")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument(
        "--channels-last", action="store_true", help="weights of convolutions as tensor cores want"
    )
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--peak-tflops", type=float)
    parser.add_argument("--set", nargs="*", default=[], help="options of the model, NAME=VALUE")
    return parser.parse_args()


def main() -> None:
    args = parse()
    if args.device == "auto" and not torch.cuda.is_available():
        print("there is no GPU here, so nothing is measured; --device cpu takes long, and memory")
        return
    device = torch.device("cuda" if args.device == "auto" else args.device)
    chosen = {name: yaml.safe_load(text) for name, _, text in (s.partition("=") for s in args.set)}
    model = build_model("image2sphere", args.symmetry, preset=args.preset, **chosen).to(device)
    if args.channels_last:
        model.to(memory_format=torch.channels_last)
        torch.backends.cudnn.benchmark = True
    optimizer = torch.optim.RAdam(model.parameters(), lr=1e-3, weight_decay=1e-5)
    images = torch.randn(args.batch, 1, args.pixels, args.pixels, device=device)
    rotations = torch.from_numpy(Rotation.random(args.batch).as_matrix()).float().to(device)
    weights = torch.ones(args.batch, device=device)

    def precision() -> contextlib.AbstractContextManager:
        mixed = args.precision == "bf16"
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixed)

    def train() -> None:
        with precision():
            loss = model.loss(images, rotations, weights)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    def encode() -> None:
        with precision():
            features = model.encoder(model.channels(images))
        features.float().mean().backward()
        optimizer.zero_grad()

    def predict() -> None:
        with torch.no_grad(), precision():
            model.predict(images)

    works = {"training": train, "its encoder": encode, "prediction": predict}
    operations = {}
    for name, work in works.items():
        model.train(name != "prediction")
        operations[name] = operations_of(work)
    if args.compile:
        for module in model.children():
            module.compile()
    print(f"{args.preset}, batch {args.batch}, {args.pixels} px, {args.precision}, {device}")
    for name, work in works.items():
        model.train(name != "prediction")
        seconds = seconds_of(work, device, args.steps)
        speed = operations[name] / seconds / 1e12
        share = f", {100 * speed / args.peak_tflops:.0f} % of peak" if args.peak_tflops else ""
        print(f"{name:12s} {args.batch / seconds:9.1f} images/s {speed:8.2f} TFLOP/s{share}")
    if device.type == "cuda":
        print(f"memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")


if __name__ == "__main__":
    main()
