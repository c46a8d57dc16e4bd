"""The card of a prepared set: what was done, to which images, and whether that still holds.

A prepared set is bound to its source by the checksum of the star file, by size and time of change
of each stack, by the options, and by two version numbers. Whatever of these differs is named.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cesped.data.prepared.files import PreparedFiles
from cesped.data.preprocessing import PreprocessingOptions
from cesped.data.table import ParticleTable
from cesped.errors import MissingFileError, OptionError, StaleImagesError
from cesped.vocabulary import CtfCorrection, Normalization, PixelType

#: Of the files; raised when an older reader would misread them.
FORMAT_VERSION = 1
#: Of the numbers; raised when the same options give other images than before.
PREPARATION_VERSION = 1

_ENUMS: dict[str, Any] = {"normalization": Normalization, "ctf_correction": CtfCorrection}


@dataclass(frozen=True)
class StackMark:
    """What a stack looked like when its images were prepared.

    Parameters
    ----------
    path : of the stack, for messages
    size : [bytes]
    changed_ns : time of the last change [ns]
    """

    path: str
    size: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the mark of a stack that exists."""
        status = path.stat()
        return cls(str(path), status.st_size, status.st_mtime_ns)

    def fits(self, other: StackMark) -> bool:
        """Return whether both are of one content; the file may have moved."""
        return (self.size, self.changed_ns) == (other.size, other.changed_ns)


@dataclass(frozen=True)
class PreparedCard:
    """What was done to which images.

    Parameters
    ----------
    options : the preprocessing
    stored_as : type of the stored pixels
    count : number of images
    box : of the raw images [px]
    image_size : of the prepared images [px]
    symmetry : point group of the particle, if it was told
    star : path of the source star file
    star_sha256 : its checksum
    ids_sha256 : checksum of the particle ids: a table may hold some rows of the file
    stacks : marks of its stacks, in the order of `ParticleTable.stacks`
    format_version, preparation_version : see `FORMAT_VERSION`, `PREPARATION_VERSION`
    package_version : for information; it does not bind
    """

    options: PreprocessingOptions
    stored_as: PixelType
    count: int
    box: int
    image_size: int
    symmetry: str | None
    star: str
    star_sha256: str
    ids_sha256: str
    stacks: tuple[StackMark, ...]
    format_version: int
    preparation_version: int
    package_version: str

    @property
    def image_bytes(self) -> int:
        """Size of one stored image [bytes]."""
        return self.image_size**2 * (2 if self.stored_as is PixelType.FLOAT16 else 4)

    def to_dict(self) -> dict[str, Any]:
        """Return the card as plain values for JSON."""
        values = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("options", "stacks")
        }
        values["stored_as"] = str(self.stored_as)
        values["options"] = options_to_dict(self.options)
        values["stacks"] = [dataclasses.astuple(mark) for mark in self.stacks]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> Self:
        """Return the card that `to_dict` wrote down.

        Raises
        ------
        StaleImagesError
            If it is from another version of the files, or damaged; `where` says which it is.
        """
        known_versions = {
            "format_version": FORMAT_VERSION,
            "preparation_version": PREPARATION_VERSION,
        }
        for name, version in known_versions.items():
            if values.get(name) != version:
                raise StaleImagesError(
                    f"{where} is from another version of this program ({name} "
                    f"{values.get(name)}, here it is {version}): prepare the images again"
                )
        try:
            known = {field.name for field in dataclasses.fields(cls)}
            plain = {name: value for name, value in values.items() if name in known}
            plain["options"] = options_from_dict(values["options"])
            plain["stored_as"] = PixelType.parse(values["stored_as"])
            plain["stacks"] = tuple(StackMark(*mark) for mark in values["stacks"])
            return cls(**plain)
        except (KeyError, TypeError, OptionError) as error:
            raise StaleImagesError(
                f"{where} is damaged ({error}): prepare the images again"
            ) from error

    def differences(self, wanted: PreparedCard) -> list[str]:
        """Return how this set differs from what would be made now, in words; empty if it fits."""
        found = []
        if self.star_sha256 != wanted.star_sha256:
            found.append(f"the star file is not what it was: {wanted.star}")
        elif self.ids_sha256 != wanted.ids_sha256:
            found.append(f"it holds other particles of {wanted.star}")
        for mark, now in zip(self.stacks, wanted.stacks, strict=False):
            if not mark.fits(now):
                found.append(f"the stack was changed since: {now.path}")
                break
        mine, others = options_to_dict(self.options), options_to_dict(wanted.options)
        found += [
            f"{name} is {mine.get(name)}, asked for is {others.get(name)}"
            for name in {**mine, **others}
            if mine.get(name) != others.get(name)
        ]
        if self.stored_as is not wanted.stored_as:
            found.append(f"pixels are {self.stored_as}, asked for is {wanted.stored_as}")
        if self.symmetry != wanted.symmetry:
            found.append(f"symmetry is {self.symmetry}, asked for is {wanted.symmetry}")
        return found

    def changes_of_source(self) -> list[str] | None:
        """Return what has changed in the source since, in words; None if it is not there.

        Stacks that were removed since, to save room, are no change.
        """
        star = Path(self.star)
        if not star.is_file():
            return None
        found = []
        if sha256_of(star) != self.star_sha256:
            found.append(f"the star file is not what it was: {star}")
        present = [mark for mark in self.stacks if Path(mark.path).is_file()]
        changed = [mark for mark in present if not mark.fits(StackMark.of(Path(mark.path)))]
        if changed:
            found.append(f"the stack was changed since: {changed[0].path}")
        return found


