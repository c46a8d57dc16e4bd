"""Preprocessed images of particles, from memory where they fit and from disk where not."""

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.particle_images import ParticleImages
from ..data.prepared.card import options_from_dict, options_to_dict
from ..data.prepared.folder import prepare_in_folder
from ..data.prepared.reader import PreparedImages
from ..data.preprocessing import PreprocessingOptions
from ..data.table import ParticleTable
from ..progress import SILENT, Progress
from ..vocabulary import CtfCorrection, Normalization

#: Raw images read and preprocessed at a time.
_CHUNK = 256
_GIB = 2**30


def preprocessing_from_recipe(
    image_size: int,
    image_size_factor_for_crop: float,
    ctf_correction: str,
    apply_perImg_normalization: bool,
) -> PreprocessingOptions:
    """Return the options that the published names of a recipe stand for.

    Raises
    ------
    OptionError
        If a value is out of its range.
    """
    return PreprocessingOptions(
        image_size=image_size,
        normalization=(
            Normalization.NOISE_STATS if apply_perImg_normalization else Normalization.NONE
        ),
        ctf_correction=CtfCorrection.parse(ctf_correction),
        crop_fraction=image_size_factor_for_crop,
    )


def preprocessing_to_dict(options: PreprocessingOptions) -> dict[str, Any]:
    """Return the options as plain values, for a checkpoint."""
    return options_to_dict(options)


def preprocessing_from_dict(values: dict[str, Any]) -> PreprocessingOptions:
    """Return the options that `preprocessing_to_dict` wrote down, here or in an older version."""
    return options_from_dict(values)


class PreparedParticles:
    """Images of a particle table as a model sees them; can be pickled to other processes.

    Parameters
    ----------
    table : the particles
    options : what is done to their images
    max_memory_gib : all images are kept after `load` if they need no more than this
    cache_dir : folder where `load` keeps prepared images for the next run, if given; see
        `cesped.data.prepared.folder`
    """

    def __init__(
        self,
        table: ParticleTable,
        options: PreprocessingOptions,
        max_memory_gib: float = 4.0,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        self.table = table
        self._source = ParticleImages(table, options)
        self._preprocessor = self._source.preprocessor
        self._cache_dir = cache_dir
        self._stored: PreparedImages | None = None
        self._images: torch.Tensor | None = None
        self._places: NDArray[np.int64] | None = None
        self._max_memory_gib = max_memory_gib

    def __len__(self) -> int:
        return len(self.table)

    @property
    def image_size(self) -> int:
        """Pixels of a prepared image."""
        return self._preprocessor.image_size

    @property
    def pixel_size_angst(self) -> float:
        """Pixel size of a prepared image [angstrom/px]; the median where optics groups differ."""
        return float(self._preprocessor.pixel_size_after(self.table.sampling_rate))

    @property
    def noise_deviation(self) -> float:
        """Deviation of the background of a prepared image, if it was normalised."""
        return self._preprocessor.noise_deviation

    @property
    def fits_in_memory(self) -> bool:
        """Whether all images may be kept in memory."""
        return self._fits(len(self))

    def _fits(self, count: int) -> bool:
        return count * self.image_size**2 * 4 <= self._max_memory_gib * _GIB

    def load(
        self,
        progress: Progress = SILENT,
        what: str = "Preparing images",
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        """Prepare images now, where there is a place to keep them: on disk, in memory.

        Parameters
        ----------
        progress : told of every image
        what : it is told
        rows : which images will be asked for, each once; all when None. Of some nothing is kept
            on disk

        Raises
        ------
        MissingImageError, ImageValueError, MetadataError
            If an image cannot be read or used; names the row.
        DiskFullError, UnwritableError
            If they cannot be kept in `cache_dir`.
        """
        if self._cache_dir is not None and self._stored is None and rows is None:
            self._stored = prepare_in_folder(
                self.table, self._cache_dir, self._preprocessor.options, progress=progress
            )
            what = f"Loading {self._stored.files.name}"
        wanted = np.arange(len(self)) if rows is None else rows
        if self._images is not None or not self._fits(len(wanted)):
            return
        size = self.image_size
        images = torch.empty(len(wanted), 1, size, size)
        with progress.task(what, len(wanted)) as advance:
            for start in range(0, len(wanted), _CHUNK):
                part = wanted[start : start + _CHUNK]
                images[start : start + len(part)] = self._prepare(part)
                advance(len(part))
        self._images = images
        if rows is not None:
            self._places = np.full(len(self), -1)
            self._places[rows] = np.arange(len(rows))

    def read(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Return the images `(B, 1, n, n)` of rows of the table.

        Raises
        ------
        MissingImageError, ImageValueError, MetadataError
            If an image cannot be read or used; names the row.
        """
        if self._images is None:
            return self._prepare(rows)
        places = rows if self._places is None else self._places[rows]
        if len(places) and places.min() < 0:  # not among those that were announced
            return self._prepare(rows)
        return self._images[torch.from_numpy(places)]

    def _prepare(self, rows: NDArray[np.int64]) -> torch.Tensor:
        if self._stored is not None:
            return self._stored.read(rows)[:, None]
        return self._source.prepared(rows)[:, None]
