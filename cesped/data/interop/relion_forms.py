"""One star file in the form of another RELION: 3.0, 3.1 or 5.0.

RELION 3.0 has one table, in which every row states microscope and magnification, and origins in
pixels. RELION 3.1 to 5.0 have an optics table and origins in angstrom; for single particles they
differ in the version line alone.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cesped.data.conventions import CTF_PREMULTIPLIED, PHASE_FLIPPED
from cesped.data.interop.exchange import listed
from cesped.data.interop.relion import MICROSCOPE, OPTICS_GROUP_NAME, group_rows
from cesped.data.star_columns import (
    DIMENSIONALITY,
    IMAGE_PIXEL_SIZE,
    IMAGE_SIZE,
    OPTICS_GROUP,
    ORIGINS_ANGST,
    ORIGINS_PX,
    StarColumns,
)
from cesped.data.star_quantities import pixel_sizes
from cesped.io.star import VERSION
from cesped.vocabulary import StarForm

_VERSIONS = {StarForm.RELION_31: 30001, StarForm.RELION_50: 50001}
_BEAM_TILT = ("rlnBeamTiltX", "rlnBeamTiltY")
_PROCESSED = (CTF_PREMULTIPLIED, PHASE_FLIPPED)
_MAGNIFICATION = 10_000.0  # with it, a detector pixel in micrometres is one in angstrom
_SAMPLING_30 = ("rlnMagnification", "rlnDetectorPixelSize", "rlnPixelSize")
#: optics columns that RELION 3.0 has in every row, and ones that only describe the optics table
_ROW_COLUMNS = (*MICROSCOPE, *_BEAM_TILT, *_PROCESSED, "rlnPhaseShift")
_OF_GROUPS = {OPTICS_GROUP, OPTICS_GROUP_NAME, IMAGE_SIZE, IMAGE_PIXEL_SIZE, DIMENSIONALITY}

Tables = dict[str, pd.DataFrame]


def in_form(
    columns: StarColumns, form: StarForm, box_px: NDArray[np.int64] | None = None
) -> tuple[Tables, tuple[str, ...]]:
    """Return the tables of a star file as another RELION writes them.

    Parameters
    ----------
    columns : the star file
    form : which RELION
    box_px : `(P,)` size of the images, 0 where it is not known; for an optics table that has none

    Returns
    -------
    tables : by block name, for `cesped.io.star.write_star`
    left_out : a sentence for everything that the form cannot hold
    """
    sizes = pixel_sizes(columns)
    if form is StarForm.RELION_30:
        return _as_one_table(columns, sizes)
    if columns.optics is None:
        optics, particles = _with_optics(columns, sizes, box_px)
    else:
        optics, particles = columns.optics.copy(), columns.particles.copy()
    _origins_in_angst(particles, sizes)
    tables = {"optics": optics, "particles": particles}
    for table in tables.values():
        table.attrs[VERSION] = _VERSIONS[form]
    return tables, ()


def _as_one_table(
    columns: StarColumns, sizes: NDArray[np.float64]
) -> tuple[Tables, tuple[str, ...]]:
    particles = columns.particles.copy()
    left_out: list[str] = []
    if columns.optics is not None:
        optics = columns.optics
        for name in _ROW_COLUMNS:
            if name in optics and name not in particles:
                particles[name] = columns.numbers(name)
        lost = [str(name) for name in optics if name not in _OF_GROUPS and name not in _ROW_COLUMNS]
        if len(optics) > 1:
            left_out.append(
                f"the division into {len(optics)} optics groups; every row states its own values"
            )
        if lost:
            left_out.append(f"columns of the optics table: {listed(lost)}")
    particles = particles.drop(
        columns=[OPTICS_GROUP, IMAGE_PIXEL_SIZE, *_SAMPLING_30], errors="ignore"
    )
    particles["rlnMagnification"] = _MAGNIFICATION
    particles["rlnDetectorPixelSize"] = sizes * _MAGNIFICATION / 1e4
    for in_px, in_angst in zip(ORIGINS_PX, ORIGINS_ANGST, strict=True):
        if in_angst in particles:
            particles[in_px] = columns.numbers(in_angst) / sizes
    particles = particles.drop(columns=list(ORIGINS_ANGST), errors="ignore")
    particles.attrs.clear()
    return {"": particles}, tuple(left_out)


def _with_optics(
    columns: StarColumns, sizes: NDArray[np.float64], box_px: NDArray[np.int64] | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return an optics table made of what the rows say, and the particles without it."""
    kinds: dict[str, object] = {}
    if OPTICS_GROUP in columns.particles:
        kinds["group"] = columns.numbers(OPTICS_GROUP).astype(np.int64)
    kinds[IMAGE_PIXEL_SIZE] = sizes
    if IMAGE_SIZE in columns.particles:
        kinds[IMAGE_SIZE] = columns.numbers(IMAGE_SIZE).astype(np.int64)
    elif box_px is not None:
        kinds[IMAGE_SIZE] = box_px
    for name in (*MICROSCOPE, *_BEAM_TILT):
        if name in columns.particles:
            kinds[name] = columns.numbers(name)
    optics, group_of_row = group_rows(pd.DataFrame(kinds))
    moved = [*MICROSCOPE, *_BEAM_TILT, *_SAMPLING_30, IMAGE_PIXEL_SIZE, IMAGE_SIZE]
    particles = columns.particles.drop(columns=moved, errors="ignore")
    particles[OPTICS_GROUP] = group_of_row
    return optics, particles


def _origins_in_angst(particles: pd.DataFrame, sizes: NDArray[np.float64]) -> None:
    for in_px, in_angst in zip(ORIGINS_PX, ORIGINS_ANGST, strict=True):
        if in_px in particles:
            if in_angst not in particles:
                particles[in_angst] = particles[in_px].to_numpy(dtype=np.float64) * sizes
            del particles[in_px]
