"""Preparing star files and halves of entries; a folder that holds halves is an entry itself."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cesped.data.conventions import read_particle_table
from cesped.data.entry_checks import EntryHalf
from cesped.data.prepared.card import describe_wanted, read_card
from cesped.data.prepared.files import PreparedFiles
from cesped.data.prepared.reader import PreparedImages
from cesped.data.prepared.writer import prepare_images
from cesped.data.preprocessing import PreprocessingOptions, Preprocessor
from cesped.data.store import info_path
from cesped.errors import StaleImagesError
from cesped.geometry.symmetry import point_group
from cesped.io.files import write_text_atomic
from cesped.progress import SILENT, Progress
from cesped.vocabulary import CtfCorrection, PixelType


@dataclass(frozen=True)
class PreparationJob:
    """Particles to prepare, and where to.

    Parameters
    ----------
    star : star file of the raw particles
    root_dir : folder that its image names start from; its own folder when None
    target : folder and name of the prepared set
    symmetry : point group, if it is known
    info : file that makes the set a half of an entry, if it is to be one
    """

    star: Path
    root_dir: Path | None
    target: Path
    symmetry: str | None = None
    info: Path | None = None

    @classmethod
    def of_half(cls, half: EntryHalf, out_dir: str | os.PathLike[str]) -> Self:
        """Prepare one half of an entry as `particles_{half}` in `out_dir`."""
        folder = Path(out_dir).expanduser()
        return cls(
            half.star_path,
            half.root_dir,
            folder / f"particles_{half.halfset}",
            half.symmetry,
            info_path(folder, half.halfset),
        )

    @classmethod
    def of_star(
        cls,
        star: str | os.PathLike[str],
        root_dir: str | os.PathLike[str] | None,
        out_dir: str | os.PathLike[str],
        symmetry: str | None = None,
    ) -> Self:
        """Prepare the particles of a star file as a set of its name in `out_dir`.

        Raises
        ------
        SymmetryError
            If there is no such point group.
        """
        path = Path(star).expanduser()
        root = None if root_dir is None else Path(root_dir).expanduser()
        group = None if symmetry is None else point_group(symmetry).name
        return cls(path, root, Path(out_dir).expanduser() / path.stem, group)


def prepare(
    job: PreparationJob,
    options: PreprocessingOptions,
    stored_as: PixelType = PixelType.FLOAT32,
    replace: bool = False,
    progress: Progress = SILENT,
) -> PreparedFiles:
    """Prepare the images of a job; the other parameters are those of `prepare_images`.

    Raises
    ------
    StarFileError, MissingImageError, MrcFileError, PixelSizeError
        If the particles cannot be read.
    StaleImagesError, EntryExistsError, OptionError, MetadataError, ImageValueError,
    DiskFullError, UnwritableError
        As `prepare_images`.
    """
    table = read_particle_table(job.star, job.root_dir, require_poses=False)
    files = prepare_images(table, job.target, options, stored_as, job.symmetry, replace, progress)
    if job.info is not None and (replace or not job.info.is_file()):
        write_text_atomic(job.info, json.dumps({"symmetry": job.symmetry}) + "\n")
    return files


def check_prepared(
    job: PreparationJob,
    options: PreprocessingOptions,
    stored_as: PixelType = PixelType.FLOAT32,
    progress: Progress = SILENT,
) -> PreparedFiles:
    """Return the files of a set that is whole, undamaged, and what `prepare` would make now.

    Raises
    ------
    MissingFileError
        If there is no such set.
    StaleImagesError
        If it is damaged, or differs from what is asked for; says how.
    """
    table = read_particle_table(job.star, job.root_dir, require_poses=False)
    images = PreparedImages(job.target)
    size = Preprocessor(options, table.image_size).image_size
    wanted = describe_wanted(table, options, size, stored_as, job.symmetry)
    differences = images.card.differences(wanted)
    if differences:
        raise StaleImagesError(f"{images.files.card} is out of date: {'; '.join(differences)}")
    images.verify(progress)
    return images.files


def remarks_for_other_programs(files: PreparedFiles) -> list[str]:
    """Return what a user of RELION must know about these images, in sentences."""
    card = read_card(files)
    remarks = {
        CtfCorrection.PHASE_FLIP: "The images are phase flipped. RELION does not see that by "
        "itself: give its programs --ctf_phase_flipped, or their CTF correction flips the phases "
        "back.",
        CtfCorrection.CTF_MULTIPLY: "The images are multiplied by their CTF; RELION 3.1 and later "
        "read that from the star file.",
        CtfCorrection.WIENER: "The images are Wiener filtered; the star file states a CTF of 1, so "
        "that no program corrects them again.",
    }
    found = [remarks[card.options.ctf_correction]] if card.options.ctf_correction in remarks else []
    if card.stored_as is PixelType.FLOAT16:
        found.append("float16 stacks are read by RELION 4 and later, not by RELION 3.1.")
    return found
