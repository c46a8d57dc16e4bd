"""What a machine with a GPU can do at most, to hold other figures against.

    python benchmarks/speed/gpu_limits_timer.py FOLDER [--device cuda] [--size 8192]
        [--megabytes 1024]

Products of matrices in three precisions, copies within the device, from main memory to it (as it
is, and from pages that stay where they are), and a file written to FOLDER and read again (out of
the memory that the system keeps of files, if there is enough).
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch


def seconds_of(work, device, times=10):
    """Return the mean seconds of `work` after two that warm up."""
    for _ in range(2):
        work()
    finished(device)
    started = time.perf_counter()
    for _ in range(times):
        work()
    finished(device)
    return (time.perf_counter() - started) / times


def finished(device):
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def products(device, size):
    """Print how fast matrices are multiplied."""
    kinds = {"float32": ("highest", torch.float32), "TF32": ("high", torch.float32),
             "bfloat16": ("highest", torch.bfloat16)}  # fmt: skip
    before = torch.get_float32_matmul_precision()
    for name, (precision, dtype) in kinds.items():
        torch.set_float32_matmul_precision(precision)
        one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        seconds = seconds_of(lambda one=one, other=other: one @ other, device)
        print(f"products in {name:8s} {2e-12 * size**3 / seconds:8.1f} TFLOP/s")
    torch.set_float32_matmul_precision(before)


def copies(device, size_bytes):
    """Print how fast bytes move."""
    here = torch.randint(0, 255, (size_bytes,), dtype=torch.uint8)
    there = here.to(device)
    target = torch.empty_like(there)
    seconds = seconds_of(lambda: target.copy_(there), device)
    print(f"copy on the device    {2e-9 * size_bytes / seconds:8.1f} GB/s, read and written")
    sources = {"as it is": here}
    if device.type == "cuda":
        sources["pinned"] = here.pin_memory()
    for name, source in sources.items():
        seconds = seconds_of(lambda s=source: target.copy_(s, non_blocking=True), device)
        print(f"to it, {name:8s}       {1e-9 * size_bytes / seconds:8.1f} GB/s")


def disk(folder, size_bytes):
    """Print how fast a file is written and read."""
    path = folder / "limits.bin"
    content = np.random.default_rng(0).bytes(size_bytes)
    started = time.perf_counter()
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    written = time.perf_counter() - started
    started = time.perf_counter()
    path.read_bytes()
    read = time.perf_counter() - started
    path.unlink()
    print(f"file written {1e-9 * size_bytes / written:8.2f} GB/s, read again "
          f"{1e-9 * size_bytes / read:.2f} GB/s")  # fmt: skip


def main(args=None):
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", type=int, default=8192, help="of the matrices")
    parser.add_argument("--megabytes", type=int, default=1024, help="that are moved")
    options = parser.parse_args(args)
    options.folder.mkdir(parents=True, exist_ok=True)
    device = torch.device(options.device)
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        free, total = torch.cuda.mem_get_info(device)
        print(f"{facts.name}, {facts.multi_processor_count} multiprocessors, "
              f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free")  # fmt: skip
    print(f"torch {torch.__version__}, CUDA {torch.version.cuda}, {os.cpu_count()} cores")
    products(device, options.size)
    copies(device, options.megabytes << 20)
    disk(options.folder, options.megabytes << 20)


if __name__ == "__main__":
    main()
