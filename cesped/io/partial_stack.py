"""A stack that is written over several lives of a process: what was safely written is kept."""

import contextlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from ..errors import ImageValueError, MrcFileError
from .files import full_disk_named, write_text_atomic
from .mrc import new_header

_IF_FULL = "its first images are kept: free some space there and run the same again"

_HEADER_BYTES = 1024
#: Bytes between two notes in the journal.
_FLUSH_BYTES = 64 * 2**20


class PartialStack:
    """Appends float32 images to `path.partial`, which becomes `path` when all are there.

    A journal beside it notes how many images are safely on the disk. Used again after the process
    was killed, with the same `label`, it goes on from there; with another, from the beginning.
    Only one process may write a stack at a time: the caller holds a lock.

    Parameters
    ----------
    path : the stack to write, in a folder that exists
    n_images : how many there will be in all
    box : side of an image [px]
    voxel_size_angst : pixel size for the header [angstrom]
    label : what determines the images, such as a checksum

    Raises
    ------
    MrcFileError
        If images have another shape, or are more or fewer than announced.
    ImageValueError
        If an image has pixels that are not finite.
    DiskFullError
        If the disk is full; what is written is kept for the next time.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "stack.mrcs"
    >>> with PartialStack(path, 2, 4, 1.5, "example") as stack:
    ...     stack.append(np.zeros((2 - stack.done, 4, 4), np.float32))
    >>> path.stat().st_size
    1152
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        n_images: int,
        box: int,
        voxel_size_angst: float,
        label: str,
    ) -> None:
        self.path = Path(path)
        self.n_images = n_images
        self.box = box
        self.partial = self.path.with_name(self.path.name + ".partial")
        self.journal = self.path.with_name(self.path.name + ".journal")
        self._label = f"{label} {n_images} x {box} x {box}"
        self._image_bytes = 4 * box * box
        shape = (n_images, box, box)
        self._header = new_header(shape, np.dtype(np.float32), voxel_size_angst).tobytes()
        self.done = self._found()

    def __enter__(self) -> Self:
        with full_disk_named(self.path, _IF_FULL):
            if self.is_whole:
                return self
            self._stream = self.partial.open("r+b" if self.done else "wb")
            if not self.done:
                self._stream.write(self._header)
            self._stream.truncate(_HEADER_BYTES + self.done * self._image_bytes)
            self._stream.seek(0, os.SEEK_END)
            self._unsafe = 0
        return self

    @property
    def is_whole(self) -> bool:
        """Whether the stack is finished, by this process or an earlier one."""
        return self.done == self.n_images and self.path.is_file()

    def append(self, images: npt.ArrayLike) -> None:
        """Write the next images, `(B, box, box)`."""
        batch = np.ascontiguousarray(images, dtype="<f4")
        if batch.ndim != 3 or batch.shape[1:] != (self.box, self.box):
            raise MrcFileError(
                f"{self.path} holds images of {self.box} x {self.box} px, not {batch.shape[1:]}"
            )
        if self.done + len(batch) > self.n_images:
            raise MrcFileError(
                f"{self.path} was announced to hold {self.n_images} images, not more"
            )
        # a sum is finite where all its terms are, unless they are beyond 1e33 and no image
        if batch.size and not np.isfinite(batch.sum(dtype=np.float64)):
            raise ImageValueError(
                f"one of images {self.done + 1} to {self.done + len(batch)} for {self.path} has "
                "pixels that are not finite: nothing of them was written"
            )
        with full_disk_named(self.path, _IF_FULL):
            self._stream.write(batch.data)
            self.done += len(batch)
            self._unsafe += batch.nbytes
            if self._unsafe >= _FLUSH_BYTES:
                self._note()

    def _note(self) -> None:
        self._stream.flush()
        os.fsync(self._stream.fileno())
        content = {"label": self._label, "done": self.done}
        write_text_atomic(self.journal, json.dumps(content) + "\n")
        self._unsafe = 0

    def _found(self) -> int:
        """Return how many images an earlier process has left that are good."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            journal = json.loads(self.journal.read_text(encoding="utf-8"))
            noted = int(journal["done"])
            if journal["label"] != self._label or not 0 <= noted <= self.n_images:
                return 0
            written = self.path if noted == self.n_images else self.partial
            if not written.exists():
                written = self.partial  # killed before the stack got its name
            whole = _HEADER_BYTES + noted * self._image_bytes
            return noted if written.stat().st_size >= whole else 0
        return 0

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not hasattr(self, "_stream"):
            return
        safely = contextlib.suppress(OSError) if error else full_disk_named(self.path, _IF_FULL)
        with self._stream, safely:
            self._note()
        if error is not None:
            return
        if self.done != self.n_images:
            raise MrcFileError(
                f"{self.path} got {self.done} of its {self.n_images} images; they are kept"
            )
        self.partial.replace(self.path)
