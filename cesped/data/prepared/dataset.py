"""A prepared set as a dataset, with the samples that the raw particles would give."""

from __future__ import annotations

import logging
import os
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from cesped.data.conventions import read_particle_table
from cesped.data.pose_updates import PoseUpdates
from cesped.data.prepared.reader import PreparedImages
from cesped.data.preprocessing import PreprocessingOptions, Preprocessor
from cesped.data.star_dataset import ParticlesRelionStarDataset
from cesped.data.table import ParticleTable
from cesped.errors import OptionError, StaleImagesError
from cesped.geometry.symmetry import point_group
from cesped.vocabulary import CtfCorrection, Normalization

_log = logging.getLogger(__name__)


class PreparedDataset(ParticlesRelionStarDataset):
    """Particles whose images were prepared before, by `cesped preprocess`.

    Samples are those of `ParticlesDataset` with the same options: same ids, poses and metadata,
    and the same images but for the rounding of their storage. Whatever works on that class, such
    as an augmenter, data-loader workers, `updateMd` and `saveMd`, works on this one.

    Parameters
    ----------
    path : any file of the set, such as `prepared/particles_0.star`
    image_size : final size of the images [px]; that of the set when None
    image_size_factor_for_crop : share of the prepared box that is cut off before resizing
    symmetry : point group; the one stated when the set was made, if None
    check_source : compare the set with the files it was made from, if they are here

    Raises
    ------
    MissingFileError
        If the set is not there, or not finished.
    StaleImagesError
        If it is not whole, of another version, or its source has changed since; says which.
    OptionError, SymmetryError
        If an argument is none of its choices, or the symmetry is not known.

    Notes
    -----
    To augment, prepare images with a margin, best without any crop, and crop here: what was cut
    off before cannot be turned or shifted into the image.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        image_size: int | None = None,
        image_size_factor_for_crop: float = 0.0,
        symmetry: str | None = None,
        check_source: bool = True,
    ):
        super(ParticlesRelionStarDataset, self).__init__()  # there are no raw images to open
        prepared = PreparedImages(path)
        if check_source:
            _refuse_changed_source(prepared)
        stated = symmetry or prepared.card.symmetry
        if stated is None:
            raise OptionError(
                f"{prepared.files.card} states no symmetry; give the point group, such as C1"
            )
        self._symmetry = point_group(stated).name
        self._prepared = prepared
        self._star_path = prepared.files.source_star
        self._root_dir = prepared.files.folder
        source = _source_table(prepared)
        options = PreprocessingOptions(
            image_size=image_size,
            normalization=Normalization.NONE,
            ctf_correction=CtfCorrection.NONE,
            crop_fraction=image_size_factor_for_crop,
        )
        self._use(StoredImages(prepared, source, options))
        self._updates = PoseUpdates(source)  # poses are saved in the pixels of the source

    @property
    def options(self) -> PreprocessingOptions:
        """What was done to the images."""
        return self._prepared.card.options

    @property
    def ctf_correction(self) -> str:
        """What was done about the contrast transfer function."""
        return str(self.options.ctf_correction)

    @property
    def sampling_rate(self) -> float:
        """Pixel size of the images of the samples [angstrom/px]; the median if they differ."""
        images = self._images
        return float(images.preprocessor.pixel_size_after(images.table.sampling_rate))

    @property
    def stackFname(self) -> str:
        """The stack of prepared images."""
        return str(self._prepared.files.images)


class StoredImages:
    """Prepared images as a dataset asks for them: see `cesped.data.particle_images.SampleImages`.

    Parameters
    ----------
    prepared : the images
    source : the raw particles that they were made from
    options : what is still to be done: crop and size
    """

    def __init__(
        self, prepared: PreparedImages, source: ParticleTable, options: PreprocessingOptions
    ) -> None:
        self._prepared = prepared
        done = Preprocessor(prepared.card.options, prepared.card.box)
        self.table = replace(
            source,
            stacks=(prepared.files.images,),
            stack_index=np.zeros(len(source), dtype=np.int64),
            section=np.arange(len(source)),
            image_size=prepared.image_size,
            pixel_size_angst=done.pixel_size_after(source.pixel_size_angst),
        )
        self.preprocessor = _RemainingSteps(options, prepared.image_size, done)

    def raw(self, rows: ArrayLike) -> NDArray[np.float32]:
        """Return the stored images of `rows`, `(B, n, n)`."""
        images: NDArray[np.float32] = self._prepared.read(rows).numpy()
        return images

    def normalised(self, rows: ArrayLike) -> Tensor:
        """Return the stored images of `rows`, `(B, n, n)`."""
        return self._prepared.read(rows)

    def prepared(self, rows: ArrayLike) -> Tensor:
        """Return the images of `rows`, cropped and resized if that was asked for."""
        return self.preprocessor.resampled(self._prepared.read(rows))


class _RemainingSteps(Preprocessor):
    """What is left to be done to images that went through the steps `done`."""

    def __init__(self, options: PreprocessingOptions, box: int, done: Preprocessor) -> None:
        super().__init__(options, box)
        self._noise_before = done.noise_deviation

    @property
    def noise_deviation(self) -> float:
        """Deviation of white noise that had the deviation 1 in the raw, normalised images."""
        return self._noise_before * super().noise_deviation


def _source_table(prepared: PreparedImages) -> ParticleTable:
    path = prepared.files.source_star
    table = read_particle_table(path, require_poses=False, check_images=False)
    if len(table) != len(prepared):
        raise StaleImagesError(
            f"{path} has {len(table)} particles for {len(prepared)} prepared images: prepare the "
            "images again"
        )
    return replace(table, image_size=prepared.card.box)


def _refuse_changed_source(prepared: PreparedImages) -> None:
    changes = prepared.card.changes_of_source()
    if changes is None:
        _log.info("the source of %s is not here to compare with", prepared.files.card)
    elif changes:
        raise StaleImagesError(
            f"{prepared.files.card} is out of date: {'; '.join(changes)}. Prepare the images "
            "again, or do not check the source if you know that it does not matter"
        )
