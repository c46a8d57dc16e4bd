"""Time a masked Fourier shell correlation, in the python and with the `cesped` that runs this file.

    python benchmarks/speed/fsc_timer.py MAPS.npz

Started by fsc.py, once with our python and once with the peer's. Says on one line how much memory
the process held before [GB]; then, for each line that it reads, it computes both resolutions and
answers with a line of JSON: wall and processor seconds, the most memory ever held [GB], and the
resolutions [A] at 0.143 and 0.5. The peer gets one of them from a call; ours reads both from one
curve.
"""

import json
import sys
import time
from contextlib import redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from dataset_timer import TORCHVISION_OPERATORS

PIXEL_SIZE_ANGST = 1.5
THRESHOLDS = (0.143, 0.5)
_KEPT: list[object] = []  # a library's operators are gone with it


def held_gb(field: str) -> float:
    """Return `VmRSS` (now) or `VmHWM` (the most ever) of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024e-9


def peers_resolutions(
    first: np.ndarray, second: np.ndarray, mask: np.ndarray
) -> list[float]:  # imported by the peer's interpreter alone
    from cesped.utils.fsc import getFSCResolution

    with redirect_stdout(sys.stderr):
        return [
            float(getFSCResolution(first, second, mask, PIXEL_SIZE_ANGST, threshold)[1])
            for threshold in THRESHOLDS
        ]


def our_resolutions(first: np.ndarray, second: np.ndarray, mask: np.ndarray) -> list[float]:
    from cesped.physics.fsc import fsc_curve, resolution_angst

    curve = fsc_curve(first, second, PIXEL_SIZE_ANGST, mask)
    return [resolution_angst(curve, threshold) for threshold in THRESHOLDS]


def is_peer() -> bool:
    """Return whether this interpreter has the published program."""
    try:
        return version("cesped") == "25.12.0"
    except PackageNotFoundError:
        return False


def declare_torchvision() -> None:
    """Let the peer import a torchvision without its compiled part, which is not used."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    _KEPT.append(library)
    for name in TORCHVISION_OPERATORS:
        library.define(f"{name}(Tensor x) -> Tensor")


def main() -> None:
    if is_peer():
        declare_torchvision()
    resolutions = peers_resolutions if is_peer() else our_resolutions
    maps = np.load(sys.argv[1])
    first, second, mask = maps["first"], maps["second"], maps["mask"]
    small = np.random.default_rng(1).normal(size=(2, 16, 16, 16)).astype(np.float32)
    resolutions(small[0], small[1], np.ones_like(small[0]))  # loads and compiles
    print(json.dumps({"before_gb": held_gb("VmRSS")}), flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        found = resolutions(first, second, mask)
        answer = {
            "wall_s": time.perf_counter() - wall,
            "cpu_s": time.process_time() - cpu,
            "peak_gb": held_gb("VmHWM"),
            "resolutions_angst": found,
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
