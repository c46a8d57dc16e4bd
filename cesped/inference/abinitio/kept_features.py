"""Features of all particles, encoded in chunks that stay on the disk until all else is done.

Encoding is about three quarters of the work. A run that was killed finds the chunks that it had
finished; chunks begin at the same particles and are encoded in the same batches whoever makes them,
so what follows does not depend on how often a run was interrupted.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
import torch

from ...data.particle_images import SampleImages
from ...io.files import atomic_path, write_text_atomic
from ...models.cryofastar.model import CryoFastAR
from ...progress import SILENT, Progress
from ...vocabulary import ViewNormalization
from .feature_room import mapped_features
from .features import ViewFeatures, normalized_stacks
from .speed import ImagesPerSecond

#: Particles of a chunk: two of the stacks that some weights want normalised together.
CHUNK = 256
#: Particles that are encoded at once.
_BATCH = 128
_LABEL = "made_from.json"


class FeatureFolder:
    """Encoded chunks in a folder, which is emptied if they were made from anything else.

    Parameters
    ----------
    folder : is made; nothing else should be in it
    made_from : text of all that determines the features: images, weights, type of numbers

    Raises
    ------
    UnwritableError
        If the folder cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str], made_from: str) -> None:
        self.folder = Path(folder)
        label = self.folder / _LABEL
        if not (label.is_file() and label.read_text("utf-8") == made_from):
            self.remove()
            write_text_atomic(label, made_from)

    def load(self, start: int, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor | None:
        """Return the features of the chunk that begins at particle `start`; None if not there."""
        try:
            kept = np.load(self._path(start), allow_pickle=False)
        except (OSError, ValueError):
            return None
        wide = (*shape[:-1], shape[-1] * dtype.itemsize)
        if kept.dtype != np.uint8 or kept.shape != wide:
            return None
        return torch.from_numpy(kept).view(dtype)

    def save(self, start: int, features: torch.Tensor) -> None:
        """Write a chunk, whole or not at all.

        Raises
        ------
        DiskFullError
            If the disk is full.
        """
        numbers = features.cpu().contiguous().view(torch.uint8).numpy()
        with atomic_path(self._path(start)) as temporary, temporary.open("wb") as file:
            np.save(file, numbers, allow_pickle=False)

    def remove(self) -> None:
        """Remove the folder with all chunks."""
        if self.folder.is_dir():
            (self.folder / _LABEL).unlink(missing_ok=True)  # first: chunks without it are not used
            shutil.rmtree(self.folder)

    def _path(self, start: int) -> Path:
        return self.folder / f"from_{start:09d}.npy"


def encode_particles(
    model: CryoFastAR,
    images: SampleImages,
    *,
    device: torch.device | str = "cpu",
    keep_on: torch.device | str | None = None,
    kept: FeatureFolder | None = None,
    mapped_to: Path | None = None,
    progress: Progress = SILENT,
) -> tuple[ViewFeatures, int]:
    """Return the features of all particles, and how many were found on the disk.

    Parameters
    ----------
    model : in evaluation mode, on `device`
    images : of the particles, as the network gets them before they are normalised
    device, keep_on : where images are encoded, and where features are kept; see `encode_views`
    kept : chunks of an earlier run; new ones are added. None: nothing is written
    mapped_to : file to hold the features where memory cannot; None: they are in memory
    progress : told of every batch

    Raises
    ------
    GeometryError
        If the images do not fit the patches.
    ImageValueError, MissingImageError
        If an image is faulty.
    DiskFullError
        If chunks do not fit the disk.
    """
    count, side = len(images.table), images.preprocessor.image_size
    rows, columns = model.grid_of(torch.empty(1, side, side, device="meta"))
    width, dtype = model.config.encoder_width, model.patches.weight.dtype
    place = device if keep_on is None else keep_on
    shape = (count, rows * columns, width)
    if mapped_to is None:
        features = torch.empty(shape, dtype=dtype, device=place)  # once
    else:
        features = mapped_features(mapped_to, shape, dtype)
    reused, missing = 0, []
    for start in range(0, count, CHUNK):
        part = features[start : start + CHUNK]
        found = None if kept is None else kept.load(start, tuple(part.shape), dtype)
        if found is None:
            missing.append(start)
        else:
            part.copy_(found)
            reused += len(part)
    with progress.task("encoding particles", count, done=reused) as bar:
        advance = ImagesPerSecond(bar)
        with _Saver(kept) as saver:
            for start, chunk in _read_ahead(images, missing, model.normalization, device):
                for number, batch in enumerate(torch.split(chunk, _BATCH)):
                    first = start + number * _BATCH
                    with torch.inference_mode():
                        made = model.encode(batch)
                    features[first : first + len(batch)] = made.to(features.device)
                    advance(len(batch))
                saver.save(start, features[start : start + CHUNK])
    return ViewFeatures(features, rows, columns), reused


class _Saver:
    """Writes chunks while others are encoded, one behind at most; what fails is raised here."""

    def __init__(self, kept: FeatureFolder | None) -> None:
        self._kept = kept
        self._pool = ThreadPoolExecutor(1, "features")
        self._pending: Future[None] | None = None

    def save(self, start: int, features: torch.Tensor) -> None:
        """Begin to write a chunk, once the one before is written."""
        if self._kept is None:
            return
        self._wait()
        self._pending = self._pool.submit(self._kept.save, start, features)

    def _wait(self) -> None:
        if self._pending is not None:
            self._pending.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        self._pool.shutdown()
        if kind is None:
            self._wait()


def _read_ahead(
    images: SampleImages,
    starts: Sequence[int],
    normalization: ViewNormalization,
    device: torch.device | str,
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield the normalised images `(b, 1, n, n)` of chunks, on the device.

    The next chunk is read, taken there and normalised while one is worked on: on a GPU from pinned
    memory and on a stream of its own, so that waiting for its check does not wait for the network.
    """
    count, place = len(images.table), torch.device(device)
    is_gpu = place.type == "cuda"
    stream = torch.cuda.Stream(place) if is_gpu else None  # type: ignore[no-untyped-call]

    def read(start: int) -> torch.Tensor:
        chunk = images.prepared(np.arange(start, min(start + CHUNK, count)))[:, None]
        if stream is None:
            return normalized_stacks(chunk.to(place), normalization)
        with torch.cuda.stream(stream):
            there = chunk.pin_memory().to(place, non_blocking=True)
            there = normalized_stacks(there, normalization)
            stream.synchronize()
        return there

    with ThreadPoolExecutor(1) as reader:
        pending = reader.submit(read, starts[0]) if starts else None
        for number, start in enumerate(starts):
            if pending is None:  # not reached: there is a chunk ahead
                return
            chunk = pending.result()
            if stream is not None:  # its memory is not given away before the network has seen it
                chunk.record_stream(torch.cuda.current_stream(place))
            more = number + 1 < len(starts)
            pending = reader.submit(read, starts[number + 1]) if more else None
            yield start, chunk
