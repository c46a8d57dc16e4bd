"""Image stacks: read image by image, written section by section."""

import contextlib
import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..errors import ImageValueError, MissingFileError, MissingImageError, MrcFileError
from .files import atomic_path
from .mrc import MrcInfo, inspect_mrc, new_header

Images = npt.NDArray[np.float32]


class _OpenStack:
    """A stack and its file descriptor, which is closed when nobody reads from it any more."""

    def __init__(self, path: Path) -> None:
        self.info = inspect_mrc(path)
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):  # else opening failed
            os.close(self._descriptor)

    def read_into(self, images: Images, first: int) -> None:
        """Fill `images` `(B, rows, columns)` with the sections that follow `first`."""
        info = self.info
        stored = images if info.dtype == images.dtype else np.empty(images.shape, info.dtype)
        image_bytes = info.shape[1] * info.shape[2] * info.dtype.itemsize
        position = info.data_offset + first * image_bytes
        wanted = memoryview(stored).cast("B")  # type: ignore[arg-type]
        while len(wanted):
            n_read = os.preadv(self._descriptor, [wanted], position)
            if n_read == 0:
                whole = (position - info.data_offset) // image_bytes
                raise MrcFileError(
                    f"{info.path} has become shorter while it was read: {whole} of its "
                    f"{info.n_images} sections are whole; copy or make it again"
                )
            wanted, position = wanted[n_read:], position + n_read
        if stored is not images:
            images[...] = stored


