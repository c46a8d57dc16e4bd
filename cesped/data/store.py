"""The folder of benchmark entries: listing, finding and adding them.

An entry is a folder of the benchmark directory. Each of its two halves has a star file
`particles_{0,1}.star` and `info_{0,1}.json` (its symmetry, and where its image names start
from); images may lie beside them, and `mask.mrc` is shared by both halves.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from cesped.data.conventions import read_particle_table, write_as_read
from cesped.data.entry_checks import (
    EntryHalf,
    check_every_image,
    check_halves,
    check_mask,
    image_batches,
)
from cesped.data.images import ImageSource
from cesped.data.registry import HALFSETS, nearest_names
from cesped.data.table import ParticleTable
from cesped.errors import (
    EntryExistsError,
    EntryNotFoundError,
    MetadataError,
    OptionError,
    SymmetryError,
)
from cesped.geometry.symmetry import point_group
from cesped.io.files import staging_folder, write_bytes_atomic, write_text_atomic
from cesped.io.stack import StackWriter
from cesped.progress import SILENT, Progress
from cesped.vocabulary import BENCHMARK_DIR_VARIABLE

__all__ = [
    "HALFSETS",
    "EntryHalf",
    "EntryStore",
    "check_halfset",
    "check_target_name",
    "default_benchmark_dir",
]

MASK_NAME = "mask.mrc"
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")


def default_benchmark_dir(explicit: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of entries: `explicit`, else CESPED_BENCHMARK_DIR, else the user's.

    The user's is `cesped` in XDG_DATA_HOME, or in ~/.local/share. Nothing is made.
    """
    if explicit is not None:
        return Path(explicit).expanduser()
    from_environment = os.environ.get(BENCHMARK_DIR_VARIABLE)
    if from_environment:
        return Path(from_environment).expanduser()
    data_home = os.environ.get("XDG_DATA_HOME")
    return (Path(data_home) if data_home else Path.home() / ".local" / "share") / "cesped"


def check_target_name(target: str | os.PathLike[str]) -> str:
    """Return `target` as text if it can name an entry, which is a folder.

    Raises
    ------
    OptionError
        If it holds other characters than letters, digits, dot, plus, dash and underscore.
    """
    name = str(target)
    if not _SAFE_NAME.fullmatch(name):
        raise OptionError(
            f"{name!r} cannot name an entry; use letters, digits, '.', '_', '+' and '-', "
            "beginning with a letter or a digit"
        )
    return name


def check_halfset(halfset: int | str) -> int:
    """Return `halfset` as 0 or 1.

    Raises
    ------
    OptionError
        If it is neither.
    """
    if str(halfset) not in ("0", "1"):
        raise OptionError(f"halfset is {halfset!r}; an entry has two halves, use 0 or 1")
    return int(halfset)


