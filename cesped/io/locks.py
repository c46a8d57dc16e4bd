"""One process at a time: a lock that lasts as long as the process that holds it."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..progress import SILENT, Progress

_MODE = 0o666  # less the umask, as any file a user makes
_POLL_S = 0.2


@contextlib.contextmanager
def exclusive_lock(
    path: str | os.PathLike[str],
    progress: Progress = SILENT,
    what: str | None = None,
    bytes_done: Callable[[], int] | None = None,
) -> Iterator[None]:
    """Hold the lock file `path` for the block, after waiting for whoever holds it now.

    The lock dies with its process, however that ends, so nothing has to be tidied up. The file is
    removed after the block. On a disk that knows no locks the block is entered at once.

    Parameters
    ----------
    path : lock file, in a folder that exists
    progress : told that another process is being waited for
    what : is being done while the lock is held, for those who wait; the file's name when None
    bytes_done : how far the holder is, as whoever waits can see it on the disk

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
    name = path.name.strip(".").removesuffix(".lock")
    title = f"Waiting: another process is {what or f'at work on {name}'}"
    descriptor = _acquire(path, lambda held: _wait(held, title, progress, bytes_done))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: whoever waited sees that it is gone
        os.close(descriptor)


def _acquire(path: Path, wait: Callable[[int], None]) -> int:
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, _MODE)
        try:
            if not _lock_now(descriptor):
                wait(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)  # the holder removed it: the next one makes a new file


def _lock_now(descriptor: int) -> bool:
    """Return False if somebody else holds the lock; a disk without locks counts as locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # no locks here
    return True


def _wait(
    descriptor: int, title: str, progress: Progress, bytes_done: Callable[[], int] | None
) -> None:
    if bytes_done is None:
        with progress.task(title, None):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    before = bytes_done()
    with progress.task(title, None, in_bytes=True, done=before) as advance:
        while not _lock_now(descriptor):
            time.sleep(_POLL_S)
            now = bytes_done()
            advance(now - before)
            before = now


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
