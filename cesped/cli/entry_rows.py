"""The lines of `cesped list`."""

from collections.abc import Iterator
from pathlib import Path

from ..data.conventions import read_particle_table
from ..data.download.entry_state import Completeness, HalfState, half_state
from ..data.registry import HALFSETS, BenchmarkEntry, published_entries
from ..data.store import EntryStore
from ..errors import CespedError
from ..progress_bars import format_bytes


def local_rows(store: EntryStore) -> list[str]:
    """Return a line for each half of an entry that is in the folder of `store`, or begun there."""
    found = dict.fromkeys(store.list())
    begun = {
        (name, halfset): half_state(entry, halfset, store)
        for name, entry in published_entries().items()
        if (store.benchmark_dir / name).is_dir()
        for halfset in HALFSETS
    }
    partial = [half for half, state in begun.items() if state.completeness is Completeness.PARTIAL]
    return [
        _local_row(store, name, halfset, begun.get((name, halfset)))
        for name, halfset in sorted([*found, *(half for half in partial if half not in found)])
    ]


def remote_rows() -> Iterator[str]:
    """Yield a line for each published entry."""
    for entry in published_entries().values():
        count = "" if entry.n_particles is None else f"{entry.n_particles:,}"
        yield (
            f"{entry.name:<18}{count:>9}{entry.box:>5}{entry.pixel_size_angst:>6g}  "
            f"{entry.symmetry:<9}{_stacks(entry):>10}  {entry.composition}"
        )


def _stacks(entry: BenchmarkEntry) -> str:
    if entry.images_of:
        return f"of {entry.images_of}"
    return "" if entry.stack_bytes is None else f"~{format_bytes(entry.stack_bytes)}"


def _local_row(store: EntryStore, name: str, halfset: int, state: HalfState | None) -> str:
    start = f"{name:<18}{halfset:>4}"
    if state is not None and state.completeness is Completeness.PARTIAL:
        return f"{start}  {_how_far(state)}; `cesped download {name}` goes on"
    try:
        half = store.locate(name, halfset)
        table = read_particle_table(half.star_path, half.root_dir)
    except CespedError as error:  # the others are still worth listing
        return f"{start}  cannot be read: {error}"
    size = sum(_size(path) for path in {half.star_path, *table.stacks})
    state_text = "complete" if state is None else state.completeness.value
    return (
        f"{start}{len(table):>11,}{table.image_size:>6}{table.sampling_rate:>8.3f}  "
        f"{half.symmetry:<9}{'yes' if half.mask_path else 'no':<5}{format_bytes(size):>10}  "
        f"{state_text}"
    )


def _how_far(state: HalfState) -> str:
    here = format_bytes(state.bytes_here)
    if state.share is None or state.bytes_total is None:
        return f"{here} fetched"
    return f"{here} of {format_bytes(state.bytes_total)} fetched ({state.share:.0%})"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
