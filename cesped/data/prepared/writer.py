"""Preparing all images of a table once: resumed after any interruption, whole or not at all.

Images go to a hidden stack, and every so often, when they are safely on the disk, a journal notes
how many there are. A process that is killed leaves both, and the next one goes on from there. The
images of a chunk are always prepared together, so the result is the same to the bit.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from cesped.data.conventions import write_as_read
from cesped.data.particle_images import ParticleImages
from cesped.data.prepared.card import PreparedCard, describe_wanted, read_card, sha256_of
from cesped.data.prepared.export import write_prepared_star
from cesped.data.prepared.files import PreparedFiles
from cesped.data.prepared.reader import HEADER_BYTES
from cesped.data.preprocessing import PreprocessingOptions
from cesped.data.table import ParticleTable
from cesped.errors import (
    DiskFullError,
    EntryExistsError,
    ImageValueError,
    MissingFileError,
    OptionError,
    StaleImagesError,
)
from cesped.io.files import FULL_DISK, check_writable, write_text_atomic
from cesped.io.locks import exclusive_lock
from cesped.io.mrc import new_header
from cesped.progress import SILENT, Advance, Progress
from cesped.vocabulary import PixelType

#: Images prepared together; part of what the result is, to the bit.
CHUNK = 256
#: Bytes between two notes in the journal.
FLUSH_BYTES = 64 * 2**20

_TORCH_TYPES = {PixelType.FLOAT16: torch.float16, PixelType.FLOAT32: torch.float32}
_LARGEST_FLOAT16 = 65504
#: Below it half precision has ever fewer digits, and all of an image would be there.
_SMALLEST_PEAK_FLOAT16 = 2.0**-14
_SPARE_BYTES = 16 * 2**20
_REPLACE = "allow it to be replaced with --force (replace=True)"


def prepare_images(
    table: ParticleTable,
    path: str | os.PathLike[str],
    options: PreprocessingOptions,
    stored_as: PixelType = PixelType.FLOAT32,
    symmetry: str | None = None,
    replace: bool = False,
    progress: Progress = SILENT,
) -> PreparedFiles:
    """Prepare the images of `table` and keep them as the set `path`; see `PreparedFiles`.

    If that very set is there and whole, nothing is done. A process that was killed at it is
    continued, one that is at it now is waited for.

    Parameters
    ----------
    table : raw particles
    path : folder and name of the set, such as `prepared/particles_0`
    options : what is done to the images
    stored_as : type of the stored pixels. Half precision keeps 11 bits: rounding changes a grey
        value by at most 1/2048 of itself
    symmetry : point group, for those who open the set
    replace : whether another set, or other files, of that name may be replaced
    progress : told of every image

    Raises
    ------
    StaleImagesError
        If another set is there and may not be replaced, or the source changes meanwhile.
    EntryExistsError, OptionError
        If other files of that name are there, or they are the source itself.
    MetadataError, ImageValueError, MissingImageError
        If an image cannot be prepared, or not be stored so; names it.
    DiskFullError
        If there is not enough room; what is done is kept for the next call.
    UnwritableError
        If nothing can be written there.
    """
    files = PreparedFiles.of(path)
    images = ParticleImages(table, options)
    _refuse_own_source(files, table)
    check_writable(files.images)
    files.folder.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(files.lock, progress):
        size = images.preprocessor.image_size
        wanted = describe_wanted(table, options, size, stored_as, symmetry)
        if not _is_there(files, wanted, replace):
            _Work(files, images, wanted).run(progress)
    return files


class _Work:
    """The preparation of one set, by the process that holds its lock."""

    def __init__(self, files: PreparedFiles, images: ParticleImages, card: PreparedCard) -> None:
        self.files = files
        self.table = images.table
        self.card = card
        self._images = images
        self._pixel_size_angst = images.preprocessor.pixel_size_after(self.table.pixel_size_angst)

    def run(self, progress: Progress) -> None:
        """Prepare what is missing and put the files in their places."""
        try:
            if not self._is_written():
                done = self._images_done()
                self._check_space(done)
                what = f"Preparing {self.files.name}"
                with progress.task(what, len(self.table), done=done) as advance:
                    self._write_images(done, advance)
            self._publish()
        except OSError as error:
            if error.errno not in FULL_DISK or isinstance(error, DiskFullError):
                raise
            raise DiskFullError(
                error.errno,
                f"{os.strerror(error.errno)} while {self.files.name} was prepared in "
                f"{self.files.folder}; what is done is kept: free some space there and call again",
            ) from error

    def _is_written(self) -> bool:
        """Whether a process was killed between renaming the stack and writing the card."""
        whole = HEADER_BYTES + len(self.table) * self.card.image_bytes
        return (
            self._noted() == len(self.table)
            and not self.files.partial_images.exists()
            and not self.files.card.exists()  # then the stack would be another's
            and self.files.images.is_file()
            and self.files.images.stat().st_size == whole
        )

    def _images_done(self) -> int:
        """Return how many images of an interrupted process are good; 0 if they are of others."""
        noted = self._noted()
        with contextlib.suppress(FileNotFoundError):
            size = self.files.partial_images.stat().st_size
            if size >= HEADER_BYTES + noted * self.card.image_bytes:
                return noted
        return 0

    def _noted(self) -> int:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            journal = json.loads(self.files.journal.read_text(encoding="utf-8"))
            if journal["card"] == self._journal_card():
                return int(journal["done"])
        return 0

    def _note(self, done: int) -> None:
        content = {"card": self._journal_card(), "done": done}
        write_text_atomic(self.files.journal, json.dumps(content) + "\n")

    def _journal_card(self) -> object:
        return json.loads(json.dumps(self.card.to_dict()))  # as it is read back

    def _check_space(self, done: int) -> None:
        needed = (len(self.table) - done) * self.card.image_bytes
        needed += 3 * Path(self.table.source).stat().st_size + _SPARE_BYTES
        free = shutil.disk_usage(self.files.folder).free
        if free < needed:
            raise DiskFullError(
                next(iter(FULL_DISK)),
                f"{self.files.name} needs {needed / 2**30:.2f} GiB in {self.files.folder}, where "
                f"{free / 2**30:.2f} are free; free some space, choose another folder, or store "
                "smaller images or float16",
            )

    def _write_images(self, done: int, advance: Advance) -> None:
        with self.files.partial_images.open("r+b" if done else "wb") as stream:
            if not done:
                stream.write(self._header())
            stream.truncate(HEADER_BYTES + done * self.card.image_bytes)
            stream.seek(0, os.SEEK_END)
            unsafe = 0
            for start in range(done, len(self.table), CHUNK):
                rows = np.arange(start, min(start + CHUNK, len(self.table)))
                unsafe += stream.write(self._prepare(rows).tobytes())
                if unsafe >= FLUSH_BYTES:
                    _flush_to_disk(stream)
                    self._note(int(rows[-1]) + 1)
                    unsafe = 0
                advance(len(rows))
            _flush_to_disk(stream)
        self._note(len(self.table))

    def _header(self) -> bytes:
        sizes = self._pixel_size_angst
        same = bool((sizes == sizes[0]).all())
        shape = (len(self.table), self.card.image_size, self.card.image_size)
        # a header states one pixel size, or none
        header = new_header(shape, np.dtype(str(self.card.stored_as)), sizes[0] if same else 0.0)
        return header.tobytes()

    def _prepare(self, rows: NDArray[np.int64]) -> NDArray[np.generic]:
        images = self._images.prepared(rows)
        stored = images.to(_TORCH_TYPES[self.card.stored_as])
        self._check_stored(images, stored, rows)
        array: NDArray[np.generic] = stored.numpy()
        return array.astype(array.dtype.newbyteorder("<"), copy=False)

    def _check_stored(
        self, images: torch.Tensor, stored: torch.Tensor, rows: NDArray[np.int64]
    ) -> None:
        peaks = images.abs().amax(dim=(-2, -1))
        half = self.card.stored_as is PixelType.FLOAT16
        bad = ~stored.isfinite().all(dim=(-2, -1))
        if half:
            bad |= peaks < _SMALLEST_PEAK_FLOAT16
        if not bool(bad.any()):
            return
        place = int(torch.nonzero(bad)[0, 0])
        where, peak = self.table.describe_row(int(rows[place])), float(peaks[place])
        if not half:
            raise ImageValueError(f"{where}: the prepared image has pixels beyond float32")
        raise ImageValueError(
            f"{where}: the prepared image has grey values up to {peak:.3g}, and float16 holds "
            f"{_SMALLEST_PEAK_FLOAT16:.2g} to {_LARGEST_FLOAT16}; normalise the images, or store "
            "float32"
        )

    def _publish(self) -> None:
        """Give the files their names; the card comes last and makes the set valid."""
        card, files, table = self.card, self.files, self.table
        now = describe_wanted(table, card.options, card.image_size, card.stored_as, card.symmetry)
        changes = card.differences(now)
        if changes:
            files.partial_images.unlink(missing_ok=True)
            files.journal.unlink(missing_ok=True)
            raise StaleImagesError(
                f"while {files.name} was prepared, {'; '.join(changes)}. Nothing was kept: "
                "call again when the source is at rest"
            )
        files.card.unlink(missing_ok=True)
        write_prepared_star(
            files.star,
            table,
            files.images.name,
            card.image_size,
            self._pixel_size_angst,
            card.options.ctf_correction,
        )
        write_as_read(files.source_star, table)
        if files.partial_images.exists():
            files.partial_images.replace(files.images)
        recorded = {
            path.name: {"size": path.stat().st_size, "sha256": sha256_of(path)}
            for path in (files.images, files.star, files.source_star)
        }
        content = {**card.to_dict(), "files": recorded}
        write_text_atomic(files.card, json.dumps(content, indent=2) + "\n")
        files.journal.unlink(missing_ok=True)


def _is_there(files: PreparedFiles, wanted: PreparedCard, replace: bool) -> bool:
    """Return whether the wanted set is there; raise if what is there may not be replaced."""
    try:
        differences = read_card(files).differences(wanted)
        if not differences:
            return True
    except MissingFileError:
        foreign = [path for path in (files.images, files.star) if path.exists()]
        if foreign and not files.journal.exists() and not replace:
            raise EntryExistsError(
                f"{foreign[0]} exists and is no prepared set; choose another folder, or {_REPLACE}"
            ) from None
        return False
    except StaleImagesError as error:
        if not replace:
            raise StaleImagesError(f"{error}, and {_REPLACE}") from error
        return False
    if not replace:
        raise StaleImagesError(
            f"{files.folder} holds another prepared set {files.name}: {'; '.join(differences)}. "
            f"Choose another folder, or {_REPLACE}"
        )
    return False


def _refuse_own_source(files: PreparedFiles, table: ParticleTable) -> None:
    sources = {Path(table.source).resolve(), *(path.resolve() for path in table.stacks)}
    for path in (files.star, files.images, files.source_star):
        if path.resolve() in sources:
            raise OptionError(
                f"{path} is what the images are made from; write prepared images to another folder"
            )


def _flush_to_disk(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())
