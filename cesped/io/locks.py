"""One process at a time: a lock that lasts as long as the process that holds it."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from ..progress import SILENT, Progress

_MODE = 0o666  # less the umask, as any file a user makes


@contextlib.contextmanager
def exclusive_lock(path: str | os.PathLike[str], progress: Progress = SILENT) -> Iterator[None]:
    """Hold the lock file `path` for the block, after waiting for whoever holds it now.

    The lock dies with its process, however that ends, so nothing has to be tidied up. The file is
    removed after the block. On a disk that knows no locks the block is entered at once.

    Parameters
    ----------
    path : lock file, in a folder that exists
    progress : told that another process is being waited for

    Raises
    ------
    OSError
        If the file cannot be made.

    Examples
    --------
    >>> import tempfile
    >>> lock = Path(tempfile.mkdtemp()) / "job.lock"
    >>> with exclusive_lock(lock):
    ...     lock.exists()
    True
    >>> lock.exists()
    False
    """
    path = Path(path)
    descriptor = _acquire(path, progress)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: whoever waited sees that it is gone
        os.close(descriptor)


def _acquire(path: Path, progress: Progress) -> int:
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, _MODE)
        try:
            _lock(descriptor, path, progress)
        except BaseException:
            os.close(descriptor)
            raise
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)  # the holder removed it: the next one makes a new file


def _lock(descriptor: int, path: Path, progress: Progress) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        name = path.name.strip(".").removesuffix(".lock")
        with progress.task(f"Waiting for another process at work on {name}", None):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        return  # no locks here


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
