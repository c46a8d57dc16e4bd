"""Time passes over a dataset, in the python and with the `cesped` that runs this file.

    python benchmarks/speed/dataset_timer.py STAR ROOT [--augment] [--workers 0] [--batch 64]

Started by dataset.py, once with our python and once with the peer's: the names used here are those
of both packages. Says on one line what it is; then, for each line that it reads, it goes through
all particles once and answers with a line of JSON: particles, seconds of wall time, and processor
seconds of this process and its workers.
"""

import argparse
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch
from torch.utils.data import DataLoader

#: Operators that torchvision, which only the peer imports, expects its compiled part to declare.
TORCHVISION_OPERATORS = ("nms", "qnms", "roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool")


def cpu_seconds() -> float:
    """Return the processor time of this process and of all processes below it.

    Workers are alive when it is asked, so that `os.times` does not know their time yet.
    """
    ticks_per_second = 100
    total = time.process_time()
    children = Path(f"/proc/self/task/{Path('/proc/thread-self').resolve().name}/children")
    if children.exists():
        for child in children.read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / ticks_per_second
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("star", type=Path)
    parser.add_argument("root", type=Path)
    parser.add_argument("--augment", action="store_true")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--method", help="how workers are started: fork, spawn or forkserver")
    args = parser.parse_args()
    torch.set_num_threads(1)

    is_peer = version("cesped") == "25.12.0"
    if is_peer:
        library = torch.library.Library("torchvision", "DEF")
        for name in TORCHVISION_OPERATORS:
            library.define(f"{name}(Tensor x) -> Tensor")
    from cesped import ParticlesRelionStarDataset

    dataset = ParticlesRelionStarDataset(
        str(args.star),
        str(args.root),
        symmetry="C1",
        perImg_normalization="noiseStats",
        ctf_correction="phase_flip",
        image_size_factor_for_crop=0.25,
    )
    if args.augment:
        if is_peer:
            from cesped.datamanager.augmentations import Augmenter
        else:
            from cesped.data.augmentation import Augmenter
        dataset.augmenter = Augmenter()
    loader = DataLoader(
        dataset,
        batch_size=args.batch,
        num_workers=args.workers,
        persistent_workers=args.workers > 0,
        multiprocessing_context=args.method if args.workers else None,
    )
    image = next(iter(loader))[1]
    for _ in loader:  # what is compiled or started once is not timed
        pass
    print(json.dumps({"version": version("cesped"), "image": list(image.shape[1:])}), flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), cpu_seconds()
        n_images = sum(len(batch[1]) for batch in loader)
        answer = {
            "particles": n_images,
            "wall_s": time.perf_counter() - wall,
            "cpu_s": cpu_seconds() - cpu,
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
