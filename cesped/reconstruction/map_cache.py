"""Maps that are made again and again, kept on disk: those of the true poses.

Every evaluation of an entry needs the maps of its true poses, and of poses that know nothing. They
do not depend on the prediction, so they can be kept. A kept map is named by a digest of all that
determines it: images, particle and optics tables, poses, options, program and version. So two
entries, two versions or two backends in one folder never meet; a file appears whole or not at all,
and holds a checksum, so concurrent runs and damaged disks cost time and nothing else. The folder
may be emptied at any moment.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pandas as pd

from ..data.table import ParticleTable
from ..io.files import write_bytes_atomic
from ..progress import SILENT, Progress
from ..vocabulary import Backend
from .protocol import HalfMaps, PoseSet, ReconstructionOptions, Reconstructor, Volume

#: Raised when maps of an earlier version of this module must not be read any more.
CACHE_VERSION = 2
_SUFFIX = ".map"
_DIGEST_BYTES = 32


class CachedReconstructor:
    """A reconstructor that keeps the maps of pose sets marked as `reusable`.

    Parameters
    ----------
    engine : makes the maps that are not kept yet
    folder : where they are kept; made when it is first needed
    """

    def __init__(self, engine: Reconstructor, folder: str | os.PathLike[str]):
        self.engine = engine
        self.folder = Path(folder).expanduser()

    @property
    def name(self) -> Backend:
        """Return which backend makes the maps."""
        return self.engine.name

    def version(self) -> str:
        """Return its program and version."""
        return self.engine.version()

    def reconstruct(
        self,
        table: ParticleTable,
        pose_sets: Sequence[PoseSet],
        options: ReconstructionOptions,
        progress: Progress = SILENT,
    ) -> list[Volume]:
        """Return one map per pose set, as `Reconstructor.reconstruct`; only missing ones are made.

        Raises
        ------
        Its errors, and DiskFullError or UnwritableError if a map cannot be kept.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # ranks that share the work must agree on it
            return self.engine.reconstruct(table, pose_sets, options, progress)
        paths = [
            self._path(table, pose_set, options) if pose_set.reusable else None
            for pose_set in pose_sets
        ]
        box = table.image_size
        kept = [None if path is None else read_kept_map(path, box) for path in paths]
        missing = [
            pose_set for pose_set, volume in zip(pose_sets, kept, strict=True) if volume is None
        ]
        made = iter(self.engine.reconstruct(table, missing, options, progress) if missing else [])
        volumes: list[Volume] = []
        for path, volume in zip(paths, kept, strict=True):
            if volume is None:
                volume = next(made)
                if path is not None:
                    keep_map(path, volume)
            volumes.append(volume)
        return volumes

    def reconstruct_halves(
        self,
        tables: tuple[ParticleTable, ParticleTable],
        pose_sets: Sequence[tuple[PoseSet, PoseSet]],
        options: ReconstructionOptions,
        progress: Progress = SILENT,
    ) -> list[HalfMaps]:
        """Return what the engine makes; nothing of it is kept."""
        return self.engine.reconstruct_halves(tables, pose_sets, options, progress)

    def _path(
        self, table: ParticleTable, pose_set: PoseSet, options: ReconstructionOptions
    ) -> Path:
        digest = hashlib.sha256()
        for part in _determinants(table, pose_set, options, self.engine):
            digest.update(hashlib.sha256(part).digest())
        return self.folder / f"{digest.hexdigest()}{_SUFFIX}"


def read_kept_map(path: Path, box: int) -> Volume | None:
    """Return a kept map `(box, box, box)`; None if there is none, or if it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    body = content[_DIGEST_BYTES:]
    whole = len(body) == 4 * box**3
    if not whole or hashlib.sha256(body).digest() != content[:_DIGEST_BYTES]:
        return None
    return np.frombuffer(body, dtype="<f4").astype(np.float32).reshape((box,) * 3)


def keep_map(path: Path, volume: Volume) -> None:
    """Write a map with its checksum, whole or not at all.

    Raises
    ------
    DiskFullError, UnwritableError
        If it cannot be written.
    """
    body = np.ascontiguousarray(volume, dtype="<f4").tobytes()
    write_bytes_atomic(path, hashlib.sha256(body).digest() + body)


def _determinants(
    table: ParticleTable, pose_set: PoseSet, options: ReconstructionOptions, engine: Reconstructor
) -> Iterator[bytes]:
    """Yield everything that determines a map but the number of threads."""
    settings = {name: value for name, value in asdict(options).items() if name != "threads"}
    stacks = [(str(path.resolve()), status.st_size, status.st_mtime_ns)
              for path in table.stacks for status in (path.stat(),)]  # fmt: skip
    facts = {
        "cache": CACHE_VERSION,
        "engine": [engine.name.value, engine.version()],
        "options": settings,
        "stacks": stacks,
        "box": table.image_size,
        "correction": table.ctf_correction_done.value,
    }
    yield json.dumps(facts, sort_keys=True, default=str).encode()
    for frame in (table.particles, table.optics):
        if frame is not None:
            yield repr(list(frame.columns)).encode()
            yield pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes()
    arrays = [table.stack_index, table.section, table.pixel_size_angst]
    arrays += [pose_set.poses.rotations, pose_set.poses.origins_angst]
    if table.ctf is not None:
        arrays += [getattr(table.ctf, item.name) for item in fields(table.ctf)]
    weights = pose_set.weights
    arrays.append(np.zeros(0) if weights is None else weights)
    for array in arrays:
        values = np.ascontiguousarray(array)
        yield f"{values.dtype} {values.shape}".encode()
        yield values.tobytes()
