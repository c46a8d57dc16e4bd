"""Checking an entry whose files are here, however they came: `cesped verify`.

Nothing is fetched but the list of checksums, and that only if it was not kept from an earlier
look-up. What cannot be checked is said.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from cesped.data.conventions import read_particle_table
from cesped.data.download.assembly import Assembly, new_digest, partial_path
from cesped.data.download.entry_files import HalfPaths
from cesped.data.download.half_check import check_half, differences_from_registry
from cesped.data.download.joining import chunks_by_hand, join_chunks
from cesped.data.download.known_files import (
    ask_half_files,
    ask_mask,
    kept_half_files,
    kept_mask,
)
from cesped.data.download.record import HalfFiles, RemoteFile
from cesped.data.download.retries import Patience
from cesped.data.download.transfer import LONG_CHECK_BYTES
from cesped.data.entry_checks import check_every_image, check_halves
from cesped.data.registry import HALFSETS, BenchmarkEntry, published_entries
from cesped.data.store import EntryStore
from cesped.errors import CespedError, DownloadError, RecordError
from cesped.io.mrc import inspect_mrc
from cesped.progress import SILENT, Advance, Progress
from cesped.progress_bars import format_bytes

_NOT_JOINED = "its chunks are not joined yet; --join does that"


class Finding(StrEnum):
    """What a check came to."""

    RIGHT = "right"
    WRONG = "WRONG"
    MISSING = "MISSING"
    UNCHECKED = "not checked"
    NOTE = "note"


@dataclass
class Verification:
    """What was found out about one half of an entry, or about its mask.

    Parameters
    ----------
    title : what was checked
    findings : what each check came to, and what it was about
    """

    title: str
    findings: list[tuple[Finding, str]] = field(default_factory=list)

    def note(self, finding: Finding, about: str) -> None:
        """Add what one check came to."""
        self.findings.append((finding, about))

    def has(self, *wanted: Finding) -> bool:
        """Return whether any check came to one of `wanted`."""
        return any(finding in wanted for finding, _ in self.findings)

    @property
    def is_wrong(self) -> bool:
        """Whether something is missing or wrong."""
        return self.has(Finding.WRONG, Finding.MISSING)

    @property
    def is_right(self) -> bool:
        """Whether everything was checked, and is right."""
        return not self.has(Finding.WRONG, Finding.MISSING, Finding.UNCHECKED)


def verify_entry(
    store: EntryStore,
    target: str,
    halfsets: tuple[int, ...] = HALFSETS,
    progress: Progress = SILENT,
    patience: Patience | None = None,
    *,
    join: bool = False,
) -> Iterator[Verification]:
    """Yield what is found out about each half of an entry, and about its mask.

    A published half whose every file is right is marked as complete, as a download does.

    Parameters
    ----------
    store : the folder of entries
    target : name of the entry
    halfsets : halves to check
    progress : told of bytes and images
    patience : with the server that is asked for checksums
    join : join chunks that lie there, which are removed then

    Raises
    ------
    EntryNotFoundError
        If it is neither published nor here.
    OptionError
        If it cannot be a name.
    DiskFullError, UnwritableError
        If the mark cannot be written.
    """
    folder = store.entry_dir(target)
    entry = published_entries().get(folder.name)
    for halfset in halfsets:
        if entry is None:
            yield _verify_own(store, folder.name, halfset, progress)
        else:
            yield _verify_published(store, entry, halfset, progress, patience or Patience(), join)
    if entry is not None:
        yield _verify_mask(store, entry, progress, patience or Patience())


def _verify_own(store: EntryStore, target: str, halfset: int, progress: Progress) -> Verification:
    """Check an entry that has no record: every image is read."""
    half = store.locate(target, halfset)
    report = Verification(f"{target} half {halfset}")
    try:
        table = read_particle_table(half.star_path, half.root_dir)
        table.check_ids_unique()
        check_every_image(table, progress)
        report.note(Finding.RIGHT, f"{len(table):,} images of {table.image_size} px can be read")
        if (target, 1 - halfset) in store.list():
            check_halves(table, half.symmetry, store.locate(target, 1 - halfset))
            report.note(Finding.RIGHT, "belongs to the other half, and shares no image with it")
    except CespedError as error:
        report.note(Finding.WRONG, str(error))
    report.note(Finding.UNCHECKED, "checksums: it is no published entry, so there are none")
    return report


def _verify_published(
    store: EntryStore,
    entry: BenchmarkEntry,
    halfset: int,
    progress: Progress,
    patience: Patience,
    join: bool,
) -> Verification:
    paths = HalfPaths(entry, halfset, store.benchmark_dir)
    report = Verification(f"{entry.name} half {halfset}")
    files = _published_files(report, entry, paths, progress, patience)
    if join and not paths.stack.exists() and chunks_by_hand(paths):
        try:
            join_chunks(paths, files, progress)
        except CespedError as error:
            report.note(Finding.WRONG, str(error))
    if files is None:
        _note_presence(report, paths)
    else:
        _check_sums(report, paths, files, progress)
    if entry.images_of is not None:
        owner = HalfPaths(published_entries()[entry.images_of], halfset, store.benchmark_dir)
        finding = Finding.RIGHT if owner.is_complete else Finding.UNCHECKED
        if not paths.stack.is_file():
            finding = Finding.MISSING
        report.note(finding, f"{paths.stack.name}: the images of {entry.images_of}, see there")
    if paths.has_files:
        _check_structure(report, store, entry, halfset)
    if report.is_right:
        paths.mark_complete()
    elif report.is_wrong:
        paths.marker.unlink(missing_ok=True)  # the next download looks at every file again
    return report


def _published_files(
    report: Verification,
    entry: BenchmarkEntry,
    paths: HalfPaths,
    progress: Progress,
    patience: Patience,
) -> HalfFiles | None:
    """Return the files that the record lists; None, and a note, if nobody can tell."""
    try:
        return kept_half_files(entry, paths) or ask_half_files(entry, paths, patience, progress)
    except (DownloadError, RecordError) as error:
        report.note(Finding.UNCHECKED, f"checksums: {error}")
        return None


def _note_presence(report: Verification, paths: HalfPaths) -> None:
    """Say of each file whether it is there, which is all that can be said without a record."""
    for path in (paths.star, paths.info):
        _note_file(report, path)
    chunks = chunks_by_hand(paths)
    if paths.stack.is_file() or not chunks:
        _note_file(report, paths.stack)
        return
    missing = sorted(set(range(max(chunks) + 1)) - set(chunks))
    for number in missing:
        report.note(Finding.MISSING, f"chunk {number} of {paths.stack.name}")
    size = sum(path.stat().st_size for path in chunks.values())
    text = f"{len(chunks)} chunks of {paths.stack.name}, {format_bytes(size)}"
    report.note(Finding.UNCHECKED, f"{text}: {_NOT_JOINED}")


def _note_file(report: Verification, path: Path) -> None:
    if not path.is_file():
        report.note(Finding.MISSING, path.name)
    else:
        size = format_bytes(path.stat().st_size)
        report.note(Finding.UNCHECKED, f"{path.name}: {size}, checksum not known")


def _check_sums(
    report: Verification, paths: HalfPaths, files: HalfFiles, progress: Progress
) -> None:
    """Compare every file with the checksums of the record, reading each byte once."""
    for path, remote in ((paths.star, files.star), (paths.info, files.info)):
        _check_file(report, path, remote, progress)
    if not files.chunks:
        return
    loose = {piece.name: paths.folder / piece.name for piece in files.chunks}
    if paths.stack.is_file():
        _check_stack(report, paths.stack, files.chunks, progress)
    elif partial_path(paths.stack).is_file():
        here = format_bytes(partial_path(paths.stack).stat().st_size)
        report.note(Finding.MISSING, f"{paths.stack.name}: {here} fetched, not complete")
    elif not any(path.is_file() for path in loose.values()):
        report.note(Finding.MISSING, paths.stack.name)
    else:
        for piece in files.chunks:
            _check_file(report, loose[piece.name], piece, progress)
        report.note(Finding.UNCHECKED, f"{paths.stack.name}: {_NOT_JOINED}")


def _check_file(report: Verification, path: Path, remote: RemoteFile, progress: Progress) -> None:
    if not path.is_file():
        report.note(Finding.MISSING, path.name)
        return
    size = path.stat().st_size
    if remote.size_bytes is not None and size != remote.size_bytes:
        report.note(Finding.WRONG, f"{path.name}: {size} bytes instead of {remote.size_bytes}")
        return
    watcher = progress if size > LONG_CHECK_BYTES else SILENT
    with watcher.task(f"Checking {path.name}", size, in_bytes=True) as advance:
        right = _digest(path, 0, size, advance) == remote.md5
    text = f"{path.name}: {format_bytes(size)}, MD5 {'agrees' if right else 'differs'}"
    report.note(Finding.RIGHT if right else Finding.WRONG, text)


def _check_stack(
    report: Verification, stack: Path, chunks: tuple[RemoteFile, ...], progress: Progress
) -> None:
    """Check a joined stack chunk by chunk, so that a wrong one can be named."""
    size, expected = stack.stat().st_size, Assembly(stack, chunks).size_bytes
    if size != expected:
        report.note(Finding.WRONG, f"{stack.name}: {size} bytes instead of {expected}")
        return
    start, wrong = 0, []
    watcher = progress if size > LONG_CHECK_BYTES else SILENT
    with watcher.task(f"Checking {stack.name}", size, in_bytes=True) as advance:
        for chunk in chunks:
            length = chunk.size_bytes or 0
            if _digest(stack, start, length, advance) != chunk.md5:
                wrong.append(f"{chunk.name} (bytes {start} to {start + length})")
            start += length
    if wrong:
        report.note(Finding.WRONG, f"{stack.name}: the MD5 differs in {', '.join(wrong)}")
    else:
        text = f"{stack.name}: {format_bytes(size)}, MD5 of {len(chunks)} pieces agree"
        report.note(Finding.RIGHT, text)


def _digest(path: Path, start: int, count: int, advance: Advance) -> str:
    digest = new_digest()
    with path.open("rb") as stream:
        stream.seek(start)
        while count and (block := stream.read(min(1 << 20, count))):
            digest.update(block)
            count -= len(block)
            advance(len(block))
    return str(digest.hexdigest())


def _check_structure(
    report: Verification, store: EntryStore, entry: BenchmarkEntry, halfset: int
) -> None:
    """Check that star file, stack and the other half fit together; this needs no record."""
    try:
        table = check_half(entry, halfset, store)
        half = store.locate(entry.name, halfset)
        stack = inspect_mrc(table.stacks[0])
        text = f"{len(table):,} particles in {stack.n_images:,} images of {table.image_size} px"
        report.note(Finding.RIGHT, f"{text}, {table.sampling_rate:.4g} Å/px, {half.symmetry}")
        if HalfPaths(entry, 1 - halfset, store.benchmark_dir).has_files:
            check_halves(table, half.symmetry, store.locate(entry.name, 1 - halfset))
            report.note(Finding.RIGHT, "belongs to the other half, and shares no image with it")
    except CespedError as error:
        report.note(Finding.WRONG, str(error))
        return
    for difference in differences_from_registry(entry, half.symmetry, table):
        report.note(Finding.NOTE, f"differs from the paper's table: {difference}")


def _verify_mask(
    store: EntryStore, entry: BenchmarkEntry, progress: Progress, patience: Patience
) -> Verification:
    paths = HalfPaths(entry, 0, store.benchmark_dir)
    report = Verification(f"{entry.name} mask")
    if not paths.mask.is_file():
        report.note(Finding.MISSING, f"{paths.mask.name} ({entry.mask_file})")
        return report
    try:
        remote = kept_mask(entry, paths) or ask_mask(entry, paths, patience, progress)
        _check_file(report, paths.mask, remote, progress)
        if report.is_wrong:
            report.note(Finding.NOTE, "if it is not your own, remove it: a download fetches it")
    except (DownloadError, RecordError) as error:
        report.note(Finding.UNCHECKED, f"checksum: {error}")
    return report
