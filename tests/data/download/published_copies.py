"""Small entries under published names, laid out in records as the published ones are."""

from pathlib import Path

import fake_entry

from cesped.data.registry import published_entries

MASK_RECORD = 11092291


def publish(server, folder, name="10280", n_chunks=12, **options):
    """Put a small entry called `name` into the records of `server`; return what was written."""
    entry = published_entries()[name]
    made = fake_entry.write_fake_entry(
        folder, name=name, symmetry=entry.symmetry, with_mask=True, **options
    )
    for halfset in (0, 1):
        server.records[entry.records[halfset]] = record_of(made.folder, halfset, n_chunks)
    masks = server.records.setdefault(MASK_RECORD, {})
    masks[entry.mask_file] = (made.folder / "mask.mrc").read_bytes()
    return made


def record_of(folder, halfset, n_chunks):
    """Return the files of a record: chunks of unequal size, not listed in their order."""
    stack = (folder / f"particles_{halfset}.mrcs").read_bytes()
    names = [f"particles_{halfset}.mrcs.chunk_{number}" for number in range(n_chunks)]
    bounds = [len(stack) * i * (i + 2) // (n_chunks * (n_chunks + 2)) for i in range(n_chunks + 1)]
    chunks = {
        name: stack[start:end]
        for name, start, end in zip(names, bounds[:-1], bounds[1:], strict=True)
    }
    others = [f"particles_{halfset}.star", f"info_{halfset}.json"]
    files = {name: (folder / name).read_bytes() for name in others}
    return dict(sorted({**files, **chunks}.items()))  # by name: chunk_10 before chunk_2


def contents(folder):
    """Return the visible files of a folder, by name."""
    return {
        path.name: path.read_bytes()
        for path in sorted(Path(folder).iterdir())
        if path.is_file() and not path.name.startswith(".")
    }
