"""The folder of a submission: which files it may hold, and how new ones are made.

A folder may come from anybody. Nothing outside of it is ever read through it, no link is followed,
and nothing in it is run or unpickled.
"""

import os
import re
import shutil
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..data.store import check_target_name
from ..errors import EntryExistsError, MissingFileError, SubmissionError
from ..evaluation.outputs import read_metrics
from ..evaluation.stamps import sha256_of_file
from ..io.files import atomic_path
from ..vocabulary import PredictionType, Track
from .manifest import (
    MANIFEST_NAME,
    TO_FILL_IN,
    EntrySubmission,
    Manifest,
    Method,
    Training,
    read_manifest,
    write_manifest,
)
from .particle_errors import errors_name, write_errors
from .plain_text import plain

PREDICTIONS_DIR, RESULTS_DIR, RESCORED_DIR = "predictions", "results", "rescored"

#: Suffixes of files that a submission may hold, and the most bytes of one.
ALLOWED_BYTES = {
    ".toml": 1 << 20,
    ".md": 1 << 20,
    ".txt": 256 << 20,  # ids of training particles
    ".json": 64 << 20,
    ".csv": 512 << 20,
    ".star": 512 << 20,  # the largest entry has 70 MB a half
}
MAX_FILES = 1000
_UNSAFE_NAME = re.compile(r"[^A-Za-z0-9._+ /-]")
#: Reasons for the suffixes that are met most.
_WHY_NOT = {
    **dict.fromkeys(
        (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".npy", ".npz", ".joblib"),
        "it may run a program when it is read; publish models elsewhere and name them in `code`",
    ),
    **dict.fromkeys(
        (".html", ".htm", ".svg", ".js"),
        "a page may run a program when it is opened; reports are made anew by `submit score`",
    ),
    **dict.fromkeys(
        (".mrc", ".mrcs", ".map"), "maps are reconstructed anew from the predictions; leave it out"
    ),
    **dict.fromkeys((".gz", ".zip", ".tar", ".xz", ".bz2"), "unpack it"),
}


def inside(folder: Path, name: str) -> Path:
    """Return the file `name` of a submission, if it is a plain file of it.

    Raises
    ------
    SubmissionError
        If the name leads out of the folder, through a link, to what is no plain file, or to one
        of a kind or size that a submission may not hold.
    MissingFileError
        If there is no such file.
    """
    parts = name.split("/")
    if name.startswith("/") or _UNSAFE_NAME.search(name) or {"", ".", ".."} & set(parts):
        raise SubmissionError(
            f"{plain(name)!r} is no name of a file in the submission: use a relative path of "
            "letters, digits, '.', '_', '+' and '-', without '..'"
        )
    path = folder
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise SubmissionError(f"{plain(name)} is or passes a symbolic link; put the file there")
    try:
        status = path.lstat()
    except OSError as error:
        raise MissingFileError(f"{plain(name)} is not in the submission {folder}") from error
    complaint = _complaint_about(path, status)
    if complaint:
        raise SubmissionError(f"{plain(name)}: {complaint}")
    return path


def complaints_about_files(folder: Path) -> list[str]:
    """Return what is wrong with the files of a submission, before any of them is opened."""
    found: list[str] = []
    for count, path in enumerate(_walk(folder), 1):
        if count > MAX_FILES:
            what = "files and folders"
            found.append(f"there are more than {MAX_FILES} {what}; leave out what nobody needs")
            break
        status = path.lstat()
        complaint = None if stat.S_ISDIR(status.st_mode) else _complaint_about(path, status)
        if complaint:
            name = path.relative_to(folder).as_posix()
            found.append(f"{plain(name)}: {complaint}")
    return found


def _walk(folder: Path) -> Iterator[Path]:
    """Yield everything below `folder`, folders too; links are yielded and not followed."""
    for parent, folders, files in os.walk(folder, followlinks=False):
        here = Path(parent)
        yield from (here / name for name in sorted(files))
        yield from (here / name for name in sorted(folders))


def _complaint_about(path: Path, status: os.stat_result) -> str | None:
    if stat.S_ISLNK(status.st_mode):
        return "it is a symbolic link; put the file itself there"
    if not stat.S_ISREG(status.st_mode):
        return "it is no plain file"
    suffix = path.suffix.lower()
    if suffix not in ALLOWED_BYTES:
        allowed = ", ".join(ALLOWED_BYTES)
        return _WHY_NOT.get(suffix, f"a submission holds files of {allowed} only; leave it out")
    if status.st_size > ALLOWED_BYTES[suffix]:
        return (
            f"it has {status.st_size:,} bytes; the most of a {suffix} file are "
            f"{ALLOWED_BYTES[suffix]:,}"
        )
    return None


def unwritten_manifest() -> Manifest:
    """Return a manifest without entries, whose texts only the author knows."""
    return Manifest(
        track=Track.SUPERVISED,
        prediction_type=PredictionType.SO3,
        method=Method(name=TO_FILL_IN, description=TO_FILL_IN),
        training=Training(data=TO_FILL_IN, hardware=TO_FILL_IN),
        entries=(),
    )


def add_predictions(
    folder: str | os.PathLike[str],
    manifest: Manifest,
    entry: EntrySubmission,
    stars: tuple[str | os.PathLike[str], str | os.PathLike[str]],
    result: str | os.PathLike[str] | None = None,
    *,
    replace_entry: bool = False,
    copy_stars: bool = True,
) -> Path:
    """Copy the predictions of one entry, and their score, into a submission.

    Parameters
    ----------
    folder : of the submission; made if it is missing
    manifest : what it says of itself, without this entry
    entry : what is known of the predictions; files and checksums are filled in here
    stars : predictions of half 0 and of half 1, copied as they are
    result : their metrics.json; the errors of particles beside it are copied too
    replace_entry : allow to replace an entry that the submission has already
    copy_stars : False to name the star files by their checksums alone

    Returns
    -------
    The manifest.

    Raises
    ------
    EntryExistsError
        If the submission has the entry, and it may not be replaced.
    MissingFileError, MetadataError
        If a star file or the score is not there, or is no score.
    DiskFullError
        If the disk is full.
    """
    target = Path(folder)
    name = check_target_name(entry.name)
    if not replace_entry and any(known.name == name for known in manifest.entries):
        raise EntryExistsError(f"{target} has predictions of {name} already; allow replacing them")
    files = (f"{PREDICTIONS_DIR}/{name}_half0.star", f"{PREDICTIONS_DIR}/{name}_half1.star")
    sums = (sha256_of_file(stars[0]), sha256_of_file(stars[1]))
    if copy_stars:
        for star, file in zip(stars, files, strict=True):
            _copy(Path(star), target / file)
    result_name = entry.result
    if result is not None:
        read_metrics(result)
        result_name = f"{RESULTS_DIR}/{name}.json"
        _copy(Path(result), target / result_name)
        write_errors(result, target / errors_name(result_name))
    predictions = files if copy_stars else None
    full = replace(entry, predictions=predictions, checksums=sums, result=result_name)
    return write_manifest(target, manifest.with_entry(full))


def open_or_new(folder: str | os.PathLike[str]) -> Manifest:
    """Return the manifest of a submission; an unwritten one if the folder has none yet."""
    if (Path(folder) / MANIFEST_NAME).exists():
        return read_manifest(folder)
    return unwritten_manifest()


def _copy(source: Path, target: Path) -> None:
    """Copy a file whole or not at all."""
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
