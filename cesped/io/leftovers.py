"""Temporary files and folders that are locked by their maker, and removed once it is gone.

A killed process cannot tidy up. Its lock dies with it, so whoever next makes something of the
same name and on the same machine sees what was abandoned, and removes it.
"""

import contextlib
import fcntl
import glob
import hashlib
import os
import platform
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

_NEW_FILE_MODE = 0o666  # less the umask, as any file a user makes


def new_locked_file(folder: Path, name: str, suffix: str) -> tuple[Path, int]:
    """Make a hidden empty file in `folder`, and remove those of its name that were abandoned.

    Parameters
    ----------
    folder : where; it must exist
    name, suffix : how the file's name begins (after the dot that hides it) and ends

    Returns
    -------
    path, descriptor : closing the descriptor unlocks the file

    Raises
    ------
    OSError
        If it cannot be made.
    """
    return _new_locked(folder, name, suffix, _make_file)


def new_locked_folder(folder: Path, name: str) -> tuple[Path, int]:
    """Make a hidden folder in `folder`; as `new_locked_file`."""
    return _new_locked(folder, name, "", _make_folder)


def _new_locked(
    folder: Path, name: str, suffix: str, make: Callable[[Path], int]
) -> tuple[Path, int]:
    # Locks of other machines are not seen on every network disk: their files are left alone.
    machine = hashlib.blake2b(platform.node().encode(), digest_size=4).hexdigest()
    start = f".{name}.{machine}-"
    _remove_abandoned(folder, start, suffix)
    while True:
        path = folder / f"{start}{secrets.token_hex(8)}{suffix}"
        descriptor = make(path)
        with contextlib.suppress(OSError):  # a disk without locks: nothing is ever removed there
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if path.exists():
            return path, descriptor
        os.close(descriptor)  # taken for abandoned in the moment before it was locked


def _make_file(path: Path) -> int:
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _NEW_FILE_MODE)


def _make_folder(path: Path) -> int:
    path.mkdir()
    return os.open(path, os.O_RDONLY)


def _remove_abandoned(folder: Path, start: str, suffix: str) -> None:
    for path in folder.glob(f"{glob.escape(start)}*{glob.escape(suffix)}"):
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(path)
        except OSError:
            continue  # in use, or a disk without locks
        finally:
            os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it; nothing happens if it is gone."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
