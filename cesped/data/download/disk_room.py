"""Whether what is to be fetched has room, asked before rather than found out after hours."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Sequence

from cesped.data.download.assembly import Assembly
from cesped.data.download.transfer import local_chunk
from cesped.errors import DiskFullError
from cesped.progress_bars import format_bytes


def check_room(assemblies: Sequence[Assembly]) -> None:
    """Check that the disk has room for what is missing of some files in one folder.

    Chunks that were copied there by hand are removed as they are joined: beside the file, only the
    largest of them needs room.

    Raises
    ------
    DiskFullError
        If there is not enough; says how much is missing.
    """
    if not assemblies:
        return
    folder = assemblies[0].final.parent
    needed = sum(assembly.size_bytes - assembly.bytes_here for assembly in assemblies)
    chunks = [
        path.stat().st_size
        for assembly in assemblies
        for piece in assembly.pieces
        if (path := local_chunk(folder, piece, assembly.final)) is not None
    ]
    needed -= sum(chunks) - max(chunks, default=0)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFullError(
            errno.ENOSPC,
            f"{format_bytes(needed)} are to be written to {folder}, where {format_bytes(free)} are "
            f"free: free {format_bytes(needed - free)} more, or name another folder with "
            "--benchmarkDir",
        )
