"""Time `cesped abinitio` from star file to poses and map: CryoFastAR paper, Table 1.

    python abinitio_timer.py FOLDER [--particles 50000] [--box 128] [--preset large]
        [--views 128] [--device cuda] [--peak-tflops 790] [--threads N] [--without-network]

Simulated particles (made once in FOLDER), a network with random weights, then everything: reading,
encoding, choice of the reference among 64, poses, the check by turned images, two half maps and the
map, star file, page. The clock starts before the star file is read and after the libraries were
loaded. Operations are those of the network for the same particles, each encoded once; the share is
of `--peak-tflops`, the rate that the device reaches in matrix products.

`--without-network` leaves out all that a GPU would do (network, poses from maps, insertion, weights
of maps): what is left is how fast everything around it goes, in CPU seconds of this process.
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import torch
from cryofastar import peak_gb, tera_operations

from cesped.cli.main import main as cesped
from cesped.inference.abinitio import groups, kept_features, trust
from cesped.io.mrc import write_volume
from cesped.models.cryofastar.model import CryoFastAR
from cesped.models.cryofastar.planar_maps import PlanarMaps
from cesped.models.cryofastar.poses import ViewPoses
from cesped.physics.phantom import chain_phantom
from cesped.reconstruction import torch_engine
from cesped.reconstruction.backends import make_reconstructor
from cesped.vocabulary import Backend
from cesped.workflows.abinitio import AbinitioOptions, find_poses

NAME, PIXEL_SIZE_ANGST = "SPEED", 4.0
#: What the step is called that comes when poses and map are there.
PAGE = "Writing the report"


class Stages:
    """A watcher that keeps what each step took, by a clock."""

    def __init__(self, clock=time.perf_counter):
        self.seconds = {}
        self._clock = clock

    def task(self, description, total, *, in_bytes=False, done=0):
        stages, clock, started = self.seconds, self._clock, self._clock()

        class Step:
            def __enter__(self):
                return lambda units: None

            def __exit__(self, *failure):
                what = description.split(" /")[0]
                stages[what] = stages.get(what, 0.0) + clock() - started

        return Step()


def leave_out_the_network(box):
    """Let all that a GPU does cost nothing, in this process."""

    def encode(self, images):
        tokens = (images.shape[-1] // self.config.patch_px) ** 2
        nothing = torch.zeros(1, dtype=self.patches.weight.dtype)
        return nothing.expand(*images.shape[:-3], tokens, self.config.encoder_width)

    def decode(self, features, rows, columns, with_images=True):
        views = features.shape[:2]
        return PlanarMaps(torch.zeros(*views, 2, 2, 3), 2 + torch.rand(*views, 2, 2), None)

    def poses(maps, *args, **options):
        views = maps.confidence.shape[:2]
        rotations = torch.eye(3).expand(*views, 3, 3)
        return ViewPoses(rotations, torch.zeros(*views, 2), maps.confidence.mean(dim=(2, 3)))

    volume = np.random.default_rng(0).normal(size=(box,) * 3).astype(np.float32)
    CryoFastAR.encode, CryoFastAR.decode = encode, decode
    groups.poses_of_maps = trust.poses_of_maps = poses
    kept_features.normalized_stacks = lambda images, kind: images
    torch_engine.TorchReconstructor._transformed = lambda *args: (None, None)
    torch_engine.TorchBackProjector.insert = lambda *args: None
    torch_engine.TorchBackProjector.reconstruct = lambda *args: volume


def particles_of(options):
    """Make the particles if they are not there, and return their star file."""
    star = options.folder / NAME / "particles_0.star"
    if not star.is_file():
        options.folder.mkdir(parents=True, exist_ok=True)
        phantom = chain_phantom(500, 0.3 * options.box * PIXEL_SIZE_ANGST, np.random.default_rng(0))
        axis = (np.arange(options.box) - options.box // 2) * PIXEL_SIZE_ANGST
        x, y, z = (
            np.exp(-(((axis - places[:, None]) / 6.0) ** 2)) for places in phantom.positions_angst.T
        )
        volume = np.einsum("a,az,ay,ax->zyx", phantom.weights, z, y, x, optimize=True)
        path = options.folder / "map.mrc"
        write_volume(path, volume.astype(np.float32), PIXEL_SIZE_ANGST)
        # half 0 is what is posed; half 1 comes with it
        if cesped(["simulate", "--name", NAME, "--map", str(path), "--particles",
                   str(options.particles), "--snr", "0.1", "--max-shift", "10",
                   "--benchmarkDir", str(options.folder)]):  # fmt: skip
            raise SystemExit("the particles could not be simulated")
    return star


def main(args=None):
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--particles", type=int, default=50_000)
    parser.add_argument("--box", type=int, default=128)
    parser.add_argument("--preset", default="large")
    parser.add_argument("--views", type=int, default=128)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--peak-tflops", type=float, default=790.0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--without-network", action="store_true")
    options = parser.parse_args(args)
    if options.without_network:
        options.device = "cpu"
        leave_out_the_network(options.box)
    star = particles_of(options)
    torch.manual_seed(0)
    model = CryoFastAR(options.preset)
    for head in (model.reference_head, model.target_head):
        torch.nn.init.normal_(head.points.weight, std=0.1)
    weights = options.folder / f"{options.preset}.safetensors"
    model.save(weights)
    by_torch = options.device.startswith("cuda") or options.without_network
    backend = Backend.TORCH if by_torch else Backend.NATIVE
    on = options.device if backend is Backend.TORCH else None
    engine = make_reconstructor(backend, device=on)
    stages = Stages(time.process_time if options.without_network else time.perf_counter)
    out = options.folder / "found"
    settings = AbinitioOptions(views=options.views, device=options.device, resumable=False,
                               bfloat16=by_torch, threads=options.threads)  # fmt: skip
    (out / "report.html").unlink(missing_ok=True)
    started, cpu = time.perf_counter(), time.process_time()
    find_poses(star, star.parent, weights, out, engine, settings, progress=stages)
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    group = tera_operations(options.preset, options.views, options.box)
    work = group * options.particles / (options.views - 1)
    for what, seconds in stages.seconds.items():
        print(f"{what:28s} {seconds:8.2f} s")
    print(f"{'all':28s} {wall:8.2f} s, {cpu:.2f} CPU s, {options.particles / wall:,.0f} images/s")
    page = stages.seconds.get(PAGE, 0.0)
    spent = (cpu if options.without_network else wall) - page
    print(f"{'without the page':28s} {spent:8.2f} s, {options.particles / spent:,.0f} images/s")
    if options.without_network:
        return {"seconds": wall, "stages": stages.seconds}
    print(
        f"network {work:,.1f} TFLOP: {work / wall:.3g} TFLOP/s over everything, "
        f"{100 * work / wall / options.peak_tflops:.2g} % of {options.peak_tflops:g}; peak memory "
        f"{peak_gb(torch.device(options.device)):.2f} GB, of the process "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB"
    )
    return {"seconds": wall, "stages": stages.seconds, "tera_operations": work}


if __name__ == "__main__":
    main()
