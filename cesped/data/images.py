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

    def read(self, indices: ArrayLike) -> NDArray[np.float32]:
        """Return the images of the rows `indices`.

        Parameters
        ----------
        indices : `(B,)` rows of the table, counted from 0

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
        images = np.empty((len(rows), size, size), dtype=np.float32)
        files = self.table.stack_index[rows]
        for file in np.unique(files):
            where = np.flatnonzero(files == file)
            images[where] = self._read_from(int(file), rows[where])
        self._check_finite(images, rows)
        self._check_contrast(images, rows)
        return images

    def _read_from(self, file: int, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        path = self.table.stacks[file]
        try:
            return self._reader.read(path, self.table.section[rows])
        except FileNotFoundError as error:
            raise MissingImageError(
                f"{self.table.describe_row(int(rows[0]))}: {path} cannot be read: {error}"
            ) from error

    def _check_finite(self, images: NDArray[np.float32], rows: NDArray[np.int64]) -> None:
        # One NaN or infinity makes the sum of the image one of them: cheaper than looking at each.
        with np.errstate(invalid="ignore", over="ignore"):
            sums = images.reshape(len(images), -1).sum(axis=1, dtype=np.float64)
        bad = np.flatnonzero(~np.isfinite(sums))
        if not bad.size:
            return
        row = int(rows[bad[0]])
        path = self.table.stacks[self.table.stack_index[row]]
        n_bad = int((~np.isfinite(images[bad[0]])).sum())
        raise ImageValueError(
            f"{self.table.describe_row(row)}: {n_bad} pixels of section "
            f"{self.table.section[row] + 1} of {path} are NaN or infinite; extract the particle "
            "again, or remove the row"
        )

    def _check_contrast(self, images: NDArray[np.float32], rows: NDArray[np.int64]) -> None:
        # Only an image whose first line is constant can be: cheaper than looking at all of each.
        for place in np.flatnonzero((images[:, 0] == images[:, 0, :1]).all(axis=1)):
            value = images[place, 0, 0]
            if (images[place] == value).all():
                row = int(rows[place])
                path = self.table.stacks[self.table.stack_index[row]]
                raise ImageValueError(
                    f"{self.table.describe_row(row)}: image {self.table.section[row] + 1} of "
                    f"{path} is constant ({value:g} everywhere); remove the row"
                )
