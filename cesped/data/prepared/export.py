"""The star file of prepared images for RELION and programs like it.

What was done to the images is written so that the programs do not do it once more, or to the wrong
scale: the pixel size and box of the optics groups are those of the prepared images, origins in
pixels are in prepared pixels, and the contrast transfer is described as it is now:

* multiplied by the CTF: `rlnCtfDataAreCtfPremultiplied` is 1, which RELION 3.1 follows;
* phase flipped: `rlnCtfDataArePhaseFlipped` is 1, which RELION keeps but does not follow: it must
  be told with `--ctf_phase_flipped`;
* Wiener filtered: the CTF is written as 1 everywhere (no defocus, no aberration, amplitude contrast
  1), so that no correction, of any program, has an effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cesped.data.conventions import CTF_PREMULTIPLIED, PHASE_FLIPPED
from cesped.data.star_columns import IMAGE_NAME, OPTICS_GROUP, ORIGINS_ANGST, ORIGINS_PX
from cesped.data.table import ParticleTable
from cesped.io.star_writer import write_star
from cesped.vocabulary import CtfCorrection

#: Name of the raw image that a prepared one was made from; RELION knows the column.
ORIGINAL_NAME = "rlnImageOriginalName"

_PIXEL_SIZE, _IMAGE_SIZE = "rlnImagePixelSize", "rlnImageSize"
_MICROSCOPE = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
#: Columns of RELION 3.0 particles whose meaning the optics table takes over.
_MOVED_TO_OPTICS = (*_MICROSCOPE, "rlnMagnification", "rlnDetectorPixelSize", "rlnPixelSize")
_MARKS = {CtfCorrection.PHASE_FLIP: PHASE_FLIPPED, CtfCorrection.CTF_MULTIPLY: CTF_PREMULTIPLIED}
#: A contrast transfer of 1 at every frequency.
_NO_CTF = {
    "rlnDefocusU": 0.0,
    "rlnDefocusV": 0.0,
    "rlnDefocusAngle": 0.0,
    "rlnPhaseShift": 0.0,
    "rlnCtfBfactor": 0.0,
    "rlnCtfScalefactor": 1.0,
    "rlnSphericalAberration": 0.0,
    "rlnAmplitudeContrast": 1.0,
}


def write_prepared_star(
    path: Path,
    table: ParticleTable,
    stack_name: str,
    image_size: int,
    pixel_size_angst: NDArray[np.float64],
    ctf_correction: CtfCorrection,
) -> None:
    """Write the star file of prepared images, with an optics table as RELION 3.1 has it.

    Parameters
    ----------
    path : file to write, whole or not at all
    table : the raw particles
    stack_name : stack of the prepared images, in the order of the table
    image_size : of the prepared images [px]
    pixel_size_angst : `(P,)` of the prepared images [angstrom/px]
    ctf_correction : what was done to their contrast transfer

    Raises
    ------
    DiskFullError
        If the disk is full.
    """
    particles = table.particles.copy()
    if table.optics is None:
        optics, group = _optics_of_relion_30(table, pixel_size_angst)
        particles = particles.drop(columns=list(_MOVED_TO_OPTICS), errors="ignore")
        particles[OPTICS_GROUP] = group
    else:
        optics = table.optics.copy()
        optics[_PIXEL_SIZE] = _by_group(optics, particles, pixel_size_angst)
    _replace_where_present(particles, {_PIXEL_SIZE: pixel_size_angst, _IMAGE_SIZE: image_size})
    optics[_IMAGE_SIZE] = image_size
    optics["rlnImageDimensionality"] = 2
    particles[ORIGINAL_NAME] = table.ids
    particles[IMAGE_NAME] = [f"{row + 1:06d}@{stack_name}" for row in range(len(table))]
    particles = _with_origins(particles, table, pixel_size_angst)
    _describe_ctf(particles, optics, ctf_correction)
    write_star(path, {"optics": optics, "particles": particles})


def _by_group(
    optics: pd.DataFrame, particles: pd.DataFrame, pixel_size_angst: NDArray[np.float64]
) -> list[float]:
    """Return the prepared pixel size of each optics group; of an unused one, that of the first."""
    first = float(pixel_size_angst[0])
    if OPTICS_GROUP not in optics or OPTICS_GROUP not in particles:
        return [first] * len(optics)
    group = particles[OPTICS_GROUP].to_numpy()
    own = [pixel_size_angst[group == number] for number in optics[OPTICS_GROUP]]
    return [float(sizes[0]) if sizes.size else first for sizes in own]


def _optics_of_relion_30(
    table: ParticleTable, pixel_size_angst: NDArray[np.float64]
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Return an optics table for particles that have none, and the group of each particle."""
    count = len(table)
    ctf = table.ctf
    microscope = (
        [np.full(count, value) for value in (300.0, 2.7, 0.1)]  # RELION wants some
        if ctf is None
        else [ctf.voltage_kv, ctf.spherical_aberration_mm, ctf.amplitude_contrast]
    )
    rows = np.column_stack([*microscope, pixel_size_angst])
    groups, group = np.unique(rows, axis=0, return_inverse=True)
    numbers = np.arange(1, len(groups) + 1)
    optics = pd.DataFrame(
        {OPTICS_GROUP: numbers, "rlnOpticsGroupName": [f"opticsGroup{n}" for n in numbers]}
    )
    for place, name in enumerate((*_MICROSCOPE, _PIXEL_SIZE)):
        optics[name] = groups[:, place]
    return optics, group.reshape(-1) + 1


def _with_origins(
    particles: pd.DataFrame, table: ParticleTable, pixel_size_angst: NDArray[np.float64]
) -> pd.DataFrame:
    """Return the particles with origins in prepared pixels, or in angstrom alone."""
    in_px = [name for name in ORIGINS_PX if name in particles]
    if table.poses is None or not in_px:
        return particles
    origins_angst = table.poses.origins_angst
    if table.optics is None:  # RELION 3.1 reads angstrom alone
        columns = {name: origins_angst[:, axis] for axis, name in enumerate(ORIGINS_ANGST)}
        return particles.drop(columns=in_px).assign(**columns)
    origins_px = origins_angst / pixel_size_angst[:, None]
    return particles.assign(**{name: origins_px[:, axis] for axis, name in enumerate(ORIGINS_PX)})


def _describe_ctf(particles: pd.DataFrame, optics: pd.DataFrame, correction: CtfCorrection) -> None:
    if correction is CtfCorrection.NONE:
        return
    mark = _MARKS.get(correction)
    if mark is None:
        _replace_where_present(particles, _NO_CTF)
        for name in ("rlnSphericalAberration", "rlnAmplitudeContrast"):
            optics[name] = _NO_CTF[name]
        _replace_where_present(optics, _NO_CTF)
    else:
        optics[mark] = 1
        _replace_where_present(particles, {mark: 1})


def _replace_where_present(frame: pd.DataFrame, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if name in frame:
            frame[name] = value
