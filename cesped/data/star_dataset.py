"""Particles of any RELION star file as a torch dataset, with the papers' names and sample tuple.

Names and arguments are those of the CESPED paper (appendix C) and its package, hence the
camelCase, which ends here.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.utils.data import Dataset

from cesped.data.conventions import pose_columns, read_particle_table, write_particle_table
from cesped.data.particle_images import ParticleImages, SampleImages
from cesped.data.pose_updates import PoseUpdates
from cesped.data.preprocessing import PreprocessingOptions
from cesped.data.row_metadata import RowMetadata
from cesped.data.sample_batches import ParticleSample, samples_of
from cesped.data.samples import Augmenter, ParticleBatch, load_batch
from cesped.data.table import ParticleTable
from cesped.errors import OptionError
from cesped.geometry.symmetry import point_group
from cesped.vocabulary import AnglesFormat, CtfCorrection, Normalization, ShiftsFormat


class ParticlesRelionStarDataset(Dataset[ParticleSample]):
    """Particles of any RELION star file.

    Parameters
    ----------
    starFname : star file with poses
    rootDir : folder that image names start from
    symmetry : point group, as RELION names it
    image_size : final size of the images [px]; that of the stack when None
    perImg_normalization : "noiseStats" (mean 0 and deviation 1 outside the inscribed circle),
        "cornerStats" (the same in the corners), "subtractMean" or "none"
    ctf_correction : "none", "phase_flip", "ctf_multiply" or "wiener"
    image_size_factor_for_crop : share of the box that is cut off before resizing, 0 to 0.5

    Raises
    ------
    OptionError, SymmetryError
        If an argument is none of its choices.
    StarFileError, MetadataError, MissingImageError, MrcFileError, PixelSizeError
        If star file or stacks are faulty.

    Notes
    -----
    A sample is `iid, img, (rotMat, xyShiftAngs, confidence), metadata`: the particle's id
    (rlnImageName), a `(1, N, N)` float32 image, its `(3, 3)` rotation (see
    `cesped.geometry.euler`), `(2,)` origin [angstrom] and `(1,)` confidence, and the row of the
    star file with `pixel_size_angst`, the pixel size of `img`. Rotations are the file's own, not
    mapped into one asymmetric unit.
    """

    def __init__(
        self,
        starFname: str | os.PathLike[str],
        rootDir: str | os.PathLike[str],
        symmetry: str,
        image_size: int | None = None,
        perImg_normalization: str = "noiseStats",
        ctf_correction: str = "none",
        image_size_factor_for_crop: float = 0.0,
    ):
        super().__init__()
        options = PreprocessingOptions(
            image_size=image_size,
            normalization=Normalization.parse(perImg_normalization),
            ctf_correction=CtfCorrection.parse(ctf_correction),
            crop_fraction=image_size_factor_for_crop,
        )
        self._symmetry = point_group(symmetry).name
        self._star_path = Path(starFname).expanduser()
        self._root_dir = Path(rootDir).expanduser()
        table = read_particle_table(self._star_path, self._root_dir)
        self._use(ParticleImages(table, options))

    def _use(self, images: SampleImages) -> None:
        """Take samples from these images and their table; the last step of every constructor."""
        self._images = images
        self._updates = PoseUpdates(images.table)
        self._columns = _columns_of(images.table)
        self._augmenter: Augmenter | None = None

    @property
    def symmetry(self) -> str:
        """Point group of the particle, as RELION names it."""
        return self._symmetry

    @property
    def image_size(self) -> int:
        """Size of the images of the samples [px]."""
        return self._images.preprocessor.image_size

    @property
    def sampling_rate(self) -> float:
        """Pixel size of the images of the samples [angstrom/px].

        Where optics groups differ, the median; each sample's metadata has its own.
        """
        return float(self._images.preprocessor.pixel_size_after(self.particles.sampling_rate))

    @property
    def ctf_correction(self) -> str:
        """What is done about the contrast transfer function."""
        return str(self._images.preprocessor.options.ctf_correction)

    @property
    def image_size_factor_for_crop(self) -> float:
        """Share of the box that is cut off before resizing."""
        return self._images.preprocessor.options.crop_fraction

    @property
    def particles(self) -> ParticleTable:
        """The particles, with what `updateMd` changed."""
        return self._updates.table

    @property
    def datadir(self) -> str:
        """Folder that image names start from."""
        return str(self._root_dir)

    @property
    def starFname(self) -> str:
        """Star file of the particles."""
        return str(self._star_path)

    @property
    def stackFname(self) -> str:
        """Image stack of the particles; the first one if there are several."""
        return str(self.particles.stacks[0])

    @property
    def augmenter(self) -> Augmenter | None:
        """Called on every sample, if set.

        It takes `(img, eulerDeg, shiftFraction)`: a `(1, N, N)` image, rot, tilt and psi
        [degrees], and the origin as a fraction of the image; it returns the three, changed, and
        a list of what it did. One that has `augment_normalised`, as
        `cesped.data.augmentation.Augmenter` does, is given a batch at once instead.
        """
        return self._augmenter

    @augmenter.setter
    def augmenter(self, augmenterObj: Augmenter | None) -> None:
        self._augmenter = augmenterObj

    def __len__(self) -> int:
        return len(self.particles)

    def __getitem__(self, item: int) -> ParticleSample:
        return self.__getitems__([item])[0]

    def __getitems__(self, items: Sequence[int]) -> list[ParticleSample]:
        """Return several samples: their images are read and prepared together.

        Raises
        ------
        IndexError
            If there is no such particle.
        ImageValueError, MissingImageError
            If an image is faulty; names it.
        """
        rows = np.array([self._row(item) for item in items], dtype=np.int64)
        batch = self.batch(rows)
        metadata = self._metadata(rows)
        for values, pixel_size_angst in zip(metadata, batch.pixel_size_angst.tolist(), strict=True):
            values["pixel_size_angst"] = pixel_size_angst
        ids = [str(name) for name in self.particles.ids[rows]]
        return samples_of(ids, batch, metadata)

    def batch(self, items: ArrayLike) -> ParticleBatch:
        """Return images and poses of several particles as tensors, without the metadata.

        Parameters
        ----------
        items : `(B,)` particles, counted from 0

        Raises
        ------
        IndexError, ImageValueError, MissingImageError
            As `__getitems__`.
        """
        rows = np.array([self._row(item) for item in np.ravel(items)], dtype=np.int64)
        return load_batch(self._images, rows, self.particles.require_poses(), self._augmenter)

    def getIdx(self, item: int) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Return the raw `(n, n)` image of a particle and its row of the star file."""
        rows = np.array([self._row(item)], dtype=np.int64)
        return self._images.raw(rows)[0], self._metadata(rows)[0]

    def updateMd(
        self,
        ids: Sequence[str],
        angles: Tensor | ArrayLike | None = None,
        shifts: Tensor | ArrayLike | None = None,
        confidence: Tensor | ArrayLike | None = None,
        angles_format: str = "rotmat",
        shifts_format: str = "Angst",
    ) -> None:
        """Change the poses of the particles `ids`.

        Parameters
        ----------
        ids : `B` particle ids (rlnImageName), each once
        angles : `(B, 3, 3)` rotations, or `(B, 3)` rot, tilt, psi [degrees]
        shifts : `(B, 2)` origins [angstrom]
        confidence : `(B,)` or `(B, 1)` confidence of the prediction, at least 0; saved as
            rlnParticleFigureOfMerit
        angles_format : "rotmat" or "zyzEulerDegs"
        shifts_format : "Angst"

        Raises
        ------
        OptionError
            If nothing is given to change, or a format is unknown.
        IdMismatchError
            If an id is not of this dataset, or occurs twice; names it.
        GeometryError, MetadataError
            If shapes do not fit, matrices are no rotations, or values are not finite.
        """
        ShiftsFormat.parse(shifts_format)
        self._updates.update(ids, angles, shifts, confidence, AnglesFormat.parse(angles_format))

    def saveMd(self, fname: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Save the particles with their current poses as a star file.

        Raises
        ------
        OptionError
            If the name does not end in `.star`.
        EntryExistsError
            If the file exists and `overwrite` is false.
        DiskFullError
            If the disk is full; nothing half-written is left.
        """
        if Path(fname).suffix != ".star":
            raise OptionError(f"{fname} does not end in .star; particles are saved as star files")
        write_particle_table(
            fname,
            self.particles,
            overwrite,
            predicted_confidence=self._updates.predicted_confidence,
        )

    def _row(self, item: int) -> int:
        row = operator.index(item)
        if not -len(self) <= row < len(self):
            raise IndexError(f"particle {row} of {len(self)} in {self._star_path}")
        return row % len(self)

    def _metadata(self, rows: NDArray[np.int64]) -> list[RowMetadata]:
        """Return the columns of some rows as they are now, one dictionary a particle."""
        columns = [column[rows].tolist() for column in self._columns.values()]
        metadata = [
            RowMetadata(zip(self._columns, values, strict=True))
            for values in zip(*columns, strict=True)
        ]
        for row, values in zip(rows.tolist(), metadata, strict=True):
            if self._updates.is_updated(row):
                values.update(pose_columns(self.particles, row))
                values.update(self._updates.confidence_column(row))
        return metadata

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_columns": None}  # the table has them

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._columns = _columns_of(self._images.table)


def _columns_of(table: ParticleTable) -> dict[str, NDArray[Any]]:
    return {str(name): column.to_numpy() for name, column in table.particles.items()}
