"""The entries that need no download: DEMO and DEMO-D2, simulated on first use.

A folded chain of pseudo-atoms, made into a density and projected with random poses, shifts,
astigmatic CTFs and white noise. Everything follows from constants and a seed.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import numpy as np

from cesped.data.demo_specifications import DEMO_SPECIFICATIONS, DemoSpecification
from cesped.data.store import HALFSETS, MASK_NAME, EntryStore
from cesped.errors import EntryExistsError, EntryNotFoundError
from cesped.geometry.poses import Poses
from cesped.geometry.rotations import random_rotations
from cesped.io.files import staging_folder, write_text_atomic
from cesped.io.mrc import write_volume
from cesped.physics.ctf import CtfParameters
from cesped.physics.density import density_from_atoms
from cesped.physics.masks import mask_from_density
from cesped.physics.phantom import chain_phantom
from cesped.physics.threads import torch_threads
from cesped.progress import SILENT, Progress

TRUTH_NAME = "truth.mrc"
_STAGING = "making"  # purpose of the folders in which entries are made, and removed


def ensure_demo_entry(
    benchmark_dir: str | os.PathLike[str] | None = None,
    name: str = "DEMO",
    progress: Progress = SILENT,
) -> Path:
    """Return the folder of the embedded entry `name`; it is made if it is not there.

    Two processes that need it at the same time both succeed: each makes its own, one is kept.

    Parameters
    ----------
    benchmark_dir : folder of entries (see `default_benchmark_dir` when None)
    name : DEMO or DEMO-D2
    progress : told of every image

    Raises
    ------
    EntryNotFoundError
        If there is no such embedded entry.
    DiskFullError
        If the disk is full; nothing is left behind.
    """
    if name not in DEMO_SPECIFICATIONS:
        known = ", ".join(DEMO_SPECIFICATIONS)
        raise EntryNotFoundError(f"{name!r} is no embedded entry; those are {known}")
    return make_entry(DEMO_SPECIFICATIONS[name], benchmark_dir, progress)


def make_entry(
    specification: DemoSpecification,
    benchmark_dir: str | os.PathLike[str] | None = None,
    progress: Progress = SILENT,
) -> Path:
    """Return the folder of the entry that `specification` describes, making it if need be.

    An entry of the same name from other constants is replaced.

    Raises
    ------
    EntryExistsError
        If something of that name is there that this function did not make.
    DiskFullError
        If the disk is full; nothing is left behind.
    """
    store = EntryStore(benchmark_dir)
    folder = store.entry_dir(specification.name)
    if _fingerprint_of(folder) == specification.fingerprint:
        return folder
    _refuse_to_replace_what_is_not_ours(folder)
    with staging_folder(store.benchmark_dir, _STAGING) as staging:
        _simulate(specification, staging, progress)
        if _fingerprint_of(folder) != specification.fingerprint:
            _take_place(staging, folder, specification.fingerprint)
    return folder


def random_half(
    specification: DemoSpecification, generator: np.random.Generator
) -> tuple[Poses, CtfParameters]:
    """Return poses and optics of one half, drawn anew."""
    count = specification.n_particles_per_half
    sigma_angst = specification.shift_sigma_px * specification.pixel_size_angst
    poses = Poses(
        random_rotations(count, generator),
        generator.normal(0.0, sigma_angst, (count, 2)),
        np.ones(count),
    )
    mean = generator.uniform(
        specification.min_defocus_angst, specification.max_defocus_angst, count
    )
    astigmatism = generator.uniform(0.0, specification.max_astigmatism_angst, count)
    ctf = CtfParameters(
        defocus_u_angst=mean + astigmatism / 2,
        defocus_v_angst=mean - astigmatism / 2,
        defocus_angle_deg=generator.uniform(0.0, 180.0, count),
        voltage_kv=np.full(count, specification.voltage_kv),
        spherical_aberration_mm=np.full(count, specification.spherical_aberration_mm),
        amplitude_contrast=np.full(count, specification.amplitude_contrast),
    )
    return poses, ctf


def _simulate(specification: DemoSpecification, folder: Path, progress: Progress) -> None:
    from cesped.data.simulation.stack import simulate_stack  # loads torch: entries are mostly there

    phantom = chain_phantom(
        specification.n_atoms,
        specification.radius_angst,
        np.random.default_rng([specification.seed, 0]),
        specification.symmetry,
    )
    volume = density_from_atoms(
        phantom.positions_angst,
        phantom.weights,
        specification.box,
        specification.pixel_size_angst,
        specification.resolution_angst,
    )
    write_volume(folder / TRUTH_NAME, volume, specification.pixel_size_angst)
    mask = mask_from_density(volume)
    write_volume(folder / MASK_NAME, mask, specification.pixel_size_angst)
    for halfset in HALFSETS:
        generator = np.random.default_rng([specification.seed, 1 + halfset])
        poses, ctf = random_half(specification, generator)
        with torch_threads(1):  # sums are rounded by how they are divided: the same bits everywhere
            simulate_stack(
                folder / f"particles_{halfset}.star",
                volume,
                specification.pixel_size_angst,
                poses,
                ctf,
                snr=specification.snr,
                generator=generator,
                random_subset=halfset + 1,
                progress=progress,
            )
        info = {
            "symmetry": specification.symmetry,
            "root_dir": ".",
            "n_particles": len(poses),
            "image_size": specification.box,
            "pixel_size_angst": specification.pixel_size_angst,
            "simulated": dataclasses.asdict(specification),
            "fingerprint": specification.fingerprint,
        }
        write_text_atomic(folder / f"info_{halfset}.json", json.dumps(info, indent=2) + "\n")


def _fingerprint_of(folder: Path) -> str | None:
    """Return the fingerprint both halves of an entry agree on, else None."""
    found = set()
    for halfset in HALFSETS:
        try:
            info = json.loads((folder / f"info_{halfset}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        found.add(info.get("fingerprint"))
    return found.pop() if len(found) == 1 else None


def _refuse_to_replace_what_is_not_ours(folder: Path) -> None:
    files = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    ours = [f"info_{halfset}.json" for halfset in HALFSETS]
    if files and not any(_is_simulated(folder / name) for name in ours):
        raise EntryExistsError(
            f"{folder} is in the way of the embedded entry {folder.name}, and was not made by this "
            "program; move it, or name another benchmark folder"
        )


def _is_simulated(info_path: Path) -> bool:
    try:
        return "fingerprint" in json.loads(info_path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def _take_place(staging: Path, folder: Path, fingerprint: str) -> None:
    """Rename `staging` to `folder`; what is there already makes room, unless it is the same."""
    while True:
        try:
            staging.rename(folder)
            return
        except OSError:
            if not folder.is_dir():
                raise
        if _fingerprint_of(folder) == fingerprint:
            return  # another process was faster
        _refuse_to_replace_what_is_not_ours(folder)
        with staging_folder(folder.parent, _STAGING) as old:
            folder.rename(old / folder.name)
