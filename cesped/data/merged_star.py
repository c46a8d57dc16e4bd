"""One star file of both halves of an entry, for programs that take the whole set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cesped.data.star_columns import open_star_columns
from cesped.errors import MetadataError
from cesped.io.star_writer import write_star

_GROUP = "rlnOpticsGroup"


def write_merged_star(first: Path, second: Path, merged: Path) -> Path:
    """Write the particles of two star files into one, and return its path.

    Optics groups that both files describe alike stay one group; others get numbers of their own.
    A column that one file lacks is nan there.

    Parameters
    ----------
    first, second : star files of the two halves, both of RELION 3.0 or both of 3.1 and later
    merged : star file to write; it belongs beside them, since image names are kept

    Raises
    ------
    StarFileError, MetadataError
        If a file cannot be read, or only one of them has an optics table.
    DiskFullError
        If the disk is full.
    """
    halves = [open_star_columns(path) for path in (first, second)]
    particles = [half.particles for half in halves]
    optics = [half.optics for half in halves]
    if (optics[0] is None) != (optics[1] is None):
        older, newer = (first, second) if optics[0] is None else (second, first)
        raise MetadataError(
            f"{newer} has an optics table and {older} has none; convert the latter with "
            "relion_convert_star"
        )
    if optics[0] is None or optics[1] is None:
        write_star(merged, {"": pd.concat(particles, ignore_index=True)})
        return merged
    table, new_numbers = _merged_optics(optics[0], optics[1])
    particles[1] = particles[1].assign(**{_GROUP: particles[1][_GROUP].map(new_numbers)})
    both = pd.concat(particles, ignore_index=True)
    write_star(merged, {"optics": table, "particles": both})
    return merged


def _merged_optics(
    first: pd.DataFrame, second: pd.DataFrame
) -> tuple[pd.DataFrame, dict[int, int]]:
    """Return the optics of both files, and the new number of each group of the second."""
    described = {tuple(_description(row)): int(row[_GROUP]) for _, row in first.iterrows()}
    next_number = int(np.max(first[_GROUP])) + 1
    new_numbers, added = {}, []
    for _, row in second.iterrows():
        number = described.get(tuple(_description(row)))
        if number is None:
            number, next_number = next_number, next_number + 1
            added.append(row.to_frame().T.infer_objects().assign(**{_GROUP: number}))
        new_numbers[int(row[_GROUP])] = number
    return pd.concat([first, *added], ignore_index=True), new_numbers


def _description(row: pd.Series) -> list[tuple[str, str]]:
    """Return all that is said of an optics group but its number."""
    return sorted((str(name), str(value)) for name, value in row.items() if name != _GROUP)
