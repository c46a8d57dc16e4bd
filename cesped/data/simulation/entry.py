"""Simulated images as an entry of two halves: resumed after any interruption, whole or not at all.

The work is done in a hidden folder beside the entry and takes its name at the end. A process that
is killed leaves that folder, and the next one that is asked for the same goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cesped.data.registry import HALFSETS, embedded_names
from cesped.data.simulation.images import (
    CHUNK,
    CleanImages,
    NativeImages,
    NoiseRecipe,
    chunks_in_order,
    noise_for,
    volume_bytes,
)
from cesped.data.simulation.plan import SimulatedHalf, SimulationPlan, draw_halves
from cesped.data.simulation.stack import simulated_tables
from cesped.data.simulation.symmetry_check import check_symmetry
from cesped.data.store import MASK_NAME, EntryStore, info_path, star_path
from cesped.errors import DiskFullError, EntryExistsError, OptionError
from cesped.io.files import FULL_DISK, staging_folder, write_text_atomic
from cesped.io.locks import exclusive_lock
from cesped.io.mrc import write_volume
from cesped.io.partial_stack import PartialStack
from cesped.io.star_writer import write_star
from cesped.physics.batch_projection import BatchProjector
from cesped.progress import SILENT, Progress

TRUTH_NAME = "truth.mrc"
_SPARE_BYTES = 16 * 2**20
_BYTES_PER_ROW = 400  # of a star file, and more

#: Makes the noise-free images of both halves, with a folder for files that it needs meanwhile.
Simulating = Callable[
    [NDArray[np.float32], float, tuple[SimulatedHalf, SimulatedHalf], Path],
    tuple[CleanImages, CleanImages],
]


@dataclass(frozen=True)
class SimulatedEntry:
    """What was made.

    Parameters
    ----------
    folder : of the entry
    counts : particles in each half
    noise_sigma : deviation of the noise; 0 for none
    was_there : whether the very same entry was there already
    """

    folder: Path
    counts: tuple[int, int]
    noise_sigma: float
    was_there: bool = False


@dataclass(frozen=True)
class SimulatedMap:
    """The map that is projected.

    Parameters
    ----------
    volume : `(N, N, N)` float32 [z, y, x]
    pixel_size_angst : of map and images
    mask : `(N, N, N)` for comparing maps; the entry gets none when None
    description : where the map comes from, kept with the entry
    """

    volume: NDArray[np.float32]
    pixel_size_angst: float
    mask: NDArray[np.float32] | None
    description: dict[str, Any]

    def checksum(self) -> str:
        """Return a checksum of all that the entry will hold of it."""
        digest = hashlib.sha256(volume_bytes(self.volume))
        if self.mask is not None:
            digest.update(volume_bytes(self.mask))
        digest.update(f"{self.volume.shape} {self.pixel_size_angst!r}".encode())
        return digest.hexdigest()


def native_images(
    volume: NDArray[np.float32],
    pixel_size_angst: float,
    halves: tuple[SimulatedHalf, SimulatedHalf],
    folder: Path,
) -> tuple[CleanImages, CleanImages]:
    """Return the images that this package projects; needs no folder."""
    del folder
    projector = BatchProjector(volume, pixel_size_angst)
    first, second = (NativeImages(projector, half) for half in halves)
    return first, second


def simulate_entry(
    plan: SimulationPlan,
    source: SimulatedMap,
    name: str,
    benchmark_dir: str | os.PathLike[str] | None = None,
    *,
    threads: int = 1,
    replace: bool = False,
    simulating: Simulating = native_images,
    progress: Progress = SILENT,
) -> SimulatedEntry:
    """Make an entry of simulated images, with the true map beside them.

    Parameters
    ----------
    plan : particles, poses, optics, noise
    source : the map
    name : of the entry. Names that begin with SIM- are marked as simulated on leaderboards
    benchmark_dir : folder of entries (see `default_benchmark_dir` when None)
    threads : chunks of images made at a time; the images are the same for any number
    replace : whether another entry of that name may be replaced
    simulating : makes the noise-free images
    progress : told of every image

    Raises
    ------
    EntryExistsError
        If another entry of that name is there and may not be replaced.
    OptionError, MetadataError, MissingFileError
        If the plan cannot be carried out.
    SymmetryError
        If the map has not the symmetry of the plan.
    DiskFullError
        If there is not enough room; what is done is kept for the next call.
    """
    store = EntryStore(benchmark_dir)
    folder = store.entry_dir(name)
    if name in embedded_names():
        raise OptionError(f"{name} is an embedded entry of the package; choose another name")
    halves = draw_halves(plan, source.pixel_size_angst)
    for halfset, half in enumerate(halves):
        _check_shifts(half, halfset, source)
    fingerprint = plan.fingerprint(source.checksum())
    folder.parent.mkdir(parents=True, exist_ok=True)
    job = _Job(plan, source, halves, folder, fingerprint)
    if job.is_there(replace):
        return SimulatedEntry(folder, job.counts, job.noted_sigma(), was_there=True)
    check_symmetry(source.volume, plan.symmetry)
    with exclusive_lock(folder.parent / f".{folder.name}.simulate.lock", progress):
        if job.is_there(replace):  # another process was at it
            return SimulatedEntry(folder, job.counts, job.noted_sigma(), was_there=True)
        sigma = job.run(simulating, threads, progress)
    return SimulatedEntry(folder, job.counts, sigma)


def _check_shifts(half: SimulatedHalf, halfset: int, source: SimulatedMap) -> None:
    """Raise if a particle would leave its image: it would come in again on the other side."""
    origins_px = half.poses.origins_angst / source.pixel_size_angst
    box = source.volume.shape[0]
    largest = np.abs(origins_px).max(axis=1, initial=0.0)
    if (largest >= box / 2).any():
        row = int(np.argmax(largest >= box / 2))
        raise OptionError(
            f"particle {row + 1} of half {halfset} would be moved by {largest[row]:.1f} px, out of "
            f"its image of {box} px; use smaller shifts, or a map of a larger box"
        )


class _Job:
    """The making of one entry, by the process that holds its lock."""

    def __init__(
        self,
        plan: SimulationPlan,
        source: SimulatedMap,
        halves: tuple[SimulatedHalf, SimulatedHalf],
        folder: Path,
        fingerprint: str,
    ) -> None:
        self.plan, self.source, self.halves = plan, source, halves
        self.folder, self.fingerprint = folder, fingerprint
        self.counts = (len(halves[0].poses), len(halves[1].poses))
        self.work = folder.with_name(f".{folder.name}.simulating")

    def is_there(self, replace: bool) -> bool:
        """Return whether the wanted entry is there; raise if what is there may not be replaced."""
        if not self.folder.exists():
            return False
        found = [_info(self.folder, half) for half in HALFSETS]
        if all(info.get("fingerprint") == self.fingerprint for info in found):
            return True
        if not any("simulated" in info for info in found):
            raise EntryExistsError(
                f"{self.folder} exists and was not simulated; choose another name, or remove it"
            )
        if not replace:
            raise EntryExistsError(
                f"{self.folder} exists and is not what would be simulated now; choose another "
                "name, or replace it with --force (replace=True)"
            )
        return False

    def noted_sigma(self) -> float:
        """Return the deviation of the noise of the entry that is there."""
        return float(_info(self.folder, 0).get("noise_sigma", 0.0))

    def run(self, simulating: Simulating, threads: int, progress: Progress) -> float:
        """Make what is missing, give the entry its name, and return the noise's deviation."""
        try:
            self._open_folder()
            self._check_space()
            clean = simulating(
                self.source.volume, self.source.pixel_size_angst, self.halves, self.work
            )
            noise = self._noise(clean)
            for halfset in HALFSETS:
                self._write_stack(halfset, clean[halfset], noise, threads, progress)
            self._write_the_rest(noise.sigma)
            self._take_place()
        except OSError as error:
            if error.errno not in FULL_DISK or isinstance(error, DiskFullError):
                raise
            raise DiskFullError(
                error.errno,
                f"{os.strerror(error.errno)} while {self.folder.name} was simulated; what is done "
                f"is kept in {self.work}: free some space there and run the same again",
            ) from error
        return noise.sigma

    def _open_folder(self) -> None:
        """Go on in the folder of an interrupted process, unless it was at something else."""
        label = self.work / "fingerprint"
        if not label.is_file() or label.read_text(encoding="utf-8") != self.fingerprint:
            shutil.rmtree(self.work, ignore_errors=True)
            self.work.mkdir()
            write_text_atomic(label, self.fingerprint)

    def _check_space(self) -> None:
        box = self.source.volume.shape[0]
        needed = sum(self.counts) * (4 * box * box + _BYTES_PER_ROW) + _SPARE_BYTES
        there = sum(path.stat().st_size for path in self.work.iterdir() if path.is_file())
        free = shutil.disk_usage(self.work).free
        if free + there < needed:
            raise DiskFullError(
                next(iter(FULL_DISK)),
                f"{self.folder.name} needs {needed / 2**30:.2f} GiB in {self.folder.parent}, where "
                f"{(free + there) / 2**30:.2f} are free; free some space, choose another folder, "
                "or simulate fewer or smaller images",
            )

    def _noise(self, clean: tuple[CleanImages, CleanImages]) -> NoiseRecipe:
        sigma = noise_for(self.plan, clean, self.counts)
        spectrum = self.plan.noise_spectrum()
        if spectrum is None:
            return NoiseRecipe(sigma)
        box = self.source.volume.shape[0]
        return NoiseRecipe(sigma, spectrum.amplitudes(box, self.source.pixel_size_angst))

    def _write_stack(
        self,
        halfset: int,
        clean: CleanImages,
        noise: NoiseRecipe,
        threads: int,
        progress: Progress,
    ) -> None:
        count = self.counts[halfset]
        box = self.source.volume.shape[0]
        path = self.work / f"particles_{halfset}.mrcs"
        stack = PartialStack(path, count, box, self.source.pixel_size_angst, self.fingerprint)
        first_chunk = stack.done // CHUNK
        stack.done = count if stack.done == count else first_chunk * CHUNK
        title = f"Simulating {path.name}"
        with stack, progress.task(title, count, done=stack.done) as advance:
            if stack.done == count:
                return
            for images in chunks_in_order(
                self.plan, halfset, first_chunk, count, clean, noise, threads
            ):
                stack.append(images)
                advance(len(images))

    def _write_the_rest(self, sigma: float) -> None:
        source, box = self.source, self.source.volume.shape[0]
        write_volume(self.work / TRUTH_NAME, source.volume, source.pixel_size_angst)
        if source.mask is not None:
            write_volume(self.work / MASK_NAME, source.mask, source.pixel_size_angst)
        for halfset, half in enumerate(self.halves):
            stack_name = f"particles_{halfset}.mrcs"
            write_star(
                star_path(self.work, halfset),
                simulated_tables(
                    stack_name, box, source.pixel_size_angst, half.poses, half.ctf, halfset + 1
                ),
            )
            info = {
                "symmetry": self.plan.symmetry,
                "root_dir": ".",
                "n_particles": len(half.poses),
                "image_size": box,
                "pixel_size_angst": source.pixel_size_angst,
                "simulated": {"map": source.description, **self.plan.to_dict()},
                "noise_sigma": sigma,
                "fingerprint": self.fingerprint,
            }
            write_text_atomic(info_path(self.work, halfset), json.dumps(info, indent=2) + "\n")

    def _take_place(self) -> None:
        """Rename the folder of the work to that of the entry; what was there makes room."""
        wanted = {MASK_NAME, TRUTH_NAME}
        for half in HALFSETS:
            wanted |= {star_path(self.work, half).name, info_path(self.work, half).name}
            wanted.add(f"particles_{half}.mrcs")
        for path in self.work.iterdir():
            if path.name not in wanted:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if not self.folder.exists():
            self.work.rename(self.folder)
            return
        with staging_folder(self.folder.parent, "replaced") as old:
            self.folder.rename(old / self.folder.name)
            self.work.rename(self.folder)


def _info(folder: Path, halfset: int) -> dict[str, Any]:
    """Return what the info file of half an entry says; nothing if there is none."""
    try:
        content = json.loads(info_path(folder, halfset).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
