"""Reading prepared images: any rows, in any order, without mapping the file into memory."""

from __future__ import annotations

import os
import weakref
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cesped.data.prepared.card import PreparedCard, read_card, recorded_files, sha256_of
from cesped.data.prepared.files import PreparedFiles
from cesped.errors import StaleImagesError
from cesped.progress import SILENT, Progress
from cesped.vocabulary import PixelType

#: Length of the header of a stack that this package writes [bytes].
HEADER_BYTES = 1024

_NUMPY_TYPES: dict[PixelType, np.dtype[Any]] = {
    PixelType.FLOAT16: np.dtype("<f2"),
    PixelType.FLOAT32: np.dtype("<f4"),
}


class PreparedImages:
    """The images of a finished prepared set; can be pickled, and shared by threads and forks.

    Parameters
    ----------
    path : any file of the set

    Raises
    ------
    MissingFileError
        If the set is not there or not finished.
    StaleImagesError
        If its files are not whole, or of another version.

    Notes
    -----
    Images are read at their place in the file: the memory of the process does not grow with the
    set, and what was read lately comes from the system's own cache.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.files = PreparedFiles.of(path)
        self.card: PreparedCard = read_card(self.files)
        self._descriptor: int | None = None

    def __len__(self) -> int:
        return self.card.count

    @property
    def image_size(self) -> int:
        """Pixels of an image."""
        return self.card.image_size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored pixels."""
        return _NUMPY_TYPES[self.card.stored_as]

    def read(self, rows: ArrayLike) -> Tensor:
        """Return the images of `rows` as `(B, n, n)` float32 [y, x].

        Raises
        ------
        IndexError
            If there is no such row.
        StaleImagesError
            If the file ends before its images do.
        """
        # torch converts half precision several times as fast as numpy
        return torch.from_numpy(self.read_stored(rows)).to(torch.float32)

    def read_stored(self, rows: ArrayLike) -> NDArray[Any]:
        """Return the images of `rows` as `(B, n, n)` of the stored type; raises as `read`."""
        wanted = np.asarray(rows, dtype=np.int64).reshape(-1)
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise IndexError(f"{self.files.images} has {len(self)} images, from 0 on")
        images = np.empty((len(wanted), self.image_size, self.image_size), self.dtype)
        places = images.reshape(-1).view(np.uint8).data
        size = self.card.image_bytes
        # neighbours are read together
        edges = [*np.flatnonzero(np.diff(wanted, prepend=-2) != 1), len(wanted)]
        for start, stop in pairwise(edges):
            offset = HEADER_BYTES + int(wanted[start]) * size
            self._fill(places[start * size : stop * size], offset)
        return images

    def verify(self, progress: Progress = SILENT) -> None:
        """Compare every file of the set with its checksum.

        Raises
        ------
        StaleImagesError
            If one differs.
        """
        recorded = recorded_files(self.files)
        with progress.task(f"Verifying {self.files.name}", len(recorded)) as advance:
            for name, facts in recorded.items():
                path = self.files.folder / name
                if sha256_of(path) != facts["sha256"]:
                    raise StaleImagesError(
                        f"{path} does not have the checksum that {self.files.card.name} states: "
                        "it was changed or damaged; prepare the images again"
                    )
                advance(1)

    def _fill(self, place: memoryview, offset: int) -> None:
        while len(place):
            read = os.preadv(self._open(), [place], offset)
            if read == 0:
                raise StaleImagesError(
                    f"{self.files.images} ends before its images do: prepare the images again"
                )
            place, offset = place[read:], offset + read

    def _open(self) -> int:
        if self._descriptor is None:
            self._descriptor = os.open(self.files.images, os.O_RDONLY | os.O_CLOEXEC)
            weakref.finalize(self, os.close, self._descriptor)
        return self._descriptor

    def __getstate__(self) -> dict[str, Any]:
        return {"files": self.files, "card": self.card, "_descriptor": None}
