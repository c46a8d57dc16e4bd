"""The one way this package writes files: whole or not at all."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import DiskFullError, UnwritableError
from .leftovers import new_locked_file, new_locked_folder, remove

#: Error numbers of a disk or quota that is exhausted.
FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_LONGEST_NAME = 80  # bytes of a name that go into the temporary one, which may be longer
_LONGEST_SUFFIX = 16
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"PK\x03\x04": "zip"}


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path` that becomes `path` when the block ends well.

    The file is flushed to the disk before it is renamed, so a reader meets the old content or
    the new one. If the block raises, the temporary file is removed and `path` is untouched. What a
    killed process left of the same file is removed first.

    Parameters
    ----------
    path : file to write; its folder is made if it is missing

    Raises
    ------
    DiskFullError
        If the disk or the quota is exhausted.
    UnwritableError
        If no file can be written there, for another reason.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_path(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> (folder / "a.txt").read_text()
    'whole'
    """
    target = Path(os.path.realpath(path))  # a link stays a link, what it points to is replaced
    temporary: Path | None = None
    with full_disk_named(target):
        try:
            with _refusal_named(target):
                check_writable(target)
                target.parent.mkdir(parents=True, exist_ok=True)
                temporary, descriptor = new_locked_file(target.parent, *_parts_of_name(target))
            yield temporary
            _flush_to_disk(temporary)
            with _refusal_named(target):
                temporary.replace(target)
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
                os.close(descriptor)


@contextlib.contextmanager
def staging_folder(parent: str | os.PathLike[str], purpose: str) -> Iterator[Path]:
    """Yield a hidden new folder in `parent` to prepare files in, and remove it in the end.

    Files that are to stay are moved out of it, or the folder itself is renamed. Folders that
    killed processes left there for the same purpose are removed first.

    Parameters
    ----------
    parent : folder on the disk where the files will stay; it is made if it is missing
    purpose : a word for the folder's name

    Raises
    ------
    DiskFullError
        If the disk or the quota is exhausted, in the block too.
    UnwritableError
        If the folder cannot be made.
    """
    folder = Path(parent)
    staging: Path | None = None
    with full_disk_named(folder):
        try:
            with _refusal_named(folder):
                _check_folder(folder, f"nothing can be written to {folder}")
                folder.mkdir(parents=True, exist_ok=True)
                staging, descriptor = new_locked_folder(folder, purpose)
            yield staging
        finally:
            if staging is not None:
                remove(staging)
                os.close(descriptor)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise unless `path` can be written as a file: to be asked before long work, not after.

    Raises
    ------
    UnwritableError
        If it is a folder or a device, or lies below a file, or in a folder that may not be
        written to.
    """
    target = Path(path)
    if target.is_dir():
        raise UnwritableError(errno.EISDIR, f"{target} is a folder; name a file to write")
    if target.exists() and not target.is_file():  # root could replace /dev/null by a file
        raise UnwritableError(errno.EEXIST, f"{target} is a device or the like; name a file")
    _check_folder(target.parent, f"{target} cannot be written")


def _check_folder(folder: Path, complaint: str) -> None:
    """Raise `complaint` unless files can be made in `folder`, which need not exist."""
    absolute = folder.absolute()
    existing = next(path for path in (absolute, *absolute.parents) if path.exists())
    if not existing.is_dir():
        raise UnwritableError(
            errno.ENOTDIR, f"{complaint}: {existing} is a file; name another folder"
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UnwritableError(
            errno.EACCES,
            f"{complaint}: folder {existing} is closed to you or read-only; name another folder",
        )


def write_text_atomic(path: str | os.PathLike[str], text: str) -> Path:
    """Write `text` as UTF-8 to `path`, whole or not at all, and return the path.

    Raises
    ------
    DiskFullError
        If the disk or the quota is exhausted.
    """
    return write_bytes_atomic(path, text.encode("utf-8"))


def write_bytes_atomic(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write `content` to `path`, whole or not at all, and return the path.

    Raises
    ------
    DiskFullError
        If the disk or the quota is exhausted.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return Path(path)


def compression_of(start: bytes) -> str | None:
    """Return the name of the compression that a file's first bytes are of, if any."""
    return next((name for magic, name in _PACKED.items() if start.startswith(magic)), None)


def _parts_of_name(target: Path) -> tuple[str, str]:
    """Return how a temporary name begins and ends."""
    stem = target.stem.encode("utf-8", "surrogateescape")[:_LONGEST_NAME].decode("utf-8", "ignore")
    # The suffix is kept: programs such as RELION judge a file by it.
    return stem, target.suffix if len(target.suffix) <= _LONGEST_SUFFIX else ""


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


@contextlib.contextmanager
def full_disk_named(
    target: Path,
    advice: str = "nothing was left behind: free some space there, or write to another folder",
) -> Iterator[None]:
    """Name the file and what to do where a disk or quota is exhausted in the block.

    Parameters
    ----------
    target : what is written
    advice : what is left, and what to do

    Raises
    ------
    DiskFullError
        In place of a bare "no space left".
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL_DISK or isinstance(error, DiskFullError):
            raise
        raise DiskFullError(
            error.errno, f"{os.strerror(error.errno)} while writing {target}; {advice}"
        ) from error


@contextlib.contextmanager
def _refusal_named(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL_DISK or isinstance(error, UnwritableError):
            raise
        raise UnwritableError(
            error.errno, f"{target} cannot be written: {error.strerror}; name another place"
        ) from error
