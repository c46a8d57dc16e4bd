"""The one way this package writes files: whole or not at all."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from ..errors import DiskFullError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NEW_FILE_MODE = 0o666  # less the umask, as any file a user makes


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path` that becomes `path` when the block ends well.

    The file is flushed to the disk before it is renamed, so a reader meets the old content or
    the new one. If the block raises, the temporary file is removed and `path` is untouched.

    Parameters
    ----------
    path : file to write; its folder is made if it is missing

    Raises
    ------
    DiskFullError
        If the disk or the quota is exhausted.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_path(folder / "a.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> (folder / "a.txt").read_text()
    'whole'
    """
    target = Path(path)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = _new_file_beside(target)
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(target)
    except OSError as error:
        if error.errno in _FULL and not isinstance(error, DiskFullError):
            raise _disk_full(target, error) from error
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


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


def _new_file_beside(target: Path) -> Path:
    # The suffix is kept: programs such as RELION judge a file by it.
    unique = f".{target.stem[:80]}.{secrets.token_hex(8)}{target.suffix}"
    temporary = target.with_name(unique)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _NEW_FILE_MODE))
    return temporary


def _flush_to_disk(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _disk_full(target: Path, error: OSError) -> DiskFullError:
    reason = os.strerror(error.errno or errno.ENOSPC)
    return DiskFullError(
        error.errno,
        f"{reason} while writing {target}; nothing was left behind: free some space there, or "
        "write to another folder",
    )