class EntryStore:
    """The entries below `benchmark_dir` (see `default_benchmark_dir` when None)."""

    def __init__(self, benchmark_dir: str | os.PathLike[str] | None = None):
        self.benchmark_dir = default_benchmark_dir(benchmark_dir)

    def entry_dir(self, target: str | os.PathLike[str]) -> Path:
        """Return the folder of an entry, whether or not it exists."""
        return self.benchmark_dir / check_target_name(target)

    def list(self) -> list[tuple[str, int]]:
        """Return the `(target, halfset)` that are here, sorted; empty if the folder is missing."""
        if not self.benchmark_dir.is_dir():
            return []
        return [
            (folder.name, halfset)
            for folder in sorted(self.benchmark_dir.iterdir())
            if folder.is_dir() and _SAFE_NAME.fullmatch(folder.name)
            for halfset in HALFSETS
            if star_path(folder, halfset).is_file() and info_path(folder, halfset).is_file()
        ]

    def locate(self, target: str | os.PathLike[str], halfset: int | str) -> EntryHalf:
        """Return where one half of an entry is.

        Raises
        ------
        EntryNotFoundError
            If it is not here; says what is.
        OptionError, SymmetryError, MetadataError
            If name or half are none, or its info file is broken.
        """
        folder, half = self.entry_dir(target), check_halfset(halfset)
        star, info_file = star_path(folder, half), info_path(folder, half)
        if not (star.is_file() and info_file.is_file()):
            raise self._not_found(folder.name, half)
        info = _read_info(info_file)
        mask_path = folder / MASK_NAME
        return EntryHalf(
            target=folder.name,
            halfset=half,
            star_path=star,
            # `/` keeps an absolute root; relative ones move along with the entry
            root_dir=folder / str(info.get("root_dir", ".")),
            symmetry=_symmetry_of(info, info_file),
            mask_path=mask_path if mask_path.is_file() else None,
        )

    def add(
        self,
        star: str | os.PathLike[str],
        root: str | os.PathLike[str] | None,
        name: str | os.PathLike[str],
        halfset: int | str,
        symmetry: str,
        mask: str | os.PathLike[str] | None = None,
        *,
        copy_images: bool = False,
        force: bool = False,
        progress: Progress = SILENT,
    ) -> EntryHalf:
        """Make the particles of a star file one half of an entry of one's own.

        All is checked before anything is written: angles, optics, every image, the symmetry, and
        that both halves of the entry belong together. The star file is copied with its image
        names, which are the particle ids, unchanged; the images stay where they are.

        Parameters
        ----------
        star : star file with poses
        root : folder that its image names start from; its own folder when None
        name : name of the entry
        halfset : 0 or 1
        symmetry : point group, as RELION names it
        mask : mask of the entry, copied to mask.mrc
        copy_images : copy the images into the entry too, as one stack `particles_{half}.mrcs`;
            then the ids become `000001@particles_{half}.mrcs` and so on
        force : replace a half that is already there
        progress : told of every particle

        Raises
        ------
        EntryExistsError
            If that half exists and `force` is not set.
        OptionError, SymmetryError
            If name, half or symmetry are none.
        StarFileError, MetadataError, MissingImageError, MrcFileError, PixelSizeError,
        ImageValueError, IdMismatchError
            If particles, images or mask are faulty, or at odds with the other half.
        DiskFullError
            If the disk is full; nothing half-written is left.
        """
        folder, half = self.entry_dir(name), check_halfset(halfset)
        group = point_group(symmetry).name
        if info_path(folder, half).exists() and not force:
            raise EntryExistsError(
                f"half {half} of entry {folder.name} exists in {folder}; choose another name, or "
                "replace it with --force (force=True)"
            )
        table = read_particle_table(star, root)
        table.check_ids_unique()
        if info_path(folder, 1 - half).is_file():
            check_halves(table, group, self.locate(folder.name, 1 - half))
        if mask is not None:
            check_mask(Path(mask), table)
        check_every_image(table, progress)
        star_dir = Path(star).resolve().parent
        self._write(folder, half, table, group, mask, _root_of(table, root, star_dir), copy_images)
        return self.locate(folder.name, half)

    def _write(
        self,
        folder: Path,
        half: int,
        table: ParticleTable,
        symmetry: str,
        mask: str | os.PathLike[str] | None,
        root: Path | None,
        copy_images: bool,
    ) -> None:
        """Stage the files of one half beside the entry, then move them in, info file last."""
        is_new = not folder.exists()
        with staging_folder(self.benchmark_dir, "adding") as staging:
            stack_name = _copy_stack(table, staging, half) if copy_images else None
            names = _new_names(table, root, stack_name)
            write_as_read(star_path(staging, half), table, names)
            info = {
                "symmetry": symmetry,
                "root_dir": "." if copy_images or root is None else str(root),
                "n_particles": len(table),
                "image_size": table.image_size,
                "pixel_size_angst": table.sampling_rate,
            }
            write_text_atomic(info_path(staging, half), json.dumps(info, indent=2) + "\n")
            if mask is not None:
                write_bytes_atomic(staging / MASK_NAME, Path(mask).read_bytes())
            try:
                folder.mkdir(exist_ok=True)
                info_path(folder, half).unlink(missing_ok=True)
                for path in sorted(staging.iterdir(), key=lambda path: path.suffix == ".json"):
                    path.replace(folder / path.name)
            except BaseException:
                if is_new and folder.is_dir() and not info_path(folder, half).exists():
                    shutil.rmtree(folder)
                raise

    def _not_found(self, target: str, halfset: int) -> EntryNotFoundError:
        entries = self.list()
        here = ", ".join(f"{name} half {half}" for name, half in entries) or "none"
        nearest = nearest_names(target, [name for name, _ in entries])
        meant = f"did you mean {' or '.join(nearest)}? Else " if nearest[:1] != [target] else ""
        return EntryNotFoundError(
            f"half {halfset} of entry {target} is not in {self.benchmark_dir} (entries there: "
            f"{here}); {meant if nearest else ''}add it with `cesped add`, or name another folder "
            f"with --benchmarkDir or {BENCHMARK_DIR_VARIABLE}"
        )


def star_path(folder: Path, halfset: int) -> Path:
    """Return the star file of half the entry in `folder`."""
    return folder / f"particles_{halfset}.star"


def info_path(folder: Path, halfset: int) -> Path:
    """Return the file that states the symmetry of half the entry in `folder`."""
    return folder / f"info_{halfset}.json"


def added_by_hand(folder: Path, halfset: int) -> bool:
    """Return whether half an entry was made by `EntryStore.add`, and not by its publishers."""
    try:
        return "root_dir" in _read_info(info_path(folder, halfset))
    except (OSError, MetadataError):
        return False


def _read_info(path: Path) -> dict[str, Any]:
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise MetadataError(f"{path} is no JSON ({error}); add the entry again") from error
    if not isinstance(info, dict) or "symmetry" not in info:
        raise MetadataError(f'{path} states no symmetry; write {{"symmetry": "C1"}} or add again')
    return info


def _symmetry_of(info: dict[str, Any], path: Path) -> str:
    try:
        return point_group(str(info["symmetry"])).name
    except SymmetryError as error:
        raise SymmetryError(f"{path}: {error}") from error


def _root_of(
    table: ParticleTable, root: str | os.PathLike[str] | None, star_dir: Path
) -> Path | None:
    """Return the one folder from which all image names resolve; None if there is none."""
    names = dict.fromkeys(str(name).partition("@")[2].strip() for name in table.ids)
    wanted = [path.resolve() for path in table.stacks]
    given = star_dir if root is None else Path(root).expanduser().resolve()
    for folder in (given, star_dir):
        if [(folder / name).resolve() for name in names] == wanted:
            return folder
    return None


def _new_names(table: ParticleTable, root: Path | None, stack_name: str | None) -> list[str] | None:
    """Return image names that resolve from the entry; None where those of the file do."""
    if stack_name is not None:
        return [f"{row:06d}@{stack_name}" for row in range(1, len(table) + 1)]
    if root is not None:
        return None
    # some stacks lie below the root, others beside the star file
    paths = [str(stack.resolve()) for stack in table.stacks]
    numbers = zip(table.stack_index, table.section, strict=True)
    return [f"{section + 1:06d}@{paths[stack]}" for stack, section in numbers]


def _copy_stack(table: ParticleTable, folder: Path, halfset: int) -> str:
    name = f"particles_{halfset}.mrcs"
    source = ImageSource(table)
    with StackWriter(folder / name, len(table), table.image_size, table.sampling_rate) as writer:
        for rows in image_batches(len(table)):
            writer.append(source.read(rows))
    return name
