"""Reading the images of a particle table, in any order, from any number of stacks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cesped.data.table import ParticleTable
from cesped.errors import ImageValueError, MissingImageError
from cesped.io.stack import StackReader


class ImageSource:
    """Raw images of the particles of `table`; can be pickled to other processes."""

    def __init__(self, table: ParticleTable, max_open_files: int = 64):
        self.table = table
        self._reader = StackReader(max_open_files=max_open_files)

    def __len__(self) -> int:
        return len(self.table)

    def read(
        self, indices: ArrayLike, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Return the images of the rows `indices`.

        Parameters
        ----------
        indices : `(B,)` rows of the table, counted from 0
        out : contiguous `(B, n, n)` array that takes them and is returned; a new one when None

        Returns
        -------
        `(B, n, n)` float32 [y, x]

        Raises
        ------
        MissingImageError
            If a file or section does not exist; names the row.
        ImageValueError
            If an image is constant, or holds NaN or infinite pixels; names the row.
        """
        rows = np.asarray(indices, dtype=np.int64).reshape(-1)
        size = self.table.image_size
        images = np.empty((len(rows), size, size), dtype=np.float32) if out is None else out
        self.read_unchecked(rows, images)
        self._check(images, rows)
        return images

    def read_unchecked(self, rows: NDArray[np.int64], out: NDArray[np.float32]) -> None:
        """Fill `out` with the images of `rows` as `read` does, without looking at the pixels."""
        files = self.table.stack_index[rows].tolist()
        sections = self.table.section[rows].tolist()
        start = 0
        for place in range(1, len(files) + 1):
            if place == len(files) or files[place] != files[start]:
                self._read_from(files[start], rows[start], sections[start:place], out[start:place])
                start = place

    def _read_from(
        self, file: int, row: int, sections: list[int], out: NDArray[np.float32]
    ) -> None:
        path = self.table.stacks[file]
        try:
            self._reader.read(path, sections, out)
        except FileNotFoundError as error:
            raise MissingImageError(
                f"{self.table.describe_row(int(row))}: {path} cannot be read: {error}"
            ) from error

    def _check(self, images: NDArray[np.float32], rows: NDArray[np.int64]) -> None:
        # Any NaN is the least and the largest of its image, an infinity one of the two.
        lowest, highest = images.min(axis=(1, 2)), images.max(axis=(1, 2))
        finite = np.isfinite(lowest) & np.isfinite(highest)
        if finite.all() and (highest > lowest).all():
            return
        place = int(np.flatnonzero(~(finite & (highest > lowest)))[0])
        row = int(rows[place])
        stack = self.table.stacks[self.table.stack_index[row]]
        image = f"{self.table.section[row] + 1} of {stack}"
        n_bad = int((~np.isfinite(images[place])).sum())
        if n_bad:
            raise ImageValueError(
                f"{self.table.describe_row(row)}: {n_bad} pixels of section {image} are NaN or "
                "infinite; extract the particle again, or remove the row"
            )
        raise ImageValueError(
            f"{self.table.describe_row(row)}: image {image} is constant "
            f"({images[place, 0, 0]:g} everywhere); remove the row"
        )
