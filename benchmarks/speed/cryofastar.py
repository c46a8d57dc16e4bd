"""Hold a CryoFastAR network against the rate at which this machine multiplies matrices.

    python benchmarks/speed/cryofastar.py [--preset large] [--views 32] [--side 128]
        [--repeats 3] [--threads 2] [--device cpu] [--bf16] [--compile]

Network and matrix products take turns. The products are those of the encoder's perceptron, the
largest the network has, with as many rows as it has tokens. Ratios above 1 are time that goes into
anything else. CPU seconds say more than the clock where other work takes the cores.
"""

import argparse
import resource
import statistics
import time

import torch
from torch._subclasses import FakeTensorMode
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from cesped.models.cryofastar.config import PRESETS
from cesped.models.cryofastar.model import CryoFastAR
from cesped.models.cryofastar.poses import poses_of_maps

MATRIX_GFLOP = 200.0  # of products in one turn, or the network's own if those are fewer


def tera_operations(preset, views, side):
    """Return the operations of one pass, two per multiply-add, attention included [1e12]."""
    counter = FlopCounterMode(display=False)
    with FakeTensorMode(), torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        CryoFastAR(preset)(torch.empty(1, views, 1, side, side))
    return counter.get_total_flops() / 1e12


def timed(function, device):
    """Return the wall and the CPU seconds of a call."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu


def products(config, tokens, device, dtype):
    """Return a function that multiplies the perceptron's matrices, and its operations [1e12]."""
    width, hidden = config.encoder_width, config.mlp_ratio * config.encoder_width
    rows = torch.randn(tokens, width, device=device, dtype=dtype)
    expand = torch.randn(hidden, width, device=device, dtype=dtype) / width**0.5
    contract = torch.randn(width, hidden, device=device, dtype=dtype) / hidden**0.5
    one = 4e-12 * tokens * width * hidden
    count = max(1, round(MATRIX_GFLOP * 1e-3 / one))

    def run():
        for _ in range(count):
            functional.linear(functional.linear(rows, expand), contract)

    return run, count * one


def peak_gb(device):
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main():
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="large", choices=PRESETS)
    parser.add_argument("--views", type=int, default=32)
    parser.add_argument("--side", type=int, default=128, help="of the square images [px]")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true", help="encoder and decoder in bfloat16")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device, dtype = torch.device(options.device), torch.float32
    work = tera_operations(options.preset, options.views, options.side)
    model = CryoFastAR(options.preset).eval().to(device)
    for head in (model.reference_head, model.target_head):  # zeros would give the poses no plane
        torch.nn.init.normal_(head.points.weight, std=0.02)
    if options.bf16:
        dtype = torch.bfloat16
        model.trunk_to(dtype)
    run = torch.compile(model) if options.compile else model
    images = torch.randn(1, options.views, 1, options.side, options.side, device=device)
    tokens = options.views * (options.side // model.config.patch_px) ** 2
    multiply, product_work = products(model.config, tokens, device, dtype)
    network, matrices, poses = [], [], []
    with torch.inference_mode():
        run(images), multiply()  # the first calls allocate, or compile
        for _ in range(options.repeats):
            matrices.append(timed(multiply, device))
            network.append(timed(lambda: run(images), device))
        maps = run(images)
        for _ in range(options.repeats):
            poses.append(timed(lambda: poses_of_maps(maps), device))
    print(
        f"{options.preset}, {options.views} views of {options.side} px, {dtype}, {options.device}, "
        f"{options.threads} threads: {work:.3f} TFLOP, peak memory {peak_gb(device):.2f} GB"
    )
    print(f"{'':22s} {'wall s':>8s} {'CPU s':>8s} {'TFLOP/s':>8s}   (medians of {options.repeats})")
    medians = {}
    for name, times, amount in (
        ("network", network, work),
        ("matrix products", matrices, product_work),
        ("poses from maps", poses, 0.0),
    ):
        wall, cpu = (statistics.median(t[i] for t in times) for i in range(2))
        medians[name] = wall, cpu, amount
        print(f"{name:22s} {wall:8.2f} {cpu:8.2f} {amount / wall:8.3f}")
    for index, clock in enumerate(("wall", "CPU")):
        spent = medians["network"][index] / work
        possible = medians["matrix products"][index] / product_work
        print(f"ratio of {clock} seconds per operation, network / matrix products: "
              f"{spent / possible:.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
