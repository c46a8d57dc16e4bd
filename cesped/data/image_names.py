"""From `rlnImageName` to files: `000012@Extract/mic.mrcs` is the twelfth image of that stack."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cesped.errors import (
    MetadataError,
    MissingImageError,
    MrcFileError,
    PixelSizeError,
)
from cesped.io.mrc import MrcInfo, inspect_mrc

_log = logging.getLogger(__name__)

#: Pixel sizes of star file and image header may differ by this fraction (headers are rounded).
PIXEL_SIZE_TOLERANCE = 0.01
_UNSET_VOXEL_SIZE_ANGST = 1.0  # what programs write that do not know the pixel size


@dataclass(frozen=True)
class ImageNames:
    """`rlnImageName` of `P` particles, taken apart.

    Parameters
    ----------
    ids : `(P,)` the names, verbatim
    stack_names : each stack once, in order of first use, as the star file names it
    stack_index : `(P,)` which of `stack_names`
    section : `(P,)` counted from 0
    """

    ids: NDArray[np.object_]
    stack_names: tuple[str, ...]
    stack_index: NDArray[np.int64]
    section: NDArray[np.int64]


def parse_image_names(names: pd.Series, source: str) -> ImageNames:
    """Take apart all `NUMBER@STACK` names of a star file.

    Raises
    ------
    MetadataError
        If a name has not that form; names the row.
    """
    text = names.astype(str)
    parts = text.str.partition("@")
    digits = parts[0].str.strip()
    malformed = ~digits.str.fullmatch(r"[0-9]{1,12}").to_numpy(dtype=bool)
    malformed |= (parts[2].str.strip() == "").to_numpy(dtype=bool)
    section = np.zeros(len(text), dtype=np.int64)
    section[~malformed] = digits[~malformed].astype(np.int64).to_numpy() - 1
    malformed |= section < 0
    if malformed.any():
        row = int(np.flatnonzero(malformed)[0])
        raise MetadataError(
            f"row {row + 1} of {source}: rlnImageName {text.iloc[row]!r} is not of the form "
            "NUMBER@STACK with a number from 1 on, for example 000001@Extract/particles.mrcs"
        )
    # RELION reads a stack called .mrc only if its name goes on with the format, `:mrcs`
    codes, stacks = pd.factorize(parts[2].str.strip().str.removesuffix(":mrcs"))
    return ImageNames(
        ids=text.to_numpy(dtype=object),
        stack_names=tuple(str(stack) for stack in stacks),
        stack_index=codes.astype(np.int64),
        section=section,
    )


def locate_stacks(
    names: ImageNames, root_dir: Path, star_dir: Path, source: str, *, must_exist: bool
) -> tuple[Path, ...]:
    """Return the file of every stack: below `root_dir`, else beside the star file.

    An absolute name is taken as it is.

    Raises
    ------
    MissingImageError
        If `must_exist` and a stack is in neither place; names the first row that needs it.
    """
    found = []
    for number, name in enumerate(names.stack_names):
        candidates = [root_dir / name, star_dir / name]  # `/` keeps an absolute name
        path = next((path for path in candidates if path.is_file()), None)
        if path is None and must_exist:
            row = int(np.flatnonzero(names.stack_index == number)[0])
            tried = " and ".join(dict.fromkeys(str(path) for path in candidates))
            raise MissingImageError(
                f"row {row + 1} of {source}: the stack {name} does not exist; looked for {tried}. "
                "Give the folder that the names start from as the root folder"
            )
        found.append(path or candidates[0])
    return tuple(found)


def check_stacks(
    names: ImageNames,
    stacks: tuple[Path, ...],
    pixel_size_angst: NDArray[np.float64] | None,
    source: str,
) -> int:
    """Check every row against the header of its stack and return the box [px].

    Headers are read once per stack, rows are compared as arrays; pixel sizes are not when None.

    Raises
    ------
    MrcFileError
        If a stack is truncated or no MRC file.
    MissingImageError
        If a row asks for a section that its stack does not have.
    MetadataError
        If images are not square, or not all of one size.
    PixelSizeError
        If star file and header disagree by more than 1 %.
    """
    infos = [_inspect(path, names, number, source) for number, path in enumerate(stacks)]
    depths = np.array([info.shape[0] for info in infos], dtype=np.int64)[names.stack_index]
    outside = np.flatnonzero(names.section >= depths)
    if outside.size:
        row = int(outside[0])
        raise MissingImageError(
            f"row {row + 1} of {source}: image {names.section[row] + 1} of "
            f"{stacks[names.stack_index[row]]} does not exist, the stack has {depths[row]}; the "
            "star file belongs to another stack, or the stack is incomplete"
        )
    if pixel_size_angst is not None:
        _check_pixel_sizes(names, infos, pixel_size_angst, source)
    return _common_box(names, infos, source)


def _inspect(path: Path, names: ImageNames, number: int, source: str) -> MrcInfo:
    try:
        return inspect_mrc(path)
    except MrcFileError as error:
        row = int(np.flatnonzero(names.stack_index == number)[0])
        raise MrcFileError(f"row {row + 1} of {source}: {error}") from error


def _common_box(names: ImageNames, infos: list[MrcInfo], source: str) -> int:
    boxes = np.array([info.shape[1:] for info in infos])
    wrong = np.flatnonzero((boxes != boxes[0, 0]).any(axis=1))
    if wrong.size:
        number = int(wrong[0])
        row = int(np.flatnonzero(names.stack_index == number)[0])
        raise MetadataError(
            f"row {row + 1} of {source}: images of {infos[number].path} are {boxes[number, 1]} x "
            f"{boxes[number, 0]} px, but all images must be square and of one size "
            f"({boxes[0, 0]} px here): extract them again with one box size"
        )
    return int(boxes[0, 0])


def _check_pixel_sizes(
    names: ImageNames, infos: list[MrcInfo], pixel_size_angst: NDArray[np.float64], source: str
) -> None:
    header = np.array([info.voxel_size_angst or 0.0 for info in infos], dtype=np.float64)
    unset = (header <= 0) | (header == _UNSET_VOXEL_SIZE_ANGST)
    per_row = header[names.stack_index]
    differs = np.abs(per_row - pixel_size_angst) > PIXEL_SIZE_TOLERANCE * pixel_size_angst
    if (differs & unset[names.stack_index]).any():
        _log.info(
            "%d of %d stacks of %s do not state their pixel size; the star file's is used",
            int(unset.sum()),
            len(infos),
            source,
        )
    wrong = np.flatnonzero(differs & ~unset[names.stack_index])
    if wrong.size:
        row = int(wrong[0])
        raise PixelSizeError(
            f"row {row + 1} of {source} says {pixel_size_angst[row]:.4g} angstrom/px, the header "
            f"of {infos[names.stack_index[row]].path} says {per_row[row]:.4g}; correct the one "
            "that is wrong (the optics table's rlnImagePixelSize, or the header's cell)"
        )
