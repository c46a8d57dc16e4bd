"""A folder of prepared sets, each named by all that determines it, so that none is ever stale."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from cesped.data.prepared.card import PreparedCard, describe_wanted
from cesped.data.prepared.reader import PreparedImages
from cesped.data.prepared.writer import prepare_images
from cesped.data.preprocessing import PreprocessingOptions, Preprocessor
from cesped.data.table import ParticleTable
from cesped.progress import SILENT, Progress
from cesped.vocabulary import PixelType

_DIGITS = 16
#: What says where things are or were made, not what they are.
_NOT_BINDING = ("star", "stacks", "package_version")


def prepare_in_folder(
    table: ParticleTable,
    folder: str | os.PathLike[str],
    options: PreprocessingOptions,
    stored_as: PixelType = PixelType.FLOAT32,
    progress: Progress = SILENT,
) -> PreparedImages:
    """Return the prepared images of `table` from a folder of sets, preparing them if need be.

    Particles, options or a program that differ lead to another set, beside the ones that are
    there; those that nobody needs any more may be deleted at any time.

    Parameters
    ----------
    table : raw particles
    folder : made if it is missing; several processes may use it
    options : what is done to the images
    stored_as : type of the stored pixels
    progress : told of every image

    Raises
    ------
    MetadataError, ImageValueError, MissingImageError, DiskFullError, UnwritableError
        As `prepare_images`.
    """
    size = Preprocessor(options, table.image_size).image_size
    card = describe_wanted(table, options, size, stored_as, None)
    path = Path(folder).expanduser() / f"{Path(table.source).stem}-{digest_of(card)}"
    # a damaged set of the right name is replaced
    files = prepare_images(table, path, options, stored_as, replace=True, progress=progress)
    return PreparedImages(files.card)


def digest_of(card: PreparedCard) -> str:
    """Return a name for what a card binds its images to."""
    facts = {name: value for name, value in card.to_dict().items() if name not in _NOT_BINDING}
    facts["stacks"] = [(mark.size, mark.changed_ns) for mark in card.stacks]
    content = json.dumps(facts, sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()[:_DIGITS]
