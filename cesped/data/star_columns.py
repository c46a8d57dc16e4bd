"""The columns of a particle star file, one value per particle, wherever they are written.

A value that stands in both the particle and the optics table is taken from the particle table,
as RELION does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cesped.errors import MetadataError, StarFileError
from cesped.io.star import read_star

IMAGE_NAME = "rlnImageName"
OPTICS_GROUP = "rlnOpticsGroup"
IMAGE_SIZE = "rlnImageSize"
IMAGE_PIXEL_SIZE = "rlnImagePixelSize"
DIMENSIONALITY = "rlnImageDimensionality"
ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
ORIGINS_ANGST = ("rlnOriginXAngst", "rlnOriginYAngst")
ORIGINS_PX = ("rlnOriginX", "rlnOriginY")

# what only the particles of tomograms have: RELION 4 and 5
_OF_TOMOGRAMS = ("rlnTomoName", "rlnTomoParticleName", "rlnTomoSubTomosAre2DStacks")


@dataclass(frozen=True)
class StarColumns:
    """The tables of one star file, and which optics row each particle belongs to.

    Parameters
    ----------
    source : path of the file, for messages
    particles : particle table
    optics : optics table; None for a RELION 3.0 file
    optics_row : `(P,)` row of `optics` of each particle
    """

    source: str
    particles: pd.DataFrame
    optics: pd.DataFrame | None
    optics_row: NDArray[np.int64] | None

    def has(self, name: str) -> bool:
        """Return whether either table has column `name`."""
        return name in self.particles or (self.optics is not None and name in self.optics)

    def numbers(self, name: str, default: float | None = None) -> NDArray[np.float64]:
        """Return column `name` as `(P,)` finite numbers, from whichever table has it.

        Raises
        ------
        MetadataError
            If neither has it and there is no `default`, or a value is no finite number.
        """
        if name in self.particles:
            return _finite(self.particles[name], name, self.source)
        if self.optics is not None and name in self.optics:
            values = _finite(self.optics[name], name, f"{self.source}, table optics")
            return values[self.optics_row]
        if default is None:
            raise MetadataError(f"{self.source} has no column {name}; add it to the particle table")
        return np.full(len(self.particles), default)

    def group_of(self, row: int) -> str:
        """Return `, optics group N (its name)` of particle `row`, for messages."""
        if self.optics is None or self.optics_row is None or OPTICS_GROUP not in self.optics:
            return ""
        optics = self.optics.iloc[int(self.optics_row[row])]
        name = f" ({optics['rlnOpticsGroupName']})" if "rlnOpticsGroupName" in optics else ""
        return f", optics group {optics[OPTICS_GROUP]}{name}"


def open_star_columns(path: Path) -> StarColumns:
    """Read the particle and optics tables of the star file `path`.

    Raises
    ------
    StarFileError
        If it cannot be read, or has no particles.
    MetadataError
        If a particle belongs to no optics group, a group is described twice, or the file is one
        of tomography.
    """
    source = str(path)
    tables = read_star(path)
    _refuse_tomography(tables, source)
    with_images = [name for name, table in tables.items() if IMAGE_NAME in table]
    if not with_images:
        raise StarFileError(
            f"{source} has no table with column {IMAGE_NAME} (tables: "
            f"{', '.join(repr(name) for name in tables) or 'none'}); give a star file of particles"
        )
    chosen = "particles" if "particles" in with_images else with_images[0]
    particles = tables[chosen]
    if len(particles) == 0:
        raise StarFileError(f"{source} has no particles; its table {chosen!r} is empty")
    optics = tables.get("optics")
    rows = None if optics is None else _optics_rows(particles, optics, source)
    return StarColumns(source, particles, optics, rows)


def _refuse_tomography(tables: dict[str, pd.DataFrame], source: str) -> None:
    """Raise if the images are subtomograms, whose poses no single projection can show.

    Raises
    ------
    MetadataError
        Naming the column, or the optics group of three dimensions.
    """
    for name, table in tables.items():
        found = next((column for column in _OF_TOMOGRAMS if column in table), None)
        if found:
            raise MetadataError(
                f"{source} is a file of tomography (column {found} in table {name!r}); only "
                "single-particle images are handled: give a star file of 2D particles"
            )
        if DIMENSIONALITY in table and len(table):
            deep = np.flatnonzero(_finite(table[DIMENSIONALITY], DIMENSIONALITY, source) != 2)
            if deep.size:
                row = int(deep[0])
                raise MetadataError(
                    f"row {row + 1} of {source}, table {name}: {DIMENSIONALITY} is "
                    f"{table[DIMENSIONALITY].iloc[row]}; only images of 2 dimensions are handled: "
                    "give a star file of single particles, not of subtomograms"
                )


def _optics_rows(particles: pd.DataFrame, optics: pd.DataFrame, source: str) -> NDArray[np.int64]:
    if OPTICS_GROUP not in particles or OPTICS_GROUP not in optics:
        if len(optics) == 1:
            return np.zeros(len(particles), dtype=np.int64)
        raise MetadataError(
            f"{source} has {len(optics)} optics groups but no column {OPTICS_GROUP} in both "
            "tables; add it, or keep one optics group"
        )
    if optics.empty:
        raise MetadataError(
            f"{source}: the optics table has no row; add one for each optics group of the particles"
        )
    groups = _finite(optics[OPTICS_GROUP], OPTICS_GROUP, f"{source}, table optics")
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    if (np.diff(ordered) == 0).any():
        group = int(ordered[:-1][np.diff(ordered) == 0][0])
        raise MetadataError(f"{source}: optics group {group} is described twice; keep one row")
    asked = _finite(particles[OPTICS_GROUP], OPTICS_GROUP, source)
    position = np.minimum(np.searchsorted(ordered, asked), len(ordered) - 1)
    unknown = np.flatnonzero(ordered[position] != asked)
    if unknown.size:
        row = int(unknown[0])
        known = ", ".join(f"{group:g}" for group in ordered)
        raise MetadataError(
            f"row {row + 1} of {source}: optics group {asked[row]:g} is not in the optics table, "
            f"which has {known}; add it there or correct the row"
        )
    return order[position]


def _finite(column: pd.Series, name: str, source: str) -> NDArray[np.float64]:
    # pandas lends read-only views of its columns, which torch warns of
    values = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, copy=True)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        row = int(bad[0])
        value = column.iloc[row]
        shown = repr(value) if isinstance(value, str) else str(value)
        raise MetadataError(
            f"row {row + 1} of {source}: {name} is {shown}, which is no finite number; correct the "
            "value or remove the row"
        )
    return values