def describe_wanted(
    table: ParticleTable,
    options: PreprocessingOptions,
    image_size: int,
    stored_as: PixelType,
    symmetry: str | None,
) -> PreparedCard:
    """Return the card of the set that would be made from `table` now."""
    star = Path(table.source).resolve()
    return PreparedCard(
        options=options,
        stored_as=stored_as,
        count=len(table),
        box=table.image_size,
        image_size=image_size,
        symmetry=symmetry,
        star=str(star),
        star_sha256=sha256_of(star),
        ids_sha256=hashlib.sha256("\n".join(map(str, table.ids)).encode()).hexdigest(),
        stacks=tuple(StackMark.of(path.resolve()) for path in table.stacks),
        format_version=FORMAT_VERSION,
        preparation_version=PREPARATION_VERSION,
        package_version=importlib.metadata.version("cesped"),
    )


def read_card(files: PreparedFiles) -> PreparedCard:
    """Return the card of a finished set whose files are whole.

    Raises
    ------
    MissingFileError
        If there is no prepared set, or it is not finished.
    StaleImagesError
        If it is of another version, or its files are not what the card says.
    """
    values = _read_json(files)
    card = PreparedCard.from_dict(values, str(files.card))
    for name, recorded in values.get("files", {}).items():
        path = files.folder / name
        if not path.is_file() or path.stat().st_size != recorded["size"]:
            raise StaleImagesError(
                f"{path} is not as long as {files.card.name} says, or missing: the copy is not "
                "complete; prepare the images again"
            )
    return card


def recorded_files(files: PreparedFiles) -> dict[str, dict[str, Any]]:
    """Return size and SHA-256 of each file of a finished set, by name."""
    recorded: dict[str, dict[str, Any]] = _read_json(files)["files"]
    return recorded


def _read_json(files: PreparedFiles) -> dict[str, Any]:
    try:
        values = json.loads(files.card.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        unfinished = files.partial_images.exists() or files.images.exists()
        reason = "they are not finished: prepare them again" if unfinished else "prepare them first"
        raise MissingFileError(
            f"there are no prepared images {files.name} in {files.folder}; {reason}"
        ) from error
    except ValueError as error:
        raise StaleImagesError(
            f"{files.card} is no JSON ({error}): prepare the images again"
        ) from (error)
    if not isinstance(values, dict) or not isinstance(values.get("files", {}), dict):
        raise StaleImagesError(f"{files.card} is no card of prepared images: prepare them again")
    return values


def options_to_dict(options: PreprocessingOptions) -> dict[str, Any]:
    """Return preprocessing options as plain values."""
    values = dataclasses.asdict(options)
    return {name: str(value) if name in _ENUMS else value for name, value in values.items()}


def options_from_dict(values: dict[str, Any]) -> PreprocessingOptions:
    """Return the options that `options_to_dict` wrote down, by this version or an older one.

    Raises
    ------
    OptionError
        If a value is none of its choices.
    """
    known = {field.name for field in dataclasses.fields(PreprocessingOptions)}
    parsed = {name: values[name] for name in known & values.keys()}
    return PreprocessingOptions(
        **{name: _ENUMS[name].parse(v) if name in _ENUMS else v for name, v in parsed.items()}
    )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
