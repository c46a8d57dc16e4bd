"""Making shards: any process any part of them, each shard gone on with after an interruption."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from cesped.data.shards.plan import ShardPlan
from cesped.data.shards.sources import volume_of
from cesped.data.simulation.images import CHUNK, NativeImages, NoiseRecipe, make_chunk, noise_for
from cesped.data.simulation.plan import draw_halves
from cesped.errors import (
    DiskFullError,
    GeometryError,
    ImageValueError,
    MrcFileError,
    OptionError,
    PixelSizeError,
    StructureFileError,
)
from cesped.io.files import FULL_DISK
from cesped.io.locks import exclusive_lock
from cesped.io.shards import Block, ShardWriter, label_of
from cesped.physics.batch_projection import BatchProjector
from cesped.physics.ctf import CtfParameters
from cesped.physics.threads import torch_threads
from cesped.progress import SILENT, Advance, Progress

CTF_FIELDS = tuple(field.name for field in fields(CtfParameters))
_STRUCTURES_TO_TIME = 3
# what is wrong with one file of many, which the others need not wait for
_BAD_SOURCE = (
    StructureFileError,
    MrcFileError,
    PixelSizeError,
    ImageValueError,
    GeometryError,
    OptionError,
)


@dataclass(frozen=True)
class ShardsMade:
    """What a call came to.

    Parameters
    ----------
    n_shards : finished by now, of this process's part
    n_structures : in them
    failed : structures that no image could be made of, and why
    """

    n_shards: int
    n_structures: int
    failed: list[tuple[str, str]]


def structure_block(plan: ShardPlan, name: str) -> Block:
    """Return the images of a structure or map, or a block without arrays that says what is wrong.

    Arrays are `images` (P, N, N), in units of `facts["scale"]`, the deviation of their pixels;
    `rotations` (P, 3, 3) and `origins_angst` (P, 2) in the conventions of `cesped.geometry.poses`;
    and `ctf` (P, 9), the fields of `CtfParameters` in their order.
    """
    simulation = plan.simulation_of(name)
    try:
        volume, pixel_size_angst, description = volume_of(plan, name)
    except _BAD_SOURCE as error:
        return Block(name, {"error": str(error)}, {})
    half = draw_halves(simulation, pixel_size_angst)[0]
    clean = NativeImages(BatchProjector(volume, pixel_size_angst), half)
    count = len(half.poses)
    sigma = noise_for(simulation, [clean], [count])
    spectrum = simulation.noise_spectrum()
    shape = None if spectrum is None else spectrum.amplitudes(plan.box, pixel_size_angst)
    recipe = NoiseRecipe(sigma, shape)
    chunks = range(-(-count // CHUNK))
    images = np.concatenate(
        [make_chunk(simulation, 0, chunk, count, clean, recipe) for chunk in chunks]
    )
    scale = float(images.std(dtype=np.float64)) or 1.0
    columns = [getattr(half.ctf, field) for field in CTF_FIELDS]
    arrays = {
        "images": (images / scale).astype(str(plan.stored_as)),
        "rotations": half.poses.rotations.astype(np.float32),
        "origins_angst": half.poses.origins_angst.astype(np.float32),
        "ctf": np.stack(columns, axis=1).astype(np.float32),
    }
    facts = {**description, "pixel_size_angst": pixel_size_angst, "scale": scale, "sigma": sigma}
    return Block(name, facts, arrays)


def make_shards(
    plan: ShardPlan,
    out: str | os.PathLike[str],
    part: tuple[int, int] = (0, 1),
    progress: Progress = SILENT,
) -> ShardsMade:
    """Make every N-th shard of a plan, beginning with the I-th.

    Shards that are finished are left; one that an interrupted process began is gone on with; one
    that another process is at is waited for.

    Parameters
    ----------
    plan : what to make
    out : folder for the shards
    part : I, counted from 0, and N
    progress : told of every structure

    Raises
    ------
    DiskFullError
        If there is not enough room; what is done is kept.
    UnwritableError, OptionError
        If nothing can be written, the plan cannot be carried out, or the folder has shards of
        another plan.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    own = range(part[0], plan.n_shards, part[1])
    total = sum(len(plan.structures_of(index)) for index in own)
    failed: list[tuple[str, str]] = []
    # each process is one of many: threads of torch would only stand in their way
    with torch_threads(1), progress.task("Making shards", total) as advance:
        finished = _finished(plan, folder, own, advance)
        missing = [index for index in own if index not in finished]
        _check_space(plan, folder, missing)
        for index in missing:
            path = folder / plan.shard_name(index)
            with exclusive_lock(folder / f".{path.name}.lock", progress):
                failed += _make_shard(plan, index, path, advance)
    return ShardsMade(len(own), total, failed)


def _make_shard(plan: ShardPlan, index: int, path: Path, advance: Advance) -> list[tuple[str, str]]:
    names = plan.structures_of(index)
    label = plan.label_of(index)
    if label_of(path) == label:  # another process made it meanwhile
        advance(len(names))
        return []
    failed = []
    with ShardWriter(path, label) as shard:
        advance(shard.n_blocks)
        for name in names[shard.n_blocks :]:
            block = structure_block(plan, name)
            shard.append(block)
            if "error" in block.facts:
                failed.append((name, block.facts["error"]))
            advance(1)
    return failed


def seconds_per_structure(plan: ShardPlan) -> float:
    """Return how long a structure takes one process, measured on a few of them."""
    chosen = np.linspace(0, len(plan.structures) - 1, _STRUCTURES_TO_TIME).round().astype(int)
    spent = []
    with torch_threads(1):
        structure_block(plan, plan.structures[chosen[0]])  # compiles
        for place in chosen:
            start = time.perf_counter()
            structure_block(plan, plan.structures[place])
            spent.append(time.perf_counter() - start)
    return float(np.mean(spent))


def _finished(plan: ShardPlan, folder: Path, own: range, advance: Advance) -> set[int]:
    """Return which shards are finished.

    Raises
    ------
    OptionError
        If finished shards of another plan lie where this one's would; none is overwritten.
    """
    finished = set[int]()
    strange = [
        path for path in folder.glob("shard-*.shard") if path.name >= plan.shard_name(plan.n_shards)
    ]
    for index in own:
        path = folder / plan.shard_name(index)
        label = label_of(path)
        if label is None:
            continue
        if label == plan.label_of(index):
            finished.add(index)
            advance(len(plan.structures_of(index)))
        else:
            strange.append(path)
    if strange:
        raise OptionError(
            f"{len(strange)} shards in {folder} were made of other structures, of files that have "
            f"changed since, or with other options, such as {min(strange).name}; delete them, or "
            "name another folder"
        )
    return finished


def _check_space(plan: ShardPlan, folder: Path, missing: list[int]) -> None:
    share = sum(len(plan.structures_of(index)) for index in missing) / len(plan.structures)
    needed = int(share * plan.n_bytes)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskFullError(
            next(iter(FULL_DISK)),
            f"{len(missing)} shards need {needed / 2**30:.1f} GiB in {folder}, where "
            f"{free / 2**30:.1f} are free; free some space, choose another folder, or make "
            "fewer or smaller images",
        )