class StackReader:
    """Reads images of any number of stacks while few of them are open at a time.

    A reader can be pickled and used by several threads; a copy opens its files anew, a forked
    process shares them. Images are read, not mapped: what was read of a stack does not count as
    memory of the process.

    Parameters
    ----------
    max_open_files : stacks kept open; the one unused for longest is closed first
    """

    def __init__(self, max_open_files: int = 64) -> None:
        self.max_open_files = max(1, max_open_files)
        self._open: OrderedDict[Path, _OpenStack] = OrderedDict()
        self._lock = threading.Lock()

    def info(self, path: str | os.PathLike[str]) -> MrcInfo:
        """Return the checked header of a stack.

        Raises
        ------
        MissingImageError
            If there is no such file.
        MrcFileError
            If the header is wrong or the file truncated.
        """
        return self._opened(path).info

    def read(
        self, path: str | os.PathLike[str], sections: npt.ArrayLike, out: Images | None = None
    ) -> Images:
        """Return images `(B, rows, columns)` in float32, in the order asked for.

        Parameters
        ----------
        path : the stack
        sections : `(B,)` integers counted from 0, in any order, repeated or not
        out : contiguous array that takes them and is returned; a new one when None

        Raises
        ------
        MissingImageError
            If the file, or a section of it, does not exist.
        MrcFileError
            If the header is wrong or the file truncated.
        """
        stack = self._opened(path)
        info = stack.info
        wanted = np.asarray(sections, dtype=np.int64).reshape(-1).tolist()
        for section in wanted:
            if not 0 <= section < info.n_images:
                raise MissingImageError(
                    f"{info.path} has {info.n_images} images, number {section + 1} was asked for: "
                    "the star file belongs to another stack, or the stack is not complete"
                )
        if out is None:
            out = np.empty((len(wanted), *info.shape[1:]), np.float32)
        for start, stop in _runs(wanted):
            stack.read_into(out[start:stop], wanted[start])
        return out

    def close(self) -> None:
        """Close all stacks; the next read opens them again."""
        with self._lock:
            self._open.clear()

    def _opened(self, path: str | os.PathLike[str]) -> _OpenStack:
        path = path if isinstance(path, Path) else Path(path)
        with self._lock:
            if path in self._open:
                self._open.move_to_end(path)
                return self._open[path]
            while len(self._open) >= self.max_open_files:
                self._open.popitem(last=False)
            try:
                stack = self._open_or_make_room(path)
            except (MissingFileError, FileNotFoundError) as error:
                raise MissingImageError(
                    f"there is no stack {path}: check the root folder of the particles"
                ) from error
            self._open[path] = stack
            return stack

    def _open_or_make_room(self, path: Path) -> _OpenStack:
        try:
            return _OpenStack(path)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._open:
                raise
        self._open.clear()  # other readers of this process have taken what the system allows
        return _OpenStack(path)

    def __getstate__(self) -> dict[str, int]:
        return {"max_open_files": self.max_open_files}

    def __setstate__(self, state: dict[str, int]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def _runs(sections: list[int]) -> Iterator[tuple[int, int]]:
    """Yield `(start, stop)` of the stretches that count up by one: each is one read."""
    start = 0
    for place in range(1, len(sections) + 1):
        if place == len(sections) or sections[place] != sections[place - 1] + 1:
            yield start, place
            start = place


class StackWriter:
    """Writes a stack of `n_images` square images; the file appears when all are there.

    Use it as a context manager; whatever ends the block early leaves no file.

    Parameters
    ----------
    path : the stack to write
    n_images : how many images will be appended in all
    box : side of an image [px]
    voxel_size_angst : pixel size for the header [Å]
    dtype : of the stored pixels: float32, float16, int8, int16 or uint16

    Raises
    ------
    MrcFileError
        If `dtype` cannot be stored, an image has another shape, or the number of images differs
        from `n_images`.
    ImageValueError
        If an image has pixels that are not finite, or that `dtype` cannot hold.
    DiskFullError
        If the disk or the quota is exhausted.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "stack.mrcs"
    >>> with StackWriter(path, n_images=2, box=4, voxel_size_angst=1.5) as writer:
    ...     writer.append(np.zeros((2, 4, 4)))
    >>> StackReader().read(path, [1]).shape
    (1, 4, 4)
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        n_images: int,
        box: int,
        voxel_size_angst: float,
        dtype: npt.DTypeLike = np.float32,
    ) -> None:
        self.path = Path(path)
        self.n_images = n_images
        self.box = box
        self._dtype = np.dtype(dtype)
        self._header = new_header((n_images, box, box), self._dtype, voxel_size_angst)
        self._n_written = 0
        self._lowest, self._highest = np.inf, -np.inf
        self._sum, self._sum_of_squares = 0.0, 0.0

    def __enter__(self) -> Self:
        self._pending = atomic_path(self.path)
        self._stream = self._pending.__enter__().open("wb")
        self._stream.write(self._header.tobytes())
        return self

    def append(self, images: npt.ArrayLike) -> None:
        """Write the next images, `(B, box, box)` or `(box, box)`."""
        given = np.asarray(images)
        batch = given[np.newaxis] if given.ndim == 2 else given
        if batch.shape[1:] != (self.box, self.box):
            raise MrcFileError(
                f"{self.path} holds images of {self.box} x {self.box} px, not {batch.shape[1:]}"
            )
        if self._n_written + len(batch) > self.n_images:
            raise MrcFileError(
                f"{self.path} was announced to hold {self.n_images} images, not more"
            )
        stored = self._checked_cast(batch)
        self._stream.write(np.ascontiguousarray(stored).data)
        self._n_written += len(batch)
        if batch.size:
            self._lowest = min(self._lowest, float(stored.min()))
            self._highest = max(self._highest, float(stored.max()))
            self._sum += float(stored.sum(dtype=np.float64))
            self._sum_of_squares += float(np.square(stored, dtype=np.float64).sum())

    def _checked_cast(self, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if self._dtype.kind in "iu":
            batch = np.rint(batch)
            limits = np.iinfo(self._dtype)
            bad = ~((batch >= limits.min) & (batch <= limits.max))
            stored = np.where(bad, 0, batch).astype(self._dtype)
        else:
            with np.errstate(over="ignore"):
                stored = batch.astype(self._dtype)
            bad = ~np.isfinite(stored)
        if bad.any():
            number = self._n_written + int(np.flatnonzero(bad.any(axis=(1, 2)))[0]) + 1
            raise ImageValueError(
                f"image {number} for {self.path} has pixels that are NaN, infinite or beyond "
                f"{self._dtype}: nothing was written"
            )
        return stored.astype(self._dtype.newbyteorder("<"), copy=False)

    def _finish(self) -> None:
        if self._n_written != self.n_images:
            raise MrcFileError(
                f"{self.path} got {self._n_written} of its {self.n_images} images: it was not kept"
            )
        n_pixels = self.n_images * self.box**2
        if n_pixels:
            mean = self._sum / n_pixels
            variance = max(0.0, self._sum_of_squares / n_pixels - mean**2)
            self._header["dmin"], self._header["dmax"] = self._lowest, self._highest
            self._header["dmean"], self._header["rms"] = mean, variance**0.5
            self._stream.seek(0)
            self._stream.write(self._header.tobytes())
        self._stream.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            try:
                self._finish()
            except BaseException as failure:
                self._abandon(failure)
                raise
            self._pending.__exit__(None, None, None)
        else:
            self._abandon(error)

    def _abandon(self, error: BaseException) -> None:
        with contextlib.suppress(OSError):  # the buffer of a full disk fails once more
            self._stream.close()
        # Removes the file; raises DiskFullError in place of a bare "no space left".
        self._pending.__exit__(type(error), error, error.__traceback__)
