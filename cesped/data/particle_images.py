"""The images of a particle table as a model sees them, prepared while they are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cesped.data.images import ImageSource
from cesped.data.preprocessing import PreprocessingOptions, Preprocessor
from cesped.data.table import ParticleTable
from cesped.errors import ImageValueError
from cesped.vocabulary import CtfCorrection


class SampleImages(Protocol):
    """What a dataset asks for the images of its samples."""

    @property
    def table(self) -> ParticleTable:
        """The particles, by whose rows images are asked for."""

    @property
    def preprocessor(self) -> Preprocessor:
        """What is done to the images after `normalised`, and how large they get."""

    def raw(self, rows: ArrayLike) -> NDArray[np.float32]:
        """Return the images `(B, box, box)` as they are on the disk."""

    def normalised(self, rows: ArrayLike) -> Tensor:
        """Return `(B, box, box)` images before they are cropped and resized."""

    def prepared(self, rows: ArrayLike) -> Tensor:
        """Return `(B, image_size, image_size)` images."""


class ParticleImages:
    """Images of the rows of `table`, read from its stacks; can be pickled to other processes.

    A few images at a time go from the stack through all steps, so that they stay in the nearest
    caches and a batch needs no more memory than its result.

    Parameters
    ----------
    table : the particles
    options : what is done to their images

    Raises
    ------
    OptionError, MetadataError
        If the options do not fit the images; see `Preprocessor` and `ParticleTable`.
    """

    def __init__(self, table: ParticleTable, options: PreprocessingOptions):
        self.table = table
        self.preprocessor = Preprocessor(options, table.image_size)
        table.refuse_second_correction(options.ctf_correction)
        if options.ctf_correction is not CtfCorrection.NONE:
            table.require_ctf()
        self._source = ImageSource(table)

    def __len__(self) -> int:
        return len(self.table)

    def raw(self, rows: ArrayLike) -> NDArray[np.float32]:
        """Return the images `(B, box, box)` as they are in the stacks; raises as `prepared`."""
        return self._source.read(rows)

    def normalised(self, rows: ArrayLike) -> Tensor:
        """Return images at the full box, `(B, box, box)`; see `Preprocessor.normalised`."""
        return self._prepare(rows, self.preprocessor.box, resample=False)

    def prepared(self, rows: ArrayLike) -> Tensor:
        """Return images as a model sees them.

        Parameters
        ----------
        rows : `(B,)` rows of the table, counted from 0

        Returns
        -------
        `(B, image_size, image_size)` float32

        Raises
        ------
        MissingImageError, ImageValueError
            If an image cannot be read or used; names the row.
        MetadataError
            If the CTF is to be corrected but not known.
        """
        return self._prepare(rows, self.preprocessor.image_size, resample=True)

    def _prepare(self, rows: ArrayLike, size: int, *, resample: bool) -> Tensor:
        chosen = np.asarray(rows, dtype=np.int64).reshape(-1)
        step = self.preprocessor.chunk_images()
        # numpy asks for large pages, which torch does not
        prepared = torch.from_numpy(np.empty((len(chosen), size, size), np.float32))
        try:
            self.preprocessor.prepare_into(
                prepared,
                self._reader(chosen, step),
                step,
                None if self.table.ctf is None else self.table.ctf.select(chosen),
                self.table.pixel_size_angst[chosen],
                lambda place: self.table.describe_row(int(chosen[place])),
                resample=resample,
            )
        except ImageValueError:
            self._source.read(chosen)  # says more exactly what is wrong with an image
            raise
        return prepared

    def _reader(self, rows: NDArray[np.int64], step: int) -> Callable[[slice], Tensor]:
        box = self.preprocessor.box
        memory = np.empty((min(step, len(rows)), box, box), np.float32)
        images = torch.from_numpy(memory)

        def read(part: slice) -> Tensor:
            wanted = rows[part]
            self._source.read_unchecked(wanted, memory[: len(wanted)])
            return images[: len(wanted)]

        return read
