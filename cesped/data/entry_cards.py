"""A page for each entry of the benchmark, written from the registry and nothing else."""

from __future__ import annotations

from cesped.data.demo_specifications import DEMO_SPECIFICATIONS, DemoSpecification
from cesped.data.registry import (
    HALFSETS,
    BenchmarkEntry,
    benchmark_source,
    embedded_names,
    published_entries,
)

_GENERATED = "<!-- Written by benchmarks/entries/write_cards.py: change the registry, not this. -->"
_UNKNOWN = "not stated in the paper"


def entry_cards() -> dict[str, str]:
    """Return the text of every card by file name, and the table that links them (README.md)."""
    cards = {f"{name}.md": _embedded_card(DEMO_SPECIFICATIONS[name]) for name in embedded_names()}
    cards |= {f"{name}.md": _published_card(entry) for name, entry in published_entries().items()}
    return {"README.md": _index(), **cards}


def _published_card(entry: BenchmarkEntry) -> str:
    source = benchmark_source()
    rows = {
        "Imaged": entry.composition,
        "Particles from": f"[{entry.empiar_id}]({_empiar_url(entry.empiar_id)})",
        "Symmetry": entry.symmetry,
        "Box": f"{entry.box} px",
        "Pixel size": f"{entry.pixel_size_angst:g} Å",
        "Particles": _UNKNOWN
        if entry.n_particles is None
        else f"{entry.n_particles:,} (both halves)",
        "Stacks": _stacks(entry),
        "Resolution (FSC 0.143)": _angstrom(entry.resolution_angst),
        "the same, masked": _masked(entry),
        "Poses": entry.poses,
        **{f"Half {half}": _record_link(entry.records[half]) for half in HALFSETS},
        "Mask": f"`{entry.mask_file}` of {_record_link(entry.mask_record)}",
        "Checksums": "an MD5 for each file of a record; every one is checked on download",
        "Licence": "of the particles: as their record and their EMPIAR entry state it; of the "
        f"article: {source.article_licence}",
        "Cite": f"{source.citation}; and the authors of {entry.empiar_id}",
    }
    note = [entry.note, ""] if entry.note else []
    commands = [
        "```sh",
        f"cesped download {entry.name}",
        f"cesped show {entry.name} --halfset 0",
        "```",
    ]
    return _page(entry.name, note, rows, commands)


def _embedded_card(made: DemoSpecification) -> str:
    rows = {
        "Imaged": "nothing: a folded chain of pseudo-atoms, simulated on first use",
        "Symmetry": made.symmetry,
        "Box": f"{made.box} px",
        "Pixel size": f"{made.pixel_size_angst:g} Å",
        "Particles": f"{2 * made.n_particles_per_half:,} (both halves)",
        "Density": f"{made.n_atoms:,} pseudo-atoms within {made.radius_angst:g} Å, to "
        f"{made.resolution_angst:g} Å",
        "Noise": f"white, signal over noise variance {made.snr:g}",
        "Defocus": f"{made.min_defocus_angst:,.0f} to {made.max_defocus_angst:,.0f} Å, astigmatism "
        f"up to {made.max_astigmatism_angst:g} Å",
        "Optics": f"{made.voltage_kv:g} kV, {made.spherical_aberration_mm:g} mm, amplitude "
        f"contrast {made.amplitude_contrast:g}",
        "Poses": f"exact: uniform orientations, origins of {made.shift_sigma_px:g} px deviation",
        "Mask": "from the density",
        "Seed": str(made.seed),
        "Checksums": f"fingerprint of all constants `{made.fingerprint}`",
        "Licence": "that of this package (BSD-3-Clause)",
    }
    note = ["Embedded: it needs no download. Figures of it say nothing about real particles.", ""]
    return _page(made.name, note, rows, ["```sh", f"cesped show {made.name} --halfset 0", "```"])


def _page(name: str, note: list[str], rows: dict[str, str], commands: list[str]) -> str:
    table = ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())]
    return "\n".join([f"# {name}", "", _GENERATED, "", *note, *table, "", *commands, ""])


def _index() -> str:
    lines = [
        "# Entries",
        "",
        _GENERATED,
        "",
        "A card for each entry of the benchmark. Resolutions are FSC 0.143 of the published",
        "refinements; stacks are the size of both halves if a pixel takes 4 bytes.",
        "",
        "| entry | imaged | symmetry | box | Å/px | particles | stacks | Å | masked |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in embedded_names():
        made = DEMO_SPECIFICATIONS[name]
        size = _gigabytes(8 * made.n_particles_per_half * made.box**2)
        cells = ["simulated chain", made.symmetry, str(made.box), f"{made.pixel_size_angst:g}"]
        cells += [f"{2 * made.n_particles_per_half:,}", size, "", ""]
        lines.append(_index_row(name, cells))
    for name, entry in published_entries().items():
        cells = [entry.composition, entry.symmetry, str(entry.box), f"{entry.pixel_size_angst:g}"]
        cells += ["" if entry.n_particles is None else f"{entry.n_particles:,}"]
        cells += [f"those of {entry.images_of}" if entry.images_of else _size(entry)]
        cells += [_number(entry.resolution_angst), _number(entry.masked_resolution_angst)]
        lines.append(_index_row(name, cells))
    source = benchmark_source()
    lines += ["", f"Published entries: {source.citation}.", ""]
    return "\n".join(lines)


def _index_row(name: str, cells: list[str]) -> str:
    return f"| [{name}]({name}.md) | {' | '.join(cells)} |"


def _stacks(entry: BenchmarkEntry) -> str:
    if entry.images_of:
        return f"those of [{entry.images_of}]({entry.images_of}.md), fetched with that entry"
    return f"{_size(entry)} (both halves, 4 bytes a pixel)" if entry.stack_bytes else _UNKNOWN


def _masked(entry: BenchmarkEntry) -> str:
    text = _angstrom(entry.masked_resolution_angst)
    return f"{text} (the limit of the pixel size)" if entry.is_at_nyquist else text


def _size(entry: BenchmarkEntry) -> str:
    return "" if entry.stack_bytes is None else _gigabytes(entry.stack_bytes)


def _gigabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _angstrom(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.1f} Å"


def _record_link(record: int) -> str:
    return f"[record {record}](https://zenodo.org/records/{record})"


def _empiar_url(empiar_id: str) -> str:
    return f"https://www.ebi.ac.uk/empiar/{empiar_id}/"
